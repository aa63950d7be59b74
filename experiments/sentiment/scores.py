"""Macro-F1, accuracy and F1 of predictions, with bootstrap intervals over seeds and test texts.

    S seeds, N test texts, C classes, D draws

An interval draws seeds and, independently, texts with replacement: it says how much another search and another test set of the
same kinds would change the mean over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.classify.scores import accuracy, f1_by_class, macro_f1

DRAWS = 2000
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def write_outcomes(truth: np.ndarray, predicted: np.ndarray, classes: int) -> str:
    """One letter a text: its class and what it was taken for. ValueError for more than five classes."""
    if classes**2 > len(LETTERS):
        raise ValueError(f"{classes} classes are more than letters hold")
    return "".join(LETTERS[i] for i in truth * classes + predicted)


def read_outcomes(text: str) -> np.ndarray:
    """(N,) class x C + prediction, of each text."""
    return np.array([LETTERS.index(letter) for letter in text])


@dataclass(frozen=True)
class ScoreDraws:
    """Bootstrap confusions (D, C, C), each the mean over drawn seeds; those of two arms pair by their draws."""

    values: Mapping[str, np.ndarray]  # (D,) by score
    means: Mapping[str, float]

    def interval(self, score: str) -> tuple[float, float]:
        """The 95 % percentile interval."""
        low, high = np.quantile(self.values[score], [0.025, 0.975])
        return float(low), float(high)

    def difference(self, other: ScoreDraws, score: str = "macro_f1") -> tuple[float, float, float]:
        """Mean and 95 % interval of this less the other, on the same draws."""
        low, high = np.quantile(self.values[score] - other.values[score], [0.025, 0.975])
        return self.means[score] - other.means[score], float(low), float(high)


def draw_scores(outcomes: np.ndarray, classes: int, positive: int, draws: int = DRAWS) -> ScoreDraws:
    """Scores of bootstrap draws from outcomes (S, N). Equal S and N give equal draws, so that differences pair."""
    seeds, texts = outcomes.shape
    rng = np.random.default_rng(0)
    counts = rng.multinomial(texts, np.full(texts, 1 / texts), size=draws).T  # (N, D)
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)  # (D, S)
    kinds = np.arange(classes**2)[:, None]
    values: dict[str, np.ndarray] = {}
    means: dict[str, float] = {}
    by_seed = np.stack([((row == kinds) @ counts).T for row in outcomes]).reshape(seeds, draws, classes, classes)
    whole = np.stack([np.bincount(row, minlength=classes**2) for row in outcomes]).reshape(seeds, classes, classes)
    for name, found in (("drawn", by_seed), ("whole", whole)):
        scores = {"macro_f1": macro_f1(found), "accuracy": accuracy(found), "f1": f1_by_class(found)[..., positive]}
        if name == "drawn":
            values = {score: np.einsum("sd,ds->d", one, chosen) / seeds for score, one in scores.items()}
        else:
            means = {score: float(one.mean()) for score, one in scores.items()}
    return ScoreDraws(values, means)


def learned_nothing(outcomes: np.ndarray, classes: int, majority: int) -> str | None:
    """Why models with outcomes (S, N) count as having learned nothing; None if they have learned something.

    Either each of them predicts one class only, or the interval of their macro-F1 less that of always saying `majority`, over
    seeds and texts, is not above zero.
    """
    if all(len({*(row % classes).tolist()}) == 1 for row in outcomes):
        return "one class predicted"
    always = outcomes // classes * classes + majority
    difference, low, _ = draw_scores(outcomes, classes, 0).difference(draw_scores(always, classes, 0))
    return None if low > 0 else f"not above the majority class: {difference:+.3f}, at least {low:+.3f}"
