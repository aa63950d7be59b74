"""Careless uses: every call that somebody may type in a hurry is taken as it was meant, or refused in one sentence."""

import asyncio
import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpo
from hpo import (
    ASHA,
    GP,
    Categorical,
    Const,
    Float,
    Grid,
    Inline,
    Int,
    Manual,
    MemoryLog,
    Processes,
    Random,
    Result,
    Space,
    SQLiteLog,
    Stop,
    Study,
    Threads,
    make,
    run,
)
from tests.hpo.objectives import Reports, line, square, two_names

S: Any = line()
nan = float("nan")


def by_names(x: float) -> float:
    return x**2


def by_two_names(x: float, y: float) -> float:
    return x * y


def minimize(**options: Any) -> Study:
    return hpo.minimize(**{"objective": square, "space": S, "optimizer": "random", "trials": 2, "quiet": True, **options})


def asked() -> Any:
    return Random(S).ask()


def loses(options: dict[str, Any]) -> Callable[[], Any]:
    return lambda: minimize(**options)


REFUSED: list[tuple[str, Callable[[], Any], str]] = [
    # the objective and the space
    ("swapped", lambda: hpo.minimize(S, square), r"a space is a Space or a mapping from names to ranges, but function came"),
    ("called", lambda: minimize(objective=square({"x": 1.0})), "the objective must be a function .* 1.0 came"),
    ("a string", lambda: minimize(objective="square"), "the objective must be a function .* 'square' came"),
    ("no arguments", lambda: minimize(objective=lambda: 1.0), r"the objective takes \[\]; allowed are f\(config\)"),
    ("by name", lambda: minimize(objective=by_names), r"takes \['x'\], .* one configuration: def f\(config\), and config\['x'\]"),
    ("by names", lambda: minimize(objective=by_two_names, space={"x": (0.0, 1.0), "y": (0.0, 1.0)}), r"takes \['x', 'y'\]"),
    ("a list", lambda: minimize(space=["x"]), r"a space is .* but the list \['x'\] came"),
    ("pairs", lambda: Space([("x", 0, 1)]), "a space is made of a mapping .* but the list"),  # type: ignore[arg-type]
    ("nothing", lambda: minimize(space={}), "a space needs at least one parameter"),
    ("None", lambda: minimize(space=None), "a space is a Space or a mapping .* NoneType came"),
    ("a number's name", lambda: Space({1: (0.0, 1.0)}), "a parameter's name must be a non-empty string, but 1 came"),  # type: ignore[dict-item]
    ("twice", lambda: Space({"x": (0.0, 1.0)}, x=(0.0, 2.0)), "parameter 'x' came twice"),
    ("0 to 1", lambda: Space(dropout=(0, 1)), r"\(0, 1\) may mean .* Int\(0, 1\) .* \(0.0, 1.0\)"),
    ("one end", lambda: Space(x=(1.0,)), r"the short form of a range is \(lo, hi\) or \(lo, hi, 'log'\), but \(1.0,\) came"),
    ("log=True as third", lambda: Space(x=(1.0, 2.0, True)), r"\(lo, hi, 'log'\), but \(1.0, 2.0, True\) came"),
    ("a set", lambda: Space(x={1, 2}), r"parameter 'x' got \{1, 2\}; allowed are Float"),
    ("a class", lambda: Space(x=Float), "parameter 'x' got <class .*Float'>; allowed are Float"),
    ("functions", lambda: Space(x=[max, min]), r"anything else is named: Categorical\(\{'name': choice"),
    ("text ends", lambda: Float("0", "1"), r"Float got the range \('0', '1'\); allowed are two finite numbers"),  # type: ignore[arg-type]
    ("ends swapped", lambda: Float(1, 0), "the lower end must be below the upper end"),
    ("half an integer", lambda: Int(1, 8.5), "Int got hi=8.5; allowed is an integer"),  # type: ignore[arg-type]
    ("'log'", lambda: Float(1, 8, "log"), "Float got log='log'; allowed are True and False"),  # type: ignore[arg-type]
    ("choices one by one", lambda: Categorical("adam"), "Categorical got 'adam'; allowed is a list of choices"),
    ("a constraint's text", lambda: Space(x=(0.0, 1.0), constraints="x > 0"), "a constraint must be a function"),
    ("a constraint's number", lambda: Space(x=(0.0, 1.0), constraints=3), "a constraint must be a function .* 3 came"),  # type: ignore[arg-type]
    # the optimizer
    ("a class", lambda: minimize(optimizer=GP), r"optimizer is the class GP; allowed is an instance such as GP\(space\)"),
    ("a scheduler's", lambda: minimize(optimizer=ASHA), r"optimizer is the class ASHA; .* such as ASHA\(GP\(space\)\)"),
    ("trials", lambda: hpo.minimize(square, S, 50), r"optimizer is 50; allowed are an instance such as GP\(space\)"),  # type: ignore[arg-type]
    ("None", lambda: minimize(optimizer=None), "optimizer is None; allowed are an instance"),
    ("capitals", lambda: minimize(optimizer="Gaussian"), r"unknown optimizer 'Gaussian'; allowed are \['manual'"),
    ("over a class", lambda: ASHA(GP), r"ASHA takes a sampler such as Random\(space\) or GP\(space\), but <class"),  # type: ignore[arg-type]
    ("over a space", lambda: ASHA(S), r"ASHA takes a sampler such as Random\(space\)"),
    ("of a class", lambda: Study(GP), "optimizer is the class GP"),  # type: ignore[arg-type]
    ("of a name", lambda: Study("gp"), "optimizer is 'gp'; allowed are an instance"),  # type: ignore[arg-type]
    ("of a space", lambda: Study(S), r"optimizer is Space\(x=Float"),
    ("a text's seed", lambda: minimize(seed="0"), "seed is '0'; allowed is an integer of at least 0"),
    ("no seed", lambda: make("random", S, None), "seed is None; allowed is an integer of at least 0"),  # type: ignore[arg-type]
    ("True's seed", lambda: Random(S, seed=True), "seed is True; allowed is an integer of at least 0"),
    # when to stop
    ("a text", lambda: minimize(trials="2"), "trials is '2'; allowed is an integer of at least 0"),
    ("a float", lambda: minimize(trials=2.5), "trials is 2.5; allowed is an integer of at least 0"),
    ("True", lambda: minimize(trials=True), "trials is True; allowed is an integer of at least 0"),
    ("infinite", lambda: minimize(trials=float("inf")), "trials is inf; allowed is an integer of at least 0"),
    ("a text", lambda: minimize(seconds="3"), "seconds is '3'; allowed is a finite number of at least 0, or None"),
    ("nan", lambda: minimize(seconds=nan), "seconds is nan; allowed is a finite number of at least 0, or None"),
    ("nan", lambda: Stop(seconds=nan), "seconds is nan; allowed is a finite number of at least 0, or None"),
    ("inf", lambda: Stop(seconds=float("inf")), "seconds is inf; allowed is a finite number of at least 0, or None"),
    ("negative", lambda: Stop(seconds=-1), "seconds is -1; allowed is a finite number of at least 0, or None"),
    ("True", lambda: Stop(seconds=True), "seconds is True; allowed is a finite number of at least 0, or None"),
    ("a timedelta", lambda: Stop(seconds=datetime.timedelta(1)), "seconds is datetime.timedelta"),  # type: ignore[arg-type]
    ("a bool", lambda: Stop(when=True), "when is True; allowed are a function of the history and None"),  # type: ignore[arg-type]
    # the study
    ("True", lambda: minimize(log=True), "log is True; allowed are a path such as 'study.db', a log"),
    ("True", lambda: Study(Random(S), log=True), "log is True; allowed are a path such as 'study.db', a log"),  # type: ignore[arg-type]
    ("a class", lambda: Study(Random(S), log=SQLiteLog), "log is <class .*; allowed are a path"),  # type: ignore[arg-type]
    ("a missing folder", lambda: Study(Random(S), log="no/such/folder/study.db"), "the folder of the log .* does not exist"),
    ("one name", lambda: minimize(objectives="loss"), "objectives is 'loss'; allowed are a mapping such as"),
    ("a name twice", lambda: minimize(objectives=["a", "a"]), r"objectives is \['a', 'a'\]; allowed are a mapping"),
    ("pairs", lambda: minimize(objectives=[("a", "min")]), r"objectives is \[\('a', 'min'\)\]; allowed are a mapping"),
    ("None's", lambda: minimize(objectives={"a": None}), "objective 'a' has the direction None; allowed are 'min' and 'max'"),
    ("a number's", lambda: minimize(objectives={1: "min"}), r"objectives is \{1: 'min'\}; allowed are a mapping"),
    ("none", lambda: minimize(objectives=[]), "a study needs at least one objective"),
    ("True", lambda: Study(Random(S), horizon=True), "horizon is True; allowed is an integer"),
    ("a float", lambda: Study(Random(S), horizon=1.5), "horizon is 1.5; allowed is an integer"),  # type: ignore[arg-type]
    ("a text", lambda: minimize(horizon="9"), "horizon is '9'; allowed is an integer of at least 1"),
    ("True", lambda: Study(Random(S), lost_limit=True), "lost_limit is True; allowed is an integer of at least 1"),
    ("nan", lambda: Study(Random(S), lost_limit=nan), "lost_limit is nan; allowed is an integer"),  # type: ignore[arg-type]
    ("a number", lambda: minimize(unit=3), "unit is 3; allowed is a string that is not empty"),
    # the executor
    ("a class", lambda: minimize(executor=Threads), r"unknown executor <class .*; allowed are \['inline', 'threads'"),
    ("a list", lambda: minimize(executor=["threads"]), r"unknown executor \['threads'\]; allowed are"),
    ("a text", lambda: minimize(executor="threads", workers="2"), "workers is '2'; allowed is an integer of at least 1"),
    ("none", lambda: minimize(executor="threads", workers=0), "workers is 0; allowed is an integer of at least 1"),
    ("half", lambda: minimize(executor="threads", workers=1.5), "workers is 1.5; allowed is an integer of at least 1"),
    ("nan", lambda: minimize(executor="threads", timeout=nan), "timeout is nan; allowed is a finite number above 0, or None"),
    ("a text", lambda: minimize(executor="threads", timeout="9"), "timeout is '9'; allowed is a finite number above 0"),
    ("zero", lambda: minimize(executor="threads", timeout=0), "timeout is 0; allowed is a finite number above 0, or None"),
    ("a number", lambda: minimize(folder=3), "folder is 3; allowed are the path or the URL of a folder, and None"),
    ("a function", lambda: run(Study(Random(S)), square), r"run takes an executor such as Inline\(objective\), but <func"),  # type: ignore[arg-type]
    ("a class", lambda: run(Study(Random(S)), Inline), r"run takes an executor such as Inline\(objective\), but <class"),  # type: ignore[arg-type]
    ("an optimizer", lambda: run(Random(S), Inline(square)), r"run takes a study such as Study\(GP\(space\)\), but Random"),  # type: ignore[arg-type]
    ("trials", lambda: run(Study(Random(S)), Inline(square), 5), r"run takes a stop such as Stop\(trials=50\), but 5 came"),  # type: ignore[arg-type]
    ("no watcher", lambda: run(Study(Random(S)), Inline(square), Stop(1), True), "watch is True; allowed are"),  # type: ignore[arg-type]
    ("a number", lambda: Inline(3), "the objective must be a function .* 3 came"),  # type: ignore[arg-type]
    # ask and tell
    ("a trial", lambda: Random(S).tell(0, 1.0), "tell takes a job that ask returned, but 0 came"),  # type: ignore[arg-type]
    ("a configuration", lambda: Random(S).tell({"x": 0.5}, 1.0), r"but \{'x': 0.5\} came; add\(\) takes a configuration"),  # type: ignore[arg-type]
    ("another's", lambda: Random(S).tell(asked(), 1.0), r"job \(0, 1\) was never started here"),
    ("True", lambda: Random(S).add({"x": 0.5}, True), "a result is a number, a mapping of metrics or a Result, but True came"),
    ("None", lambda: Random(S).add({"x": 0.5}, None), "a result is a number, .* but None came"),
    ("a text", lambda: Random(S).add({"x": 0.5}, "0.5"), "a result is a number, .* but '0.5' came"),
    ("a list", lambda: Random(S).add([0.5], 1.0), "a configuration is a mapping from names to values, but list came"),  # type: ignore[arg-type]
    ("a half", lambda: Random(S).add({"x": 0.5}, 1.0, until=0.5), "until is 0.5; allowed is an integer"),  # type: ignore[arg-type]
    ("outside", lambda: Random(S).enqueue({"x": 5.0}), "parameter 'x' got 5.0; allowed is a number from 0.0 to 1.0"),
    ("unknown", lambda: Random(S).enqueue({"y": 0.5}), r"unknown parameter 'y'; allowed are \['x'\]"),
    ("no job's error", lambda: Random(S).add({"x": 0.5}, Result(error=3)), "the error of a result is 3"),  # type: ignore[arg-type]
    ("a curve", lambda: Random(S).add({"x": 0.5}, Result({"loss": 1.0}, 3)), r"is 3; allowed is a list of \(step, value\)"),  # type: ignore[arg-type]
    ("values", lambda: Random(S).add({"x": 0.5}, Result({"loss": 1.0}, [3])), r"curve .* is \[3\]; allowed is a list of"),  # type: ignore[list-item]
    ("a trial", lambda: Study(Random(S)).trial(0), r"0 is no finished key \(trial, until\) of this study"),  # type: ignore[arg-type]
    ("unknown", lambda: Study(Random(S)).trial((0, 1)), r"\(0, 1\) is no finished key"),
    ("unknown", lambda: Study(Random(S)).curve((0, 1)), r"\(0, 1\) is no key"),
    # listed configurations and options
    ("one", lambda: Manual(S, configs={"x": 0.5}), r"configs is \{'x': 0.5\}; allowed is a list of configurations"),  # type: ignore[arg-type]
    ("points", lambda: Grid(S, points="4"), "points='4' for 'x'; allowed is an integer of at least 1"),  # type: ignore[arg-type]
    ("one value", lambda: Grid(S, values={"x": 0.5}), "the values of 'x' are 0.5; allowed is a list"),  # type: ignore[dict-item]
    ("a list", lambda: Grid(S, values=[0.5]), r"values is \[0.5\]; allowed is a mapping from names to lists of values"),  # type: ignore[arg-type]
    ("True", lambda: make("asha", S, max_resource=True), "max_resource is True; allowed is an integer of at least 1"),
    ("a text", lambda: make("asha", S, reduction_factor="3"), "reduction_factor is '3'; allowed is a number above 1"),
    ("a text", lambda: make("halving", S, configs="9"), "configs is '9'; allowed is an integer of at least 1"),
    ("one", lambda: make("median", S, rungs=3), "rungs is 3; allowed is a list of integers"),
    ("True", lambda: make("pbt", S, population=True), "population is True; allowed is an integer of at least 1"),
    ("one", lambda: make("pbt", S, factors=1.2), "factors is 1.2; allowed is a list"),
    ("one name", lambda: make("pbt", S, explore="x"), "explore is 'x'; allowed is a list"),
    ("nan", lambda: make("pbt", S, truncation=nan), "truncation is nan; allowed is 0 to 0.5"),
    ("too long", lambda: Random(S, seed=2**64), r"seed is 18446744073709551616; allowed is .* below 2\^64"),
    ("a file", lambda: minimize(folder=__file__), "folder is .*, which is a file; allowed is the path of a folder"),
    ("an option", lambda: make("grid", S, point=3), "'grid' has no option 'point'; allowed are"),
    ("a name", lambda: make(GP, S), "unknown optimizer <class"),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)), ids=[f"{i}-{REFUSED[i][0]}" for i in range(len(REFUSED))])
def test_refused_in_one_sentence(case: int) -> None:
    _, act, sentence = REFUSED[case]
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=sentence) as caught:
        act()
    said = str(caught.value)
    assert "\n" not in said and len(said) < 400 and not said.startswith("hpo."), said
    frame = caught.traceback[-1]
    assert "hpo" in str(frame.path), f"raised by {frame.path}, not by us"


TAKEN: list[tuple[str, Callable[[], Any]]] = [
    ("integers as floats", lambda: Int(1.0, 8.0) == Int(1, 8)),  # type: ignore[arg-type]
    ("numpy ends", lambda: Space(n=(np.int64(1), np.int64(8)), x=Float(np.float32(0), np.array(1.0)))),
    ("one constraint", lambda: Space(x=(0.0, 1.0), constraints=lambda c: c["x"] > 0.5).midpoint()["x"] > 0.5),
    ("no constraint", lambda: Space(x=(0.0, 1.0), constraints=[])),
    ("None as a choice", lambda: Space(x=[None, "a"]).check({"x": None})),
    ("tuples as choices", lambda: Space(x=[(1, 2), (3,)]).check({"x": (1, 2)}) == {"x": [1, 2]}),
    ("a range of one point", lambda: Space(x=(3, 3)).parameters["x"] == Const(3)),
    ("a list of objectives", lambda: minimize(objective=two_names, objectives=["loss", "size"]).header.objectives),
    ("numpy counts", lambda: minimize(trials=np.int64(2), seed=np.int64(3), seconds=np.float64(60)).best),
    ("a whole float", lambda: len(minimize(trials=2.0).history.results) == 2),
    ("for ever", lambda: minimize(executor="threads", seconds=10**15, timeout=1e300).best),
    ("a log", lambda: len(minimize(log=MemoryLog()).history) > 0),
    ("two workers of numpy", lambda: minimize(executor="threads", workers=np.int64(2), timeout=np.int64(60)).best),
    ("a numpy horizon", lambda: minimize(objective=Reports(os.devnull), horizon=np.int64(9)).best.until == 9),
    ("an array of one", lambda: Random(S).add({"x": np.array(0.5)}, np.array([0.5])).config == {"x": 0.5}),
    ("until of numpy", lambda: Random(S).add({"x": 0.5}, 1.0, until=np.int64(1))),
    ("a stop's whole float", lambda: Stop(trials=5.0).trials == 5),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("case", range(len(TAKEN)), ids=[name for name, _ in TAKEN])
def test_taken_as_it_was_meant(case: int) -> None:
    assert TAKEN[case][1]()


def test_a_path_is_a_log(tmp_path: Path) -> None:
    for place in (str(tmp_path / "a.sqlite"), tmp_path / "b.sqlite"):
        study = Study(Random(line()), log=place)
        study.optimizer.add({"x": 0.5}, 1.0)
        assert len(Study(Random(line()), log=place).history.results) == 1
    with pytest.raises(ValueError, match="the log belongs to another study"):
        Study(Random(line()), log=tmp_path / "a.sqlite", unit="steps")


# -- choices that are objects, all the way through minimize ----------------------------------------------------------------


def relu(x: float) -> float:
    return max(x, 0.0)


def half(x: float) -> float:
    return x / 2


def over_objects(config: dict[str, Any]) -> float:
    assert config["layers"] in [(64,), (64, 64)] and type(config["layers"]) is tuple
    return float(config["act"](config["x"])) + len(config["layers"])


def reporting_objects(config: dict[str, Any], report: Any) -> None:
    report(1, over_objects(config))


async def awaiting_objects(config: dict[str, Any]) -> float:
    await asyncio.sleep(0)
    return over_objects(config)


class ObjectRun:
    """A Run over objects; a factory, too."""

    def __init__(self, config: dict[str, Any], seed: int, horizon: int) -> None:
        self.value = over_objects(config)

    def advance(self, until: int) -> Any:
        return {"loss": self.value}, ()

    def save(self, path: str) -> None:
        Path(path).write_text("")

    def load(self, path: str) -> None:
        pass


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
@pytest.mark.parametrize("objective", [over_objects, reporting_objects, awaiting_objects, ObjectRun])
def test_objectives_get_objects_and_logs_hold_names(objective: Any, executor: str, tmp_path: Path) -> None:
    if executor == "processes" and objective is not over_objects:
        pytest.skip("one kind of objective is enough where workers are slow to start")
    space = Space(x=Float(0, 1), act=Categorical({"relu": relu, "half": half}), layers=[(64,), (64, 64)])  # type: ignore[arg-type]
    options: dict[str, Any] = {"executor": executor, "log": tmp_path / "log.db", "folder": tmp_path / "c"}
    study = minimize(objective=objective, space=space, trials=4, **options)
    assert len(study.successes()) == 4, study.rows()
    assert {trial.config["act"] for trial in map(study.trial, study.history.finished_keys)} <= {"relu", "half"}
    assert all(isinstance(job.config["layers"], list) for job in study.history.jobs.values())
    assert over_objects(space.objects(study.best.config)) == study.best.value
    again = minimize(objective=objective, space=space, trials=4, **options)
    assert again.best == study.best and len(again.history.results) == 4


def broken(config: dict[str, Any]) -> float:
    return float(config["no such name"])


def test_what_stands_between_an_objective_and_its_objects_is_not_to_blame() -> None:
    with pytest.raises(RuntimeError, match=r"the same exception at .*test_hpo_careless.py:\d+, the last KeyError"):
        minimize(objective=broken, space={"layers": [(64,), (64, 64)]}, trials=5)


def test_an_executor_of_ones_own_is_told_no_nan() -> None:
    for pool in (Threads, Processes):
        for name, value in (("workers", "2"), ("timeout", nan)):
            with pytest.raises(ValueError, match=f"{name} is .*; allowed is"):
                pool(square, **{name: value}).close()  # type: ignore[operator]
