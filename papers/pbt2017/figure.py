"""Left: where the two workers went, one seed a method, over the contours of Q. Right: the best Q by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from papers.pbt2017.toy import EVERY, METHODS, START


def draw(lines: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    spec = figure.add_gridspec(2, 6)
    for i, method in enumerate(METHODS):
        axis = figure.add_subplot(spec[i // 4, i % 4])
        path = next((np.array(line["paths"]) for line in lines if line["method"] == method and "paths" in line), None)
        draw_path(axis, method, path)
    best = figure.add_subplot(spec[:, 4:])
    for i, method in enumerate(METHODS):
        curves = np.array([line["best"] for line in lines if line["method"] == method])
        if len(curves):
            steps = EVERY * np.arange(1, curves.shape[1] + 1)
            best.plot(steps, np.median(curves, axis=0), color=f"C{i}", linestyle="--" if i > 3 else "-", label=method)
    best.axhline(1.2, color="0.8", linewidth=1, linestyle=":")
    best.set(title="best Q, median of the seeds", xlabel="step", ylim=(-0.4, 1.25))
    best.legend(frameon=False, loc="lower right", fontsize=8)
    return figure


def draw_path(axis: Axes, method: str, path: np.ndarray | None) -> None:
    """Where two workers went in the plane of theta, from dark to light."""
    grid = np.linspace(0, 1, 60)
    axis.contour(grid, grid, 1.2 - grid**2 - grid[:, None] ** 2, levels=8, colors="0.85", linewidths=0.8)
    if path is not None:
        axis.scatter(path[:, 0], path[:, 1], c=np.arange(len(path)) // 2, cmap="viridis", s=7, zorder=2)
    axis.plot(START, START, "k+", markersize=9)
    axis.set(xlim=(-0.02, 1), ylim=(-0.02, 1), xticks=[0, 1], yticks=[0, 1])
    axis.set_title(method, fontsize=9)
    axis.set_aspect("equal")
