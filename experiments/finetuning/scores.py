"""What the models of several seeds score on the test texts, with bootstrap intervals over seeds and texts.

    S seeds, N test texts, D draws

Macro-F1 is drawn as in experiments/sentiment/scores.py, the mean loss by the same draws of seeds and texts. So the difference
of two arms is paired by both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.sentiment.scores import DRAWS, ScoreDraws, draw_scores, read_outcomes

MEASURES = {"macro_f1": 1, "loss": -1}  # and whether more is better; the first that a task has decides
SHOWN = {"macro_f1": "macro-F1", "loss": "loss"}


def draw_losses(losses: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """(D,) means of losses (S, N) over drawn seeds and texts. Equal S and N give equal draws."""
    seeds, texts = losses.shape
    rng = np.random.default_rng(0)
    counts = rng.multinomial(texts, np.full(texts, 1 / texts), size=draws)  # (D, N)
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)  # (D, S)
    return np.asarray(np.einsum("dn,sn,ds->d", counts, losses, chosen, optimize=True) / (seeds * texts))


def draw_lines(lines: Mapping[int, Mapping[str, Any]], seeds: Sequence[int]) -> ScoreDraws:
    """The measures of an arm's lines, by seed."""
    losses = np.array([lines[seed]["losses"] for seed in seeds])
    values, means = {"loss": draw_losses(losses)}, {"loss": float(losses.mean())}
    if "outcomes" in lines[seeds[0]]:
        outcomes = np.stack([read_outcomes(lines[seed]["outcomes"]) for seed in seeds])
        classes = len(lines[seeds[0]]["classes"])
        found = draw_scores(outcomes, classes, 0)
        values["macro_f1"], means["macro_f1"] = found.values["macro_f1"], found.means["macro_f1"]
    return ScoreDraws(values, means)


def measure_of(lines: Mapping[int, Mapping[str, Any]]) -> str:
    """The measure that decides between arms: macro-F1 where there are classes, else the loss."""
    return "macro_f1" if "outcomes" in next(iter(lines.values())) else "loss"


def find_gain(
    mine: Mapping[int, Any], others: Mapping[int, Any], seeds: Sequence[int], measure: str
) -> tuple[float, float, float]:  # fmt: skip
    """How much better one arm is than another: the mean and the 95 % interval; above zero is better, of the loss too."""
    mean, low, high = draw_lines(mine, seeds).difference(draw_lines(others, seeds), measure)
    return (mean, low, high) if MEASURES[measure] > 0 else (-mean, -high, -low)
