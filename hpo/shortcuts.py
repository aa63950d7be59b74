"""Whole searches in one call, under the names by which guides know them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpo.analysis.lines import join_config
from hpo.executors import make_executor
from hpo.job import Key
from hpo.loop import Stop
from hpo.objects import with_objects
from hpo.optimizers.gp.sampler import GP
from hpo.optimizers.llamatune import LlamaTune
from hpo.optimizers.simple_pbt import SimplePBT
from hpo.run import minimize, run
from hpo.space import Config, Space
from hpo.study import Study
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


def simple_pbt(
    f: Callable[[Config], Any],
    space: Space | Mapping[str, Any],
    population: int = 4,
    generations: int = 5,
    *,
    direction: str = "min",
    seed: int = 0,
    executor: str = "inline",
    workers: int | None = None,
    log: Any = None,
) -> tuple[Config, float]:
    """(best_params, best_loss) of population-based training without weights; prints a line after each generation.

    Each generation trains fresh models: the better half of the last one again, and a mutated copy of each (see
    optimizers/simple_pbt.py). `f(config)` is the loss; with direction="max" it is a score. PBT copies weights as well.

    Raises ValueError if no trial succeeded.

        import hpo

        space = {"lr": (1e-5, 1e-1, "log"), "weight_decay": (0.0, 0.2), "batch": [16, 32, 64]}
        best_params, best_loss = hpo.simple_pbt(lambda c: abs(c["weight_decay"] - 0.1) + c["batch"] / 64, space)
        print(best_params, best_loss)
    """
    if direction not in ("max", "min"):
        raise ValueError(f"direction is {format_value(direction)}; allowed are 'max' and 'min'")
    space = Space.of(space)
    study = Study(SimplePBT(space, seed=seed, population=population, generations=generations),
                  objectives={"loss" if direction == "min" else SCORE: direction}, log=log)  # fmt: skip
    pool = make_executor(executor, with_objects(f, space), options={"workers": workers})

    def watch(study: Study, key: Key | None) -> None:
        done = len(study.history.results)
        if key is not None and done % population == 0 and study.history.highest_budget is not None:
            best = study.best
            print(f"generation {done // population}: {best.value:.6g} at {join_config(best.config)}", flush=True)

    run(study, pool, Stop(), watch)
    return dict(study.best.config), float(study.best.value)
