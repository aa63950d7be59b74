"""Tuner: the same searches as under their own names, over real commands and functions; what is refused; what it remembers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.tuner import double_rungs

SCRIPT = """
import sys, time
flags = dict(word[2:].split("=") for word in sys.argv[1:])
x = 4.0
for epoch in range(8):
    x -= 2 * float(flags["lr"]) * x
    print(f"Test set: Average loss: {x * x + int(flags['batch-size']) / 1000:.6f};", flush=True)
    time.sleep(0.01)
if float(flags["lr"]) > 0.9:
    raise SystemExit("it has diverged")
"""
LOSS = {"name": "loss", "regex": r"Average loss: ([\d.]+)", "type": "Minimize"}
RANGES: dict[str, Any] = {"lr": (1e-3, 0.4, "log"), "batch-size": [32, 64, 128]}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return [sys.executable, str(path), "{flags}"]


def loss(config: Any) -> float:
    return float((config["lr"] - 0.1) ** 2 + config["batch-size"] / 1000)


def reported_loss(config: Any, report: Any) -> float:
    for epoch in range(1, 9):
        report(epoch, loss(config) + 1 / epoch)
    return loss(config) + 1 / 8


@pytest.mark.parametrize("strategy", ["Random", "Grid", "Bayesian", "Hyperband"])
def test_a_command_is_searched_by_what_it_prints(strategy: str, words: list[str], tmp_path: Path) -> None:
    ranges = {"lr": [0.01, 0.1, 0.3], "batch-size": [32, 64, 128]} if strategy == "Grid" else RANGES
    tuner = hpo.Tuner(words, LOSS, ranges, strategy, max_resource=8, folder=tmp_path / "trials", quiet=True)
    tuner.fit()
    jobs = tuner.dataframe()
    assert len(jobs) == 9 and set(jobs["status"]) <= {"Completed", "Stopped"}
    assert jobs["job"][0] == tuner.best().number and jobs["loss"][0] == tuner.best().value
    done = jobs[jobs["status"] == "Completed"]
    assert list(done["loss"]) == sorted(done["loss"]) and (jobs["seconds"] > 0).all()
    for job, status in zip(jobs["job"], jobs["status"], strict=True):
        printed = (tmp_path / "trials" / str(job) / "stdout.txt").read_text().splitlines()
        assert len(printed) == 8 if status == "Completed" else len(printed) < 8  # what was stopped printed nothing after


def test_the_median_stops_jobs_whose_length_is_not_known(words: list[str], tmp_path: Path) -> None:
    ranges = {"lr": [0.3, 0.2, 0.1, 0.002, 0.001], "batch-size": [32]}
    tuner = hpo.Tuner(words, LOSS, ranges, "Grid", 5, 1, folder=tmp_path / "trials", quiet=True)
    tuner.fit()
    jobs = tuner.dataframe()
    assert set(jobs[jobs["status"] == "Stopped"]["lr"]) == {0.002, 0.001}
    off = hpo.Tuner(words, LOSS, ranges, "Grid", 5, 1, "Off", folder=tmp_path / "off", quiet=True)
    off.fit()
    assert set(off.dataframe()["status"]) == {"Completed"}
    assert off.best().config == tuner.best().config


def test_a_job_that_fails_is_a_row(words: list[str], tmp_path: Path) -> None:
    ranges = {"lr": [0.1, 0.95], "batch-size": [32]}
    tuner = hpo.Tuner(words, LOSS, ranges, "Grid", 2, 1, folder=tmp_path / "trials", quiet=True)
    tuner.fit()
    jobs = tuner.dataframe()
    assert list(jobs["status"]) == ["Completed", "Failed"] and "status 1" in jobs["error"][1]


def test_a_function_is_maximised_as_by_the_optimizer_itself() -> None:
    score = {"name": "score", "type": "Maximize"}
    tuner = hpo.Tuner(loss, score, RANGES, "Bayesian", 6, 1, seed=3, quiet=True)
    space = hpo.Space.of(RANGES)
    alone = hpo.minimize(loss, space, hpo.GP(space, seed=3), 6, objectives={"score": "max"}, quiet=True)
    assert [job.config for job in tuner.fit().history.jobs.values()] == [job.config for job in alone.history.jobs.values()]
    assert tuner.best().value == alone.recommend().value


def test_a_function_that_reports_is_stopped_in_processes() -> None:
    tuner = hpo.Tuner(reported_loss, {"name": "loss"}, RANGES, "Random", 16, 2, max_resource=8, quiet=True)
    study = tuner.fit()
    assert "Stopped" in set(tuner.dataframe()["status"]) and study.header.horizon == 8


def test_a_second_search_begins_with_the_best_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = hpo.Tuner(loss, {"name": "loss"}, RANGES, "Random", max_parallel_jobs=1, log=tmp_path / "first.db", quiet=True)
    first.fit()
    best = [dict(zip(["lr", "batch-size"], row, strict=True)) for row in first.dataframe()[["lr", "batch-size"]].values[:3]]
    first.study.history.log.close()  # type: ignore[union-attr]
    for older in (first, str(tmp_path / "first.db")):
        again = hpo.Tuner(loss, {"name": "loss"}, RANGES, "Random", max_parallel_jobs=1, warm_start=older, seed=1)
        study = again.fit()
        assert [dict(study.history.jobs[trial, 1].config) for trial in range(3)] == best
    assert capsys.readouterr().out.count("loss=") == 18  # a line a job
    narrower = {**RANGES, "lr": (best[0]["lr"] * 0.99, best[0]["lr"] * 1.01, "log")}
    with pytest.warns(UserWarning, match="left out"):
        study = hpo.Tuner(loss, {"name": "loss"}, narrower, max_parallel_jobs=1, warm_start=first, quiet=True).fit()
    assert dict(study.history.jobs[0, 1].config) == best[0]


def test_the_same_search_goes_on(tmp_path: Path) -> None:
    def run(jobs: int) -> hpo.Study:
        tuner = hpo.Tuner(loss, {"name": "loss"}, RANGES, "Random", jobs, 1, log=tmp_path / "a.db", quiet=True)
        study = tuner.fit()
        study.history.log.close()
        return study

    assert len(run(4).history.trials) == 4 and len(run(7).history.trials) == 7


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"strategy": "bayes"}, "strategy is 'bayes'; allowed are 'Bayesian'"),
        ({"early_stopping": True}, "early_stopping is True; allowed are 'Auto', 'Off'"),
        ({"objective": {"name": "loss"}}, "the objective has no 'regex'"),
        ({"objective": {**LOSS, "type": "minimum"}}, "the objective's type is 'minimum'; allowed are 'Minimize', 'Maximize'"),
        ({"objective": {**LOSS, "pattern": "x"}}, "objective is"),
        ({"objective": "loss"}, "objective is 'loss'; allowed is a mapping"),
        ({"objective": {**LOSS, "regex": "loss"}}, "has no group for the number"),
        ({"train": loss}, "a function returns its value"),
        ({"train": loss, "objective": {"name": "loss"}, "strategy": "Hyperband"}, "stops trials at rungs"),
        ({"strategy": "Hyperband"}, "Hyperband needs max_resource"),
        ({"max_jobs": 0}, "max_jobs is 0"),
        ({"train": ["python", "train.py", "{checkpoint}", "{flags}"]}, "step is 'count'"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(change: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"train": "python train.py {flags}", "objective": LOSS, "ranges": RANGES, **change}
    with pytest.raises((ValueError, TypeError)) as raised:
        hpo.Tuner(**given)
    assert sentence in str(raised.value)


def test_nothing_is_said_before_fit() -> None:
    tuner = hpo.Tuner(loss, {"name": "loss"}, RANGES)
    for ask in (tuner.best, tuner.dataframe):
        with pytest.raises(ValueError, match="call fit"):
            ask()
    with pytest.raises(ValueError, match="warm_start is"):
        hpo.Tuner(loss, {"name": "loss"}, RANGES, max_parallel_jobs=1, warm_start=tuner, quiet=True).fit()


def test_rungs_double() -> None:
    assert double_rungs(8) == (1, 2, 4) and double_rungs(1000)[-1] == 512 and double_rungs(2) == (1,) and double_rungs(1) == (1,)
