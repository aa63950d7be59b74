"""Left: where the two workers went, one seed a method, over the contours of Q. Right: the best Q by step, and at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from papers.pbt2017.claims import ASKED, ends_of
from papers.pbt2017.toy import EVERY, METHODS, SEEDS, START
from papers.statistics import mean_of

Lines = Sequence[Mapping[str, Any]]
PUBLISHED = {"PBT": 1.16, "exploit only": 1.17, "explore only": 0.84, "grid": 0.3897}
COLORS = {"PBT": "C0", "exploit only": "C1", "explore only": "C2", "grid": "C3"}  # readings of one method share its color

DASHES: dict[str, Any] = {"exploit only": (0, (2, 2)), "explore only, h >= 0": ":"}  # the first lies on the grid's curve
LEGEND = "From dark to light:\ntwo workers, one dot\nevery 5 of 200 steps.\n\n+ where both begin.\n\nThe top of Q is (0, 0)."


def kind_of(method: str) -> str:
    """The method of the figure of which this is a reading."""
    return method.partition(",")[0]


def draw(lines: Lines) -> Figure:
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    spec = figure.add_gridspec(4, 6)
    paths = {line["method"]: np.array(line["paths"]) for line in lines if "paths" in line}
    for i, method in enumerate(paths):
        draw_path(figure.add_subplot(spec[2 * (i // 4) : 2 * (i // 4) + 2, i % 4]), method, paths[method])
    text = figure.add_subplot(spec[2:, 3])
    text.text(0, 0.5, LEGEND, va="center", fontsize=9)
    text.set_axis_off()
    curves = figure.add_subplot(spec[:2, 4:])
    for method in METHODS:
        found = np.array([line["best"] for line in lines if line["method"] == method])
        if len(found):
            steps = EVERY * np.arange(1, found.shape[1] + 1)
            dashes = DASHES.get(method, "--" if "," in method else "-")
            curves.plot(steps, np.median(found, axis=0), color=COLORS[kind_of(method)], linestyle=dashes, label=method)
    curves.set(title="Best Q of the two, median", xlabel="step", ylim=(-1.15, 1.25))
    curves.legend(loc="lower right", fontsize=7)
    draw_ends(figure.add_subplot(spec[2:, 4:]), lines)
    return figure


def draw_path(axis: Axes, method: str, path: np.ndarray) -> None:
    """Where two workers went in the plane of theta, from dark to light."""
    grid = np.linspace(0, 1, 60)
    axis.contour(grid, grid, 1.2 - grid**2 - grid[:, None] ** 2, levels=8, colors="0.85", linewidths=0.8)
    axis.scatter(path[:, 0], path[:, 1], c=np.arange(len(path)) // 2, cmap="viridis", s=8, zorder=2)
    axis.plot(START, START, "k+", markersize=9)
    axis.set(xlim=(-0.02, 1), ylim=(-0.02, 1), xticks=[0, 1], yticks=[0, 1], xlabel="theta0", ylabel="theta1")
    axis.set_title(method, fontsize=10, color=COLORS[kind_of(method)])
    axis.set_aspect("equal")


def draw_ends(axis: Axes, lines: Lines) -> None:
    """The mean of the best Q after 200 steps with its 95 % interval, over the seeds that judge it, beside what was published."""
    methods = sorted(METHODS, key=lambda method: (list(COLORS).index(kind_of(method)), len(method)))
    for i, method in enumerate(methods):
        judged = [line for line in lines if (line["seed"] >= SEEDS) == (method in ASKED)]
        ends, color = ends_of(judged, method), COLORS[kind_of(method)]
        if len(ends) > 1:
            mean = mean_of(ends)
            axis.plot([mean.low, mean.high], [i, i], color=color, linewidth=2)
        if ends:
            axis.plot(np.mean(ends), i, "o", color=color, label="ours, mean and 95 % interval" if i == 0 else None)
        axis.plot(PUBLISHED[kind_of(method)], i, "x", color="k", markersize=8, label="published" if i == 0 else None)
    axis.set_yticks(range(len(methods)), methods, fontsize=8)
    axis.set(title="Q after 200 steps", xlim=(-1.6, 1.35), ylim=(len(methods) - 0.4, -0.6))
    axis.legend(fontsize=8, loc="upper left")
