"""CMA-ES: covariance matrix adaptation (Hansen 2016), over any space.

Numbers are searched on the search scale, as the space's rows in the unit cube have them (logarithmic ranges in logarithms);
integers and steps have a margin (Hamano et al. 2022), choices probabilities of their own that are adapted beside it (the rule
of CatCMA, Hamano et al. 2024). hpo/optimizers/cma/ holds each with its source; here is what is drawn for a trial.

How the state follows the history, and what it leaves out, says cma/paths.py. A failure ranks last. Of several objectives
members are ranked by `history.rank`: by front, then by crowding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpo.history import History
from hpo.optimizer import Draft
from hpo.optimizers.cma.gaussian import LEAST
from hpo.optimizers.cma.joint import Coordinates, Joint
from hpo.optimizers.cma.paths import RECORD, RESTARTS, Path, Paths, Strategy
from hpo.optimizers.drafting import BudgetSampler
from hpo.rng import stream
from hpo.values import format_value, is_finite, whole

DRAWS = 100  # points that may lie outside of the cube or break a constraint before one is moved
BLOCK = 10  # of them are asked for their feasibility at a time
NEAR = 64  # feasible rows of which the nearest stands for a distribution that has none


@dataclass(eq=False)
class CMAES(BudgetSampler):
    """Draws generations from a normal distribution that learns the scale and the shape of the best results.

    sigma        the first step, as a share of the range; by default the range is six of them. The first mean is the middle of
                 the space
    population   points a generation; default: 4 + floor(3 log(d)) of d columns (eq. 48)
    restarts     what follows a run that has converged: "ipop" doubles the population; "bipop" alternates large and small ones;
                 "none" draws from the last state for ever
    tolerance    a run has converged once every standard deviation is below this share of the range (or its best loss has not
                 changed for 10 + 30 d / population generations)
    warm_start   begin from the best tenth of at least ten results that were added or pinned, instead of from the middle
                 (Nomura et al. 2021)

    A point outside of the cube or of the constraints is drawn again, up to 100 times; then the point is clipped; where that
    is infeasible, the feasible row nearest to the distribution, of 64, stands for it.

        import hpo

        space = {"lr": (1e-5, 1e-1, "log"), "layers": (1, 12), "optimizer": ["adamw", "sgd"]}
        sampler = hpo.CMAES(hpo.Space(space), seed=1, population=8)
        study = hpo.minimize(lambda c: abs(c["layers"] - 6) + c["lr"] + (c["optimizer"] == "sgd"), space, sampler, 80)
        print(study.best.config)
    """

    sigma: float = 1 / 6
    population: int | None = None
    restarts: str = "ipop"
    tolerance: float = 1e-8
    warm_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, top in (("sigma", 10.0), ("tolerance", 1.0)):
            value = getattr(self, name)
            if not is_finite(value) or not 0 < value <= top:
                raise ValueError(f"{name} is {format_value(value)}; allowed is a number above 0 and up to {top:g}")
        if self.population is not None:
            self.population = whole("population", self.population, LEAST)
        if self.restarts not in RESTARTS:
            raise ValueError(f"restarts is {format_value(self.restarts)}; allowed are {list(RESTARTS)}")
        if not isinstance(self.warm_start, bool):
            raise ValueError(f"warm_start is {format_value(self.warm_start)}; allowed are True and False")

    # -- the state ---------------------------------------------------------------------------------------------------

    @cached_property
    def _strategy(self) -> Strategy:
        at = Coordinates(self.space.domain)
        population = at.population if self.population is None else self.population
        return Strategy(self.space, at, self.seed, self.sigma, population, self.restarts, self.tolerance)

    def _begin(self) -> Paths:
        return Paths(self._strategy, self.warm_start)

    def path(self, history: History, until: int | None = None) -> Path:
        """The state for trials that are first trained to `until` (the horizon): its distribution, generation and run."""
        until = history.header.horizon if until is None else until
        return history.fold(f"{self.owner} {self.seed}", self._begin).path(history, until)

    # -- what is drawn -----------------------------------------------------------------------------------------------

    def suggest_at(self, history: History, trial: int, until: int) -> Draft | None:
        path, rng = self.path(history, until), stream(self.seed, trial, "cma_es")
        row, x, c = draw_member(path.joint, rng)
        generation, place = path.following
        member = {"generation": generation, "place": place, "update": path.updates, "x": x.tolist(), "c": c.tolist()}
        return Draft(self.space.decode(row), {RECORD: member})


def draw_member(joint: Joint, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row (d,), x (n,), c (k,)) of a feasible point of a distribution, see CMAES."""
    domain = joint.at.domain
    X, C = joint.draw(rng, DRAWS)
    for places in (np.flatnonzero(joint.is_inside(X)), np.arange(DRAWS)):
        X = joint.clip(X)  # changes nothing of what is inside
        for i in range(0, len(places), BLOCK):
            some = places[i : i + BLOCK] if domain.feasible is not None else places[:1]
            rows = joint.rows(X[some], C[some])
            good = np.flatnonzero(domain.is_feasible(rows))
            if len(good):
                return rows[good[0]], X[some[good[0]]], C[some[good[0]]]
    return _nearest(joint, rng)


def _nearest(joint: Joint, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest of some feasible rows, with a point that is not too far from the mean. ValueError where none is feasible."""
    domain = joint.at.domain
    rows = domain.try_rows(rng, NEAR)
    rows = rows if len(rows) else domain.random(rng, 1)
    X, C = joint.complete(rows)
    best = int(joint.distances(X, C).argmin())
    return rows[best], joint.shorten(X[best : best + 1])[0], C[best]
