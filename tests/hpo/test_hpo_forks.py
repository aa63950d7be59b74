"""An objective that forks and lets its child return: the child is nobody's second driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpo
from tests.hpo.test_hpo_signals import ROOT

SCRIPT = """
import os, sys
from pathlib import Path
import hpo

def forked(how):
    \"\"\"In the parent, once the child is gone, None; in the child, which has nothing else to do, what it goes on with.\"\"\"
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if how == "raises":
        raise KeyError("in the child")
    if how == "interrupted":
        raise KeyboardInterrupt
    if how == "exits":
        sys.exit(5)

HOW, KIND, EXECUTOR = sys.argv[1:]

def function(config):
    forked(HOW)
    return config["x"]

def reporting(config, report):
    forked(HOW)
    for step in (1, 3, 9):
        report(step, config["x"])

class Run:
    def __init__(self, config, seed, horizon):
        self.x = config["x"]
    def advance(self, until):
        forked(HOW)
        return {"loss": self.x}, ()
    def save(self, path):
        with open("saves", "a") as file:
            file.write(f"{os.getpid()}\\n")
        Path(path).write_text(str(os.getpid()))
    def load(self, path):
        pass

def building(config, seed, horizon):
    forked(HOW)
    return Run(config, seed, horizon)

if __name__ == "__main__":
    objective = {"function": function, "reporting": reporting, "run": Run, "building": building}[KIND]
    optimizer = "random" if KIND == "function" else hpo.ASHA(hpo.Random({"x": (0.0, 1.0)}), max_resource=9)
    study = hpo.minimize(objective, {"x": (0.0, 1.0)}, optimizer, 4, executor=EXECUTOR, log="log.sqlite", quiet=True)
    print("end", len(study.history.trials))
"""


@pytest.mark.parametrize(
    ("how", "kind", "executor"),
    [("returns", "function", "inline"), ("raises", "function", "inline"), ("interrupted", "function", "inline"),
     ("exits", "function", "inline"), ("returns", "function", "threads"), ("returns", "function", "processes"),
     ("returns", "reporting", "inline"), ("raises", "reporting", "threads"), ("returns", "run", "inline"),
     ("raises", "building", "inline"), ("returns", "run", "processes")],
)  # fmt: skip
def test_what_an_objective_forks_ends_quietly(how: str, kind: str, executor: str, tmp_path: Path) -> None:
    """Before it touches the log or a checkpoint."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py", how, kind, executor], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=600)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "end 4\n", "")
    history = hpo.load(tmp_path / "log.sqlite").history
    assert not history.pending and all(result.error is None for result in history.results.values())
    assert [event.kind for event in history.events].count("run") == 1
    if kind in ("run", "building"):
        saves = (tmp_path / "saves").read_text().split()
        assert len(saves) == len(history.results), "one a job"
        assert len(set(saves)) <= (2 if executor == "processes" else 1)
