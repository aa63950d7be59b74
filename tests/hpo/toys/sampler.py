"""A sampler as somebody writes it on the first day: of a few random points the one nearest to the best so far."""

import numpy as np

from hpo.rng import stream


class Nearby:
    def __init__(self, space, seed=0, points=4):
        self.space, self.seed, self.points = space, seed, points

    def sample(self, history, trial):
        rows = self.space.domain.random(stream(self.seed, trial, "nearby"), self.points)
        best = next(history.ranking(history.header.horizon), None)
        if best is None:
            return self.space.decode(rows[0])
        there = self.space.encode(history.jobs[best].config)
        return self.space.decode(min(rows, key=lambda row: np.nansum((row - there) ** 2)))
