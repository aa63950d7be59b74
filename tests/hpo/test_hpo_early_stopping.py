"""Stopping at rungs, each rule beside its plain form: Syne Tune's quantile, percentiles of the others, Keras's counting."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hpo import (
    ASHAStopping,
    Float,
    History,
    MedianStopping,
    Optimizer,
    PatienceStopping,
    PercentileStopping,
    Random,
    Result,
    Space,
    Study,
)
from hpo.job import Key
from hpo.testing.spaces import plane
from tests.hpo.examples import run_example
from tests.hpo.following import follow, simulate

SIZES = [(12, 1), (40, 4), (120, 16)]  # trials, workers
RUNGS = (1, 3, 9)
TOP = 27


class Rungs:
    """The plain form: a trial that finishes a rung goes on if `rule` says so, of its loss, the others', and its curve."""

    def __init__(self, rule: Callable[[float, list[float], list[float]], bool]) -> None:
        self.rule = rule
        self.losses: dict[int, list[float]] = {rung: [] for rung in RUNGS}
        self.waiting: set[tuple[int, int]] = set()

    def tell(self, trial: int, until: int, loss: float, curve: list[tuple[int, float]]) -> None:
        if until in RUNGS:
            if self.rule(loss, list(self.losses[until]), [value for _, value in curve]):
                self.waiting.add((until, trial))
            self.losses[until].append(loss)

    def ask(self) -> tuple[int, int] | None:
        if not self.waiting:
            return None
        until = max(rung for rung, _ in self.waiting)
        trial = min(trial for rung, trial in self.waiting if rung == until)
        self.waiting.remove((until, trial))
        return trial, min([rung for rung in RUNGS if rung > until], default=TOP)


def quantile(loss: float, others: list[float], curve: list[float]) -> bool:
    """Syne Tune's StoppingRungSystem: no worse than the 1/eta quantile of all that is there, itself included."""
    return not others or loss <= float(np.quantile([*others, loss], 1 / 3))


def percentile(loss: float, others: list[float], curve: list[float]) -> bool:
    return len(others) < 4 or loss <= float(np.percentile(others, 30, method="higher"))


def median(loss: float, others: list[float], curve: list[float]) -> bool:
    return len(others) < 3 or loss <= statistics.median_high(others)


def patience(loss: float, others: list[float], curve: list[float]) -> bool:
    """Keras's EarlyStopping.on_epoch_end."""
    best, wait = math.inf, 0
    for value in curve:
        wait += 1
        if value < best - 0.05:
            best, wait = value, 0
    return wait < 2


def build(name: str, seed: int = 0) -> Optimizer:
    sampler = Random(plane(), seed=seed)
    return {
        "asha": lambda: ASHAStopping(sampler, max_resource=TOP),
        "percentile": lambda: PercentileStopping(sampler, percentile=30, rungs=RUNGS, max_resource=TOP, grace_trials=4),
        "median": lambda: MedianStopping(sampler, rungs=RUNGS, max_resource=TOP),
        "patience": lambda: PatienceStopping(sampler, patience=2, min_delta=0.05, rungs=RUNGS, max_resource=TOP),
    }[name]()


RULES = {"asha": quantile, "percentile": percentile, "median": median, "patience": patience}


@pytest.mark.parametrize("trials, workers", SIZES)
@pytest.mark.parametrize("name", RULES)
def test_each_rule_is_its_plain_form(name: str, trials: int, workers: int) -> None:
    history = simulate(build(name), trials, workers)
    resumed = follow(history, Rungs(RULES[name]), 1, trials)
    assert 0 < resumed < 3 * trials and len(history.at(TOP)) < trials, "some went on and some did not"


def floor_of_all(self: Any, history: History, key: Key, members: Any) -> bool:
    at = [entry[1] for entry in members].index(key)
    return bool(at < math.floor(len(members) / self.reduction_factor))  # the promotion's rule: the first would never go on


def lower_neighbour(self: Any, history: History, key: Key, members: Any) -> bool:
    others = [loss[0] for loss, other in members if other != key]
    share = 0.5 if isinstance(self, MedianStopping) else self.percentile / 100
    at = math.floor(share * (len(others) - 1))
    return len(others) < self.grace_trials or history.losses(key)[0] <= others[at]


def last_two(self: Any, history: History, key: Key, members: Any) -> bool:
    values = self._values(history, key)
    return len(values) < 3 or min(values[-2:]) < values[-3]  # compared with the one before, not with the best


WRONG = {"asha": floor_of_all, "percentile": lower_neighbour, "median": lower_neighbour, "patience": last_two}


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(build(name)), "is_promising", WRONG[name])
    history = simulate(build(name), 40, 4)
    with pytest.raises(AssertionError, match=r"event|only"):
        follow(history, Rungs(RULES[name]), 1, 40)


@pytest.mark.parametrize("cls", [ASHAStopping, PercentileStopping, MedianStopping, PatienceStopping])
def test_the_example_in_the_docstring(cls: type) -> None:
    study = run_example(cls)["study"]
    assert len(study.history.trials) == 12 and study.history.budgets[-1] == 9
    assert len(study.history.at(9)) < 12, "some were stopped"


# -- single promises -----------------------------------------------------------------------------------------------------


def test_the_median_depends_on_the_order_alone() -> None:
    """Of two in the middle the mean would not: 5 is below that of 1 and 10, and its logarithm is above that of theirs."""
    passed = []
    for change in (lambda v: v, math.log, lambda v: v**3):
        optimizer = MedianStopping(Random(plane(), seed=0), rungs=(1,), max_resource=3, grace_trials=2)
        jobs = [optimizer.ask() for _ in range(3)]
        for job, loss in zip(jobs, (1.0, 10.0, 5.0), strict=True):
            assert job is not None
            optimizer.tell(job, change(loss))
        passed.append([job.trial for _ in range(3) if (job := optimizer.ask()) is not None and job.source])
    assert passed[0] == passed[1] == passed[2]


@pytest.mark.parametrize("make", [MedianStopping, PercentileStopping, PatienceStopping])
def test_the_last_rung_may_be_the_horizon(make: Any) -> None:
    same = simulate(make(Random(plane(), seed=1), rungs=(1, 3), max_resource=9), 12, 3)
    upto = simulate(make(Random(plane(), seed=1), rungs=(1, 3, 9), max_resource=9), 12, 3)
    assert [event.canonical() for event in same.events] == [event.canonical() for event in upto.events]
    with pytest.raises(ValueError, match="the last rung 27 is above max_resource 9"):
        make(Random(plane()), rungs=(1, 27), max_resource=9)


def test_ties_go_on_together() -> None:
    optimizer = ASHAStopping(Random(plane(), seed=0), max_resource=3)
    for _ in range(4):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, 1.0)
    assert [key[1] for key in optimizer.history.finished_keys] == [1, 3, 1, 3]


# -- patience -------------------------------------------------------------------------------------------------------------


def curve_of(values: list[float], **options: Any) -> bool:
    """Whether a trial with these evaluations, the last of them at the rung, goes on."""
    space = Space(x=Float(0, 1))
    study = Study(PatienceStopping(Random(space), rungs=(len(values),), max_resource=9, **options), objectives={"value": "max"})
    job = study.optimizer.ask()
    assert job is not None
    study.optimizer.tell(job, Result({"value": values[-1], "other": 1.0}, tuple(enumerate(values, start=1))))
    following = study.optimizer.ask()
    assert following is not None
    return following.source is not None


def test_patience_reads_the_direction_of_the_objective() -> None:
    assert curve_of([1.0, 2.0, 3.0], patience=1) and not curve_of([3.0, 2.0, 1.0], patience=2)
    assert curve_of([3.0, 2.0, 1.0], patience=3)
    assert not curve_of([1.0, 1.1, 1.2], patience=2, min_delta=0.2) and curve_of([1.0, 1.1, 1.3], patience=2, min_delta=0.2)
    assert not curve_of([1.0, math.nan, math.nan, 1.0], patience=3), "NaN is no improvement"


def test_patience_reads_another_metric_at_the_rungs() -> None:
    options: Any = {"patience": 1, "metric": "accuracy", "direction": "max", "rungs": (1, 3), "max_resource": 9}
    for accuracies, end in [((0.5, 0.6, 0.6, 0.5), 9), ((0.5, 0.5, 0.6), 3), ((0.5, 0.4, 0.6), 3)]:
        optimizer = PatienceStopping(Random(plane(), seed=0), **options)
        for accuracy in accuracies:
            job = optimizer.ask()
            assert job is not None
            optimizer.tell(job, {"loss": 1.0, "accuracy": accuracy})
        assert optimizer.history.trials[0][-1] == (0, end) and optimizer.history.trials[1] == [(1, 1)]
    plain = PatienceStopping(Random(plane()), metric="accuracy", rungs=(1,), max_resource=9)
    job = plain.ask()
    assert job is not None
    plain.tell(job, {"loss": 1.0, "accuracy": 0.5})
    with pytest.raises(ValueError, match=r"'accuracy' is no objective of .*say direction='min' or 'max'"):
        plain.ask()


@pytest.mark.parametrize("options, message", [
    ({"patience": 0}, "patience is 0; allowed is an integer of at least 1"),
    ({"min_delta": -1.0}, "min_delta is -1.0; allowed is a finite number of at least 0"),
    ({"direction": "min"}, "direction is 'min'; allowed are 'min' and 'max' beside a metric, and None"),
    ({"metric": 3}, "metric is 3; allowed are the name of a metric and None"),
])  # fmt: skip
def test_wrong_options_of_patience(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        PatienceStopping(Random(plane()), **options)


def test_a_wrong_percentile() -> None:
    with pytest.raises(ValueError, match="percentile is 101; allowed is 0 to 100"):
        PercentileStopping(Random(plane()), percentile=101)
