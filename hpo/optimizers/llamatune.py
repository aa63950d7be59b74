"""LlamaTune: any sampler, searching few dimensions in the place of many (Kanellis et al. 2022).

The projection, with its sources, stands in hesbo.py. Here is what makes a sampler of it: the inner sampler is made again over
the low space, and reads the history translated (see views.py): the same trials, results and losses, with points in the place
of configurations. So it learns in the low space, by any means that it has, and remembers nothing elsewhere.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from functools import cached_property
from typing import Any

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizer import Draft, Optimizer, Sampler, adapt
from hpo.optimizers.drafting import BudgetSampler
from hpo.optimizers.gp.observations import RowTable
from hpo.optimizers.hesbo import MOST, Projection
from hpo.optimizers.views import View, view_of
from hpo.parameters import Float, Int
from hpo.rng import stream
from hpo.space import Config, Space
from hpo.values import format_value, is_finite, whole
from surrogates.unused import find_unused

RECORD = "llamatune"  # what its jobs record the point and the inner sampler's notes under
TRIES = 56  # points near one whose configuration was started already: the last ones half of the range away


class LlamaTune(BudgetSampler):
    """A sampler over at most `dimensions` dimensions, from which configurations of its space are projected (HeSBO).

    sampler      such as GP(space); it is made again over the low space, with the same options
    dimensions   of the low space; where the space has no more columns than that, each has its own dimension
    special      {name: value or list of values}: numbers that mean something else than their neighbours, such as 0 for "off".
                 Each gets the share `bias` of its parameter's range
    buckets      how many values a dimension has

    Measured (experiments/projection.py): to be told of special values helps; the projection by itself hardly ever does, also not
    where few of 60 columns matter, and where all of them matter it hurts a GP.

    A trial that was pinned or added is learned from where a point stands for it up to two buckets. The default is always
    representable where the space has at most `dimensions` columns. Options of a sampler that are functions of a configuration
    (a GP's cost or prior) would be given points, and are refused.

        import hpo

        space = hpo.Space({f"x{i}": (-1.0, 1.0) for i in range(40)} | {"cache": (0, 4096)})
        sampler = hpo.LlamaTune(hpo.GP(space, seed=1), dimensions=4, special={"cache": 0})
        study = hpo.minimize(lambda c: (c["x0"] - 0.5) ** 2 + (c["cache"] > 0), space, sampler, 12)
        print(study.best.value)
    """

    def __init__(
        self,
        sampler: Any,
        dimensions: int = 16,
        special: Mapping[str, Any] | None = None,
        bias: float = 0.2,
        buckets: int = 10_000,
    ) -> None:
        self.sampler = adapt(sampler)
        if not isinstance(self.sampler, Sampler):
            raise TypeError(f"LlamaTune takes a sampler such as GP(space), but {self.sampler!r} came")
        if isinstance(self.sampler, LlamaTune):
            raise TypeError("LlamaTune takes a sampler over the space, but another LlamaTune came")
        self.dimensions = whole("dimensions", dimensions, 1)
        self.buckets = whole("buckets", buckets, 2)
        if self.buckets > MOST:
            raise ValueError(f"buckets is {self.buckets}; allowed is at most {MOST}")
        if not is_finite(bias) or not 0 < bias < 1:
            raise ValueError(f"bias is {format_value(bias)}; allowed is a number between 0 and 1")
        self.bias = float(bias)
        self.special = check_special(self.sampler.space, special, self.bias)
        super().__init__(self.sampler.space, seed=self.sampler.seed)

    def describe(self) -> dict[str, Any]:
        special = {name: list(values) for name, values in self.special.items()}
        return {
            "name": type(self).__name__, "sampler": self.sampler.describe(), "dimensions": self.dimensions,
            "special": special, "bias": self.bias, "buckets": self.buckets,
        }  # fmt: skip

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        return self.sampler.repeats

    @property
    def is_endless(self) -> bool:  # type: ignore[override]
        return self.sampler.is_endless

    @property
    def chooser(self) -> Optimizer:
        return self.sampler.chooser

    @cached_property
    def projection(self) -> Projection:
        """From the low space to this one."""
        return Projection(self.space, self.dimensions, self.special, self.bias, self.buckets, self.seed)

    @cached_property
    def inner(self) -> Sampler:
        """The sampler over the low space."""
        return move_sampler(self.sampler, self.projection.low)

    # -- what is proposed --------------------------------------------------------------------------------------------

    def suggest_at(self, history: History, trial: int, until: int) -> Draft | None:
        draft = self.inner.suggest_at(self.view(history), trial, until)
        if draft is None:
            return None
        point, config = dict(draft.config), self.projection.expand(draft.config)
        if not self.inner.repeats:
            point, config = self._renew(history, trial, point, config)
        return Draft(config, {RECORD: {"point": point, "record": dict(draft.record)}}, draft.study)

    def _renew(self, history: History, trial: int, point: Config, config: Config) -> tuple[Config, Config]:
        """The point and its configuration, or others near it whose configuration was not started yet: several points may be
        one configuration. Where none is near, any point of a new configuration; where there is none, the point itself."""
        started = RowTable.of(history, self.space).started_keys(history)
        if self._key(config) not in started:
            return point, config
        rng, projection = stream(self.seed, trial, "llamatune"), self.projection
        for i in range(TRIES):
            other = projection.step(point, rng, 2 ** (1 + i // 4))
            found = projection.expand(other)
            if self._key(found) not in started and self.space.is_feasible(found):
                return other, found
        row = find_unused(self.space.domain, rng, started)
        if row is not None:
            found = self.space.decode(row)
            other_point = projection.find_point(found)
            if other_point is not None:
                found = projection.expand(other_point)
                if self._key(found) not in started and self.space.is_feasible(found):
                    return other_point, found
        return point, config

    def _key(self, config: Config) -> bytes:
        """The key (domain.keys) of a configuration."""
        return self.space.domain.keys(self.space.encode(config)[None])[0]

    def view(self, history: History) -> History:
        """The history as the inner sampler reads it."""
        header = replace(history.header, space=self.inner.space.describe(), optimizer=self.inner.describe())
        return view_of(history, f"{self.owner} {self.seed}", lambda: View(header, self._translate))

    def _translate(self, history: History, job: Job) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """The point of a trial's first job and what the inner sampler recorded; None where no point stands for it."""
        said = job.note.record.get(RECORD)
        if said is not None:
            return said["point"], said["record"]
        point = self.projection.find_point(job.config)
        return None if point is None else (point, {})

    # -- what is recommended -----------------------------------------------------------------------------------------

    def candidates(self, history: History) -> list[Key]:
        """The inner sampler's, of all results, whether a point stands for them or not."""
        return self.inner.candidates(history)


def move_sampler(sampler: Sampler, space: Space) -> Sampler:
    """A sampler with the same options over another space. ValueError where an option is a function of a configuration."""
    for name in ("cost", "prior"):
        if callable(getattr(sampler, name, None)):
            raise ValueError(f"the {name} of the {type(sampler).__name__} is a function of a configuration, but under LlamaTune "
                             f"it would be given points of few dimensions; allowed is a {type(sampler).__name__} without it")
    if is_dataclass(sampler):
        return replace(sampler, space=space)
    made = copy.copy(sampler)
    made.space = space
    return made


def check_special(space: Space, special: Mapping[str, Any] | None, bias: float) -> dict[str, tuple[Any, ...]]:
    """Special values by parameter. TypeError or ValueError that names what came and what is allowed."""
    if not isinstance(special, Mapping | None):
        raise TypeError(f"special is {format_value(special)}; allowed is a mapping such as {{'cache': 0}}")
    found = {}
    for name, given in (special or {}).items():
        spec = space.parameters.get(name)
        if not isinstance(spec, Float | Int):
            numbers = [n for n, s in space.parameters.items() if isinstance(s, Float | Int)]
            raise ValueError(f"special names {name!r}; allowed are the numbers of the space, {numbers}")
        values = tuple(spec.check(name, value) for value in (given if isinstance(given, list | tuple) else [given]))
        if not values or len(set(values)) < len(values) or bias * len(values) >= 1:
            raise ValueError(f"special has {format_value(given)} for {name!r}; allowed are different values, at least one, whose "
                             f"shares of {bias:g} leave something of the range")
        found[name] = values
    return found
