"""Random search (Bergstra and Bengio 2012) and Sobol's sequence."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from hpo.history import History
from hpo.optimizer import Draft, Sampler
from hpo.rng import stream
from hpo.space import Config

SKIPS = 10_000  # points of the sequence in a row that may be infeasible


@dataclass(eq=False)
class Random(Sampler):
    """Independent draws, uniform over every range (log-uniform where it is logarithmic) and every choice."""

    def sample(self, history: History, trial: int) -> Config | None:
        return self.space.decode(self.space.domain.random(stream(self.seed, trial, "random"), 1)[0])


@dataclass(eq=False)
class Sobol(Sampler):
    """Scrambled Sobol points (Owen 1998), in order; infeasible points are passed over.

    The position in the sequence stands in the note, so any number of workers walks the same points.
    """

    def sample(self, history: History, trial: int) -> Config | None:
        draft = self.suggest(history, trial)
        return None if draft is None else draft.config

    def suggest(self, history: History, trial: int) -> Draft | None:
        draft = self.next(history, SKIPS)
        if draft is None:
            raise ValueError(f"no feasible configuration among {SKIPS} Sobol points; loosen the constraints of the space")
        return draft

    def next(self, history: History, skips: int, besides: Collection[bytes] = ()) -> Draft | None:
        """The next feasible point whose key (domain.keys) is not among `besides`; None if `skips` points hold none."""
        domain = self.space.domain
        first = 1 + max((job.note.get("sobol", -1) for job in history.jobs.values()), default=-1)
        for index in range(first, first + skips):
            row = self.row(index)
            if bool(domain.ok(row[None, :])[0]) and domain.keys(row[None, :])[0] not in besides:
                return Draft(self.space.decode(row), {"sobol": index})
        return None

    def row(self, index: int) -> np.ndarray:
        """(d,) point `index` of the sequence as a row of the domain."""
        domain = self.space.domain
        engine = qmc.Sobol(len(domain.kinds), scramble=True, rng=stream(self.seed, 0, "sobol"))
        if index:
            engine.fast_forward(index)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one point at a time is no balanced block, and need not be
            u = engine.random(1)[0]
        return domain.snap(domain.from_unit(u[None, :]))[0]
