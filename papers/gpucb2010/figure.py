"""Left: the average regret of the six methods, mean and standard error over functions. Right: R_T against the bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from papers.gpucb2010.methods import CHECKPOINTS, METHODS, NOISE, beta


def draw(lines: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    t = np.array(CHECKPOINTS)
    for i, method in enumerate(METHODS):
        found = np.array([line["average_regret"] for line in lines if line["method"] == method])
        if len(found):
            mean, error = found.mean(axis=0), found.std(axis=0) / math.sqrt(len(found))
            dashes = "--" if method == "mean only" else "-"  # it lies on the most probable improvement
            left.errorbar(t, mean, error, color=f"C{i}", marker="o", markersize=3, linewidth=1.4, linestyle=dashes, label=method)
    left.set(xscale="log", yscale="log", xlabel="T", title="average regret, R_T / T")
    left.legend(frameon=False, fontsize=8)
    for line in lines:
        if line["method"] == "GP-UCB":
            right.plot(t, t * np.array(line["average_regret"]), color="C0", alpha=0.35, linewidth=1)
        elif line["method"] == "variance only":
            scale = np.array([beta(int(step)) * step for step in t]) * 8 / math.log(1 + 1 / NOISE)
            right.plot(t, np.sqrt(scale * np.array(line["information"])), color="k", alpha=0.35, linewidth=1)
    right.plot([], [], color="C0", label="R_T of GP-UCB, every function")
    right.plot([], [], color="k", label="bound of theorem 1")
    right.set(xscale="log", yscale="log", xlabel="T", title="regret and its bound")
    right.legend(frameon=False, fontsize=8)
    return figure
