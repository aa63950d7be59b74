"""Coarse to fine: stages that search ever smaller surroundings of the best configuration so far, or those that a user lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import product
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Draft
from hpo.optimizers.drafting import DraftSampler
from hpo.optimizers.sobol import Sobol
from hpo.parameters import Categorical, Const, Float, Int, Parameter, parameter
from hpo.rng import stream
from hpo.space import Config
from hpo.values import format_value, is_finite

TRIES = 100  # draws around the best that may break a constraint before the whole space is drawn from
PLACES = 100_000  # of a stage that is a grid


@dataclass(eq=False)
class Narrowing(DraftSampler):
    """Stages, one after the other: coarse, fine, local; then it has finished.

    By itself there are `stages` of them (3) with `points` trials each. The first spreads Sobol points over the whole space. In
    every later one a range shrinks to `factor` of its width (on its own scale, inside of the space) around the best
    configuration that is known when the stage begins, whichever stage or person it came from, and a choice is drawn anew
    with that probability: of its square in the third stage, and so on.

    Where `stages` is a list, each is {name: values or range}: a stage of lists is their grid, in order; one with a range in it
    draws `points` configurations. What a stage does not name stays as in the best configuration so far (before any, the
    middle).

        Narrowing(space, stages=[{"lr": [1e-5, 1e-4, 1e-3], "batch": [8, 16, 32]}, {"lr": (1e-4, 3e-4), "batch": [14, 16, 18]}])

    No result is lost when a stage ends: a coarse point outside of a fine range stays the best until something beats it.
    """

    _: KW_ONLY
    stages: int | Sequence[Mapping[str, Any]] = 3
    points: int = 16
    factor: float = 0.25
    is_endless = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.points) is not int or self.points < 1:
            raise ValueError(f"points is {self.points!r}; allowed is an integer of at least 1")
        if not is_finite(self.factor) or not 0 < self.factor < 1:
            raise ValueError(f"factor is {self.factor!r}; allowed are numbers above 0 and below 1")
        if isinstance(self.stages, list | tuple) and self.stages:
            self._listed = [self._read_stage(stage) for stage in self.stages]
            plain = [all(isinstance(values, list) for values in stage.values()) for stage in self._listed]
            self._grids = [list_grid(stage) if one else None for one, stage in zip(plain, self._listed, strict=True)]
        elif type(self.stages) is not int or self.stages < 1:
            raise ValueError(f"stages is {format_value(self.stages)}; allowed are a number of at least 1 and a list of mappings")

    def _read_stage(self, stage: Any) -> dict[str, list[Any] | Parameter]:
        if not isinstance(stage, Mapping) or not stage:
            raise TypeError(f"a stage is {format_value(stage)}; allowed is a mapping from names to lists of values or ranges")
        read: dict[str, list[Any] | Parameter] = {}
        for name, values in stage.items():
            if name not in self.space.parameters:
                raise ValueError(f"a stage names {name!r}, which is not one of {list(self.space.parameters)}")
            spec = self.space.parameters[name]
            if isinstance(values, list):
                read[name] = [spec.check(name, value) for value in values]
                continue
            found = read[name] = parameter(name, values)
            for value in (found.lo, found.hi) if isinstance(found, Float | Int) else getattr(found, "values", ()):
                spec.check(name, value)
        return read

    def count(self, stage: int) -> int:
        """How many places a stage has; 0 behind the last."""
        if isinstance(self.stages, int):
            return self.points if stage < self.stages else 0
        if stage >= len(self.stages):
            return 0
        grid = self._grids[stage]
        return self.points if grid is None else len(grid)

    def suggest(self, history: History, trial: int) -> Draft | None:
        now = history.fold(self.owner, Position)
        stage, place, around = now.stage, now.place, now.around
        while place < self.count(stage) or self.count(stage + 1):
            if place >= self.count(stage):
                stage, place = stage + 1, 0
            if place == 0:
                best = self.recommend(history)
                around = None if best is None else dict(history.jobs[best].config)
            draft = self._draw(history, trial, stage, place, around)
            if draft is not None:
                begun = {"around": around} if place == 0 else {}
                return draft._replace(record={**draft.record, "narrowing": {"stage": stage, "place": place, **begun}})
            place += 1
        return None

    def _draw(self, history: History, trial: int, stage: int, place: int, around: Config | None) -> Draft | None:
        """The configuration at a place; None where it is none, or infeasible."""
        rng = stream(self.seed, trial, "narrowing")
        if not isinstance(self.stages, int):
            return self._draw_listed(stage, place, around, rng)
        share = self.factor**stage
        if around is None or share == 1.0:
            return Sobol(self.space, seed=self.seed).suggest(history, trial)
        for _ in range(TRIES):
            config = self._complete({name: near(self.space.parameters[name], around.get(name), share, rng)
                                     for name in self.space.columns})  # fmt: skip
            if self.space.is_feasible(config):
                return Draft(config)
        return Draft(self.space.decode(self.space.domain.random(rng, 1)[0]))

    def _draw_listed(self, stage: int, place: int, around: Config | None, rng: np.random.Generator) -> Draft | None:
        rest, grid = self.space.midpoint() if around is None else around, self._grids[stage]
        for _ in range(TRIES if grid is None else 1):
            values = {name: rest.get(name, spec.decode(0.5)) for name, spec in self.space.parameters.items()}
            values |= grid[place] if grid is not None else {n: draw_from(s, rng) for n, s in self._listed[stage].items()}
            config = self._complete(values)
            if self.space.is_feasible(config):
                return Draft(config)
        return None

    def _complete(self, values: Mapping[str, Any]) -> Config:
        """The active part of the values, with constants."""
        constants = {name: spec.decode(0.0) for name, spec in self.space.parameters.items() if isinstance(spec, Const)}
        whole = {**values, **constants}
        return {name: whole[name] for name in self.space.active(whole)}


@dataclass
class Position:
    """A fold: the last place that was taken, and what the present stage is around."""

    stage: int = 0
    place: int = 0
    around: Config | None = None

    def copy(self) -> Position:
        return self  # what finishes changes nothing

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        """A result changes nothing until a stage begins."""

    def enter(self, history: History, job: Job) -> None:
        found = job.note.record.get("narrowing")
        if found is not None and (found["stage"], found["place"] + 1) > (self.stage, self.place):
            self.stage, self.place = found["stage"], found["place"] + 1
            self.around = found.get("around", self.around)


def near(spec: Parameter, center: Any, share: float, rng: np.random.Generator) -> Any:
    """A value from `share` of a range around a center (without one, of all of it); of choices the center, or with that
    probability any."""
    if isinstance(spec, Categorical):
        return spec.decode(float(rng.integers(spec.size))) if center is None or rng.random() < share else center
    if center is None:
        return spec.decode(float(rng.random()))
    wide = max(share, 1.5 / spec.size) if spec.size else share  # the nearest values at least
    low = min(max(spec.encode(center) - wide / 2, 0.0), max(1.0 - wide, 0.0))
    return spec.decode(min(low + min(wide, 1.0) * float(rng.random()), 1.0))


def draw_from(values: list[Any] | Parameter, rng: np.random.Generator) -> Any:
    """One of the values, or a value of the range."""
    if isinstance(values, list):
        return values[int(rng.integers(len(values)))]
    return values.decode(float(rng.integers(values.size) if isinstance(values, Categorical) else rng.random()))


def list_grid(stage: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The product of the values, the last name fastest. ValueError above 100,000 places."""
    if (count := math.prod(len(values) for values in stage.values())) > PLACES:
        raise ValueError(f"a stage has {count} places; allowed are {PLACES}: give a range instead of a list, and `points`")
    return [dict(zip(stage, values, strict=True)) for values in product(*stage.values())]
