"""The GP replayed in a fresh process from every prefix of a long asynchronous log over a mixed conditional space."""

from pathlib import Path

import pytest

from hpo import SQLiteLog
from hpo.testing import Drive, replay_in_process, started_jobs
from hpo.testing.spaces import mixed_space
from tests.hpo.cases import build, build_over


@pytest.mark.parametrize("name", ["asha(gp)", pytest.param("gp", marks=pytest.mark.slow)])
def test_sixty_jobs_on_four_workers(name: str, tmp_path: Path) -> None:
    drive = Drive(build(name, mixed_space(), 7), workers=4, seed=7, log=SQLiteLog(tmp_path / "log.db"))
    history = drive.run(60, lost=0.05, foreign=0.03)
    noted = [job for job in history.jobs.values() if "gp" in job.note.record]
    assert len(started_jobs(history)) == 60 and len(noted) >= 3, "the model spoke"
    assert replay_in_process(build_over, tmp_path / "log.db", name, "mixed", 7) == "60 replayed"
