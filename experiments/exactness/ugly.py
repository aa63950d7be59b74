"""Ugly data sets: what a study can come to know, and worse. Case i is drawn from (SEED, i) and from nothing else.

Every seventh or so has a budget behind its columns, which is drawn apart: the others are what they were before there was one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from surrogates import ACQUISITIONS, KERNELS, Domain, Hyperparameters
from surrogates.domain import Array, Condition, Kind
from surrogates.learning_curves import PARAMETERS

Rng = np.random.Generator
T = TypeVar("T")

SEED = 20
COLUMNS = {(1, 7): 90, (7, 21): 8, (21, 51): 2}  # a range of d, and how often
ROWS = {(1, 2): 5, (2, 15): 60, (15, 40): 30, (40, 61): 3, (300, 301): 0.3}  # the same of n
KINDS: dict[tuple[Kind, ...], float] = {("float",): 4, ("float", "int", "categorical"): 5, ("int", "categorical"): 2}
LEVELS = (1, 2, 3, 8, 100, 1000)
ARRANGED = {"plain": 5, "repeated": 2, "equal": 1, "near": 2, "corners": 1, "line": 1}  # rows
SHAPES = {"smooth": 3, "noise": 3, "constant": 1, "nearly constant": 1, "two values": 1, "outlier": 2,
          "every order": 1, "counts": 1, "denormal": 1, "limits": 1}  # targets; the last two are neither scaled nor shifted
SCALES = {1.0: 3, 1e-12: 1, 1e12: 1}
OFFSETS = {0.0: 3, 1e9: 1, -1e9: 1}
BUDGETED = 0.15  # the share of data sets whose results are at several budgets
BUDGETS = {"rungs": 4, "any": 2, "tiny": 1, "one": 1, "horizon": 1}
FAILED = {0.0: 12, 0.1: 3, 0.5: 3, 1.0: 1}  # the share of results that are NaN or infinite


@dataclass(frozen=True, eq=False)
class Case:
    """One data set, and what is done with it."""

    number: int
    domain: Domain
    rows: Array  # (n, d)
    targets: tuple[Array, ...]  # (n,) of every objective
    pending: Array  # (p, d)
    acquisition: str
    kernel: str
    warped: bool
    power: bool  # standardise by Yeo-Johnson
    noisy: bool
    weighted: bool  # a crowd of rows counts as one when targets are standardised
    start: Hyperparameters | None  # of the fit
    base: int  # rows that are factored at once; the others are appended
    words: str

    def __str__(self) -> str:
        flags = " ".join(name for name in ("warped", "power", "noisy", "weighted") if getattr(self, name))
        return (f"case {self.number}: {self.words}; {self.acquisition} {self.kernel} {flags}, {len(self.pending)} pending,"
                f" {'warm' if self.start else 'cold'} start, {self.base} rows at once")


def ugly_case(number: int) -> Case:
    """The case of that number."""
    rng = np.random.default_rng([SEED, number])
    domain = any_domain(rng)
    n = int(rng.integers(*one_of(rng, ROWS)))
    arranged, rows = any_rows(rng, domain, n)
    name = str(rng.choice(sorted(ACQUISITIONS)))
    objectives = 2 if name in ("ehvi", "nehvi") and is_chosen(rng, 0.8) else 1
    targets = [any_targets(rng, domain.features(rows)) for _ in range(objectives)]
    pending = domain.random(rng, int(rng.integers(0, 6))) if is_chosen(rng, 0.5) else rows[:0]
    if is_chosen(rng, 0.1):
        pending = np.concatenate([pending, rows[:2], pending[:1]])  # replicates
    start = any_start(rng, domain.d) if is_chosen(rng, 0.2) else None
    base = n if is_chosen(rng, 0.7) else int(rng.integers(1, n + 1))
    words = (f"n={n} d={domain.d} {'+'.join(sorted(set(domain.kinds)))}{' conditional' * domain.is_conditional}"
             f"{' constrained' * (domain.feasible is not None)}, rows {arranged}, targets {', '.join(w for w, _ in targets)}")
    case = Case(number, domain, rows, tuple(y for _, y in targets), pending, name, str(rng.choice(sorted(KERNELS))),
                is_chosen(rng, 0.25), is_chosen(rng, 0.25), is_chosen(rng, 0.5), is_chosen(rng, 0.2), start, base, words)
    apart = np.random.default_rng([SEED, number, 2])
    return with_budget(apart, case) if is_chosen(apart, BUDGETED) else case


def one_of(rng: Rng, weights: Mapping[T, float]) -> T:
    """A key, by its weight."""
    shares = np.array(list(weights.values()), dtype=float)
    return list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def is_chosen(rng: Rng, share: float) -> bool:
    """True with that probability."""
    return bool(rng.random() < share)


def any_start(rng: Rng, d: int) -> Hyperparameters:
    """A warm start from another world; the fit clips it."""
    return Hyperparameters(tuple(rng.normal(0, 4, d)), rng.normal(0, 4), rng.normal(-8, 8), rng.normal())


# --- domains ----------------------------------------------------------------------------------------------------------


def any_domain(rng: Rng) -> Domain:
    """Of one kind or mixed; half of those with a discrete column conditional, every fifth constrained."""
    d, kinds = int(rng.integers(*one_of(rng, COLUMNS))), one_of(rng, KINDS)
    of = tuple(kinds[i] for i in rng.integers(len(kinds), size=d))
    levels = tuple(any_levels(rng) if kind == "int" else None for kind in of)
    sizes = tuple(0 if kind == "float" else int(rng.integers(1, 7)) if at is None else len(at)
                  for kind, at in zip(of, levels, strict=True))
    plain = Domain(of, levels, sizes, ((),) * d)
    if is_chosen(rng, 0.5):
        plain = Domain(of, levels, sizes, tuple(any_conditions(rng, plain, j) for j in range(d)))
    return with_constraint(rng, plain) if is_chosen(rng, 0.2) else plain


def any_levels(rng: Rng) -> Array:
    """Evenly from 0 to 1, in the middles of cells, or anywhere."""
    size = int(rng.choice(LEVELS))
    return [np.linspace(0, 1, size), (np.arange(size) + 0.5) / size, np.unique(rng.random(size))][rng.integers(3)]


def any_conditions(rng: Rng, domain: Domain, j: int) -> tuple[Condition, ...]:
    """None, or one or two on discrete columns before j, each true for some of the parent's values."""
    discrete = [c for c in range(j) if domain.sizes[c]]
    if not discrete or is_chosen(rng, 0.5):
        return ()
    parents = rng.choice(discrete, min(len(discrete), int(rng.integers(1, 3))), replace=False)
    return tuple((int(c), tuple(rng.choice(domain.values(c), int(rng.integers(1, domain.sizes[c] + 1)), replace=False).tolist()))
                 for c in sorted(parents))


def with_constraint(rng: Rng, domain: Domain) -> Domain:
    """With a linear constraint that a few, some or most random rows satisfy."""
    weights = rng.normal(size=domain.d)

    def along(X: Array) -> Array:
        return np.asarray((np.nan_to_num(X, nan=0.5) * weights).sum(axis=1))

    bound = float(np.quantile(along(domain.random(rng, 500)), one_of(rng, {0.01: 1, 0.3: 2, 0.9: 2}))) + 1e-9
    return Domain(domain.kinds, domain.levels, domain.sizes, domain.parents, lambda X: along(X) <= bound)


def with_budget(rng: Rng, case: Case) -> Case:
    """The case with a budget as its last column: told and pending rows at some budgets, a warm start with a decay."""
    plain, how = case.domain, one_of(rng, BUDGETS)
    feasible = plain.feasible
    domain = Domain((*plain.kinds, "budget"), (*plain.levels, None), (*plain.sizes, 1), (*plain.parents, ()),
                    None if feasible is None else lambda X: feasible(X[:, :-1]))
    start = case.start
    if start is not None:
        lengths = (*start.log_lengthscales, rng.normal(0, 4))
        start = replace(start, log_lengthscales=lengths, log_decay=tuple(rng.normal(0, 4, PARAMETERS)))
    rows, pending = (np.column_stack([X, any_budgets(rng, how, len(X))]) for X in (case.rows, case.pending))
    return replace(case, domain=domain, rows=rows, pending=pending, start=start, words=f"{case.words}, budgets {how}")


def any_budgets(rng: Rng, how: str, n: int) -> Array:
    """(n,) shares of the horizon."""
    if how == "rungs":
        return rng.choice([1 / 27, 1 / 9, 1 / 3, 1.0], n)
    if how == "tiny":
        return 10.0 ** rng.uniform(-12, 0, n)
    return rng.random(n) if how == "any" else np.full(n, 1.0 if how == "horizon" else rng.random())


# --- data -------------------------------------------------------------------------------------------------------------


def any_rows(rng: Rng, domain: Domain, n: int) -> tuple[str, Array]:
    """(n, d) told rows; some of them may break the constraint, as rows do that somebody told by hand."""
    how, X = one_of(rng, ARRANGED), domain.random(rng, n)
    some = X[rng.integers(0, max(1, n // 3), n)]
    if how == "repeated":
        return how, some
    if how == "equal":
        return how, np.repeat(X[:1], n, axis=0)
    if how == "near":
        return how, domain.snap(some + 10.0 ** rng.uniform(-16, -3) * rng.normal(size=X.shape))
    if how == "corners":
        return how, domain.snap(np.rint(X))
    if how == "line":
        return how, domain.snap(np.where(np.arange(domain.d) == rng.integers(domain.d), X, X[:1]))
    return how, X


def any_targets(rng: Rng, F: Array) -> tuple[str, Array]:
    """(n,) raw results for features F (n, d), and what they are."""
    shape, scale, offset = one_of(rng, SHAPES), one_of(rng, SCALES), one_of(rng, OFFSETS)
    y = target_values(rng, shape, F)
    if shape in ("denormal", "limits"):
        scale, offset = 1.0, 0.0
    y = y * scale + offset
    failed = rng.random(len(y)) < one_of(rng, FAILED)
    y[failed] = rng.choice([np.nan, np.inf, -np.inf], int(failed.sum()))
    return f"{shape} x {scale:g} + {offset:g} ({int(failed.sum())} failed)", y


def target_values(rng: Rng, shape: str, F: Array) -> Array:
    """(n,) finite targets."""
    n = len(F)
    y = rng.normal(size=n)
    if shape == "smooth":
        return np.asarray(np.sin(3.0 * F).sum(axis=1))
    if shape == "constant":
        return np.full(n, y[0])
    if shape == "nearly constant":
        return np.asarray(y[0] * (1.0 + 1e-15 * rng.integers(-3, 4, n)))
    if shape == "two values":
        return np.where(y > 0, 1.0, 0.0)
    if shape == "outlier":
        y[rng.integers(n)] = rng.choice([1.0, -1.0]) * 10.0 ** rng.choice([3, 9, 100, 295])
    if shape == "every order":
        return np.asarray(y * 10.0 ** rng.uniform(-300, 290, n))
    if shape == "limits":
        return np.asarray(np.finfo(float).max * rng.integers(-1, 2, n))
    if shape == "denormal":
        return np.asarray(5e-324 * rng.integers(-5, 1000, n))
    return np.rint(3.0 * y) if shape == "counts" else y
