"""Choices without order: independent probabilities that follow the natural gradient, as in CatCMA.

Source: Hamano, Saito, Nomura, Uchida, Shirakawa 2024, "CatCMA: stochastic optimization for mixed-category problems",
arXiv:2405.09962; the step size by ASNG (Akimoto et al. 2019, "Adaptive stochastic natural gradient method for one-shot
neural architecture search", Algorithm 1 and appendix B). Faithful: the update, its adaptation and the margin. What differs
is beside it: the numbers are adapted by the whole of CMA-ES, negative weights included, where CatCMA has positive ones only.

Notation     k columns of K_1 ... K_k >= 2 choices     q: one vector of probabilities a column     C (lam, k) indices, best first
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

SIGNAL = 1.5  # ASNG's alpha: how much longer than by chance the path of the gradient has to be for the step to grow
KEEP = 0.73  # CatCMA: with this probability no column draws a choice by its margin alone
SMALL = 1e-30


@dataclass(frozen=True, eq=False)
class Choices:
    """Probabilities of the choices of k >= 1 columns, and the state of the step size."""

    q: tuple[np.ndarray, ...]
    s: np.ndarray  # (sum K - k,) the path of the gradient
    gamma: float = 0.0
    spread: float = 1.0  # ASNG's Delta: the inverse of the step size
    step: float = 1.0

    @classmethod
    def begin(cls, sizes: Sequence[int], q: Sequence[np.ndarray] | None = None) -> Choices:
        """The first state: uniform, or the probabilities given."""
        start = [np.full(size, 1.0 / size) for size in sizes] if q is None else q
        return cls(tuple(np.array(p, dtype=float) for p in start), np.zeros(sum(sizes) - len(sizes)))

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, k) indices."""
        U = rng.random((count, len(self.q)))
        drawn = [np.searchsorted(np.cumsum(p)[:-1], u, side="right") for p, u in zip(self.q, U.T, strict=True)]
        return np.column_stack(drawn)

    def update(self, C: np.ndarray, weights: np.ndarray) -> Choices:
        """The state behind a generation of indices C (lam, k), the best first, with weights (lam,) that sum to 1."""
        slopes = [np.bincount(column, weights, len(p)) - p for column, p in zip(C.T, self.q, strict=True)]
        white = np.concatenate([_whiten(p, slope) for p, slope in zip(self.q, slopes, strict=True)])
        length = float(np.sqrt(white @ white)) + SMALL
        q = tuple(p + self.step / length * slope for p, slope in zip(self.q, slopes, strict=True))
        step = 1.0 / self.spread
        beta = step / np.sqrt(len(self.s))
        s = (1 - beta) * self.s + np.sqrt(beta * (2 - beta)) * white / length
        gamma = (1 - beta) ** 2 * self.gamma + beta * (2 - beta)
        spread = self.spread * float(np.exp(beta * (gamma - s @ s / SIGNAL)))
        return replace(self, q=with_margin(q), s=s, gamma=gamma, spread=spread, step=step)


def _whiten(p: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(K - 1,) a column's gradient, multiplied by the root of the Fisher information (Akimoto et al. 2019, appendix B)."""
    root = np.sqrt(p[:-1])
    return np.asarray(slope[:-1] / root + root * slope[:-1].sum() / (p[-1] + np.sqrt(p[-1])))


def with_margin(q: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Probabilities of which none is below (1 - 0.73^(1/k)) / (K - 1), and which sum to 1."""
    share = 1.0 - KEEP ** (1.0 / len(q))
    found = []
    for p in q:
        least = share / (len(p) - 1)
        p = np.maximum(p, least)
        p = p - (p.sum() - 1.0) * (p - least) / (p.sum() - least * len(p))
        found.append(p / p.sum())
    return tuple(found)
