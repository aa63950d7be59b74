"""Above: four functions by evaluations. Below: where EI has no gradient, and the stall with its causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from papers.logei2023.claims import SEEDS, curves_of
from papers.logei2023.methods import METHODS, POINTS

Lines = Sequence[Mapping[str, Any]]
COLORS = dict(zip(METHODS, ("C0", "C1", "C2", "C4"), strict=True))


def draw(lines: Lines) -> Figure:
    figure = Figure(figsize=(12, 7.4), layout="constrained")
    axes = figure.subplots(2, 3)
    first, later = ([line for line in lines if (line.get("seed", 0) >= SEEDS) == fresh] for fresh in (False, True))
    draw_regret(axes[0, 0], first, ("EI", "log EI"), "Sum of squares, d = 10: EI stalls")
    draw_regret(axes[1, 0], later, tuple(METHODS), "Other seeds, and EI climbed in other ways")
    titles = {"ackley 8": "Ackley, d = 8", "ackley 16": "Ackley, d = 16", "michalewicz 16": "Michalewicz, d = 16"}
    for axis, (panel, title) in zip((axes[0, 1], axes[0, 2], axes[1, 1]), titles.items(), strict=True):
        draw_values(axis, first, panel, title)
    draw_gradients(axes[1, 2], lines)
    return figure


def draw_regret(axis: Axes, lines: Lines, methods: Sequence[str], title: str) -> None:
    """The geometric mean of the regret, and two standard errors."""
    for method in methods:
        found = curves_of(lines, "squares 10", method)
        if len(found):
            steps, logs = np.arange(1, found.shape[1] + 1), np.log10(np.maximum(found, 1e-300))
            mean, error = logs.mean(axis=0), 2 * logs.std(axis=0) / np.sqrt(len(logs))
            axis.plot(steps, 10**mean, color=COLORS[method], label=f"{method}: {10 ** mean[-1]:.1e}")
            axis.fill_between(steps, 10 ** (mean - error), 10 ** (mean + error), color=COLORS[method], alpha=0.2, linewidth=0)
    axis.axvline(75, color="0.7", linewidth=1, linestyle=":")
    axis.text(77, 0.5, "75, where EI\nstalls in the paper", fontsize=8, va="center")
    axis.set(title=title, xlabel="evaluations", yscale="log", ylabel="regret, geometric mean", ylim=(1e-7, 3))
    axis.legend(fontsize=8, loc="lower left", title="at 200 evaluations", alignment="left")


def draw_values(axis: Axes, lines: Lines, panel: str, title: str) -> None:
    """The mean of the lowest value, and two standard errors."""
    for method in ("EI", "log EI"):
        found = curves_of(lines, panel, method)
        if len(found):
            steps, mean, error = np.arange(1, found.shape[1] + 1), found.mean(axis=0), 2 * found.std(axis=0) / np.sqrt(len(found))
            axis.plot(steps, mean, color=COLORS[method], label=f"{method}: {mean[-1]:.3g} ± {error[-1]:.2g}")
            axis.fill_between(steps, mean - error, mean + error, color=COLORS[method], alpha=0.2, linewidth=0)
    axis.set(title=title, xlabel="evaluations", ylabel="lowest value, mean of 32 seeds")
    axis.legend(fontsize=8, title="at 250 evaluations", alignment="left")


def draw_gradients(axis: Axes, lines: Lines) -> None:
    """The share of the cube without a gradient, by the number of points that the model has."""
    for i, d in enumerate((2, 8, 16)):
        mine = [line for line in lines if line["part"] == "gradients" and line["d"] == d]
        if mine:
            shares = {name: 100 * np.mean([line[name] for line in mine], axis=0) for name in ("EI", "log EI")}
            axis.plot(POINTS, shares["EI"], "o-", color=f"C{i}", markersize=5, label=f"EI, d = {d}")
            axis.plot(POINTS, shares["log EI"], "x", color="k", label="log EI, any d" if i == 2 else None)
    axis.set(title="Where the gradient is below 1e-10", xlabel="random points of Ackley in the model", xscale="log",
             ylabel="% of the domain", ylim=(-3, 103))  # fmt: skip
    axis.set_xticks(POINTS, [str(n) for n in POINTS])
    axis.minorticks_off()
    axis.legend(fontsize=8)
