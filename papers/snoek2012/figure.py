"""How far the mean best loss is from the least one: online LDA by evaluations and by time, the SVM, Branin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from papers.snoek2012.methods import METHODS
from papers.snoek2012.rules import PLANS, RANDOM, SEEDS

Lines = Sequence[Mapping[str, Any]]
DAY = 86400
LEAST = {"lda": 1266.1674, "svm": 0.2411, "branin": 0.39788736}  # of the grids, and of the function
LOW = {"lda": 0.02, "svm": 3e-6, "branin": 3e-5}  # where an axis ends
COLORS = {method: f"C{i}" for i, method in enumerate(METHODS)}


def draw(lines: Lines) -> Figure:
    lines = [line for line in lines if line["seed"] < SEEDS]
    figure = Figure(figsize=(12, 8), layout="constrained")
    (lda, time), (svm, branin) = figure.subplots(2, 2)
    draw_curves(lda, lines, "lda", PLANS["lda"], "Online LDA: perplexity above the grid's least")
    draw_curves(svm, lines, "svm", PLANS["svm"], "Structured SVM: error above the grid's least")
    draw_curves(branin, lines, "branin", (*PLANS["branin"], "maximum likelihood"), "Branin: above the minimum")
    draw_time(time, lines)
    for axis, looked in ((lda, (20, 50)), (svm, (20, 50, 100)), (branin, (50,))):
        for n in looked:
            axis.axvline(n, color="0.75", linewidth=1, linestyle=":", zorder=0)
    return figure


def field_of(lines: Lines, problem: str, method: str, name: str = "best") -> np.ndarray:
    """(seeds, evaluations) a field of the lines of a method."""
    return np.array([line[name] for line in lines if (line["problem"], line["method"]) == (problem, method)])


def draw_curves(axis: Axes, lines: Lines, problem: str, methods: Sequence[str], title: str) -> None:
    """The mean over seeds, with two standard errors, by evaluations; and what random search is expected to reach."""
    for method in methods:
        found = field_of(lines, problem, method) - LEAST[problem]
        if len(found):
            mean, error = found.mean(axis=0), 2 * found.std(axis=0) / np.sqrt(len(found))
            steps = np.arange(1, len(mean) + 1)
            axis.plot(steps, mean, color=COLORS[method], label=method)
            axis.fill_between(steps, np.maximum(mean - error, LOW[problem] / 10), mean + error, color=COLORS[method], alpha=0.12,
                              linewidth=0)  # fmt: skip
    for i, (n, value) in enumerate(RANDOM.get(problem, {}).items()):
        label = "random search, exact expectation" if i == 0 else None
        axis.plot(n, value - LEAST[problem], "k^", label=label)
    axis.set(title=title, xlabel="evaluations (dotted: where the rules look)", yscale="log", ylabel="mean, 2 standard errors")
    axis.set_ylim(bottom=LOW[problem])
    axis.legend(fontsize=8.5)


def draw_time(axis: Axes, lines: Lines) -> None:
    """The same of LDA by the time that its trainings took."""
    when = np.linspace(0, 8 * DAY, 400)
    for method in PLANS["lda"]:
        best, spent = field_of(lines, "lda", method), field_of(lines, "lda", method, "spent")
        if len(best):  # a mean where every search has a first result; a search has what finished until then
            places = [np.searchsorted(one, when, side="right") - 1 for one in spent]
            found = np.array([np.where(place >= 0, one[place], np.nan) for one, place in zip(best, places, strict=True)])
            axis.plot(when / DAY, found.mean(axis=0) - LEAST["lda"], color=COLORS[method], label=method)
    plain = field_of(lines, "lda", "GP EI per second", "spent")
    if len(plain):
        axis.axvline(float(np.median(plain[:, -1])) / 2 / DAY, color="0.75", linewidth=1, linestyle=":", zorder=0)
    axis.axvline(1.5, color="0.75", linewidth=1, linestyle=":", zorder=0)
    axis.set(title="Online LDA by time", xlabel="days of training (dotted: where the rules look)", yscale="log", ylabel="mean")
    axis.set_ylim(bottom=LOW["lda"])
    axis.legend(fontsize=8.5)
