"""Posteriors of a study's measurements: hyperparameters fitted on a schedule that the log records, rows added in between.

A fit maximises the marginal likelihood times the priors. It is due when the results have grown by an eighth, and recorded
in the job's note under the name of what was modelled, {"gp": {"loss": {"n": 40, "thetas": [[...]]}}}, so that a reopened
study never fits its past again. Until the next fit the Cholesky factor of those n results grows by a row a result, in the
order in which they could be read. A posterior is a function of the history; keeping it in `history.memo` and growing it
there saves time and changes no bit.

An exact GP of n results costs O(n^3). Above MOST (1000) results the model is therefore made of a subset of data (Rasmussen &
Williams 2006, section 8.3.3), chosen anew at every fit and after every MORE results: the best half of MOST, and as many of
the others, evenly spaced in their order. See `kept`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpo.history import History
from hpo.optimizers.gp.observations import Observations
from surrogates import KERNELS, Domain, GaussianProcess, Hyperparameters, draw, fit

MOST = 1000  # the size of the subset of data; fewer results are all used
MORE = MOST // 8  # in a study of more than MOST a new subset is chosen after so many results


def check_count(name: str, value: Any, least: int) -> None:
    """ValueError unless an option is an integer of at least so much."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; allowed is an integer of at least {least}")


@dataclass(frozen=True)
class Recipe:
    """How a model is made of rows and targets.

    kernel   a name of surrogates.KERNELS
    warp     whether the numeric columns are warped (Snoek et al. 2014)
    samples  hyperparameters drawn from their posterior (Snoek et al. 2012); 0: the most probable ones alone
    """

    kernel: str = "matern52"
    warp: bool = False
    samples: int = 0

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel is {self.kernel!r}; allowed are {list(KERNELS)}")
        if not isinstance(self.warp, bool):
            raise ValueError(f"warp is {self.warp!r}; allowed are True and False")
        check_count("samples", self.samples, 0)

    @property
    def plain(self) -> Recipe:
        """The same with the most probable hyperparameters alone."""
        return replace(self, samples=0)

    def thetas(
        self, rows: np.ndarray, z: np.ndarray, domain: Domain, seed: int, start: Hyperparameters | None = None
    ) -> list[Hyperparameters]:
        """One or `samples` hyperparameters for rows (n, d) of a domain and standardised targets z (n,)."""
        if self.samples:
            return draw(rows, z, domain, seed, self.samples, start, self.kernel, warped=self.warp)
        return [fit(rows, z, domain, seed, start, self.kernel, warped=self.warp)]


@dataclass(frozen=True)
class Fit:
    """What a note records of a fit."""

    n: int  # results that it had read
    thetas: tuple[Hyperparameters, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values that keep every bit."""
        return {"n": self.n, "thetas": [theta.to_list() for theta in self.thetas]}

    @classmethod
    def find_last(cls, history: History, name: str, recipe: Recipe, domain: Domain) -> Fit | None:
        """The last recorded fit of a model of this name over such a domain."""
        length = Hyperparameters.count(domain.d, recipe.warp, domain.has_budget)
        for job in reversed(history.jobs.values()):
            found: Mapping[str, Any] | None = job.note.record.get("gp", {}).get(name)
            if found is not None and len(found["thetas"][0]) == length:
                how = recipe.kernel, recipe.warp, domain.has_budget
                return cls(int(found["n"]), tuple(Hyperparameters.from_list(theta, *how) for theta in found["thetas"]))
        return None

    def is_stale(self, n: int) -> bool:
        """Whether n results ask for a new fit."""
        return n >= self.n + max(1, self.n // 8)


def posteriors(
    read: Observations, recipe: Recipe, name: str, z: np.ndarray, seed: int, afresh: bool = False
) -> tuple[list[GaussianProcess], dict[str, Any]]:
    """One posterior of z (n,) for each set of hyperparameters, and the note to record if a new fit was made, else {}.

    afresh: fit now, because the targets differ from last time; the last fit is the starting point.
    """
    fitted = Fit.find_last(read.history, name, recipe, read.domain)
    note = {}
    if fitted is None or afresh or fitted.is_stale(len(z)):
        core, start = select_subset(z), None if fitted is None else fitted.thetas[-1]
        fitted = Fit(len(z), tuple(recipe.thetas(read.rows[core], z[core], read.domain, seed, start)))
        note = {name: fitted.to_json()}
    used, base = subset_at(z, fitted.n)
    read, z = read.select([read.keys[i] for i in used]), z[used]
    return [_grown(read, (name, i), z, theta, base) for i, theta in enumerate(fitted.thetas)], note


def subset_at(z: np.ndarray, fitted: int) -> tuple[np.ndarray, int]:
    """Indices, in order, of the results used, and how many are factored in one block; the rest are appended row by row.

    The rest came since the last fit, which had read `fitted` results. Above MOST results a new subset is chosen after
    every MORE results, and the rest came since then.
    """
    n = len(z)
    base = min(fitted, n)
    if n > MOST:
        base += (n - base) // MORE * MORE
    core = select_subset(z[:base])
    return np.append(core, np.arange(base, n)), len(core)


def select_subset(z: np.ndarray) -> np.ndarray:
    """Indices, in order, of the results that a model is made of: all of them, or above MOST a subset of data.

    The subset is the best MOST / 2 results and as many of the others, evenly spaced in their order. What else was tried is
    in experiments/LOG.md (2026-11-22, a sparse GP).
    """
    if len(z) <= MOST:
        return np.arange(len(z))
    order = np.argsort(z, kind="stable")
    others = np.sort(order[MOST // 2 :])
    spaced = others[np.linspace(0, len(others) - 1, MOST - MOST // 2).round().astype(int)]
    return np.sort(np.append(order[: MOST // 2], spaced))


def _grown(read: Observations, name: tuple[str, int], z: np.ndarray, theta: Hyperparameters, base: int) -> GaussianProcess:
    """The posterior whose first `base` rows were factored at once and the others one by one."""
    memo, keys = read.history.memo, list(read.keys)
    slot, what = ("posterior", read.table.name, name), (theta, base, read.lowest, read.horizon)
    made, had, gp = memo.get(slot, (None, [], None))
    if made != what or had != keys[: len(had)]:
        had = keys[:base]
        gp = GaussianProcess(read.domain, read.rows_of(had), z[:base], theta)
    grown: GaussianProcess = gp.extend(read.rows_of(keys[len(had) :]), z)
    memo[slot] = (what, keys, grown)
    return grown
