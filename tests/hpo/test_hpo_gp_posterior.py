"""What a GP sampler believes: posteriors to look at, samples of hyperparameters, basins that have converged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hpo import GP, Categorical, Float, Space
from hpo.optimizers.gp import sampler as gp
from surrogates import Context, Ensemble, plot, score_of
from tests.hpo.test_hpo_gp_options import PLANE, Objective, go  # noqa: F401


def test_the_posterior_is_the_one_that_the_next_proposal_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = go(GP(PLANE, seed=0, acquisition="logei"), lambda c: sum((v - 0.2) ** 2 for v in c.values()), 12).optimizer
    believed = optimizer.posterior()
    seen: list[Context] = []
    monkeypatch.setattr(gp, "score_of", lambda chosen, context: seen.append(context) or score_of(chosen, context))
    optimizer.ask()
    assert believed.theta == seen[0].gp.theta and len(believed.Z) == 12
    np.testing.assert_array_equal(believed.alpha, seen[0].gp.alpha)
    assert plot(believed, "logei", names=PLANE.columns).axes


def test_there_is_a_posterior_of_every_objective_and_none_of_nothing() -> None:
    with pytest.raises(ValueError, match="no posterior of 0 results over 2 parameters"):
        GP(PLANE).posterior()
    with pytest.raises(ValueError, match=r"a GP came to be plotted; allowed are a GaussianProcess, .* posterior"):
        plot(GP(PLANE), "logei")  # type: ignore[arg-type]
    both = {"a": "min", "b": "max"}
    optimizer = go(GP(PLANE), lambda c: {"a": c["x"], "b": c["y"]}, 8, both).optimizer  # type: ignore[arg-type, return-value]
    rows = np.array([PLANE.encode(job.config) for job in optimizer.history.jobs.values()])
    for i, loss in enumerate((rows[:, 0], -rows[:, 1])):
        assert np.corrcoef(optimizer.posterior(objective=i).mean(rows), loss)[0, 1] > 0.9


def test_thompson_draws_from_one_sample_of_the_hyperparameters() -> None:
    """An average of draws is none: the proposals of a batch would crowd."""
    optimizer = go(GP(PLANE, acquisition="thompson", samples=4), lambda c: math.sin(9 * sum(c.values())), 8).optimizer
    read = optimizer.observe(optimizer.history)
    models, _ = optimizer._models(read, 8, False)
    score, _, _ = optimizer._score(read, models, 8, False, np.ones(len(read.configs), dtype=bool))
    assert len(models[0]) == 4 and not isinstance(score, Ensemble)


TREE = Space(
    k=Categorical(["wide", "deep"]), x=Float(0.0, 1.0), a=Float(0.0, 1.0, when={"k": "wide"}),
    b=Float(0.0, 1.0, when={"k": "deep"}), c=Float(0.0, 1.0, when={"k": "deep"}),
)  # fmt: skip


def branches(config: Mapping[str, Any]) -> float:
    """A shallow branch with a minimum of 0.3, and a steep one that is worse nearly everywhere and has one of 0."""
    x = (config["x"] - 0.3) ** 2
    if config["k"] == "wide":
        return 0.3 + 0.3 * x + 0.4 * (config["a"] - 0.4) ** 2
    return 1.5 * x + 4 * (config["b"] - 0.15) ** 2 + 3 * (config["c"] - 0.85) ** 2


def test_a_converged_basin_is_left() -> None:
    reached = [go(GP(TREE, seed=s), branches, 60).recommend().value for s in range(3)]
    assert sorted(reached)[1] < 0.05
    names = {name for job in go(GP(TREE, seed=0), branches, 12).history.jobs.values() for name in job.note.record.get("gp", {})}
    assert names == {"loss", "loss overall"}
