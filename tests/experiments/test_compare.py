"""The main job's experiments in small: a study with its seconds, trainings through rungs, what is stored and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import job, rungs
from experiments.compare import __main__ as command
from experiments.compare import study, table
from experiments.job import HORIZON
from experiments.ledger import Ledger
from experiments.ledger.intervals import mean_interval


def test_a_study_hands_over_its_best_and_says_where_its_seconds_went(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "JUDGED_ON", 1024)
    monkeypatch.setattr(study, "HORIZON", 2048)
    found = study.study_minute("default", 0)
    assert found["trials"] == found["jobs"] == 1 and found["until"] == 2048 and found["config"] == study.DEFAULT
    assert 0 < found["loss"] < 5 and found["loss"] != found["searched_loss"]
    assert 0 < table.overhead(found) < 1 and json.loads(json.dumps(found)) == found


def test_every_method_starts_as_a_user_would_make_it() -> None:
    made = {name: make(study.space(), 3) for name, make in study.METHODS.items()}
    assert all(optimizer.seed == 3 for optimizer in made.values()) and all(optimizer.ask() for optimizer in made.values())


def row(method: str, seed: int, loss: float | None, until: int = 9) -> dict[str, Any]:
    parts = dict.fromkeys(
        ("driver_seconds", "worker_birth_seconds", "worker_idle_seconds", "worker_setup_seconds", "worker_save_seconds"), 1.0
    )
    return {"method": method, "seed": seed, "loss": loss, "until": until, "trials": 4, "seconds": 50.0, **parts}


def test_the_table_pairs_seeds_and_counts_a_study_without_success_as_the_worst() -> None:
    default = [row("default", seed, 2.0 + seed) for seed in range(4)]
    others = [row("GP", seed, 1.0 + 2 * seed, 9 - seed % 2) for seed in range(3)]
    shown = table.compare_table([*default, *others, row("GP", 3, None)], ["default", "GP", "nobody"])
    assert "| default | 3.500 | 3.500 [" in shown and "nobody" not in shown
    assert "| GP | 4.000 | 3.500 [" in shown and "| 3 of 4 | 4.0 | 10.0 % |" in shown, "5 is the worst"
    low, high = mean_interval([-1.0, 0.0, 1.0, 0.0])
    assert low < 0 < high and np.isnan(mean_interval([1.0, 1.0, 1.0])).all()


def test_all_stored_studies_and_rungs_are_read() -> None:
    for ledger in (command.open_compare(command.RESULTS), rungs.open_rungs(rungs.RESULTS)):
        assert len(ledger.latest()) == len(ledger.measurements) == sum(1 for _ in ledger.path.open())


def test_a_study_that_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match=r"experiments.compare.study nobody 0 failed:\n(.|\n)*KeyError: 'nobody'"):
        command.spawn_study("nobody", 0)


# --- rungs ------------------------------------------------------------------------------------------------------------


def test_a_rung_is_the_same_whatever_was_trained_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rungs, "HORIZON", 4096)
    first, second = rungs.measure_rung(1, 1024), rungs.measure_rung(1, 2048)
    assert rungs.measure_rung(1, 1024) == first and rungs.measure_rung(1, 2048) == second != first
    rungs.train_run.cache_clear()
    assert rungs.measure_rung(1, 2048) == second


@pytest.mark.filterwarnings("ignore:An input array is constant", "ignore:The BCa confidence interval")
def test_the_rungs_table_leaves_out_what_is_not_whole(tmp_path: Path) -> None:
    path, rng = tmp_path / "rungs.jsonl", np.random.default_rng(0)
    lines = [{"trial": trial, "until": until, "loss": rng.random() + 1.0 / until, "config": {"x": trial}}
             for trial in range(12) for until in rungs.RUNGS]  # fmt: skip
    lines[0]["config"], lines[7]["loss"], missing = {"x": 7.0}, None, lines.pop()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = CliRunner().invoke(rungs.app, ["--table", "--results", str(path)]).output
    assert missing["until"] == HORIZON and "9 configurations that did not diverge" in shown and "| 16,384 | 1/27 | " in shown
    path.write_text(json.dumps(lines[1]) + "\n")
    assert "| 49,152 | 1/9 | - | - |" in CliRunner().invoke(rungs.app, ["--table", "--results", str(path)]).output
    assert len(Ledger(path, list(rungs.rungs_measurements())).list_missing()) == len(rungs.RUNGS) * rungs.TRIALS
