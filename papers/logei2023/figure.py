"""Left: the sum of squares. Middle: Ackley in 16 dimensions. Right: where EI has no gradient, by the number of points told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from papers.logei2023.claims import curves_of
from papers.logei2023.methods import METHODS, POINTS


def draw(lines: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, panel, title in zip(axes, ("squares 10", "ackley 16"), ("sum of squares, d = 10", "Ackley, d = 16"), strict=False):
        for i, method in enumerate(METHODS):
            found = curves_of(lines, panel, method)
            if not len(found):
                continue
            steps, logs = np.arange(1, found.shape[1] + 1), np.log10(np.maximum(found, 1e-300))
            mean, error = logs.mean(axis=0), 2 * logs.std(axis=0) / np.sqrt(len(logs))
            axis.plot(steps, 10**mean, color=f"C{i}", label=method)
            axis.fill_between(steps, 10 ** (mean - error), 10 ** (mean + error), color=f"C{i}", alpha=0.2, linewidth=0)
        axis.set(title=title, xlabel="evaluations", yscale="log", ylabel="regret, geometric mean, 2 standard errors")
        axis.legend(frameon=False, fontsize=8)
    for i, d in enumerate((2, 8, 16)):
        mine = [line for line in lines if line["part"] == "gradients" and line["d"] == d]
        if mine:
            axes[2].plot(POINTS, np.mean([line["EI"] for line in mine], axis=0), "o-", color=f"C{i}", label=f"EI, d = {d}")
            axes[2].plot(POINTS, np.mean([line["log EI"] for line in mine], axis=0), "x:", color=f"C{i}")
    axes[2].set(title="share with |gradient| < 1e-10", xlabel="random points told", xscale="log")
    axes[2].set_ylim(-0.03, 1.03)
    axes[2].legend(frameon=False, fontsize=8, title="dotted: log EI")
    return figure
