"""The arrays of CMA-ES beside the library `cmaes`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cmaes import CMA, CatCMA, CMAwM, get_warm_start_mgd

import hpo
from hpo.optimizers.cma import choices, gaussian, margin, warm
from hpo.optimizers.cma.gaussian import Gaussian, Rates, positive_weights
from hpo.optimizers.cma.joint import Coordinates, Joint
from surrogates import Domain

CLOSE = 1e-8
Patch = pytest.MonkeyPatch


# -- the arrays, beside the library -------------------------------------------------------------------------------------


def rugged(X: np.ndarray) -> np.ndarray:
    """(m,) an ill-conditioned quadratic with ripples, so that ranks have no order that a simple mistake would keep."""
    scales = 100.0 ** np.linspace(0, 1, X.shape[1])
    return np.asarray((scales * (X - 0.3) ** 2).sum(axis=1) + 0.1 * np.sin(20 * X).sum(axis=1))


def gap(ours: Gaussian, theirs: CMA) -> float:
    """The largest relative difference of mean, sigma and C."""
    pairs = ((ours.mean, theirs.mean), (ours.sigma, theirs._sigma), (ours.C, theirs._C))
    return max(float(np.max(np.abs(np.subtract(a, b))) / np.max(np.abs(b))) for a, b in pairs)


def gaussian_gap(n: int, population: int | None) -> float:
    """Of 50 generations of the same points, the largest difference from the library's CMA."""
    theirs = CMA(np.full(n, 0.5), 0.3, seed=n, population_size=population)
    ours, worst = Gaussian.begin(np.full(n, 0.5), 0.3), 0.0
    for _ in range(50):
        X = np.array([theirs.ask() for _ in range(theirs.population_size)])
        values = rugged(X)
        ours = ours.update(X[np.argsort(values, kind="stable")])
        theirs.tell(list(zip(X, values.tolist(), strict=True)))
        worst = max(worst, gap(ours, theirs))
    return worst


@pytest.mark.parametrize(("n", "population"), [(2, None), (7, 20), (20, None), (1, None)])
def test_mean_sigma_and_covariance_are_those_of_the_library(n: int, population: int | None) -> None:
    assert gaussian_gap(n, population) < CLOSE


def wrong_rates(**changes: float) -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        right = gaussian._rates

        def wrong(n: int, lam: int) -> Rates:
            made = right(n, lam)
            return Rates(**{**vars(made), **{name: getattr(made, name) * factor for name, factor in changes.items()}})

        patch.setattr(gaussian, "_rates", wrong)

    return apply


def without_negative_weights(patch: Patch) -> None:
    right = gaussian._rates
    patch.setattr(gaussian, "_rates", lambda n, lam: Rates(**{**vars(right(n, lam)), "weights": positive_weights(lam)}))


ERRORS: dict[str, Callable[[Patch], None]] = {
    "c_1": wrong_rates(c_1=1.001),
    "c_sigma": wrong_rates(c_sigma=1.001),
    "c_c": wrong_rates(c_c=1.001),
    "chi": wrong_rates(chi=1.001),
    "weights": without_negative_weights,
    "eps": lambda patch: patch.setattr(gaussian, "EPS", 1e-3),
}


@pytest.mark.parametrize("error", ERRORS)
def test_a_mistake_in_the_gaussian_is_seen(error: str, monkeypatch: Patch) -> None:
    ERRORS[error](monkeypatch)
    assert gaussian_gap(7, 20) > 100 * CLOSE


def mixed_domain(n: int, sizes: list[int]) -> Domain:
    """n floats and an int column for each size, evenly spaced as those of a linear range are."""
    levels = [(np.arange(size) + 0.5) / size for size in sizes]
    kinds = ("float",) * n + ("int",) * len(sizes)
    d = n + len(sizes)
    return Domain(kinds, (*(None,) * n, *levels), (*(0,) * n, *sizes), ((),) * d)  # type: ignore[arg-type]


def margin_gap(n: int, sizes: list[int]) -> float:
    """Of 50 generations, the largest difference from the library's CMA-ES with margin: also of A and of what is rounded."""
    domain, d = mixed_domain(n, sizes), n + len(sizes)
    at, steps = Coordinates(domain), np.array([0.0] * n + [1 / size for size in sizes])
    bounds = np.array([[0.0, 1.0]] * n + [[0.5 / size, 1 - 0.5 / size] for size in sizes])
    theirs = CMAwM(np.full(d, 0.45), 0.2, bounds, steps, seed=d)
    ours, worst = Joint.begin(at, np.full(d, 0.45), 0.2), 0.0
    none = np.zeros((theirs.population_size, 0), dtype=int)
    for _ in range(50):
        asked = [theirs.ask() for _ in range(theirs.population_size)]
        X = np.array([raw for _, raw in asked])
        rows = np.array([encoded for encoded, _ in asked])
        worst = max(worst, float(np.abs(ours.rows(X, none) - rows).max()))
        values = rugged(rows)
        ours = ours.update(X[np.argsort(values, kind="stable")], none)
        theirs.tell(list(zip(X, values.tolist(), strict=True)))
        assert ours.gaussian is not None
        worst = max(worst, gap(ours.gaussian, theirs._cma), float(np.abs(ours.A / theirs._A - 1).max()))
    return worst


@pytest.mark.parametrize(("n", "sizes"), [(1, [2]), (3, [2, 5, 50]), (4, [2, 2, 3, 10, 10, 1000])])
def test_the_margin_is_that_of_the_library(n: int, sizes: list[int]) -> None:
    assert margin_gap(n, sizes) < CLOSE


@pytest.mark.parametrize("error", ["alpha", "outer", "none"])
def test_a_mistake_in_the_margin_is_seen(error: str, monkeypatch: Patch) -> None:
    right = margin.Margin.correct

    def wrong(self: Any, mean: np.ndarray, A: np.ndarray, scale: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        if error == "alpha":
            return right(self, mean, A, scale, 1.01 * alpha)
        new_mean, new_A = right(self, mean, A, scale, alpha)
        if error == "outer":
            low, high = self.cells(mean)
            return np.where(low == high, mean, new_mean), new_A
        return mean, A

    monkeypatch.setattr(margin.Margin, "correct", wrong)
    assert margin_gap(3, [2, 5, 50]) > 100 * CLOSE


def choices_gap(sizes: list[int]) -> float:
    """Of 50 generations of the same indices, the largest difference of the probabilities from the library's CatCMA."""
    theirs = CatCMA(np.zeros(2), 1.0, np.array(sizes), seed=len(sizes), population_size=12)
    ours, worst = choices.Choices.begin(sizes), 0.0
    for _ in range(50):
        asked = [theirs.ask() for _ in range(12)]
        C = np.array([c.argmax(axis=1) for _, c in asked])
        values = (C == 0).sum(axis=1) * -1.0 + np.array([float(x @ x) for x, _ in asked])
        ours = ours.update(C[np.argsort(values, kind="stable")], positive_weights(12))
        theirs.tell(list(zip(asked, values.tolist(), strict=True)))
        for p, q in zip(ours.q, theirs._q, strict=True):
            worst = max(worst, float(np.abs(p - q[: len(p)]).max()))
    return worst


@pytest.mark.parametrize("sizes", [[2], [3, 2, 7], [5] * 10])
def test_probabilities_of_choices_are_those_of_the_library(sizes: list[int]) -> None:
    assert choices_gap(sizes) < CLOSE


@pytest.mark.parametrize("name", ["SIGNAL", "KEEP"])
def test_a_mistake_in_the_choices_is_seen(name: str, monkeypatch: Patch) -> None:
    monkeypatch.setattr(choices, name, getattr(choices, name) * 1.01)
    assert choices_gap([3, 2, 7]) > 100 * CLOSE


def warm_gap(n: int) -> float:
    X = np.random.default_rng(n).random((70, n))
    values = rugged(X)
    mean, sigma, C = get_warm_start_mgd(list(zip(X, values.tolist(), strict=True)))
    first = warm.warm_start(Coordinates(mixed_domain(n, [])), X[np.argsort(values)], 0.3).gaussian
    assert first is not None
    return max(np.abs(first.mean - mean).max(), abs(first.sigma / sigma - 1), np.abs(first.C - C).max())


@pytest.mark.parametrize("n", [1, 4, 12])
def test_the_warm_start_is_that_of_the_library(n: int, monkeypatch: Patch) -> None:
    assert warm_gap(n) < CLOSE
    monkeypatch.setattr(warm, "ALPHA", 0.101)
    assert warm_gap(n) > 100 * CLOSE


def test_what_was_not_drawn_is_shortened() -> None:
    state = Gaussian.begin(np.full(3, 0.5), 0.1, np.diag([1.0, 4.0, 9.0]))
    X = np.array([[0.5, 0.7, 0.5], [5.0, -3.0, 0.5]])
    near, far = state.shorten(X)
    assert (near == X[0]).all()
    assert state.lengths(far[None])[0] == pytest.approx(math.sqrt(3) + 6 / 5)
    assert np.cross(far - state.mean, X[1] - state.mean) == pytest.approx(np.zeros(3), abs=1e-12)


def test_no_level_beside_the_mean_dies_out() -> None:
    """The margin holds on a logarithmic range, too: both neighbours of the mean's level together have a share of alpha."""
    space = hpo.Space(width=hpo.Int(1, 64, log=True))
    state = Joint.begin(Coordinates(space.domain), np.array([0.5]), 0.2)
    rng = np.random.default_rng(0)
    for _ in range(60):
        X, C = state.draw(rng, 6)
        widths = np.array([space.decode(row)["width"] for row in state.rows(X, C)])
        order = np.argsort(np.abs(widths - 6), kind="stable")
        state = state.update(X[order], C[order])
    assert state.scales[0] < 0.01, "without a margin nothing but one width would be drawn"
    X, C = state.draw(rng, 4000)
    drawn = [space.decode(row)["width"] for row in state.rows(X, C)]
    others = sum(width != 6 for width in drawn) / 4000
    assert 0.5 / 6 < others < 0.5 and {5, 7} <= set(drawn)
