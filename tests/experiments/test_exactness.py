"""The measurements of exactness in small; that they see what is wrong; that what is stored meets the claims."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("gpytorch")
pytest.importorskip("mpmath")

from experiments.exactness import __main__ as command
from experiments.exactness import fuzz as fuzzing
from experiments.exactness import gradients as slopes
from experiments.exactness import posterior as posteriors
from experiments.exactness.claims import BOUNDS, CLAIMS, exactness_table
from experiments.exactness.measure import (
    FULL,
    QUICK,
    SHARES,
    Extent,
    Problem,
    Worst,
    box_domain,
    curves_domain,
    mixed_domain,
)
from experiments.exactness.normal import NAMES, exact_values, normal_tails
from experiments.exactness.ugly import ugly_case
from surrogates import ACQUISITIONS, KERNELS, LogEI

SMALL = Extent(rows=(1, 12), columns=(1, 3), noises=(1e-4,), seeds=1, points=45, cases=3)
LEAST = replace(SMALL, rows=(12,), columns=(3,))  # enough to see what is wrong


def met(part: str, found: dict[str, Any]) -> bool:
    """Whether every error is there and within the claim."""
    errors = [entry["error"] for entry in found["errors"].values()]
    return len(errors) > 0 and max(errors) <= BOUNDS[part]


# --- the claims -------------------------------------------------------------------------------------------------------


def test_posterior_equals_gpytorch() -> None:
    found = posteriors.posterior(QUICK)
    assert met("posterior", found)
    assert len(found["errors"]) == 12 and found["problems"] == 144


def test_gradients_equal_autograd() -> None:
    found = slopes.gradients(QUICK)
    assert met("gradients", found)
    assert {name.split()[0] for name in found["errors"]} == {"likelihood", "mean", "variance", "logei", "ei", "pi", "ucb"}


def test_log_ei_equals_eighty_digits() -> None:
    found = normal_tails(QUICK)
    assert met("tails", found)
    assert set(found["errors"]) == set(NAMES)
    assert found["orders"]["EI"] >= 80 and found["orders"]["log EI"] > 1e11


def test_sixty_ugly_data_sets() -> None:
    found = fuzzing.fuzz(QUICK)
    assert (found["cases"], found["failures"], found["warnings"]) == (60, {}, {})
    assert found["what"].keys() >= {*KERNELS, *ACQUISITIONS, "conditional", "constrained", "discrete", "warped", "all failed",
                                   "budgets"}  # fmt: skip


@pytest.mark.parametrize("number", [1065, 1975])  # results at both ends of a double's range: their scale is beyond it
def test_ugly_data_sets_that_once_failed(number: int) -> None:
    fuzzing.replay_case(number)


@pytest.mark.slow
def test_ten_thousand_ugly_data_sets() -> None:
    found = fuzzing.fuzz(FULL)
    assert (found["cases"], found["failures"], found["warnings"]) == (10_000, {}, {})


def test_what_is_stored_meets_the_claims_and_says_what_made_it() -> None:
    ledger = command.open_exactness(command.RESULTS)
    lines = list(ledger.latest().values())
    found = {line["part"]: line for line in lines}
    assert len(lines) == len(ledger.measurements) and [claim.rule(lines).holds for claim in CLAIMS] == [True, True]
    assert found["fuzz"]["cases"] == FULL.cases and found["fuzz"]["seed"] == fuzzing.SEED
    assert [found[part]["problems"] for part in BOUNDS] == [1944, 972, 35_982]
    assert all(line["versions"].keys() >= {"python", *command.MADE_BY} for line in lines)
    assert min(found["fuzz"]["what"][name] for name in ("no row left", "n = 300", "d > 20", "all failed", "budgets")) > 0
    assert f"fuzz: {FULL.cases:,} cases, 0 failures, 0 warnings" in exactness_table(ledger)


# --- that errors are seen ---------------------------------------------------------------------------------------------


def test_the_largest_error_is_kept_and_nothing_hides_behind_a_nan() -> None:
    worst = Worst()
    worst.see("a", [1.0, 2.0], [1.0, 2.0 + 2e-6], 0.0, "first")
    worst.see("a", [1.0], [1.0], 0.0, "second")
    assert worst["a"]["where"] == "first" and worst["a"]["error"] == pytest.approx(1e-6, rel=1e-5)
    worst.see("a", [np.nan], [1.0], 0.0, "third")
    worst.see("a", [5.0], [1.0], 0.0, "fourth")
    assert worst["a"] == {"error": np.inf, "where": "third"}
    worst.see("b", [1e-9], [0.0], 1e-3, "floor")
    assert worst["b"]["error"] == pytest.approx(1e-6)


@pytest.mark.parametrize("change", [{"mean": 0.3 + 1e-6}, {"log_noise": np.log(1e-4) + 1e-6}, {"kernel": "matern32"}])
def test_a_wrong_posterior_is_seen(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    right = posteriors.GaussianProcess
    monkeypatch.setattr(posteriors, "GaussianProcess", lambda domain, X, y, theta: right(domain, X, y, replace(theta, **change)))
    found = posteriors.posterior(LEAST)
    assert not met("posterior", found)
    assert found["errors"]["gpytorch against 40 digits: mean"]["error"] < 1e-9  # the references do not change


def test_nothing_is_wrong_of_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    assert met("posterior", posteriors.posterior(LEAST))
    monkeypatch.setattr(posteriors, "DOMAINS", (curves_domain,))
    assert met("posterior", posteriors.posterior(LEAST))


@pytest.mark.parametrize("place", range(3))
def test_a_wrong_decay_is_seen(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = posteriors.GaussianProcess

    def wrong(domain: Any, X: Any, y: Any, theta: Any) -> Any:
        decay = np.array(theta.log_decay) + 1e-4 * (np.arange(3) == place)
        return right(domain, X, y, replace(theta, log_decay=tuple(decay)))

    monkeypatch.setattr(posteriors, "DOMAINS", (curves_domain,))
    monkeypatch.setattr(posteriors, "GaussianProcess", wrong)
    assert not met("posterior", posteriors.posterior(LEAST))


def test_problems_have_results_at_many_budgets() -> None:
    p = Problem.of(curves_domain, "rbf", 50, 3, 1e-2, 0)
    assert p.domain.has_budget and p.domain.d == 4 and len(np.unique(p.X[:, -1])) > 10
    assert {*SHARES} <= {*p.X[:, -1]} and {*SHARES} <= {*p.asked[:, -1]} and len(p.theta.log_decay) == 3


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = slopes.log_marginal_likelihood
    monkeypatch.setattr(slopes, "log_marginal_likelihood", lambda *given: (0.0, right(*given)[1] * (1 + 1e-5)))
    found = slopes.gradients(LEAST)
    wrong = {name for name, entry in found["errors"].items() if entry["error"] > BOUNDS["gradients"]}
    assert wrong == {"likelihood by hyperparameters"}


def test_a_plain_log_ei_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.stats import norm

    def gradient(self: LogEI, posterior: Any, incumbent: float) -> Any:
        z = (incumbent - posterior.mean) / posterior.sd
        h = np.maximum(norm.pdf(z) + z * norm.cdf(z), 1e-300)
        return np.log(posterior.sd * h), -norm.cdf(z) / (posterior.sd * h), norm.pdf(z) / (posterior.sd * h)

    monkeypatch.setattr(LogEI, "gradient", gradient)
    errors = normal_tails(SMALL)["errors"]
    assert min(errors[name]["error"] for name in NAMES[:3]) > 1e-3 and errors["EI"]["error"] > BOUNDS["tails"]


def test_forty_and_eighty_digits_are_right_where_the_answer_is_known() -> None:
    p = Problem.of(box_domain, "rbf", 1, 1, 0.25, 0)
    mean, variance, evidence = posteriors.posterior_in_digits(p)
    s, v, r = np.exp(p.theta.log_outputscale), 0.25, p.y[0] - p.theta.mean
    k = s * np.exp(-0.5 * (p.asked[:, 0] - p.X[0, 0]) ** 2 / np.exp(2 * p.theta.log_l[0]))
    np.testing.assert_allclose(mean, p.theta.mean + k * r / (s + v), rtol=1e-13)
    np.testing.assert_allclose(variance, s - k * k / (s + v), rtol=1e-13)
    assert evidence == pytest.approx(-0.5 * r * r / (s + v) - 0.5 * np.log(2 * np.pi * (s + v)), rel=1e-13)
    found = [float(value) for value in exact_values(0.0, 2.0, 0.0)]  # z = 0: EI = sd phi(0)
    np.testing.assert_allclose(found[3:], [2 / np.sqrt(2 * np.pi), -0.5, 1 / np.sqrt(2 * np.pi)], rtol=1e-15)


def test_one_hot_vectors_are_one_apart() -> None:
    p = Problem.of(mixed_domain, "rbf", 20, 3, 1e-2, 0)
    A, owner = posteriors.one_hot(p, p.X)
    first = A[:, owner == 0]
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1)
    np.testing.assert_allclose(apart, p.X[:, None, 0] != p.X[None, :, 0], atol=1e-15)


# --- the fuzz ---------------------------------------------------------------------------------------------------------


def outcome(monkeypatch: pytest.MonkeyPatch, name: str, value: Any, number: int) -> str:
    """What is said of the case, with something in the walk replaced."""
    monkeypatch.setattr(fuzzing, name, value)
    monkeypatch.setattr(fuzzing, "range", lambda cases: [number], raising=False)
    return str(fuzzing.fuzz(SMALL)["failures"].get(str(number), ""))


def free(number: int) -> bool:
    """Floats, and neither a constraint nor a budget."""
    domain = ugly_case(number).domain
    return bool(domain.floats.any()) and domain.feasible is None and not domain.has_budget


FREE = next(i for i in range(100) if free(i))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda score, domain, seed, best, taken: best[0], "the proposal was told or is pending"),
        (lambda score, domain, seed, best, taken: best[0] + 2.0, "the proposal is not on the domain's values"),
        (lambda score, domain, seed, best, taken: best[0][:-1], "the proposal's shape is"),
        (lambda score, domain, seed, best, taken: None, "no proposal came though rows are left"),
        (lambda *given: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda *given: np.zeros(1) / 0.0, "RuntimeWarning: invalid value encountered in divide"),
    ],
)
def test_a_wrong_proposal_is_seen(value: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said in outcome(monkeypatch, "maximize", value, FREE)


def test_an_infeasible_proposal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    number = next(i for i in range(200) if ugly_case(i).domain.feasible is not None and ugly_case(i).domain.floats.all())

    def outside(score: Any, domain: Any, *_: Any) -> Any:
        rows = np.random.default_rng(0).random((1000, domain.d))
        return rows[~domain.is_feasible(rows)][0]

    assert "the proposal is not feasible" in outcome(monkeypatch, "maximize", outside, number)


def test_what_is_not_finite_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = fuzzing.score_of

    class Broken:
        def __init__(self, *given: Any) -> None:
            self.score = right(*given)

        def __call__(self, X: Any) -> Any:
            return self.score(X)

        def gradient(self, X: Any) -> Any:
            value, slope = self.score.gradient(X)
            return value, np.where(np.arange(len(X))[:, None] == 1, np.nan, slope)

    assert "a derivative of the score is not finite" in outcome(monkeypatch, "score_of", Broken, FREE)


def test_other_warnings_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = fuzzing.standardise

    def loud(*given: Any) -> Any:
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return right(*given)

    monkeypatch.setattr(fuzzing, "standardise", loud)
    found = fuzzing.fuzz(SMALL)
    assert found["failures"] == {} and found["warnings"]["DeprecationWarning: old"] >= SMALL.cases


def test_a_case_is_a_function_of_its_number() -> None:
    for number in range(20):
        one, two = ugly_case(number), ugly_case(number)
        assert str(one) == str(two)
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.targets, two.targets)
    assert len({str(ugly_case(number)) for number in range(20)}) == 20


def test_budgets_are_the_last_column_of_some_cases_and_told_anywhere() -> None:
    some = [case for case in map(ugly_case, range(300)) if case.domain.has_budget]
    assert 25 < len(some) < 65
    for case in some:
        assert case.rows.shape == (len(case.targets[0]), case.domain.d) and case.pending.shape[1] == case.domain.d
        np.testing.assert_array_equal(case.domain.snap(case.rows), case.rows)
        assert case.start is None or len(case.start.log_decay) == 3
    assert any((case.rows[:, -1] < 1e-6).any() for case in some) and any((case.rows[:, -1] == 1).all() for case in some)
    assert any(case.domain.feasible is not None for case in some) and any(case.start is not None for case in some)


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_case_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    call = CliRunner().invoke
    said = call(command.app, ["--case", str(FREE)])
    assert said.exit_code == 0 and said.output.startswith(f"case {FREE}: n=") and "passed: with a proposal" in said.output
    monkeypatch.setattr(fuzzing, "maximize", lambda *given: None)
    assert "no proposal came though rows are left" in str(call(command.app, ["--case", str(FREE)]).exception)
    assert call(command.app, ["--case", "-1"]).exit_code == 2


@pytest.mark.slow
def test_the_command_stores_prints_and_says_what_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, call = tmp_path / "results" / "exactness.jsonl", CliRunner().invoke
    monkeypatch.setattr(command, "QUICK", SMALL)
    assert call(command.app, ["--quick", "--results", str(path)]).exit_code == 0 and not path.exists()
    command.open_exactness(path, SMALL).measure(print)
    printed = call(command.app, ["--table", "--results", str(path)])
    assert printed.exit_code == 0 and "holds: 3 cases, 0 failures" in printed.output and "does not hold" not in printed.output
    assert "older than the code" not in printed.output
    lines = {line["part"]: line for line in map(json.loads, path.read_text().splitlines())}
    lines["fuzz"]["failures"]["17"] = "ValueError: no"
    lines["tails"]["errors"]["EI"]["error"] = None
    lines["tails"]["digest"] = "older"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines.values()))
    said = call(command.app, ["--table", "--results", str(path)])
    assert said.exit_code == 1 and "does not hold: case 17 failed: ValueError: no" in said.output
    assert "tails: EI is infinitely off" in said.output and "1 of 4 lines is older than the code" in said.output


def test_an_infinite_error_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    worst = Worst()
    worst.see("a", [np.nan], [1.0], 0.0, "here")
    monkeypatch.setattr(command, "PARTS", {"tails": lambda size: {"errors": worst}})
    assert json.loads(json.dumps(command.measure_part("tails", SMALL), allow_nan=False))["errors"]["a"]["error"] is None
