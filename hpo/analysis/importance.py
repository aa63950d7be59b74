"""Which hyperparameters mattered: Sobol indices of a Gaussian process's mean, and marginal effects.

f is the posterior mean of a GP fitted to the losses at one budget, over the whole space; x_1 .. x_d are independent and
uniform on the scale of the search (a logarithmic range is uniform in its logarithm). With V = Var f(x):

    first-order S_j = Var_{x_j} E[f | x_j] / V       what parameter j explains by itself
    total       T_j = 1 - Var_{x_-j} E[f | x_-j] / V what stays unexplained if only j is unknown; T_j - S_j: interactions

A and B (n, d) are two halves of one scrambled Sobol sequence in 2 d dimensions, AB_j is A with column j of B:

    S_j = 1 - mean (f(B) - f(AB_j))^2 / 2 V          Jansen 1999; Saltelli et al. 2010, table 2 (c) and (f)
    T_j =     mean (f(A) - f(AB_j))^2 / 2 V

A conditional parameter has its uniform number everywhere, and has an effect only where it is active (`Domain.from_unit`).
Constraints between parameters are ignored: they would make the parameters dependent. Deterministic: a function of the results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from hpo.history import History
from hpo.job import Key
from hpo.parameters import Categorical
from hpo.space import Space
from hpo.values import quantity
from surrogates import Domain, GaussianProcess, fit, standardise
from surrogates.domain import Array

POINTS = 2048  # rows of A and of B; a power of two
AVERAGED = 512  # rows over which a marginal effect is averaged
STEPS = 33  # positions of a continuous parameter's marginal effect
CURVES = 4  # parameters whose marginal effect is shown
CHUNK = 4096  # rows predicted at once
MOST = 1000  # results that a model is fitted to, of more evenly many; the cost is cubic in their number
SEED = 0
ENOUGH = 6  # results that a rank correlation needs: of five, one in sixty is perfect by chance


@dataclass(frozen=True)
class Effect:
    """The objective by the model, in the units in which it was reported, over the values of one parameter.

    mean     averaged over all other parameters
    around   with the other parameters as in the best configuration; empty if the parameter is inactive there
    """

    name: str
    values: tuple[Any, ...]
    mean: tuple[float, ...]
    around: tuple[float, ...] = ()


@dataclass(frozen=True)
class Importance:
    """Indices by parameter, the largest total first, with the data that they come from.

    explained   the share of the variance that the model predicts when each result is left out in turn
    """

    objective: str
    until: int
    unit: str
    results: int
    explained: float
    first: dict[str, float]
    total: dict[str, float]
    effects: tuple[Effect, ...]

    def __str__(self) -> str:
        budget = quantity(self.until, self.unit)
        head = f"{self.objective} of {quantity(self.results, 'results')} at {budget}; R² of the model {self.explained:.2f}"
        rows = [f"{name:<24} {self.total[name]:>6.1%}, by itself {self.first[name]:>6.1%}" for name in self.total]
        return "\n".join([head, *rows])


@dataclass(frozen=True)
class Correlations:
    """What can be said without a model: the results themselves, and their rank correlations.

    keys      successes at one budget, of trials with their own weights
    tau       by parameter: Kendall's tau between its values and the loss, the largest in size first; 0 where it means nothing,
              as with fewer than ENOUGH results
    needed    how many results a model needs; they must not all be equal
    """

    until: int
    keys: tuple[Key, ...]
    tau: dict[str, float]
    needed: int

    @property
    def reason(self) -> str:
        """Why there is no model, in a sentence."""
        count = len(self.keys)
        if not self.tau:
            return "The space has no hyperparameter to choose"
        if count < 2:
            return f"Nothing can be said before two trials have succeeded at one budget; there {_were(count)}"
        if count >= self.needed:
            return f"All {count} results are equal, so no hyperparameter can have mattered"
        model = f"a model of {quantity(len(self.tau), 'hyperparameters')}"
        return f"{count} results are too few for {model}; from {self.needed} on there is one"

    def __str__(self) -> str:
        rows = [f"{name:<24} Kendall's tau with the loss {tau:+.2f}" for name, tau in self.tau.items() if tau]
        return "\n".join([self.reason + ".", *rows])


def _were(count: int) -> str:
    return "is one" if count == 1 else "is none"


def importance(
    history: History, space: Space, best: Mapping[str, Any] | None = None, place: int = 0, most: int = MOST
) -> Importance | Correlations:
    """The importance at the highest budget with at least 2 (d + 2) results, else at the one with most results. With fewer than
    d + 2 results, or if all losses are equal, there is no model; then the correlations are returned.

    best    the configuration for `Effect.around`
    place   the position of the objective in the header
    most    results that the model is fitted to; of more, every so manieth trial counts
    """
    with history.lock:  # another thread may read on
        keys = thin_keys(comparable_keys(history, 2 * (len(space.columns) + 2)), most)
        scaled = standardise(np.array([history.losses(key)[place] for key in keys]))
        if not space.columns or len(keys) < len(space.columns) + 2 or not np.ptp(scaled.z):
            return correlations(history, space, place)
        rows = np.array([space.encode(history.jobs[key].config) for key in keys])
    gp = GaussianProcess(space.domain, rows, scaled.z, fit(rows, scaled.z, space.domain, SEED))
    first, total = sobol_indices(gp, space.domain)
    order = sorted(range(space.domain.d), key=lambda j: (-total[j], j))
    names = space.columns
    centre = space.encode(best) if best is not None else None
    objective, direction = list(history.header.objectives.items())[place]
    sign = -1.0 if direction == "max" else 1.0

    def reported(z: float) -> float:
        return float(sign * (scaled.shift + scaled.scale * z))

    return Importance(
        objective=objective,
        until=keys[0][1],
        unit=history.header.unit,
        results=len(keys),
        explained=explained_variance(gp),
        first={names[j]: float(first[j]) for j in order},
        total={names[j]: float(total[j]) for j in order},
        effects=tuple(effect(gp, space, j, reported, centre) for j in order[:CURVES]),
    )


def correlations(history: History, space: Space, place: int = 0) -> Correlations:
    """Rank correlations of the successes at the highest budget with enough results, else at the one with most results."""
    keys = [key for key in comparable_keys(history, 2 * (len(space.columns) + 2)) if not history.is_failure(key)]
    losses = [history.losses(key)[place] for key in keys]
    found = {name: _tau(space, name, [history.jobs[key].config.get(name) for key in keys], losses) for name in space.columns}
    order = sorted(found, key=lambda name: -abs(found[name]))
    until = keys[0][1] if keys else history.header.horizon
    return Correlations(until, tuple(keys), {name: found[name] for name in order}, len(space.columns) + 2)


def _tau(space: Space, name: str, values: Sequence[Any], losses: Sequence[float]) -> float:
    pairs = [(value, loss) for value, loss in zip(values, losses, strict=True) if value is not None]
    if isinstance(space.parameters[name], Categorical) or len(pairs) < ENOUGH or len({value for value, _ in pairs}) < 2:
        return 0.0
    from scipy.stats import kendalltau  # here, because importing it takes a third of a second

    found = float(kendalltau(*zip(*pairs, strict=True)).statistic)
    return found if found == found else 0.0


def comparable_keys(history: History, enough: int) -> Sequence[Key]:
    """Finished keys of trials with their own weights, at the highest budget with enough of them, else at the one with most."""
    levels = [[key for key in history.at(until) if history.is_own(key)] for until in reversed(history.budgets)]
    return next((keys for keys in levels if len(keys) >= enough), max(levels, key=len, default=[]))


def thin_keys(keys: Sequence[Key], most: int) -> Sequence[Key]:
    """At most so many of the keys, evenly spaced in their order."""
    return keys if len(keys) <= most else [keys[place * len(keys) // most] for place in range(most)]


def sobol_indices(gp: GaussianProcess, domain: Domain) -> tuple[Array, Array]:
    """First-order and total indices (d,), (d,); zero where the mean is constant."""
    d = domain.d
    unit = _sobol_points(2 * d, POINTS)
    A, B = unit[:, :d], unit[:, d:]
    at_a, at_b = _mean(gp, domain.from_unit(A)), _mean(gp, domain.from_unit(B))
    variance = float(np.concatenate([at_a, at_b]).var())
    first, total = np.zeros(d), np.zeros(d)
    if variance <= 1e-12:
        return first, total
    for j in range(d):
        mixed = A.copy()
        mixed[:, j] = B[:, j]
        at_mixed = _mean(gp, domain.from_unit(mixed))
        first[j] = 1.0 - float(np.mean((at_b - at_mixed) ** 2)) / (2 * variance)
        total[j] = float(np.mean((at_a - at_mixed) ** 2)) / (2 * variance)
    return np.clip(first, 0.0, 1.0), np.clip(total, 0.0, None)


def _mean(gp: GaussianProcess, rows: Array) -> Array:
    return np.concatenate([gp.predict(rows[i : i + CHUNK])[0] for i in range(0, len(rows), CHUNK)])


def effect(
    gp: GaussianProcess, space: Space, column: int, reported: Callable[[float], float], centre: Array | None = None
) -> Effect:
    """The effect of one parameter: it is set to each of its values in AVERAGED rows (of which only those count where it is
    active), and in the one row `centre` (d,). `reported` turns a standardised loss into the objective."""
    domain, name = space.domain, space.columns[column]
    positions = _positions(domain, column)

    def means(rows: Array) -> tuple[float, ...]:
        there = rows[~np.isnan(rows[:, column])]
        found = [_set_mean(gp, there, column, position) for position in positions] if len(there) else []
        return tuple(reported(z) for z in found)

    values = tuple(space.parameters[name].decode(float(position)) for position in positions)
    around = means(centre[None, :]) if centre is not None else ()
    return Effect(name, values, means(domain.from_unit(uniform_rows(domain))), around)


def uniform_rows(domain: Domain) -> Array:
    """AVERAGED uniform rows (n, d)."""
    return _sobol_points(domain.d, AVERAGED)


def _sobol_points(d: int, count: int) -> Array:
    """(count, d) scrambled Sobol points, always the same."""
    from scipy.stats import qmc  # here, because importing it takes a third of a second

    return np.asarray(qmc.Sobol(d, scramble=True, rng=np.random.default_rng(SEED)).random(count))


def _positions(domain: Domain, column: int) -> Array:
    if domain.kinds[column] == "float":
        return np.linspace(0.0, 1.0, STEPS)
    values = domain.values(column)
    keep = np.unique(np.linspace(0, len(values) - 1, min(len(values), STEPS)).round().astype(int))
    return np.asarray(values[keep])


def _set_mean(gp: GaussianProcess, rows: Array, column: int, position: float) -> float:
    there = rows.copy()
    there[:, column] = position
    return float(_mean(gp, gp.domain.snap(there)).mean())


def explained_variance(gp: GaussianProcess) -> float:
    """1 - (mean squared leave-one-out error) / (variance): Rasmussen & Williams 2006, eq. 5.12."""
    inverse = solve_triangular(gp.L, np.eye(len(gp.y)), lower=True)
    errors = gp.alpha / (inverse**2).sum(axis=0)
    return float(1.0 - np.mean(errors**2) / np.var(gp.y))
