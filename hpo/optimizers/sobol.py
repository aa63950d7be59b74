"""Quasi-random search: Sobol's sequence, scrambled (Sobol 1967; Owen 1998)."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from hpo.history import History
from hpo.optimizer import Draft, Sampler
from hpo.rng import stream
from hpo.space import Config
from surrogates.unused import find_unused

SKIPS = 10_000  # points of the sequence in a row that may be passed over
BLOCK = 50  # of them are computed at a time; SKIPS is a multiple


@dataclass(eq=False)
class Sobol(Sampler):
    """Scrambled Sobol points (Owen 1998), in order; infeasible points are passed over.

    The position in the sequence is recorded in the note, so any number of workers gets the same points. Where few points
    are feasible, random feasible points are used instead.
    """

    def sample(self, history: History, trial: int) -> Config | None:
        draft = self.suggest(history, trial)
        return None if draft is None else draft.config

    def suggest(self, history: History, trial: int) -> Draft | None:
        draft = self.next_point(history)
        if draft is None:
            raise ValueError(
                "no feasible configuration was found by a Sobol sequence or at random; loosen the constraints of the space"
            )
        return draft

    def next_point(self, history: History, besides: Collection[bytes] = ()) -> Draft | None:
        """The next feasible point whose key (domain.keys) is not among `besides`: of the sequence, or after SKIPS points in
        vain, or where few are feasible, a random one; None where that finds none."""
        domain = self.space.domain
        first = 1 + history.highest.get("sobol", -1)
        if domain.is_rare:
            return self._random(first, besides)
        for index in range(first, first + SKIPS, BLOCK):
            rows = self.rows(index, BLOCK)
            for i, key in enumerate(domain.keys(rows)):
                if key not in besides and bool(domain.is_feasible(rows[i : i + 1])[0]):
                    return Draft(self.space.decode(rows[i]), {"sobol": index + i})
        return self._random(first, besides)

    def _random(self, index: int, besides: Collection[bytes]) -> Draft | None:
        """A random feasible point in the place of the sequence's point `index`."""
        row = find_unused(self.space.domain, stream(self.seed, index, "sobol besides"), besides)
        return None if row is None else Draft(self.space.decode(row), {"sobol": index})

    def rows(self, index: int, count: int) -> np.ndarray:
        """(count, d) points index, index + 1, ... of the sequence as rows of the domain."""
        from scipy.stats import qmc  # here, because importing it takes a third of a second

        domain = self.space.domain
        engine = qmc.Sobol(len(domain.kinds), scramble=True, rng=stream(self.seed, 0, "sobol"))
        if index:
            engine.fast_forward(index)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a part of the sequence is no balanced block, and need not be
            u = engine.random(count)
        return domain.snap(domain.from_unit(u))
