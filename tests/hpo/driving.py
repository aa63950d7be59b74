"""One of several drivers of a study, as a process: `python -m tests.hpo.driving FOLDER NAME SLOW LEASE [TRIALS|0 [DIES]]`.

It begins when there is a file `go`. Every job writes into the folder's journal when it begins and when it ends: who ran which
attempt. With DIES it kills itself inside its job of that number, counted from 1; with -DIES it stops itself there."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from hpo import ASHA, PBT, Inline, Job, Optimizer, Random, Stop, Study, open_log, run
from hpo.executors import Lost
from hpo.job import Result
from tests.hpo.objectives import Traces, line

MAKERS: dict[str, Any] = {
    "random": lambda: Random(line(), seed=1),
    "asha": lambda: ASHA(Random(line(), seed=1), max_resource=9),
    "pbt": lambda: PBT(Random(line(), seed=1), population=3, generations=3, max_resource=9, truncation=0.4),
}


def make(name: str) -> Optimizer:
    made: Optimizer = MAKERS[name]()
    return made


class Journal(Inline):
    """An executor that writes down what it does with which attempt."""

    def __init__(self, folder: Path, horizon: int, slow: float, dies: int) -> None:
        super().__init__(Traces(folder / "traces", slow), horizon, folder / "checkpoints")
        self.folder, self.left = folder, abs(dies)
        self.signal = signal.SIGKILL if dies > 0 else signal.SIGSTOP

    def submit(self, job: Job, attempts: Any = None) -> None:
        self.attempt = (attempts or {}).get(job.key, 0)
        self._write(job, "begin")
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.signal)
        super().submit(job, attempts)

    def wait(self, timeout: float | None = None) -> tuple[Job, Result | Lost] | None:
        outcome = super().wait(timeout)
        if outcome is not None:
            self._write(outcome[0], "end")
        return outcome

    def _write(self, job: Job, what: str) -> None:
        line = json.dumps([what, job.trial, job.until, self.attempt, os.getpid(), time.monotonic()])
        with open(self.folder / "journal", "a", encoding="utf-8") as file:
            file.write(line + "\n")


def main(folder: Path, name: str, slow: float, lease: float, trials: int | None, dies: int) -> None:
    log = (folder / "url").read_text(encoding="utf-8") if (folder / "url").exists() else str(folder / "log.db")
    (folder / f"ready-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    optimizer = make(name)
    study = Study(optimizer, horizon=9 if name == "random" else None, log=open_log(log))
    run(study, Journal(folder, study.header.horizon, slow, dies), Stop(trials=trials), lease=lease)
    (folder / f"end-{os.getpid()}").write_text(json.dumps([len(study.history.pending), len(study.history.results)]))


if __name__ == "__main__":
    root, chosen, seconds, length, *rest = sys.argv[1:]
    most, deadly = [*map(int, rest), 0, 0][:2]
    main(Path(root), chosen, float(seconds), float(length), most or None, deadly)
