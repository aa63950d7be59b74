"""A spawned worker really ended at every step between a job's training and its delivery."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo import ASHA, Float, History, Processes, Random, Space, SQLiteLog, Stop, Study, run
from tests.hpo.objectives import DiesOnce


def study(folder: Path, point: str, job: int) -> History:
    folder.mkdir()
    asha = ASHA(Random(Space(x=Float(0, 1)), seed=3), max_resource=9)
    it = Study(asha, log=SQLiteLog(folder / "log.sqlite"))
    return run(it, Processes(DiesOnce(str(folder), point, job), 9, folder / "checkpoints", workers=1), Stop(9))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> History:
    return study(tmp_path_factory.mktemp("whole") / "study", "", 0)


@pytest.mark.parametrize(("point", "job"), [("half", 4), ("named", 0), ("done", 4)])
def test_a_worker_that_ends_there_costs_nothing_but_time(tmp_path: Path, whole: History, point: str, job: int) -> None:
    died = study(tmp_path / "study", point, job)
    assert (tmp_path / "study" / "died").exists(), "the worker was not ended"
    assert [e.kind for e in died.events].count("lost") == 1 and not died.pending
    assert {k: r.metrics["loss"] for k, r in died.results.items()} == {k: r.metrics["loss"] for k, r in whole.results.items()}
    assert not any(r.error for r in died.results.values())
