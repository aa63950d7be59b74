"""A log proposed again, from every one of its prefixes: here, and in a process of its own."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from hpo.history import History
from hpo.logs import MemoryLog, SQLiteLog
from hpo.logs.base import canonical
from hpo.optimizer import adapt
from hpo.study import Study

CODE = "import sys; sys.path[:] = {path!r}; from hpo.testing.replay import serve; serve()"


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
    given = [maker.__module__, module.__file__, maker.__qualname__, str(path.absolute()), arguments]
    other = "1" if os.environ.get("PYTHONHASHSEED") == "4242" else "4242"
    found, said = _server(tuple(str(Path(entry).absolute()) for entry in sys.path), other).ask(given)
    assert found, said
    return said


class _Server:
    """A process that has imported what its questions need, and done nothing else. Each is answered by a fork of it, so that the
    next one finds it as fresh: starting Python and importing hpo would take far longer than most answers."""

    def __init__(self, path: Sequence[str], seed: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE.format(path=list(path))], env={**os.environ, "PYTHONHASHSEED": seed}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        atexit.register(self.process.communicate)  # it ends where there are no more questions

    def ask(self, given: Any) -> tuple[bool, str]:
        """Whether the question was answered, and the answer or the traceback."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(given)}\n")
        self.process.stdin.flush()
        found, said = json.loads(self.process.stdout.readline() or '[false, "the process died"]')
        return found, said


@cache
def _server(path: tuple[str, ...], seed: str) -> _Server:
    return _Server(path, seed)


def serve() -> None:
    """In the fresh process: answers questions from stdin on stdout, each in a fork."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the optimizer prints is no answer
    import_module("scipy.stats")  # which many import when they draw first
    for line in sys.stdin:
        given = json.loads(line)
        with suppress(Exception):  # the fork will meet it too
            _module(*given[:2])
        end, begin = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(end)
            with os.fdopen(begin, "w") as pipe:
                try:
                    pipe.write(json.dumps([True, answer(*given)]))
                except BaseException:
                    pipe.write(json.dumps([False, traceback.format_exc()]))
            os._exit(0)
        os.close(begin)
        with os.fdopen(end) as pipe:
            said = pipe.read() or json.dumps([False, "the process died"])
        os.waitpid(child, 0)
        print(said, file=out, flush=True)


def answer(name: str, file: str, qualname: str, path: str, arguments: Sequence[Any]) -> str:
    """What `replay_in_process` returns, in the fresh process."""
    found: Any = _module(name, file)
    for part in qualname.split("."):
        found = getattr(found, part)
    maker = found().build if isinstance(found, type) else found
    history = Study(maker(*arguments), log=SQLiteLog(path)).history
    return "\n".join(changed_jobs(history, lambda: maker(*arguments))) or f"{len(started_jobs(history))} replayed"


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
