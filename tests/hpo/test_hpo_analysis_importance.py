"""Sobol indices: right on functions whose indices are known, deterministic, honest about too few results."""

import numpy as np
import pytest

from hpo import Categorical, Const, Float, History, Random, Space, Study
from hpo.analysis.importance import Correlations, Importance, correlations, importance, sobol_indices
from surrogates import GaussianProcess, fit, standardise

SPACE = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), none=Float(0, 1))


def told(space: Space, n: int, loss) -> History:  # type: ignore[no-untyped-def]
    optimizer = Random(space, seed=0)
    for _ in range(n):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, loss(job.config))
    return optimizer.history


def additive(config: dict[str, float]) -> float:
    return 4 * config["a"] + 2 * config["b"] + 1 * config["c"]


def found(n: int = 60) -> Importance:
    result = importance(told(SPACE, n, additive), SPACE)
    assert isinstance(result, Importance)
    return result


def test_additive_function_has_its_known_indices() -> None:
    result = found()
    shares = {"a": 16 / 21, "b": 4 / 21, "c": 1 / 21, "none": 0.0}
    assert list(result.total)[:3] == ["a", "b", "c"]
    for name, share in shares.items():
        assert result.first[name] == pytest.approx(share, abs=0.03)
        assert result.total[name] == pytest.approx(share, abs=0.03)
    assert result.explained > 0.95
    assert (result.until, result.results) == (1, 60)


def test_the_same_results_give_the_same_indices() -> None:
    assert found(30) == found(30)


def test_interactions_are_in_the_total_only() -> None:
    rows = SPACE.domain.sobol(1, 120)
    z = standardise((rows[:, 0] - 0.5) * (rows[:, 1] - 0.5)).z
    gp = GaussianProcess(SPACE.domain, rows, z, fit(rows, z, SPACE.domain, 0))
    first, total = sobol_indices(gp, SPACE.domain)
    assert first.max() < 0.08
    assert (total[:2] > 0.85).all()
    assert (total[2:] < 0.08).all()


def test_marginal_effects_are_in_units_of_the_loss() -> None:
    effect = found().effects[0]
    assert effect.name == "a"
    assert effect.mean[-1] - effect.mean[0] == pytest.approx(4.0, rel=0.15)
    assert np.all(np.diff(effect.mean) > 0)


def test_conditional_parameters_count_where_they_are_active() -> None:
    space = Space(kind=Categorical(["plain", "deep"]), deep=Float(0, 1, when={"kind": "deep"}), other=Float(0, 1))
    result = importance(told(space, 60, lambda c: 3 * c.get("deep", 0.0)), space)
    assert isinstance(result, Importance)
    assert result.total["deep"] > 0.3
    assert result.total["other"] < 0.03
    assert all(np.isfinite(effect.mean).all() for effect in result.effects)


def test_too_few_results_and_equal_losses_say_so() -> None:
    for n, loss, words in [(5, additive, "5 results are too few for a model of 4 hyperparameters; from 6 on"),
                           (20, lambda c: 1.0, "All 20 results are equal"), (0, additive, "there is none"),
                           (1, additive, "there is one"), (9, lambda c: float("nan"), "there is none")]:  # fmt: skip
        found = importance(told(SPACE, n, loss), SPACE)
        assert isinstance(found, Correlations) and words in found.reason and found.reason in str(found)
    nothing = Space(a=Const(3))
    found = importance(told(nothing, 4, lambda c: 1.0), nothing)
    assert isinstance(found, Correlations) and found.reason == "The space has no hyperparameter to choose"


def test_an_objective_that_is_maximised_is_shown_as_it_was_reported() -> None:
    study = Study(Random(SPACE, seed=0), objectives={"other": "min", "score": "max"})
    for _ in range(30):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, {"other": -job.config["b"], "score": 100.0 + additive(job.config)})  # type: ignore[arg-type]
    result = study.importance(objective="score")
    assert isinstance(result, Importance) and result.objective == "score" and next(iter(result.total)) == "a"
    assert 95.0 < min(result.effects[0].mean) < max(result.effects[0].mean) < 115.0
    assert np.all(np.diff(result.effects[0].mean) > 0)
    first = study.importance()
    assert isinstance(first, Importance) and next(iter(first.total)) == "b" and "other of 30 results" in str(first)
    with pytest.raises(ValueError, match=r"'loss' is no objective of this study; allowed are \['other', 'score'\]"):
        study.importance(objective="loss")


def test_failures_do_no_harm() -> None:
    result = importance(told(SPACE, 40, lambda c: float("nan") if c["c"] > 0.9 else additive(c)), SPACE)
    assert isinstance(result, Importance)
    assert next(iter(result.total)) == "a"


def test_below_a_model_it_is_said_which_way_numbers_point() -> None:
    """From two results on, up to where a model begins."""
    space = Space(a=Float(0, 1), b=Float(0, 1), kind=Categorical(["x", "y"]))
    less = correlations(told(space, 3, lambda c: c["a"]), space)
    assert len(less.keys) == 3 and not any(less.tau.values()), "three results always seem to go along"
    few = correlations(told(space, 6, lambda c: c["a"]), space)
    assert len(few.keys) == 6 and few.needed == 5
    assert few.tau["a"] == pytest.approx(1.0) and next(iter(few.tau)) == "a" and few.tau["kind"] == 0.0
    assert "a                        Kendall's tau with the loss +1.00" in str(few)
    assert not correlations(told(space, 3, lambda c: float("nan")), space).keys, "failures say nothing of values"
