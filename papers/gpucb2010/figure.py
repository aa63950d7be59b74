"""Left: the average regret of the methods, mean and standard error over functions. Right: R_T against the bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from papers.gpucb2010.claims import FRESH
from papers.gpucb2010.methods import CHECKPOINTS, METHODS, NOISE, beta


def draw(lines: Sequence[Mapping[str, Any]]) -> Figure:
    lines = [line for line in lines if line["seed"] >= FRESH]
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    t = np.array(CHECKPOINTS)
    curves = {method: np.array([line["average_regret"] for line in lines if line["method"] == method]) for method in METHODS}
    curves = {method: found for method, found in curves.items() if len(found)}
    for method in sorted(curves, key=lambda method: -curves[method][:, -1].mean()):  # the legend in the order of the curves
        mean, error = curves[method].mean(axis=0), curves[method].std(axis=0) / math.sqrt(len(curves[method]))
        dashes = (0, (3, 3)) if method == "mean only" else "-"  # it lies on the most probable improvement
        left.errorbar(t, mean, error, color=f"C{list(METHODS).index(method)}", marker="o", markersize=3.5, linewidth=1.6,
                      linestyle=dashes, label=f"{method}: {mean[-1]:.3f}")  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="evaluations T", ylabel="average regret R_T / T",
             title="Average regret, mean and standard error of 30 functions")  # fmt: skip
    left.legend(fontsize=8.5, title="at T = 1000", loc="lower left", alignment="left")
    for line in lines:
        if line["method"] == "GP-UCB":
            right.plot(t, t * np.array(line["average_regret"]), color="C0", alpha=0.35, linewidth=1)
        elif line["method"] == "variance only":
            scale = np.array([beta(int(step)) * step for step in t]) * 8 / math.log(1 + 1 / NOISE)
            right.plot(t, np.sqrt(scale * np.array(line["information"])), color="k", linewidth=1.2)
    right.text(100, 560, "bound of theorem 1", rotation=29, ha="center", va="center")
    right.text(100, 21, "regret of GP-UCB, each function", color="C0", ha="center")
    right.set(xscale="log", yscale="log", xlabel="evaluations T", ylabel="regret R_T", title="The regret and its bound")
    for axis in (left, right):
        axis.set_xticks(t, [str(one) for one in t])
        axis.xaxis.set_minor_locator(NullLocator())
    return figure
