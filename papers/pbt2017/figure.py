"""Left: where the two workers went, one seed a method, over the contours of Q. Right: the best Q by step, over all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from papers.pbt2017.claims import EVERY
from papers.pbt2017.toy import METHODS, START


def draw(lines: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    axes = figure.subplots(1, len(METHODS) + 1, width_ratios=[1] * len(METHODS) + [1.7])
    grid = np.linspace(0, 1, 60)
    for axis, method in zip(axes, METHODS, strict=False):
        axis.contour(grid, grid, 1.2 - grid**2 - grid[:, None] ** 2, levels=8, colors="0.85", linewidths=0.8)
        path = next((np.array(line["paths"]) for line in lines if line["method"] == method and "paths" in line), None)
        if path is not None:
            axis.scatter(*path.T, c=np.arange(len(path)) // 2, cmap="viridis", s=9, zorder=2)
        axis.plot(START, START, "k+", markersize=9)
        axis.set(title=method, xlim=(-0.02, 1), ylim=(-0.02, 1), xlabel="theta 0", xticks=[0, 1], yticks=[0, 1])
        axis.set_aspect("equal")
    for i, method in enumerate(METHODS):
        curves = np.array([line["best"] for line in lines if line["method"] == method])
        if len(curves):
            steps = EVERY * np.arange(1, curves.shape[1] + 1)
            axes[-1].plot(steps, curves.mean(axis=0), color=f"C{i}", label=method)
            axes[-1].fill_between(steps, *np.quantile(curves, [0.1, 0.9], axis=0), color=f"C{i}", alpha=0.15, linewidth=0)
    axes[-1].axhline(1.2, color="0.8", linewidth=1, linestyle="--")
    axes[-1].set(title="best Q: mean, and 80 % of the seeds", xlabel="step")
    axes[-1].legend(frameon=False, loc="lower right")
    return figure
