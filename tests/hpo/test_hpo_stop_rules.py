"""A study that stops itself: each rule beside its plain form, and its verdict as an event that a reopened study obeys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpo
from hpo import (
    ASHA,
    GP,
    ExpectedImprovementPerCost,
    Finals,
    History,
    Inline,
    Int,
    NoImprovement,
    Random,
    RegretBound,
    Simulator,
    Space,
    SQLiteLog,
    Stop,
    StopRule,
    Study,
    Target,
    run,
)
from hpo.logs import MemoryLog
from hpo.stopping import is_over
from hpo.testing import changed_jobs
from hpo.testing.spaces import plane
from tests.hpo.examples import run_example
from tests.hpo.following import noisy

RULES: list[StopRule] = [
    Target(0.05), NoImprovement(6, 0.01), RegretBound(0.05), ExpectedImprovementPerCost(0.002),
    ExpectedImprovementPerCost(0.002, "minutes"),
]  # fmt: skip
GRID = Space(a=Int(0, 12), b=Int(0, 12))


def hill(config: Mapping[str, Any]) -> dict[str, float]:
    value = (config["a"] - 4) ** 2 / 50 + (config["b"] - 9) ** 2 / 50 + 0.1 * math.sin(config["a"])
    return {"loss": value, "minutes": 0.5 + config["a"] / 24}


def limits(history: History) -> list[dict[str, Any]]:
    return [dict(event.body) for event in history.events if event.kind == "limit"]


def searched(rule: StopRule, log: Any = None, **options: Any) -> Study:
    options = {"optimizer": "gp", "trials": 40, "log": log, "quiet": True, **options}
    return hpo.minimize(hill, GRID, stop=rule, **options)


# -- beside plain forms --------------------------------------------------------------------------------------------------


def plain_target(history: History, rule: Any) -> bool:
    return any(result.metrics["loss"] <= rule.value for result in history.results.values())


def plain_patience(history: History, rule: Any) -> bool:
    """Over the results of a study with one budget, in the order in which they came."""
    values = [event.body["result"]["metrics"]["loss"] for event in history.events if event.kind == "finish"]
    best, last = math.inf, -1
    for i, value in enumerate(values):
        if value < best - rule.min_delta:
            best, last = value, i
    return len(values) - 1 - last >= rule.patience


def dense(history: History, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Mean and sd on the grid (m, d), mean at the told rows, sd of the noise, unit: with inverses, from the hyperparameters."""
    gp = GP(GRID).posterior(history)
    theta, domain = gp.theta, gp.domain
    assert theta.kernel == "matern52"
    told = np.array([GRID.encode(history.jobs[key].config) for key in history.results])

    def features(rows: np.ndarray) -> np.ndarray:
        return domain.features(rows)

    def kernel(A: np.ndarray, B: np.ndarray) -> np.ndarray:
        scaled = (A[:, None, :] - B[None]) / np.exp(theta.log_lengthscales)
        r = math.sqrt(5) * np.sqrt((scaled**2).sum(-1))
        return np.asarray(math.exp(theta.log_outputscale) * (1 + r + r**2 / 3) * np.exp(-r))

    y = np.array([history.losses(key)[0] for key in history.results])
    keys = GP(GRID).observe(history).keys
    z = dict(zip(keys, gp.y, strict=True))
    target = np.array([z[key] for key in history.results])
    low, middle = np.argsort(y)[[0, len(y) // 2]]  # the better half is standardised by a line
    unit = float((y[middle] - y[low]) / (target[middle] - target[low]))
    inverse = np.linalg.inv(kernel(features(told), features(told)) + math.exp(theta.log_noise) * np.eye(len(told)))
    cross = kernel(features(grid), features(told))
    at_told = theta.mean + kernel(features(told), features(told)) @ inverse @ (target - theta.mean)
    mean = theta.mean + cross @ inverse @ (target - theta.mean)
    variance = math.exp(theta.log_outputscale) - np.einsum("mn,nk,mk->m", cross, inverse, cross)
    return mean, np.sqrt(np.maximum(variance, 1e-14)), at_told, math.exp(0.5 * theta.log_noise), unit


def whole_grid() -> np.ndarray:
    return np.array([GRID.encode({"a": a, "b": b}) for a in range(13) for b in range(13)])


def plain_regret(history: History, rule: Any) -> bool:
    if len(history.results) < rule.warmup:
        return False
    mean, sd, _, noise, unit = dense(history, whole_grid())
    t, d = len(history.results), 2
    beta = 2 * math.log(d * t**2 * math.pi**2 / 6 / rule.delta) / 5
    tried = [job.config["a"] * 13 + job.config["b"] for job in history.jobs.values() if job.key in history.results]
    bound = (mean + math.sqrt(beta) * sd)[tried].min() - (mean - math.sqrt(beta) * sd).min()
    return bool(bound * unit <= (noise * unit if rule.threshold is None else rule.threshold))


def plain_gain(history: History, rule: Any) -> bool:
    from scipy.stats import norm

    if len(history.results) < rule.warmup:
        return False
    mean, sd, at_told, _, unit = dense(history, whole_grid())
    u = (at_told.min() - mean) / sd
    gain = (sd * (norm.pdf(u) + u * norm.cdf(u))).max() * unit
    cost = 1.0 if rule.cost is None else np.mean([result.metrics["minutes"] for result in history.results.values()])
    return bool(gain / cost < rule.threshold)


PLAIN = {"Target": plain_target, "NoImprovement": plain_patience, "RegretBound": plain_regret,
         "ExpectedImprovementPerCost": plain_gain}  # fmt: skip


def check(rule: StopRule, study: Study) -> None:
    """The plain rule holds at the verdict and at no finish before."""
    events = study.history.events
    stopped = next(i for i, event in enumerate(events) if event.kind == "limit")
    assert events[stopped].body["value"] == rule.describe(), "it was not the rule that stopped it"
    plain = PLAIN[type(rule).__name__]
    finishes = [i + 1 for i, event in enumerate(events[:stopped]) if event.kind == "finish"]
    verdicts = [plain(study.history.prefix(i), rule) for i in finishes]
    assert verdicts == [False] * (len(verdicts) - 1) + [True]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_rule_is_its_plain_form(rule: StopRule, seed: int) -> None:
    study = searched(rule, seed=seed)
    check(rule, study)
    assert is_over(study.history) and study.history.phase == "search"
    assert changed_jobs(study.history, lambda: GP(GRID, seed=seed)) == []


WRONG: list[tuple[StopRule, str, Any]] = [
    (RULES[0], "hpo.stop_rules.Target.measure", lambda self, history, optimizer: {"reason": "too soon"}),
    (RULES[1], "hpo.stop_rules.Progress._count", lambda self, history, key, first: vars(self).update(
        stale=self.stale + 1, best=history.losses(key)[0])),
    (RULES[2], "hpo.stop_rules.RegretBound.beta", lambda self, d, t: 0.1),
    (RULES[3], "hpo.stop_rules.Model.expected_improvement", lambda self: float(self.gp.moments(self.tried)[1].min())),
    (RULES[4], "hpo.stop_rules.ExpectedImprovementPerCost.mean_cost", lambda self, history: 20.0),
]  # fmt: skip


@pytest.mark.parametrize("rule, name, wrong", WRONG, ids=lambda value: None if callable(value) else str(value)[:40])
def test_a_wrong_rule_is_seen(rule: StopRule, name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name, wrong)
    with pytest.raises(AssertionError):
        for seed in range(3):
            check(rule, searched(rule, seed=seed))


# -- the event decides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_reopened_study_obeys(rule: StopRule, tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    first = searched(rule, path)
    count, reason = len(first.history.results), first.stop_reason
    assert limits(first.history)[0]["rule"] == "stop" and reason and count < 40
    again = searched(rule, path)
    assert len(again.history.results) == count and len(limits(again.history)) == 1 and again.stop_reason == reason
    assert hpo.load(path).stop_reason == reason
    with_more = searched(rule, path, trials=60)
    assert len(with_more.history.results) == count
    without = hpo.minimize(hill, GRID, "gp", count + 2, log=path, quiet=True)
    assert len(without.history.results) == count + 2 and without.stop_reason == f"{count + 2} trials were started"


def test_killed_between_the_finish_and_the_verdict() -> None:
    """The verdict is then found before anything is asked."""
    rule = Target(0.05)
    whole = searched(rule).history
    verdict = next(i for i, event in enumerate(whole.events) if event.kind == "limit")
    log = MemoryLog()
    log.open(whole.log.header() or {})
    for event in whole.events[:verdict]:
        log.append(event)
    again = searched(rule, log).history
    assert [event.canonical() for event in again.events[:verdict]] == [event.canonical() for event in whole.events[:verdict]]
    assert [event.kind for event in again.events[verdict:]] == ["run", "limit"]
    assert limits(again) == limits(whole)


def test_the_event_decides_not_the_rule() -> None:
    """A verdict that stands is obeyed, whatever the rule would say of the history."""
    study = Study(Random(plane()))
    rule = Target(-1.0)
    run(study, Inline(lambda config: config["x"] ** 2), Stop(trials=3, rules=[rule]))
    study.history.limit("stop", rule.describe(), detail={"reason": "somebody said so"})
    run(study, Inline(lambda config: config["x"] ** 2), Stop(trials=9, rules=[rule]))
    assert len(study.history.results) == 3 and study.stop_reason == "somebody said so"
    run(study, Inline(lambda config: config["x"] ** 2), Stop(trials=9, rules=[Target(-2.0), rule]))
    assert len(study.history.results) == 3
    run(study, Inline(lambda config: config["x"] ** 2), Stop(trials=9, rules=[Target(-2.0)]))
    assert len(study.history.results) == 9


def test_another_driver_obeys(tmp_path: Path) -> None:
    one, two = (Study(Random(plane()), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))

    def objective(config: Any) -> float:
        if len(two.history.results) == 2:
            run(one, Inline(lambda config: 0.0), Stop(rules=[Target(0.0)]))
        return 1.0

    run(two, Inline(objective), Stop(trials=50))
    assert len(two.history.results) < 6 and is_over(two.history)


def test_under_finals_the_finals_begin() -> None:
    study = Study(Finals(ASHA(Random(plane(), seed=0), max_resource=9), keep=2))
    run(study, Simulator(noisy, workers=2, seed=1), Stop(rules=[NoImprovement(12)]))
    assert study.history.phase == "finals" and limits(study.history)[0]["value"] == NoImprovement(12).describe()
    assert len(study.history.at(9)) >= 2 and not study.history.pending


# -- single promises -----------------------------------------------------------------------------------------------------


def test_patience_over_rungs_counts_new_trials() -> None:
    study = Study(ASHA(Random(plane(), seed=0), max_resource=9))
    run(study, Simulator(noisy, workers=3, seed=1), Stop(trials=500, rules=[NoImprovement(15)]))
    history = study.history
    verdict = limits(history)[0]["detail"]
    best = min(history.losses(key)[0] for key in history.at(9))
    assert verdict["best"] == best and verdict["trials"] == 15
    gained = next(i for i, event in enumerate(history.events) if event.kind == "finish" and event.body["until"] == 9
                  and history.losses((event.body["trial"], 9))[0] == best)  # fmt: skip
    since = [event.body for event in history.events[gained + 1 :] if event.kind == "finish" and event.body["until"] == 1]
    assert 15 <= len(since) <= 18, "in flight were at most three more"


def test_a_target_of_what_is_maximised() -> None:
    study = hpo.maximize(lambda c: c["x"], {"x": (0.0, 1.0)}, "random", 200, stop=Target(0.9), seed=3, quiet=True)
    values = [result.metrics["value"] for result in study.history.results.values()]
    assert len(values) > 1 and max(values) == study.best.value >= 0.9 > sorted(values)[-2]
    assert f"value {study.best.value:.6g} of trial {study.best.number} at 1 has reached the target 0.9" == study.stop_reason


def test_a_rule_alone_ends_a_study() -> None:
    study = hpo.minimize(lambda c: 1.0, {"x": (0.0, 1.0)}, "random", stop=NoImprovement(60), quiet=True)
    assert len(study.history.results) == 61


def test_failures_alone_are_no_improvement_and_no_verdict() -> None:
    study = Study(Random(plane()))

    def fail(config: Any) -> float:
        raise ArithmeticError("diverged")

    run(study, Inline(fail), Stop(trials=12, rules=[NoImprovement(3), Target(0.0)]), catch=ArithmeticError)
    assert len(study.history.results) == 12 and [limit["rule"] for limit in limits(study.history)] == ["trials"]


def test_what_the_noise_is_stops_a_noisy_study() -> None:
    def objective(config: Any) -> float:
        return float(0.01 * config["x"] + np.random.default_rng(int(config["x"] * 1e9)).normal())

    study = hpo.minimize(objective, {"x": (0.0, 1.0)}, "gp", 60, stop=RegretBound(delta=0.5), quiet=True)
    assert "which is below the noise" in study.stop_reason and 10 <= len(study.history.results) < 60


@pytest.mark.parametrize("rule, optimizer, objectives, message", [
    (RegretBound(), "random", None, "RegretBound asks a GP's model, but Random chooses the configurations; give GP"),
    (ExpectedImprovementPerCost(0.1), "sobol", None, "ExpectedImprovementPerCost asks a GP's model, but Sobol chooses"),
    (Target(0.1), "random", ["loss", "size"], "Target reads one objective, but ['loss', 'size'] came"),
    (NoImprovement(3), "gp", ["loss", "size"], "NoImprovement reads one objective"),
])  # fmt: skip
def test_what_a_rule_cannot_judge_is_refused_before_the_log_is_written(
    rule: StopRule, optimizer: str, objectives: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as error:
        hpo.minimize(hill, GRID, optimizer, 9, stop=rule, objectives=objectives, log=tmp_path / "s.sqlite")
    assert message in str(error.value) and not (tmp_path / "s.sqlite").exists()


@pytest.mark.parametrize("make, message", [
    (lambda: Target(math.nan), "value is nan; allowed is a finite number"),
    (lambda: NoImprovement(0), "patience is 0; allowed is an integer of at least 1"),
    (lambda: NoImprovement(3, -1.0), "min_delta is -1.0; allowed is a finite number of at least 0"),
    (lambda: RegretBound(-1.0), "threshold is -1.0; allowed is a finite number of at least 0"),
    (lambda: RegretBound(delta=1.0), "delta is 1.0; allowed is a number between 0 and 1"),
    (lambda: ExpectedImprovementPerCost(0.1, ""), "cost is ''; allowed are the name of a metric and None"),
    (lambda: Stop(rules=[3]), "stop is [3]; allowed are a rule such as"),  # type: ignore[list-item]
    (lambda: hpo.minimize(hill, GRID, "gp", 3, stop=0.1), "stop is 0.1; allowed are a rule such as"),  # type: ignore[arg-type]
])  # fmt: skip
def test_wrong_options(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize("cls", [Target, NoImprovement, RegretBound, ExpectedImprovementPerCost])
def test_the_example_in_the_docstring(cls: type, capsys: pytest.CaptureFixture[str]) -> None:
    study = run_example(cls)["study"]
    assert study.stop_reason and len(study.history.results) < 500
