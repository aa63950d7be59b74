"""A log proposed again, from every one of its prefixes: here, and in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from hpo.history import History
from hpo.logs import MemoryLog, SQLiteLog
from hpo.logs.base import canonical
from hpo.optimizer import adapt
from hpo.study import Study

CODE = "import sys; sys.path[:] = {path!r}; from hpo.testing.replay import answer; answer({given!r})"


def started_jobs(history: History) -> list[str]:
    """Every job as canonical JSON, in order of starting."""
    return [canonical(event.body["job"]) for event in history.events if event.kind == "start"]


def changed_jobs(history: History, fresh: Callable[[], Any]) -> list[str]:
    """Where `decide` over the growing log differs from what the log says; a new optimizer for every prefix."""
    log = MemoryLog()
    prefix = History(history.header, log)
    wrong = []
    for position, event in enumerate(history.events):
        if event.kind == "start":
            seen = event.body["seen"]
            assert seen == position == len(prefix), "one driver reads everything"
            job = adapt(fresh()).decide(prefix)
            said = canonical(job.to_json()) if job is not None else "None"
            if said != canonical(event.body["job"]):
                wrong.append(f"event {position}: {canonical(event.body['job'])} became {said}")
        log.append(event)
        prefix.refresh()
    return wrong


def replay_in_process(maker: Any, path: Path, *arguments: Any) -> str:
    """What a fresh process with another PYTHONHASHSEED says about a log: "n replayed", or the differences.

    maker       what makes the optimizer there: a function, or a law class, whose `build` does; at the top of a module
    path        of the SQLite log
    arguments   of the maker, as JSON holds them
    """
    if "<locals>" in maker.__qualname__:
        raise TypeError(f"{maker.__qualname__} stands in a function, where no other process finds it; write it in a module")
    module = sys.modules[maker.__module__]
    given = json.dumps([maker.__module__, module.__file__, maker.__qualname__, str(path), arguments])
    other = "1" if os.environ.get("PYTHONHASHSEED") == "4242" else "4242"
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(path=[str(Path(entry).absolute()) for entry in sys.path], given=given)],
        env={**os.environ, "PYTHONHASHSEED": other}, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def answer(given: str) -> None:
    """Prints, in the fresh process, what `replay_in_process` returns."""
    name, file, qualname, path, arguments = json.loads(given)
    found: Any = _module(name, file)
    for part in qualname.split("."):
        found = getattr(found, part)
    maker = found().build if isinstance(found, type) else found
    history = Study(maker(*arguments), log=SQLiteLog(path)).history
    print("\n".join(changed_jobs(history, lambda: maker(*arguments))) or f"{len(started_jobs(history))} replayed")


def _module(name: str, file: str) -> Any:
    """A test's module by its name, or by its file where pytest has imported it without its folder on the path."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
