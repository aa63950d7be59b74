"""Three processes as three machines: one study on MariaDB, median pruning, a shared folder of checkpoints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("optuna")
pytest.importorskip("pymysql")

import hpo
from experiments.cookbook.machine import EACH, MACHINES
from experiments.cookbook.scale import Reduction
from experiments.cookbook.several_machines import POOL, VARIABLE, several_machines
from experiments.cookbook.space import has_whole_heads
from hpo.analysis.replays import replay_jobs
from tests.hpo import servers

SMALL = Reduction(width=32, texts=16, steps=100, trials=3)


def test_three_drivers_share_a_study_on_mariadb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.home("mysql", tmp_path):
        url = servers.url("mysql", tmp_path, "gpt")
        monkeypatch.setenv(VARIABLE, url)
        outcome = several_machines(SMALL)
        assert outcome.facts["database"].startswith("mysql") and outcome.is_no_worse(), outcome.describe()
        study = hpo.load(url, constraints=[has_whole_heads])
        history = study.history
        starts = [(event.body["job"]["trial"], event.body["job"]["until"]) for event in history.events if event.kind == "start"]
        assert not [key for key, count in Counter(starts).items() if count > 1], "nothing was lost, so nothing started twice"
        assert len(history.trials) == MACHINES * 3 and not history.pending
        assert len([event for event in history.events if event.kind == "run"]) == MACHINES
        assert outcome.facts["to the end"] < len(history.trials), "the median rule has stopped some"
        assert all(job == again for job, again in replay_jobs(history, study.optimizer))
        history.log.close()
    assert EACH == 10 and all(word in POOL for word in ("pool_size=20", "max_overflow=0"))
