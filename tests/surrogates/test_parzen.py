"""Parzen estimators against Optuna's, against quadrature and sums, and against their own draws."""

from collections.abc import Callable

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights

from surrogates import parzen
from surrogates.domain import Domain
from surrogates.parzen import ParzenEstimator, active_blocks, cell_edges, equal_weights, kernel_density, recency_weights

OPTUNA = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)
LEVELS = 60


def levels(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) / n


FLAT = Domain(("float", "float", "int", "categorical"), (None, None, levels(LEVELS), None), (0, 0, LEVELS, 3), ((),) * 4)
# the categorical column 0 decides whether 1 and 3 are active, the int column 2 whether 4 is
TREE = Domain(
    ("categorical", "float", "int", "categorical", "float"),
    (None, None, np.array([0.1, 0.25, 0.7]), None, None),
    (2, 0, 3, 3, 0),
    ((), ((0, (1.0,)),), (), ((0, (1.0,)),), ((2, (0.1, 0.7)),)),
)
# the same columns as Optuna has them: a range of its own, a logarithmic one, integers, choices
RANGES: dict[str, BaseDistribution] = {
    "a": FloatDistribution(-2.0, 5.0),
    "b": FloatDistribution(1e-4, 1e-1, log=True),
    "c": IntDistribution(1, LEVELS),
    "d": CategoricalDistribution(("x", "y", "z")),
}
WIDTHS = np.log([7.0, np.log(1e3), 1.0, 1.0])  # by which densities of values and of positions differ


def as_values(X: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of FLAT as Optuna has them."""
    return {"a": -2.0 + 7.0 * X[:, 0], "b": 1e-4 * 1e3 ** X[:, 1], "c": np.rint(X[:, 2] * LEVELS + 0.5), "d": X[:, 3]}


def rows(n: int, seed: int) -> np.ndarray:
    """Rows of FLAT, some of them near one another; no two have the same level as long as there are enough (Optuna's sort is
    not stable, so that of equal values it is left open which kernel is which)."""
    rng = np.random.default_rng(seed)
    X = FLAT.random(rng, n)
    X[: n // 2, :2] = np.clip(0.3 + 0.01 * rng.standard_normal((n // 2, 2)), 0.0, 1.0)
    if n <= LEVELS:
        X[:, 2] = rng.permutation(levels(LEVELS))[:n]
    return X


def largest_difference(n: int, columns: list[int]) -> float:
    """Of log densities, between ours and Optuna's, over some columns of FLAT."""
    X, at = rows(n, n), rows(200, 7)
    at[:60] = FLAT.snap(np.where(np.random.default_rng(1).random((60, 4)) < 0.5, at[:60], np.round(at[:60])))  # ends of ranges
    kinds, held, sizes = ([part[j] for j in columns] for part in (FLAT.kinds, FLAT.levels, FLAT.sizes))  # type: ignore[index]
    few = Domain(tuple(kinds), tuple(held), tuple(sizes), ((),) * len(columns))  # type: ignore[arg-type]
    names = [list(RANGES)[j] for j in columns]
    theirs = _ParzenEstimator({k: v for k, v in as_values(X).items() if k in names}, {k: RANGES[k] for k in names}, OPTUNA)
    expected = theirs.log_pdf({k: v for k, v in as_values(at).items() if k in names})
    # Optuna's density of a logarithmic parameter is one of its logarithm, as ours
    got = ParzenEstimator(few, X[:, columns]).log_density(at[:, columns]) - WIDTHS[columns].sum()
    return float(np.abs(got - expected).max())


SIZES = (1, 9, 55)
COLUMNS = ([0], [1], [2], [3], [0, 1, 2, 3])


@pytest.mark.parametrize("n", (0, *SIZES))
@pytest.mark.parametrize("columns", COLUMNS, ids=str)
def test_densities_are_optunas(n: int, columns: list[int]) -> None:
    assert largest_difference(n, columns) < 1e-9


@pytest.mark.parametrize("columns", ([0], [1], [0, 1], [0, 1, 3]), ids=str)
def test_densities_of_many_rows_are_optunas(columns: list[int]) -> None:
    assert largest_difference(700, columns) < 1e-9


def tied_difference(n: int) -> float:
    """Of one int column with equal rows and equal weights: which of them has which width makes no difference."""
    X = FLAT.random(np.random.default_rng(0), n)[:, 2:3]
    few = Domain(("int",), (levels(LEVELS),), (LEVELS,), ((),))
    settings = OPTUNA._replace(weights=np.ones)
    theirs = _ParzenEstimator({"c": np.rint(X[:, 0] * LEVELS + 0.5)}, {"c": RANGES["c"]}, settings)
    expected = theirs.log_pdf({"c": np.arange(1.0, LEVELS + 1)})
    got = ParzenEstimator(few, X, equal_weights).log_density(levels(LEVELS)[:, None])
    return float(np.abs(got - expected).max())


def test_equal_levels_are_optunas() -> None:
    assert tied_difference(300) < 1e-9


def narrower(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return 0.99 * WIDTHS_OF(x, low, high)


def nearer(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """The nearer neighbour instead of the farther one."""
    order = np.argsort(x)
    gaps = np.diff(np.concatenate([[low], x[order], [high]]))
    found = np.empty(len(x))
    found[order] = np.minimum(gaps[1:], gaps[:-1])
    return np.clip(found, (high - low) / min(100.0, len(x) + 2.0), high - low)


WIDTHS_OF = parzen.neighbour_widths
ERRORS: dict[str, tuple[str, Callable[..., np.ndarray], list[int]]] = {
    "widths": ("neighbour_widths", narrower, [0]),
    "neighbours": ("neighbour_widths", nearer, [1]),
    "mass of a cell": ("normal_mass", lambda a, b: np.asarray(parzen.ndtr(b + 0.01) - parzen.ndtr(a)), [2]),
    "recency": ("recency_weights", np.ones, [0]),
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_seen(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with Optuna fails when ours is wrong in one of these ways."""
    name, wrong, columns = ERRORS[error]
    if name == "recency_weights":  # a default, bound when the class was made
        monkeypatch.setattr(ParzenEstimator.__init__, "__defaults__", (wrong, True, 1.0))
    else:
        monkeypatch.setattr(parzen, name, wrong)
    assert largest_difference(55, columns) > 1e-4


@pytest.mark.parametrize("n", (0, 1, 2, 24, 25, 26, 400))
def test_recency_weights_are_optunas(n: int) -> None:
    np.testing.assert_array_equal(recency_weights(n), default_weights(n))


# -- densities ----------------------------------------------------------------------------------------------------------


def every_combination(domain: Domain, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Legal rows (N, d) and their weights (N,): all values of discrete columns, Gauss-Legendre nodes of floats; what is
    inactive is not varied."""
    nodes, shares = np.polynomial.legendre.leggauss(points)
    found, weights = np.zeros((1, 0)), np.ones(1)
    for j, kind in enumerate(domain.kinds):
        values, w = ((nodes + 1) / 2, shares / 2) if kind == "float" else (domain.values(j), np.ones(domain.sizes[j]))
        full = np.column_stack([found, np.full((len(found), domain.d - j), 0.5)])
        on = domain.active(full)[:, j]
        off = np.column_stack([found[~on], np.full(int((~on).sum()), np.nan)])
        grown = np.column_stack([np.repeat(found[on], len(values), axis=0), np.tile(values, int(on.sum()))])
        weights = np.concatenate([weights[~on], np.repeat(weights[on], len(values)) * np.tile(w, int(on.sum()))])
        found = np.concatenate([off, grown])
    return found, weights


SMALL = Domain(("float", "int", "categorical"), (None, np.array([0.1, 0.2, 0.6, 0.9]), None), (0, 4, 3), ((),) * 3)


@pytest.mark.parametrize("multivariate", (True, False))
@pytest.mark.parametrize("domain", (SMALL, TREE), ids=("mixed", "conditional"))
@pytest.mark.parametrize("n", (0, 1, 12))
def test_densities_integrate_to_one(domain: Domain, n: int, multivariate: bool) -> None:
    at, weights = every_combination(domain, 80)
    X = domain.random(np.random.default_rng(n), n)
    density = np.exp(ParzenEstimator(domain, X, multivariate=multivariate).log_density(at))
    assert density @ weights == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("factor", (1.0, 3.0))
def test_kernel_densities_integrate_to_one(factor: float) -> None:
    at, weights = every_combination(SMALL, 200)
    X = SMALL.random(np.random.default_rng(3), 9)
    assert np.exp(kernel_density(SMALL, X, factor).log_density(at)) @ weights == pytest.approx(1.0, abs=1e-8)


def test_a_density_of_untruncated_kernels_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the quadrature above would show."""
    at, weights = every_combination(SMALL, 80)
    estimator = ParzenEstimator(SMALL, SMALL.random(np.random.default_rng(0), 12))
    for part in estimator.parts:
        part.__dict__["_ends"] = tuple(np.full_like(end, i) for i, end in enumerate(part._ends))  # cached_property keeps them
    assert abs(np.exp(estimator.log_density(at)) @ weights - 1.0) > 0.01


def test_kernel_density_is_that_of_the_paper() -> None:
    """Derived again: the product over columns of truncated normals and Aitchison-Aitken kernels, by the rule of the reference."""
    from scipy.stats import truncnorm

    domain = Domain(("float", "categorical", "float"), (None,) * 3, (0, 4, 0), ((),) * 3)
    X = domain.random(np.random.default_rng(5), 11)
    bw = 1.06 * X.std(axis=0) * 11 ** (-1 / 7)
    h = min(bw[1], 0.75)
    for x in domain.random(np.random.default_rng(6), 5):
        normals = [truncnorm.pdf(x[j], -X[:, j] / bw[j], (1 - X[:, j]) / bw[j], X[:, j], bw[j]) for j in (0, 2)]
        kernels = normals[0] * normals[1] * np.where(x[1] == X[:, 1], 1 - h, h / 3)
        assert kernel_density(domain, X).log_density(x[None])[0] == pytest.approx(np.log(kernels.mean()), rel=1e-12)


# -- draws --------------------------------------------------------------------------------------------------------------


def cells(domain: Domain, X: np.ndarray) -> np.ndarray:
    """(m,) a number for each row: a quarter of each float column, the value of a discrete one, 9 where inactive."""
    code = np.zeros(len(X), dtype=int)
    for j, kind in enumerate(domain.kinds):
        part = np.floor(4 * X[:, j]) if kind == "float" else np.searchsorted(domain.values(j), X[:, j]).astype(float)
        code = 10 * code + np.where(np.isnan(X[:, j]), 9, np.nan_to_num(part)).astype(int)
    return code


def farthest(domain: Domain, estimator: ParzenEstimator, drawn: np.ndarray) -> float:
    """The largest difference, in standard errors, between how often rows fall into a cell and its probability."""
    at, weights = every_combination(domain, 40)
    mass, count = np.exp(estimator.log_density(at)) * weights, len(drawn)
    code, seen = cells(domain, at), cells(domain, drawn)
    assert set(seen) <= set(code)
    found = []
    for cell in np.unique(code):
        p = float(mass[code == cell].sum())
        found.append(abs((seen == cell).mean() - p) / np.sqrt(max(p, 1e-4) / count))
    return max(found)


@pytest.mark.parametrize("multivariate", (True, False))
@pytest.mark.parametrize("domain", (SMALL, TREE), ids=("mixed", "conditional"))
def test_draws_agree_with_the_density(domain: Domain, multivariate: bool) -> None:
    estimator = ParzenEstimator(domain, domain.random(np.random.default_rng(1), 8), multivariate=multivariate)
    drawn = estimator.sample(np.random.default_rng(2), 20_000)
    np.testing.assert_array_equal(domain.snap(drawn), drawn)
    assert farthest(domain, estimator, drawn) < 5.0
    other = ParzenEstimator(domain, domain.random(np.random.default_rng(4), 8), multivariate=multivariate)
    assert farthest(domain, other, drawn) > 10.0  # draws of another density are told apart


def test_draws_have_the_moments_of_a_narrow_kernel() -> None:
    domain = Domain(("float",), (None,), (0,), ((),))
    kernels = kernel_density(domain, np.full((2, 1), 0.4), factor=20.0)  # no spread: the least width, 1e-3, times 20
    drawn = kernels.draw_rows(np.random.default_rng(0), 4000)[:, 0]
    assert drawn.mean() == pytest.approx(0.4, abs=2e-3) and drawn.std() == pytest.approx(0.02, rel=0.05)


# -- blocks and errors --------------------------------------------------------------------------------------------------


def test_columns_that_are_active_together_are_one_block() -> None:
    assert [list(block) for block in active_blocks(TREE)] == [[0, 2], [1, 3], [4]]
    single = ParzenEstimator(TREE, np.zeros((0, 5)), multivariate=False)
    assert [list(part.columns) for part in single.parts] == [[j] for j in range(5)]


def test_a_block_learns_from_the_rows_in_which_it_is_active() -> None:
    X = TREE.random(np.random.default_rng(0), 50)
    estimator = ParzenEstimator(TREE, X)
    on = ~np.isnan(X[:, 1])
    assert [len(part.weights) - 1 for part in estimator.parts] == [50, on.sum(), (~np.isnan(X[:, 4])).sum()]
    other = np.array(X)
    other[~on, 4] = np.where(np.isnan(other[~on, 4]), np.nan, 0.123)
    changed = np.abs(ParzenEstimator(TREE, other).block_log_densities(X) - estimator.block_log_densities(X)).max(axis=0)
    assert list(changed > 0) == [False, False, True]


def test_cells_are_those_of_uniform_draws() -> None:
    for domain in (FLAT, SMALL):
        j = domain.kinds.index("int")
        edges = cell_edges(domain, j)
        drawn = domain.from_unit(np.random.default_rng(0).random((40_000, domain.d)))[:, j]
        share = [(drawn == level).mean() for level in domain.values(j)]
        np.testing.assert_allclose(share, np.diff(edges) / (edges[-1] - edges[0]), atol=0.01)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows of shape \(3, 2\) came .*allowed are rows of 4 columns"):
        ParzenEstimator(FLAT, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="none of them a budget"):
        ParzenEstimator(Domain(("float", "budget"), (None, None), (0, 1), ((), ())), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="prior is 0; allowed is a number above 0"):
        ParzenEstimator(FLAT, rows(3, 0), prior=0)
