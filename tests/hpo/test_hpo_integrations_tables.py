"""Studies from CSV files and from what Weights & Biases and MLflow export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest

import hpo
from hpo.integrations.tables import import_table
from tests.hpo.examples import run_example

SPACE = hpo.Space(
    lr=hpo.Float(1e-5, 1e-1, log=True), layers=hpo.Int(1, 8), norm=hpo.Categorical(["layer", "rms", None]),
    momentum=hpo.Float(0.0, 0.99, when={"norm": "rms"}),
)  # fmt: skip
RUNS: list[dict[str, Any]] = [
    {"lr": 1e-3, "layers": 4, "norm": "layer", "loss": 2.5, "state": "finished", "epoch": 3},
    {"lr": 1e-2, "layers": 2, "norm": "rms", "momentum": 0.5, "loss": 2.25, "state": "finished", "epoch": 9},
    {"lr": 5e-2, "layers": 8, "norm": "layer", "loss": None, "state": "crashed", "epoch": 1},
    {"lr": 2e-4, "layers": 1, "norm": "layer", "loss": 2.75, "state": "running", "epoch": 1},
    {"lr": 3e-4, "layers": 1, "norm": "layer", "loss": None, "state": "finished", "epoch": 1},
]
WORDS = {"finished": "FINISHED", "crashed": "FAILED", "running": "RUNNING"}
NAMES = ("lr", "layers", "norm", "momentum")


def as_csv() -> pandas.DataFrame:
    return pandas.DataFrame([{k: v for k, v in run.items() if k != "state"} for run in RUNS if run["state"] != "running"])


def as_wandb_page() -> pandas.DataFrame:
    rows = [{"Name": f"run-{i}", "State": run["state"], "Tags": "", **{k: v for k, v in run.items() if k != "state"}}
            for i, run in enumerate(RUNS)]  # fmt: skip
    return pandas.DataFrame(rows)


def as_wandb_api() -> pandas.DataFrame:
    rows = [{"summary": {k: v for k, v in run.items() if k not in (*NAMES, "state")} | {"finance": float("nan")},
             "config": {k: v for k, v in run.items() if k in NAMES}, "name": f"run-{i}", "state": run["state"]}
            for i, run in enumerate(RUNS)]  # fmt: skip
    return pandas.DataFrame(rows)


def as_mlflow() -> pandas.DataFrame:
    rows = [{"run_id": f"{i:x}", "status": WORDS[run["state"]],
             **{f"params.{k}": str(v) for k, v in run.items() if k in NAMES},
             **{f"metrics.{k}": v for k, v in run.items() if k not in (*NAMES, "state")}}
            for i, run in enumerate(RUNS)]  # fmt: skip
    return pandas.DataFrame(rows)


@pytest.mark.parametrize("through_a_file", [False, True])
@pytest.mark.parametrize("make", [as_csv, as_wandb_page, as_wandb_api, as_mlflow])
def test_all_runs_that_have_ended_are_there(make: Any, through_a_file: bool, tmp_path: Path) -> None:
    table = make()
    if through_a_file:
        table.to_csv(tmp_path / "runs.csv", index=False)
        table = tmp_path / "runs.csv"
    study = import_table(table, SPACE, "tpe", budget="epoch", horizon=9)
    ended = [run for run in RUNS if run["state"] != "running"]
    assert [dict(job.config) for job in study.history.jobs.values()] == [
        {name: run[name] for name in NAMES if name in run} for run in ended
    ]
    results = list(study.history.results.values())
    assert [result.metrics.get("loss") for result in results] == [run["loss"] for run in ended]
    crashed = "the run has no loss" if make is as_csv else f"the run {'failed' if make is as_mlflow else 'crashed'}"
    assert [result.error for result in results] == [None, None, crashed, "the run has no loss"]
    assert [until for _, until in study.history.results] == [3, 9, 1, 1]
    assert study.optimizer.ask() is not None


def test_a_study_of_ours_comes_back_from_its_own_table(tmp_path: Path) -> None:
    study = hpo.minimize(lambda config: config["lr"] + config["layers"], SPACE, "random", 12, quiet=True)
    study.dataframe().to_csv(tmp_path / "runs.csv", index=False)
    again = import_table(tmp_path / "runs.csv", SPACE, log=tmp_path / "study.sqlite")
    for old, new in ((study.history, again.history),):
        assert [dict(job.config) for job in old.jobs.values()] == [dict(job.config) for job in new.jobs.values()]
        assert [result.metrics for result in old.results.values()] == [result.metrics for result in new.results.values()]
    again.history.log.close()
    with pytest.raises(ValueError, match="holds a study already"):
        import_table(tmp_path / "runs.csv", SPACE, log=tmp_path / "study.sqlite")


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (lambda frame: frame.drop(columns="layers"), "has no column for 'layers'; it has"),
        (lambda frame: frame.drop(columns="loss"), "has no column for 'loss'; it has"),
        (lambda frame: frame.assign(lr=[1e-3, 1e-2, 5.0, 3e-4]), "run 2 of the table: parameter 'lr' got 5.0"),
        (lambda frame: frame.assign(layers=[1, "deep", 2, 3]), "run 1 of the table: 'layers' is 'deep'; allowed is a number"),
        (lambda frame: frame.assign(layers=[1, 2.5, 2, 3]), "run 1 of the table: parameter 'layers' got 2.5"),
        (lambda frame: frame.assign(norm=["layer", "batch", "rms", "layer"]), "run 1 of the table: parameter 'norm' got 'batch'"),
    ],
)
def test_what_does_not_fit_is_named(change: Any, about: str) -> None:
    with pytest.raises(ValueError) as raised:
        import_table(change(as_csv()), SPACE, "random")
    assert about in str(raised.value) and "\n" not in str(raised.value)


def test_runs_outside_are_left_out_on_request() -> None:
    table = as_csv().assign(lr=[1e-3, 1e-2, 5.0, 3e-4])
    assert len(import_table(table, SPACE, "random", skip=True).history.trials) == 3
    with pytest.raises(ValueError, match="none of 4 runs of the table lies in the space"):
        import_table(table.assign(lr=7.0), SPACE, "random", skip=True)


def test_the_example() -> None:
    assert run_example(import_table)["study"].best.config == {"lr": 1e-3}
