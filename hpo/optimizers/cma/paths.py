"""The fold of CMA-ES: the state of every path, its generations and its restarts.

There is one path a first budget: under a scheduler a trial is judged by its first finished key, and only beside trials that
were first trained as long. A member is a trial that was drawn from a path; its job records {"cma_es": {...}}:

    generation, place     counted at the starts: behind the last place the next generation begins
    update                how many updates the path had seen when it was drawn
    x, c                  the point, not rounded, and the indices of the choices

A generation closes at the first start behind the finish that completes it: over the first `population` members, by key, of
those that have finished and have not counted yet. What is left, and what finishes later, counts in the next. A member of an
older distribution is shortened (gaussian.py). Members of a run that has ended (a restart) count no more.

Restarts, where a run has ended:
    ipop     the population is doubled (Auger and Hansen 2005, "A restart CMA evolution strategy with increasing population size")
    bipop    a doubled population, or a small one with a smaller first step, whichever has spent fewer evaluations so far
             (Hansen 2009, "Benchmarking a BI-population CMA-ES on the BBOB-2009 function testbed", section 2)
    none     the last state is drawn from for ever
A restart begins at a random feasible row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizers.cma.joint import Coordinates, Joint
from hpo.optimizers.cma.warm import ENOUGH, warm_start
from hpo.rng import stream
from hpo.space import Space

RECORD = "cma_es"  # what members' jobs record it under
CONDITION = 1e14  # of C: beyond it a run ends
WIDE, NARROW = 1e4, 1e-100  # standard deviations beyond which a run ends, whatever the tolerance
RESTARTS = ("ipop", "bipop", "none")


def member_of(job: Job) -> Mapping[str, Any] | None:
    """What a member's job records; None for other jobs."""
    found: Mapping[str, Any] | None = job.note.record.get(RECORD)
    return found


@dataclass(frozen=True, eq=False)
class Strategy:
    """What a path depends on beside results: the space, the seed and the options of CMAES."""

    space: Space
    at: Coordinates
    seed: int
    sigma: float
    population: int
    restarts: str
    tolerance: float

    def begin(self, history: History, until: int, others: Mapping[int, Sequence[Key]] | None) -> Path:
        """The path of a first budget: from the middle, or from results of others (by budget) where there are enough."""
        first = Joint.begin(self.at, np.full(len(self.at.numeric), 0.5), self.sigma)
        keys = _readable(others, until) if others is not None else ()
        good = [key for key in history.rank(keys) if not history.is_failure(key)] if len(keys) >= ENOUGH else []
        if len(good) >= ENOUGH:
            rows = np.array([self.space.encode(history.jobs[key].config) for key in good])
            first = warm_start(self.at, rows, self.sigma)
        return Path(self, until, first, self.population)

    def patience(self, population: int) -> int:
        """Generations with the same best after which a run ends (the tutorial's EqualFunVals, appendix B.3)."""
        return 10 + math.ceil(30 * max(self.at.domain.d, 1) / population)


def _readable(others: Mapping[int, Sequence[Key]], until: int) -> Sequence[Key]:
    """Results at the budget itself, else at the highest one that has enough."""
    enough = [budget for budget, keys in others.items() if len(keys) >= ENOUGH]
    return others[until if until in enough else max(enough)] if enough else ()


@dataclass(frozen=True, eq=False)
class Path:
    """The state of one path. Whatever changes it makes another one."""

    strategy: Strategy
    until: int
    joint: Joint
    population: int
    following: tuple[int, int] = (0, 0)  # the generation and the place of the next member
    members: tuple[Key, ...] = ()  # finished and not counted, sorted
    updates: int = 0
    run: int = 0
    first: int = 0  # updates when this run began
    bests: tuple[tuple[float, ...], ...] = ()  # the best losses of the last generations of this run
    spent: int = 0  # evaluations of this run
    doublings: int = 0  # of the population, in the runs so far
    totals: tuple[int, int] = (0, 0)  # evaluations of the earlier runs with a doubled and with a small population
    last: int = 0  # evaluations of the last run with a doubled population
    most: int | None = None  # evaluations of a small run; None: without a limit

    def enter(self, record: Mapping[str, Any]) -> Path:
        """Behind the start of a member. One that was lost and starts again has taken its place before."""
        place = (record["generation"], record["place"])
        if place < self.following:
            return self
        generation, at = place
        return replace(self, following=(generation, at + 1) if at + 1 < self.population else (generation + 1, 0))

    def absorb(self, history: History, keys: Sequence[Key]) -> Path:
        """Behind finishes of members."""
        path = replace(self, members=tuple(sorted((*self.members, *keys))))
        while len(path.members) >= path.population:
            path = path._close(history)
        return path

    def _close(self, history: History) -> Path:
        """Behind the end of a generation."""
        records = {key: member_of(history.jobs[key]) or {} for key in self.members}
        valid = tuple(key for key in self.members if records[key]["update"] >= self.first)
        if len(valid) < self.population:
            return replace(self, members=valid)
        ranked = history.rank(valid[: self.population])
        X = np.array([records[key]["x"] for key in ranked], dtype=float).reshape(len(ranked), -1)
        C = np.array([records[key]["c"] for key in ranked], dtype=int).reshape(len(ranked), -1)
        old = np.array([records[key]["update"] < self.updates for key in ranked])
        if old.any():
            X[old] = self.joint.shorten(X[old])
        patience = self.strategy.patience(self.population)
        path = replace(
            self,
            joint=self.joint.update(X, C),
            members=valid[self.population :],
            updates=self.updates + 1,
            spent=self.spent + self.population,
            bests=(*self.bests, history.losses(ranked[0]))[-patience:],
        )
        return path._restart() if self.strategy.restarts != "none" and path.is_over else path

    @property
    def is_over(self) -> bool:
        """Whether the run has nothing more to find (the tutorial's appendix B.3, as far as it needs no values of losses)."""
        patience = self.strategy.patience(self.population)
        if len(self.bests) >= patience and len(set(self.bests)) == 1:
            return True
        if self.most is not None and self.spent >= self.most:
            return True
        gaussian = self.joint.gaussian
        if gaussian is None:
            return False
        widest = gaussian.sigma * gaussian.D.max()
        if not NARROW < widest < WIDE or gaussian.D.max() ** 2 > CONDITION * gaussian.D.min() ** 2:
            return True
        free = ~self.strategy.at.is_rounded
        return bool(free.any() and (self.joint.scales[free] < self.strategy.tolerance).all())

    def _restart(self) -> Path:
        """The next run, from a random feasible row."""
        strategy, run = self.strategy, self.run + 1
        rng = stream(strategy.seed, run, f"cma_es restart {self.until}")
        x, _ = strategy.at.split(strategy.at.domain.random(rng, 1))
        after = self._account()
        large, small = after.totals
        if strategy.restarts == "bipop" and small < large:
            u, v = rng.random(2)
            population = int(strategy.population * (2 ** (self.doublings - 1)) ** (u**2))
            sigma, doublings, most = strategy.sigma * 10.0 ** (-2 * v), self.doublings, after.last // 2
        else:
            doublings, sigma, most = self.doublings + 1, strategy.sigma, None
            population = strategy.population * 2**doublings
        return replace(
            after,
            joint=Joint.begin(strategy.at, np.where(np.isnan(x[0]), 0.5, x[0]), sigma),
            population=population, following=(self.following[0] + 1, 0), run=run, first=self.updates, bests=(), spent=0,
            doublings=doublings, most=most,
        )  # fmt: skip

    def _account(self) -> Path:
        """This one, with its run's evaluations in the totals; the first run counts as a small one."""
        large, small = self.totals
        if self.most is not None or self.run == 0:
            return replace(self, totals=(large, small + self.spent))
        return replace(self, totals=(large + self.spent, small), last=self.spent)


@dataclass
class Paths:
    """The fold: a path a first budget, and the finished keys that are nobody's members, by budget."""

    strategy: Strategy
    is_warm: bool
    paths: dict[int, Path] = field(default_factory=dict)
    others: dict[int, list[Key]] = field(default_factory=dict)

    def copy(self) -> Paths:
        return Paths(self.strategy, self.is_warm, dict(self.paths), {until: list(keys) for until, keys in self.others.items()})

    def path(self, history: History, until: int) -> Path:
        """The path of a first budget, as it is or as it would begin."""
        found = self.paths.get(until)
        return found if found is not None else self.strategy.begin(history, until, self.others if self.is_warm else None)

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        members: dict[int, list[Key]] = {}
        for key in keys:
            if member_of(history.jobs[key]) is not None:
                members.setdefault(key[1], []).append(key)
            elif not _is_adopted(history, key):
                self.others.setdefault(key[1], []).append(key)
        for until, found in members.items():
            if until in self.paths:
                self.paths[until] = self.paths[until].absorb(history, found)

    def enter(self, history: History, job: Job) -> None:
        record = member_of(job)
        if record is not None:
            self.paths[job.until] = self.path(history, job.until).enter(record)


def _is_adopted(history: History, key: Key) -> bool:
    """Whether a trial's weights came from another one."""
    source = history.jobs[history.trials[key[0]][0]].source
    return source is not None and source[0] != key[0]
