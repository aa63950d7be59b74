"""Another part of the space: where the best result differs in one parameter.

Expected improvement over the best of all results refines one basin to the last digit before it explores another, and many
results in that basin make the model too certain of the rest. Some proposals are therefore compared with the best result *of
another part*: another branch of the conditions, or rows that are far away along one column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surrogates import Domain

REACH = 0.25  # of a numeric column's range: how far away another part begins
TRIES = 64  # rows drawn to see whether a part has a feasible one


@dataclass(frozen=True)
class Part:
    """Rows (n, d) that differ from `at` in a column: another choice, a number farther away than `reach`, or inactive."""

    column: int
    at: float
    reach: float

    def contains(self, X: np.ndarray) -> np.ndarray:
        """(n,) bool."""
        x = X[:, self.column]
        return np.asarray(np.isnan(x) | (np.abs(x - self.at) > self.reach))

    def of(self, domain: Domain) -> Domain:
        """The domain with no other rows feasible."""
        return domain.narrow(self.contains)


def another_part(domain: Domain, best: np.ndarray, rng: np.random.Generator) -> Part | None:
    """A part that excludes the row best (d,); None where no feasible row was found in it.

    Along a random column, half of the time a choice if there is one: another branch has basins of its own.
    """
    columns = [c for c in range(domain.d) if not np.isnan(best[c]) and domain.sizes[c] != 1]
    choices = [c for c in columns if domain.categorical[c]]
    if not columns:
        return None
    c = int(rng.choice(choices if choices and rng.random() < 0.5 else columns))
    if domain.categorical[c]:
        reach = 0.0
    else:
        ends = np.array([0.0, 1.0]) if domain.floats[c] else domain.values(c)[[0, -1]]
        reach = min(REACH, 0.99 * float(np.abs(ends - best[c]).max()))
    part = Part(c, float(best[c]), reach)
    return part if len(part.of(domain).try_rows(rng, TRIES)) else None
