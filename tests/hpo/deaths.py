"""A driver that is killed at one step of the durability order: `python -m tests.hpo.deaths CASE FOLDER` kills it at
every occurrence of every step, each time in a forked process of its own, finishes the study in another, and prints what
came of it as JSON. The fork starts from a process with everything imported, so that a hundred deaths take seconds."""

from __future__ import annotations

import gc
import json
import os
import random
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import hpo.executors.interim as interim
import hpo.executors.worker as worker
from hpo import ASHA, GP, PBT, History, Hyperband, Inline, Optimizer, Random, SQLiteLog, Stop, Study, run
from hpo.executors.checkpoints import Checkpoints, standing_name
from hpo.logs.base import canonical
from tests.hpo.objectives import Traces, line

KILLED = 77
CASES: dict[str, Callable[[], Optimizer]] = {
    "asha": lambda: ASHA(Random(line(), seed=1), max_resource=9),
    "pbt": lambda: PBT(Random(line(), seed=1), population=3, generations=3, max_resource=9, truncation=0.4),
    "hyperband": lambda: Hyperband(Random(line(), seed=1), max_resource=4, reduction_factor=2, rounds=1),
    "asha(gp)": lambda: ASHA(GP(line(), seed=1, initial=3), max_resource=9),
}
TRIALS = {"asha": 6, "asha(gp)": 6}
# step -> (owner, attribute): the process dies before the call, or after it and before anything else happens
STEPS = {
    "start": (History, "start"),
    "publish": (interim, "publish"),
    "replace": (os, "replace"),  # inside publish: the half-written checkpoint is flushed and not yet renamed
    "finish": (History, "finish"),
    "keep": (Checkpoints, "keep"),
}


def deadly(step: str, when: str, count: int) -> None:
    owner, name = STEPS[step]
    real, left = getattr(owner, name), [count]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if when == "before" and left[0] == 0:
            os._exit(KILLED)
        answer = real(*args, **kwargs)
        if when == "after" and left[0] == 0:
            os._exit(KILLED)
        return answer

    setattr(owner, name, wrapped)


def drive(case: str, folder: Path) -> dict[str, Any]:
    """Runs the study to its end; every source of every job must stand when the job begins."""
    real = worker.Worker._run

    def run_checked(self: worker.Worker, job: Any, attempts: Any) -> Any:
        if job.source is not None:
            path = self.checkpoints.path(job.source, attempts[job.source])
            assert path.exists(), f"{path.name} is gone"
        return real(self, job, attempts)

    worker.Worker._run = run_checked  # type: ignore[method-assign]
    study = Study(CASES[case](), log=SQLiteLog(folder / "log.db"))
    told = {str(key): result.metrics for key, result in study.history.results.items()}
    executor = Inline(Traces(folder / "journal"), study.header.horizon, folder / "checkpoints")
    history = run(study, executor, Stop(trials=TRIALS.get(case)))
    kept = [standing_name(history, key) for key in study.keep()]
    return {
        "told": told,
        # without those of a job that was in flight at a death, and was started again under its next attempt
        "starts": [canonical(e.body["job"]) for e in history.events if e.kind == "start" and not e.body["attempt"]],
        "results": {str(k): (r.metrics.get("loss"), r.error) for k, r in history.results.items()},
        "all": {str(key): result.metrics for key, result in history.results.items()},
        "open": len(history.pending) + len(history.retries),
        "missing": [name for name in kept if not (folder / "checkpoints" / name).exists()],
        "files": sorted(os.listdir(folder / "checkpoints")),
        "kept": sorted(kept),
    }


def forked(act: Callable[[], Any], answer: Path) -> int:
    """Exit status of `act` in a process of its own; what it returns stands in the file."""
    child = os.fork()
    if child == 0:
        try:
            answer.write_text(json.dumps(act()), encoding="utf-8")
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def suffer(case: str, folder: Path, deaths: list[tuple[str, str, int]]) -> tuple[int, dict[str, Any]]:
    """(deaths that happened, the end of the study): one process for every death and one that finishes."""
    folder.mkdir()
    died = 0
    for death in deaths:
        code = forked(lambda death=death: (deadly(*death), drive(case, folder)), folder / "answer")  # type: ignore[misc]
        assert code in (0, KILLED), (case, death, code)
        died += code == KILLED
    code = forked(lambda: drive(case, folder), folder / "answer")
    assert code == 0, (case, deaths, code)
    return died, json.loads((folder / "answer").read_text(encoding="utf-8"))


def main(case: str, root: Path, every: int) -> None:
    import_module("scipy.stats")  # which a GP imports when it draws
    gc.freeze()
    _, whole = suffer(case, root / "whole", [])
    found = []
    for step in STEPS:
        for when in ("before", "after"):
            for count in range(1, 1000, every):
                died, end = suffer(case, root / f"{step}-{when}-{count}", [(step, when, count)])
                if not died:
                    break
                found.append({"death": [step, when, count], "end": end})
    rng = random.Random(0)
    for again in range(3):
        deaths = [(rng.choice(list(STEPS)), rng.choice(["before", "after"]), rng.randint(1, 4)) for _ in range(6)]
        died, end = suffer(case, root / f"many-{again}", deaths)
        found.append({"death": ["many", again, died], "end": end})
    print(json.dumps({"whole": whole, "found": found}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
