"""Whole searches in one call, under the names by which guides know them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpo.optimizers.gp.sampler import GP
from hpo.optimizers.llamatune import LlamaTune
from hpo.run import minimize
from hpo.space import Config, Space
from hpo.values import format_value, whole

SCORE = "score"  # the objective's name in the lines that are printed


def llamatune(
    space: Space | Mapping[str, Any],
    evaluate: Callable[[Config], Any],
    max_evals: int = 50,
    direction: str = "max",
    *,
    special: Mapping[str, Any] | None = None,
    dimensions: int = 16,
    seed: int = 0,
) -> tuple[Config, float]:
    """(best_params, best_score) of `max_evals` evaluations; prints a line with configuration and score after each.

    A Gaussian process with log expected improvement, climbed by its gradients, over LlamaTune's projection (Kanellis et al.
    2022; optimizers/llamatune.py): at most `dimensions` dimensions of 10,000 buckets, `special` values with a share of 0.2.

    direction   "max" or "min" of what evaluate(config) returns

    Raises ValueError if no evaluation succeeded.

        import hpo

        space = {"learning_rate": (1e-5, 5e-5, "log"), "batch_size": (8, 32), "weight_decay": (0.0, 0.1)}
        best_params, best_score = hpo.llamatune(space, lambda c: 0.9 - abs(c["batch_size"] - 16) / 100, max_evals=12)
        print(best_params, best_score)
    """
    if direction not in ("max", "min"):
        raise ValueError(f"direction is {format_value(direction)}; allowed are 'max' and 'min'")
    space = Space.of(space)
    sampler = LlamaTune(GP(space, seed=seed, acquisition="logei"), dimensions=dimensions, special=special)
    trials = whole("max_evals", max_evals, 1)
    best = minimize(evaluate, space, sampler, trials, objectives={SCORE: direction}).best
    return dict(best.config), float(best.value)
