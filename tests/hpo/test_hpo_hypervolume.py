"""Hypervolume of a study: directions, budgets, failures, and the curve beside what it is at every length."""

import numpy as np
import pytest
from pymoo.indicators.hv import HV

from hpo import Float, Random, Result, Space, Study, minimize

SPACE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})


def two(config):
    if config["x"] < 0.05:
        raise ValueError("diverged")
    return {"loss": config["x"] + config["y"], "accuracy": 1.0 - config["x"] * (1 - config["y"])}


@pytest.fixture
def study():
    objectives = {"loss": "min", "accuracy": "max"}
    return minimize(two, SPACE, Random(SPACE, seed=3), 60, objectives=objectives, quiet=True, catch=ValueError)


def plain(study, count):
    """By pymoo, over the first so many results."""
    keys = [(e.body["trial"], e.body["until"]) for e in study.history.events if e.kind == "finish"][:count]
    good = [study.history.results[key].metrics for key in keys if not study.history.is_failure(key)]
    rows = np.array([[m["loss"], -m["accuracy"]] for m in good]).reshape(-1, 2)
    return float(HV(ref_point=np.array([1.5, -0.2]))(rows)) if len(rows) else 0.0


def test_it_is_that_of_the_front_and_of_every_prefix(study):
    assert study.hypervolume({"loss": 1.5, "accuracy": 0.2}) == pytest.approx(plain(study, 60), rel=1e-12)
    assert study.hypervolume((1.5, 0.2)) == study.hypervolume({"accuracy": 0.2, "loss": 1.5})
    curve = study.hypervolume_curve((1.5, 0.2))
    assert curve == pytest.approx([plain(study, n) for n in range(1, 61)], rel=1e-12)
    assert any(study.history.is_failure(key) for key in study.history.results)


def test_only_the_highest_budget_counts():
    study = Study(Random(SPACE), objectives={"f": "min", "g": "min"}, horizon=9)
    study.optimizer.add({"x": 0.1, "y": 0.1}, {"f": 0.0, "g": 0.0}, until=3)
    assert study.hypervolume((1.0, 1.0)) == 1.0
    study.optimizer.add({"x": 0.2, "y": 0.1}, Result({"f": 0.5, "g": 0.5}), until=9)
    assert study.hypervolume((1.0, 1.0)) == 0.25 and study.hypervolume_curve((1.0, 1.0)) == [0.0, 0.25]


@pytest.mark.parametrize("reference", [(1.0,), {"loss": 1.0}, {"loss": 1.0, "accuracy": float("nan")}])
def test_what_is_no_reference_is_refused(study, reference):
    with pytest.raises(ValueError, match=r"the reference .* for each of \['loss', 'accuracy'\]"):
        study.hypervolume(reference)
