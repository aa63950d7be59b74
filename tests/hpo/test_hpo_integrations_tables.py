"""Studies from CSV files and from what Weights & Biases and MLflow export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas
import pytest

import hpo
from hpo.integrations.tables import Row, import_table, read_table
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


def read(table: pandas.DataFrame, space: dict[str, Any], objectives: tuple[str, ...] = ("loss",), **options: Any) -> list[Row]:
    return read_table(table, space, dict.fromkeys(objectives, "min"), **options)


STATES = [("COMPLETE", None), ("FINISHED", None), ("finished", None), (" Finished ", None), ("FAIL", "failed"),
          ("FAILED", "failed"), ("failed", "failed"), ("crashed", "crashed"), ("killed", "killed"),
          ("KILLED", "killed")]  # fmt: skip


@pytest.mark.parametrize("columns", [("status", "params.lr", "metrics.loss"), ("State", "lr", "loss")])
def test_states_of_every_tracker_are_known(columns: tuple[str, str, str]) -> None:
    rows = [(state, 0.5, 1.0) for state, _ in [*STATES, ("RUNNING", None), ("SCHEDULED", None), ("preempted", None)]]
    table = pandas.DataFrame(rows, columns=columns).assign(Name="run")
    found = [row.result.error for row in read(table, {"lr": (0.0, 1.0)})]
    assert found == [None if why is None else f"the run {'was ' * (why == 'killed')}{why}" for _, why in STATES]


def test_an_unknown_state_is_named_with_those_that_are_known() -> None:
    table = as_wandb_page().assign(State=["finished", "exploded", "finished", "finished", "finished"])
    with pytest.raises(ValueError, match=r"run 1 of the table: its state is 'exploded'; allowed are .*running") as raised:
        read_table(table, SPACE, {"loss": "min"}, skip=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["state", "State", "status"])
def test_a_column_of_a_csv_that_is_called_like_a_state_is_its_own(name: str) -> None:
    table = pandas.DataFrame({name: ["Texas", "Ohio"], "loss": [1.0, 2.0]})
    assert [row.config for row in read(table, {name: ["Texas", "Ohio"]})] == [{name: "Texas"}, {name: "Ohio"}]
    page = as_wandb_page().drop(columns="lr").assign(state="Ohio")
    assert read(page, {"state": ["Texas", "Ohio"]})[0].config == {"state": "Ohio"}


@pytest.mark.parametrize(
    ("table", "about"),
    [
        (as_wandb_page().assign(State="running"), "none of 5 runs of the table has ended"),
        (as_mlflow().assign(status="RUNNING").iloc[:1], "none of 1 run of the table has ended"),
        (as_csv().iloc[:0], "the table has no runs"),
    ],
)
def test_a_table_without_runs_is_refused(table: pandas.DataFrame, about: str) -> None:
    with pytest.raises(ValueError, match=about):
        import_table(table, SPACE, "random")


def test_runs_that_are_open_do_not_count_as_runs_in_the_space() -> None:
    with pytest.raises(ValueError, match="none of 4 runs of the table lies in the space"):
        import_table(as_wandb_page().assign(lr=7.0), SPACE, "random", skip=True)


def test_what_optuna_has_pruned_stands_at_its_budget_or_is_left_out() -> None:
    table = as_mlflow().assign(status=["FINISHED", "PRUNED", "FAILED", "RUNNING", "FINISHED"])
    found = [(row.until, row.result.metrics, row.result.error) for row in read_table(table, SPACE, {"loss": "min"}, "epoch")]
    assert found[1] == (9, {"loss": 2.25}, None) and len(found) == 4
    assert len(read_table(table, SPACE, {"loss": "min"})) == 3


@pytest.mark.parametrize(
    "columns",
    [
        {"status": ["FINISHED"], "params.loss": ["mae"], "metrics.loss": [0.5]},
        {"config": [{"loss": "mae"}], "summary": [{"loss": 0.5}], "state": ["finished"]},
        {"config": ["{'loss': 'mae'}"], "summary": ["{'loss': 0.5}"]},
        {"config.loss": ["mae"], "loss": [0.5]},
        {"loss": ["mae"], "metrics.loss": [0.5]},
    ],
)
def test_a_parameter_and_a_metric_of_one_name_are_two(columns: dict[str, list[Any]]) -> None:
    for order in (list(columns), list(columns)[::-1]):
        (row,) = read(pandas.DataFrame(columns)[order], {"loss": ["mse", "mae"]})
        assert (row.config, dict(row.result.metrics)) == ({"loss": "mae"}, {"loss": 0.5})


def test_a_metric_is_no_parameter() -> None:
    with pytest.raises(ValueError, match=r"the table \(mlflow\) has no column for 'loss'; it has \['lr'\]"):
        read(pandas.DataFrame({"status": ["FINISHED"], "params.lr": [1], "metrics.loss": [0.5]}), {"loss": (0.0, 1.0)})


BIG = 2**53 + 1  # a float has no such number


@pytest.mark.parametrize(("cell", "expected"), [(str(BIG), BIG), (BIG, BIG), ("12.0", 12), (12.0, 12)])
def test_integers_keep_every_digit(cell: Any, expected: int) -> None:
    (row,) = read(pandas.DataFrame({"n": [cell], "loss": [1.0]}, dtype=object), {"n": hpo.Int(1, 2**60)})
    assert row.config == {"n": expected} and type(row.config["n"]) is int


@pytest.mark.parametrize("cell", [True, "True", "9" * 400, "inf", "9" * 5000])
def test_what_is_no_number_is_said(cell: Any) -> None:
    table = pandas.DataFrame({"n": [cell], "loss": [1.0]}, dtype=object)
    with pytest.raises(ValueError, match=r"run 0 of the table: 'n' is .*; allowed is a number"):
        read(table, {"n": hpo.Int(1, 9)})
    (row,) = read(table.rename(columns={"n": "loss", "loss": "n"}), {"n": hpo.Int(1, 9)})
    assert row.result.metrics in ({}, {"loss": math.inf})


@pytest.mark.parametrize(
    ("cell", "shown"), [("", "''"), (None, "None"), (float("nan"), "nan"), (12.7, "12.7"), ("12.7", "12.7"), ("ten", "'ten'"),
                        (0, "0"), (-3, "-3"), (math.inf, "inf"), (True, "True"), (pandas.NA, "None")],
)  # fmt: skip
def test_a_budget_that_is_none_is_said_as_of_a_run(cell: Any, shown: str) -> None:
    table = as_csv().assign(epoch=pandas.Series([3, cell, 1, 1], dtype=object))
    with pytest.raises(ValueError) as raised:
        import_table(table, SPACE, "random", budget="epoch", horizon=9)
    assert str(raised.value) == f"run 1 of the table: the budget 'epoch' is {shown}; allowed is an integer of at least 1"
    assert len(read_table(table, SPACE, {"loss": "min"}, "epoch", skip=True)) == 3


def test_a_failure_without_a_budget_stands_at_the_horizon() -> None:
    table = as_csv().assign(epoch=pandas.Series([3, 9, None, ""], dtype=object))
    assert [row.until for row in read_table(table, SPACE, {"loss": "min"}, "epoch")] == [3, 9, None, None]


def test_a_budget_above_the_horizon_is_refused_before_there_is_a_log(tmp_path: Path) -> None:
    log = tmp_path / "study.sqlite"
    with pytest.raises(ValueError, match="trained to epoch 9; allowed is up to the horizon 5"):
        import_table(as_csv(), SPACE, "random", budget="epoch", horizon=5, log=log)
    study = import_table(as_csv(), SPACE, "random", budget="epoch", horizon=9, log=log)
    assert len(study.history.trials) == 4
    study.history.log.close()


def test_tokens_of_no_number_are_replaced_outside_of_strings_alone() -> None:
    config = "{'name': \"nan's\", 'note': 'inf, -inf and nan', 'lr': 0.5}"
    summary = "{'loss': -inf, 'other': nan, 'best': inf, 'text': 'a nan'}"
    table = pandas.DataFrame({"config": [config], "summary": [summary]})
    space = {"lr": (0.0, 1.0), "name": ["nan's", "None's"], "note": ["inf, -inf and nan"]}
    (row,) = read(table, space, ("loss", "best", "other"))
    assert row.config == {"lr": 0.5, "name": "nan's", "note": "inf, -inf and nan"}
    assert dict(row.result.metrics) == {"loss": -math.inf, "best": math.inf} and row.result.error == "the run has no other"
    json = pandas.DataFrame({"config": ['{"lr": 0.5, "on": true, "off": null}'], "summary": ['{"loss": NaN, "best": Infinity}']})
    (row,) = read(json, {"lr": (0.0, 1.0), "on": [True, False], "off": [None, 1]}, ("best", "loss"))
    assert row.config == {"lr": 0.5, "on": True, "off": None} and dict(row.result.metrics) == {"best": math.inf}
    with pytest.raises(ValueError, match=r"the column 'summary' holds 'print\(3\)'; allowed is a dictionary"):
        read(pandas.DataFrame({"config": ["{}"], "summary": ["print(3)"]}), {"lr": (0.0, 1.0)})


@pytest.mark.parametrize(
    ("choices", "cell", "expected"),
    [
        ([1, 2], "1.0", 1), ([1, 2], 1.0, 1), ([0.5, 1.0], "1", 1.0), ([1e-4, 1e-3], "0.0001", 1e-4), (["1", "2"], 2.0, "2"),
        ([True, False], "true", True), ([True, False], "FALSE", False), (["true", "false"], True, "true"),
        ([True, 1], "1", 1), ([1, True], "True", True), ([1, True], 1.0, 1), (["1", 1], "1", "1"), (["1", 1], 1, 1),
        ([[1, 2], [3]], "[1, 2]", [1, 2]), ([None, "a"], "None", None),
        (3, "3.0", 3), (True, "true", True), ("adam", "adam", "adam"),
    ],
)  # fmt: skip
def test_choices_and_constants_are_recognised_as_others_write_them(choices: Any, cell: Any, expected: Any) -> None:
    (row,) = read(pandas.DataFrame({"c": [cell], "loss": [1.0]}, dtype=object), {"c": choices})
    assert row.config == {"c": expected} and type(row.config["c"]) is type(expected)


def test_the_example() -> None:
    assert run_example(import_table)["study"].best.config == {"lr": 1e-3}
