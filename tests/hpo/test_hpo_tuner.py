"""Tuner: the same searches as under their own names, over real commands and functions; what is refused; what it remembers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.tuner import double_rungs, recall
from tests.hpo.commands import environment
from tests.hpo.test_hpo_executors import until

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


def test_a_search_that_was_killed_before_its_first_job_takes_over_what_it_has_not_yet(tmp_path: Path) -> None:
    """Three configurations are recalled; a driver that was killed behind the first has enqueued one."""
    first = hpo.Tuner(loss, {"name": "loss"}, RANGES, "Random", max_parallel_jobs=1, quiet=True)
    best = [config for config in recall(first.fit(), first.space, 3)]
    study = hpo.Study(hpo.Random(first.space, seed=1), objectives={"loss": "min"}, log=tmp_path / "a.db")
    study.optimizer.enqueue(best[0])
    study.history.log.close()
    again = hpo.Tuner(loss, {"name": "loss"}, RANGES, "Random", 9, 1, warm_start=first, seed=1, log=tmp_path / "a.db", quiet=True)
    history = again.fit().history
    assert [event.kind for event in history.events].count("enqueue") == 3
    assert [dict(history.jobs[trial, 1].config) for trial in range(3)] == best


def test_searches_keep_their_outputs_apart(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tuner = hpo.Tuner(words, LOSS, RANGES, "Random", 1, 1, quiet=True)
    other = hpo.Tuner(words, LOSS, RANGES, "Random", 1, 1, log="kept.db", quiet=True)
    found = []
    for one in (tuner, other, tuner):
        one.fit()
        assert one.outputs is not None and (one.outputs / "0/stdout.txt").exists()
        found.append(str(one.outputs))
    assert found == ["trials", "kept.trials", "trials-2"]


def test_commands_have_their_devices(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import os; print('device', os.environ['CUDA_VISIBLE_DEVICES'], {lr})"]
    where = {"name": "device", "regex": r"device (\d+)"}
    tuner = hpo.Tuner(words, where, {"lr": (0.1, 1.0)}, "Random", 2, 2, folder=tmp_path, resources={"gpu": 0.5}, quiet=True,
                      executor_options={"devices": [7]})  # fmt: skip
    tuner.fit()
    assert set(tuner.dataframe()["device"]) == {7.0}


TUNED = """
import hpo
words = "{python} -c 'import time; print(\\"loss\\", {{lr}}, flush=True); time.sleep(900)'"
hpo.Tuner(words, {{"name": "loss", "regex": r"loss (\\S+)"}}, {{"lr": (0.1, 1.0)}}, "Random", 9, 1, "Off", log="a.db").fit()
"""


def test_ctrl_c_ends_it_with_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "tuned.py").write_text(TUNED.format(python=sys.executable))
    command = [sys.executable, str(tmp_path / "tuned.py")]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as driver:
        until(lambda: any(path.read_text() for path in tmp_path.glob("a.trials/0/stdout.txt")))
        driver.send_signal(signal.SIGINT)
        assert driver.stderr is not None
        said = driver.stderr.read()
    assert driver.returncode == 130 and said == "stopped by Ctrl-C; 0 results are in a.db: the same call goes on from there\n"


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
        ({"train": "python train.py"}, "the hyperparameter 'lr' has no place in the command"),
        ({"train": "python train.py {flag}"}, "the place {flag} in '{flag}' stands for nothing"),
        ({"executor": "thread"}, "unknown executor 'thread'; allowed are"),
        ({"train": loss, "objective": {"name": "loss"}, "max_resource": 9}, "max_resource is for jobs that report"),
        ({"train": loss, "objective": {"name": "loss"}, "folder": "x"}, "folder is for the output of commands"),
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
