"""The GP replayed in a fresh process from every prefix of a long asynchronous log over a mixed conditional space."""

from pathlib import Path

import pytest

from hpo import SQLiteLog
from tests.hpo.laws import Drive, build, replayed_elsewhere, starts
from tests.hpo.objectives import mixed


@pytest.mark.parametrize("name", ["asha(gp)", pytest.param("gp", marks=pytest.mark.slow)])
def test_sixty_jobs_on_four_workers(name: str, tmp_path: Path) -> None:
    drive = Drive(build(name, mixed(), 7), workers=4, seed=7, log=SQLiteLog(tmp_path / "log.db"))
    history = drive.go(60, lost=0.05, foreign=0.03)
    noted = [job for job in history.jobs.values() if "gp" in job.note.record]
    assert len(starts(history)) == 60 and len(noted) >= 3, "the model spoke"
    assert replayed_elsewhere(tmp_path / "log.db", name, "mixed", 7) == "60 replayed"
