"""What all measurements share: how much is measured, the largest error of each quantity, problems.

Everything is float64. The error of a against b is |a - b| / max(|b|, floor), and the largest one counts. Each
measurement states its floors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from math import log
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from surrogates import Domain, GaussianProcess, Hyperparameters
from surrogates.domain import Array, Kind
from surrogates.learning_curves import PARAMETERS

T = TypeVar("T")
ASKED = 40  # rows at which a posterior is asked


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    rows: tuple[int, ...] = (1, 5, 50, 200)
    columns: tuple[int, ...] = (1, 3, 10)
    noises: tuple[float, ...] = (1e-4, 1e-2, 1.0)
    seeds: int = 3
    points: int = 2000  # values of z
    cases: int = 10_000  # ugly data sets


FULL, QUICK = Extent(), Extent((1, 20), (1, 3), (1e-4, 1.0), 1, 100, 60)


def track_items(items: Collection[T], what: str) -> Iterable[T]:
    """The items, with a bar on a terminal."""
    return track(items, f"{what:10s}", console=Console(stderr=True), disable=not sys.stderr.isatty())


class Worst(dict[str, dict[str, Any]]):
    """The largest error of every quantity, and where it was: {name: {"error": 1e-12, "where": "..."}}."""

    def see(self, name: str, ours: Any, theirs: Any, floor: Any, where: str) -> None:
        """Errors of arrays of one shape. One that is not finite counts as infinite."""
        theirs = np.asarray(theirs, dtype=float)
        with np.errstate(invalid="ignore"):
            errors = np.abs(np.asarray(ours) - theirs) / np.maximum(np.maximum(np.abs(theirs), floor), 1e-307)
        error = float(np.where(np.isfinite(errors), errors, np.inf).max())
        if error > self.get(name, {"error": -1.0})["error"]:
            self[name] = {"error": error, "where": where}


def box_domain(d: int) -> Domain:
    """d floats."""
    kinds: list[Kind] = ["float"] * d
    return Domain(tuple(kinds), (None,) * d, (0,) * d, ((),) * d)


def mixed_domain(d: int) -> Domain:
    """Categories, floats and ints in turn; from the third column on every other one can be inactive."""
    cycle: tuple[Kind, ...] = ("categorical", "float", "int")
    kinds = tuple(cycle[j % 3] for j in range(d))
    sizes = tuple((4, 0, 7)[j % 3] for j in range(d))
    levels = tuple(np.linspace(0.0, 1.0, 7) if kind == "int" else None for kind in kinds)
    return Domain(kinds, levels, sizes, tuple(((0, (1.0, 2.0)),) if j and j % 2 == 0 else () for j in range(d)))


def curves_domain(d: int) -> Domain:
    """mixed(d), and a budget behind it."""
    plain = mixed_domain(d)
    return Domain((*plain.kinds, "budget"), (*plain.levels, None), (*plain.sizes, 1), (*plain.parents, ()))


DOMAINS = (box_domain, mixed_domain, curves_domain)
SHARES = np.array([0.02, 0.08, 0.3, 1.0])  # of the horizon, at which learning curves are read; half of the rows are elsewhere


def random_rows(domain: Domain, rng: np.random.Generator, n: int) -> Array:
    """n random rows, at random budgets where those are a column."""
    X = domain.random(rng, n)
    if domain.has_budget:
        X[:, -1] = np.where(rng.random(n) < 0.5, rng.choice(SHARES, n), rng.random(n))
    return X


@dataclass(frozen=True, eq=False)
class Problem:
    """Told rows X (n, d) with targets y (n,), a model of them, and rows (ASKED, d) asked about."""

    domain: Domain
    X: Array
    y: Array
    theta: Hyperparameters
    asked: Array
    name: str

    @classmethod
    def of(cls, make: Callable[[int], Domain], kernel: str, n: int, d: int, noise: float, seed: int, warped: bool = False,
           white: bool = False) -> Problem:
        """Targets are a draw of the model, with its noise; or white noise of variance 1, whatever the model says."""
        rng, domain = np.random.default_rng(seed), make(d)
        warp = tuple(rng.normal(0.0, 0.4, 2 * domain.d)) if warped else ()
        lengths = tuple(rng.normal(-0.7, 0.5, domain.d))
        decay = tuple(rng.normal(0.0, 0.7, PARAMETERS)) if domain.has_budget else ()
        theta = Hyperparameters(lengths, 0.4, log(noise), 0.3, kernel, warp, decay)
        X, y = random_rows(domain, rng, n), rng.normal(size=n)
        if not white:
            y = theta.mean + GaussianProcess(domain, X, y, theta).L @ y  # L L' is the covariance of the targets
        name = f"{make.__name__.removesuffix('_domain')} {kernel} n={n} d={d} noise={noise:g} seed={seed}" + " warped" * warped
        return cls(domain, X, y, theta, random_rows(domain, rng, ASKED), name)
