"""The laws as somebody else uses them: a repository of its own, where a right sampler passes and each wrong one is caught."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hpo.testing import OptimizerLaws, replay_in_process
from tests.fresh import python
from tests.hpo.cases import ROOT
from tests.pages import LOADED

MINE = '''
import random

import numpy as np

from hpo.rng import stream


class Mine:
    """Of a few random points the one nearest to the best so far."""

    def __init__(self, space, seed=0, points=4):
        self.space, self.seed, self.points = space, seed, points

    def stream(self, history, trial):
        return stream(self.seed, trial, "mine")

    def sample(self, history, trial):
        rows = self.space.domain.random(self.stream(history, trial), self.points)
        best = next(history.ranking(history.header.horizon), None)
        there = rows[0] if best is None else self.space.encode(history.jobs[best].config)
        return self.space.decode(min(rows, key=lambda row: np.nansum((row - there) ** 2)))


class ReadsGlobalRandom(Mine):
    def stream(self, history, trial):
        return stream(self.seed, random.randrange(10**6), "mine")


class KeepsState(Mine):
    """Counts what it was asked for, where no other instance and no replay can read it."""

    def __init__(self, space, seed=0):
        super().__init__(space, seed)
        self._asked = 0

    def stream(self, history, trial):
        self._asked += 1
        return stream(self.seed, self._asked, "mine")


class IgnoresPending(Mine):
    def stream(self, history, trial):
        return stream(self.seed, len(history.results), "mine")


class LeavesTheSpace(Mine):
    def sample(self, history, trial):
        config = super().sample(history, trial)
        return {name: value + 3.0 if isinstance(value, float) else value for name, value in config.items()}


class ChangesTheHistory(Mine):
    """Gives up results that it has read, as if they were its own."""

    def sample(self, history, trial):
        config = super().sample(history, trial)
        if len(history.results) > 1:
            history.results.pop(next(iter(history.results)))
        return config
'''

TEST = """
from hpo.testing import SamplerLaws

from mine import {name}


class TestIt(SamplerLaws):
    invariance = "rank"

    def make(self, space, seed):
        return {name}(space, seed=seed)
"""


def outcomes(folder: Path, name: str, *options: str) -> dict[str, str]:
    """What the laws say of a class of mine.py, by law: passed or how it failed; by a pytest of its own, in a folder that knows
    of this repository nothing but where its packages are."""
    (folder / "mine.py").write_text(MINE)
    (folder / "test_it.py").write_text(TEST.format(name=name))
    pytest_there = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = python(*LOADED).run([*pytest_there, "--junitxml", "said.xml", *options], folder, surroundings)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, str] = {}
    for case in ElementTree.parse(folder / "said.xml").iter("testcase"):
        law = case.attrib["name"].partition("[")[0]
        assert case.find("skipped") is None and case.find("error") is None
        failure = case.find("failure")
        found[law] = found.get(law, "") + ("" if failure is None else str(failure.attrib["message"]))
    return found


def test_a_right_sampler_keeps_every_law(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "Mine")
    assert {law for law in dir(OptimizerLaws) if law.startswith("test_")} < set(found)
    assert {law: said for law, said in found.items() if said} == {}


WRONG = {
    "ReadsGlobalRandom": "test_proposals_change_nothing",
    "KeepsState": "test_every_prefix_gives_the_original_job",
    "IgnoresPending": "test_parallel_asks_are_never_duplicates",
    "LeavesTheSpace": "test_configurations_lie_in_the_space",
    "ChangesTheHistory": "test_proposals_leave_the_history_as_it_is",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_sampler_is_caught_by_the_law_that_it_breaks(name: str, tmp_path: Path) -> None:
    found = outcomes(tmp_path, name, "-k", f"{WRONG[name]} or describes_itself")
    assert found[WRONG[name]] and not found["test_describes_itself_in_json"]


def test_a_law_class_that_no_other_process_finds_is_refused(tmp_path: Path) -> None:
    class Local(OptimizerLaws):
        pass

    with pytest.raises(TypeError, match="Local stands in a function, where no other process finds it"):
        replay_in_process(Local, tmp_path / "log.db")
    with pytest.raises(NotImplementedError, match="Local says how an optimizer is made"):
        Local().build()


def test_using_the_package_needs_no_pytest() -> None:
    code = "import sys, hpo; sys.exit('pytest was imported' if {'pytest', 'hypothesis', 'hpo.testing'} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
