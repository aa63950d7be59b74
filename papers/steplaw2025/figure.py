"""Left: what the law and ten random points lose, by task. Right: how little a short training says of a long one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter


def draw(lines: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    tasks = [line for line in lines if "d" in line]
    ratio = [line["d"] / line["n"] for line in tasks]
    excess = [line["excess"] for line in tasks]
    left.scatter(ratio, [line["random"] for line in tasks], marker="s", color="0.6", label="best of 10 random points, expected")
    left.scatter(ratio, excess, color="C0", label="the law's grid point")
    left.axhline(float(np.mean(excess)), color="C0", linewidth=1, linestyle="--")
    left.set(xscale="log", xlabel="tokens a parameter", ylabel="% above the best loss", title="The law against the grid's best")
    left.legend(frameon=False)
    pairs = [line for line in lines if "low" in line]
    for n in sorted({line["n"] for line in pairs}):
        mine = sorted((line["high"] / line["low"], line["correlation"]) for line in pairs if line["n"] == n)
        right.plot(*zip(*mine, strict=True), "o", label=f"{n / 1e9:.2f} B parameters")
    right.axhline(0, color="0.8", linewidth=1)
    right.set(xscale="log", xlabel="times as many tokens", ylabel="rank correlation", title="The same settings, more tokens")
    right.legend(frameon=False)
    for axis, ticks in ((left, (20, 50, 100, 200, 500)), (right, (1, 2, 5, 10, 25))):
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.xaxis.set_minor_formatter(NullFormatter())
    return figure
