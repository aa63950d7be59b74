"""What objectives report and what becomes of it: numbers of any library, several objectives, names that collide, the table."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo
from hpo import Float, History, Random, Result, Space, Study, table
from hpo.values import quantity
from tests.hpo.objectives import line, square


def told(value: Any, objectives: dict[str, str] | None = None) -> Result:
    """What a study holds of a value that is told."""
    study = Study(Random(line()), objectives=objectives)
    job = study.optimizer.ask()
    assert job is not None and study.optimizer.tell(job, value)
    return study.history.results[job.key]


def returned(value: Any, objectives: dict[str, str] | None = None) -> Result:
    """What a study holds of a value that an objective returns."""
    study = hpo.minimize(lambda config: value, line(), "random", 1, objectives=objectives, quiet=True)
    return study.history.results[0, 1]


def reported(value: Any, objectives: dict[str, str] | None = None) -> Result:
    """What a study holds of a value that an objective reports on the way."""
    study = hpo.minimize(
        lambda config, report: report(1, value), line(), "random", 1, objectives=objectives, quiet=True
    )
    return study.history.results[0, 1]


WAYS: list[Callable[..., Result]] = [told, returned, reported]


# -- numbers -------------------------------------------------------------------------------------------------------------


def torch_scalars() -> list[Any]:
    torch = pytest.importorskip("torch")
    return [
        torch.tensor(0.5),
        torch.tensor([0.5]),
        torch.tensor(0.5, requires_grad=True),
        torch.tensor(0.5, dtype=torch.bfloat16),
    ]


NUMBERS = [0.5, np.float64(0.5), np.float32(0.5), np.array(0.5), np.array([0.5]), np.array([[0.5]]), Decimal("0.5"),
           Fraction(1, 2), np.longdouble(0.5), {"loss": np.array(0.5)}, Result({"loss": np.array(0.5)})]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_number_is_a_number_wherever_it_comes_from(way: Callable[..., Result]) -> None:
    for value in [*NUMBERS, *torch_scalars()]:
        if way is reported and isinstance(value, Result):
            continue
        result = way(value)
        assert result.error is None and result.metrics == {"loss": 0.5} and type(result.metrics["loss"]) is float, value
    for value in (3, np.int64(3), np.uint8(3), np.array(3)):
        assert way(value).metrics == {"loss": 3.0}


NO_NUMBERS = [True, np.True_, np.array(True), "0.5", b"0.5", np.array("0.5"), None, 1j, [0.5], (0.5, 0.5),
              np.array([0.5, 0.5]), np.array([]),
              10**400, {"loss": True}, {"loss": "0.5"}, {"loss": [0.5]}, {"loss": None}, object()]  # fmt: skip


@pytest.mark.parametrize("index", range(len(NO_NUMBERS)))
def test_what_is_no_number_is_refused_by_name(index: int) -> None:
    value, said = NO_NUMBERS[index], r"a result is a number|the metric 'loss' is .*; allowed is a number"
    with pytest.raises((TypeError, ValueError), match=said) as caught:
        told(value)
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)
    for way in (returned, reported):
        if way is reported and value is None:
            continue
        error = way(value).error
        assert error is not None and "\n" not in error and ("number" in error), (way, error)


def test_a_result_is_checked_as_a_whole() -> None:
    assert told(Result(0.5)).metrics == {"loss": 0.5}  # type: ignore[arg-type]
    assert told(Result(error=MemoryError("no room"))).error == "MemoryError: no room"  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the error of a result is 3; allowed are a sentence and None"):
        told(Result(error=3))  # type: ignore[arg-type]
    curve = told(Result({"loss": 1.0}, [(np.int64(1), np.float32(2.0)), (2.0, np.array(1.0))])).curve  # type: ignore[list-item]
    assert curve == ((1, 2.0), (2, 1.0)) and type(curve[0][1]) is float
    for bad, sentence in (((0.5, 1.0), "the step of a curve is 0.5"), ((1, True), "the value of a curve is True")):
        with pytest.raises((TypeError, ValueError), match=sentence):
            told(Result({"loss": 1.0}, [bad]))  # type: ignore[list-item]


# -- several objectives --------------------------------------------------------------------------------------------------

THREE = {"a": "min", "b": "max", "c": "min"}


@pytest.mark.parametrize("way", WAYS)
def test_as_many_numbers_as_objectives_are_taken_in_order(way: Callable[..., Result]) -> None:
    for value in ((1, 2.0, 3), [1, 2, np.float32(3)], np.array([1.0, 2.0, 3.0])):
        result = way(value, THREE)
        assert result.error is None and result.metrics == {"a": 1.0, "b": 2.0, "c": 3.0}
    for value, said in (
        ((1, 2), "holds 2 numbers, but there are 3 objectives: .* \\['a', 'b', 'c'\\]"),
        ((1, "2", 3), "is '2'"),
    ):
        if way is told:
            with pytest.raises((TypeError, ValueError), match=said):
                told(value, THREE)
        else:
            error = way(value, THREE).error
            assert error is not None and ("3 objectives" in error or "is '2'" in error)
    if way is not told:
        assert way((math.nan, 2, 3), THREE).error == "diverged: a is nan"
    alone = way(1.5, THREE) if way is not told else None
    assert alone is None or "lacks the objective 'b'" in (alone.error or "")


def test_the_first_of_several_numbers_is_the_curve() -> None:
    def both(config: dict[str, Any], report: Any) -> None:
        for step in range(1, 4):
            report(step, (1 / step, step))

    study = hpo.minimize(both, line(), "random", 2, objectives={"loss": "min", "cost": "min"}, horizon=3, quiet=True)
    first = study.pareto[0]
    assert first.curve == ((1, 1.0), (2, 0.5), (3, 1 / 3)) and first.metrics == {"loss": 1 / 3, "cost": 3.0}


def test_the_live_line_says_the_front_and_the_best_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    values = iter([(3.0, 1.0), (2.0, -5.0), (1.0, 0.5), (9.0, 0.0)])
    study = hpo.minimize(lambda c: next(values), line(), "random", 4, objectives={"a": "min", "b": "max"})
    lines = capsys.readouterr().out.splitlines()
    assert [text.rsplit("  ", 1)[1] for text in lines] == [
        "front of 1, best a=3 b=1", "front of 2, best a=2 b=1", "front of 2, best a=1 b=1", "front of 2, best a=1 b=1",
    ]  # fmt: skip
    assert repr(study) == "Study(Random, 4 results, 0 pending, front of 2, best a=1 b=1)" and len(study.pareto) == 2
    failed = hpo.minimize(lambda c: (1, 2, 3), line(), "random", 2, objectives={"a": "min", "b": "min"}, quiet=True)
    with pytest.raises(ValueError, match=r"among 2 results; .* holds 3 numbers, but there are 2 objectives"):
        _ = failed.pareto


# -- report --------------------------------------------------------------------------------------------------------------


def reports(*calls: Any) -> Result:
    def objective(config: dict[str, Any], report: Any) -> None:
        for call in calls:
            report(**call) if isinstance(call, dict) else report(*call)

    return hpo.minimize(objective, line(), "random", 1, horizon=9, quiet=True).history.results[0, 9]


def test_steps_and_values_are_told_apart() -> None:
    for call in ((0.53, 7), (1.0, 7), ("1", 0.5), (True, 0.5), (-1, 0.5), (math.nan, 1), (None, 0.5), (math.inf, 3)):
        error = reports(call).error
        assert error is not None and "allowed are report(step, value) and report(value=value, step=step)" in error, call
    error = reports((3, 0.5), (2, 0.4)).error
    assert error is not None and "report got step 2 after step 3; steps never fall" in error
    for calls in (
        [(1, 0.5)],
        [(np.int64(1), 0.5)],
        [(1.0, 0.5)],
        [{"value": 0.5, "step": 1}],
        [(0, 0.7), (1, 0.5), (1, 0.5)],
    ):
        result = reports(*calls)
        assert result.error is None and result.metrics == {"loss": 0.5}
    assert reports((1, np.array(0.5))).curve == ((1, 0.5),)


# -- names ---------------------------------------------------------------------------------------------------------------

COLLIDING = [
    "error",
    "trial",
    "until",
    "source",
    "seed",
    "started",
    "finished",
    "config.x",
    "system.seconds",
    "metrics.error",
]


@pytest.mark.parametrize("objective", ["loss", "error", "config.x", "metrics.error"])
def test_no_metric_overwrites_a_column(objective: str) -> None:
    def f(config: dict[str, Any]) -> dict[str, float]:
        if config["x"] > 0.5:
            raise MemoryError("out of memory")
        return {
            objective: config["x"],
            **{name: -float(i) for i, name in enumerate(COLLIDING) if name != objective},
            "seconds": 7.0,
        }

    study = hpo.minimize(f, Space(x=Float(0, 1)), "random", 8, objectives={objective: "min"}, quiet=True)
    plain = [study.trial(key) for key in study.history.finished_keys]
    assert {trial.error for trial in plain} == {None, "MemoryError: out of memory"}
    for row, trial in zip(study.rows(), plain, strict=True):
        assert (row["trial"], row["until"], row["error"], row["seed"]) == (trial.number, 1, trial.error, trial.seed)
        assert row["source"] is None and row["started"] <= row["finished"] and row["config.x"] == trial.config["x"]
        assert row["system.seconds"] == trial.system["seconds"]
        for name, value in trial.metrics.items():
            assert row[table.column(name)] == value
        if trial.error is None:
            assert row["seconds"] == 7.0 and row["metrics.error"] == trial.metrics["error"]
            assert row["metrics.metrics.error"] == trial.metrics["metrics.error"]


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(st.sampled_from([*COLLIDING, "loss", "x", "seconds"]), st.text(min_size=1, max_size=12)),
        unique=True,
        max_size=9,
    )
)
def test_any_names_have_columns_of_their_own(names: list[str]) -> None:
    names = [name for name in names if name != "loss"]
    study = Study(Random(line()))
    for count in (0, len(names)):  # what the second result reports, the first one did not
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, {"loss": 1.0, **{name: float(i) for i, name in enumerate(names[:count])}})
    frame = study.dataframe()
    assert list(frame.columns) == table.columns(study.history) and len(set(frame.columns)) == len(frame.columns)
    own = {"trial", "until", "loss", "config.x", "error", "source", "seed", "started", "finished"}
    assert len(frame.columns) == len(own) + len(names) and own <= set(frame.columns)
    assert all(frame[table.column(name)][1] == i for i, name in enumerate(names)) and list(frame["trial"]) == [0, 1]


def test_the_order_of_the_columns() -> None:
    study = Study(Random(Space(x=Float(0, 1), n=(1, 5))), objectives={"loss": "min", "size": "max"})
    head, tail = ["trial", "until", "loss", "size", "config.x", "config.n"], ["error", "source", "seed"]
    assert list(study.dataframe().columns) == [*head, *tail, "started", "finished"] and len(study.dataframe()) == 0
    study.optimizer.add({"x": 0.5, "n": 1}, Result(error="no"))
    study.optimizer.add({"x": 0.5, "n": 1}, Result({"extra": 1.0, "size": 2.0, "loss": 3.0}, system={"seconds": 4.0}))
    assert list(study.dataframe().columns) == [*head, "extra", *tail, "system.seconds", "started", "finished"]
    assert list(study.rows()[0]) == ["trial", "until", "config.x", "config.n", *tail, "started", "finished"]


def test_what_a_study_and_a_history_print() -> None:
    study = Study(Random(line()))
    assert repr(study) == "Study(Random, 0 results, 0 pending, no success yet)"
    first, second, third = (study.optimizer.ask() for _ in range(3))
    assert first is not None and second is not None and third is not None
    study.optimizer.tell(first, 0.25)
    study.optimizer.lose(second)
    assert repr(study) == "Study(Random, 1 result, 2 pending, best 0.25 (trial 0))"
    assert repr(study.history) == "History(5 events: 1 result, 2 pending; loss min)"
    assert repr(study.history.prefix(1)) == "History(1 event: 0 results, 1 pending; loss min)"
    assert (
        repr(History(Random(line()).header({"a": "min", "b": "max"})))
        == "History(0 events: 0 results, 0 pending; a min, b max)"
    )
    assert "\n" not in repr(hpo.minimize(square, line(), "gp", 3, quiet=True))


def test_one_of_something_is_said_in_the_singular() -> None:
    said = [quantity(count, "results") for count in (0, 1, 2)] + [quantity(1, "loss"), quantity(49_152, "tokens")]
    assert said == ["0 results", "1 result", "2 results", "1 loss", "49,152 tokens"]


def test_hpo_exports_logs_streams_and_importance() -> None:
    names = {"Collision", "Event", "Importance", "Log", "Lost", "stream"}
    assert names <= set(hpo.__all__) and all(hasattr(hpo, name) for name in hpo.__all__)


def test_one_metric_of_several_is_searched_for() -> None:
    def measure(config: Any) -> dict[str, float]:
        return {"loss": 1.0 - config["x"], "accuracy": config["x"] ** 2, "size": 3.0}

    space = {"x": [0.1, 0.9, 0.5]}
    best = hpo.maximize(measure, space, "grid", metric="accuracy", quiet=True).best
    assert best.config == {"x": 0.9} and best.value == 0.9**2
    assert hpo.minimize(measure, space, "grid", metric="accuracy", quiet=True).best.config == {"x": 0.1}
    assert hpo.maximize(lambda config: config["x"], space, "grid", metric="score", quiet=True).best.metrics == {"score": 0.9}
    with pytest.raises(ValueError, match="metric is 'a' and objectives is"):
        hpo.minimize(measure, space, "grid", metric="a", objectives=["loss"], quiet=True)
    with pytest.raises(TypeError, match="metric is 3; allowed is the name of a metric"):
        hpo.maximize(measure, space, "grid", metric=3, quiet=True)  # type: ignore[arg-type]
