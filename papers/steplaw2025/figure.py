"""Left: what the law and ten random points lose, by task. Right: how little a short training says of a long one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

PUBLISHED = 0.09  # percent, the paper's abstract


def draw(lines: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    tasks = sorted((line for line in lines if "d" in line), key=lambda line: (line["n"], line["d"]))
    names = [f"{line['n'] / 1e9:.2f} B, {line['d'] / 1e9:.3g} B" for line in tasks]
    excess, random = (np.array([line[name] for line in tasks]) for name in ("excess", "random"))
    place = np.arange(len(tasks))
    left.hlines(place, excess, random, color="0.85", linewidth=2, zorder=1)
    left.scatter(random, place, marker="s", s=26, color="0.6", label=f"best of 10 random points: mean {random.mean():.2f} %")
    left.scatter(excess, place, s=34, color="C0", label=f"the law's grid point: mean {excess.mean():.3f} %")
    left.axvline(PUBLISHED, color="C3", linewidth=1.2, linestyle="--", label=f"published for the law: {PUBLISHED} %")
    left.set_yticks(place, names, fontsize=8)
    left.set(xlabel="% above the best loss of the grid", ylabel="parameters, tokens",
             title="What the law loses, on each of 17 tasks", xlim=(-0.02, 0.62), ylim=(len(tasks) + 3.4, -0.7))  # fmt: skip
    left.legend(loc="lower right", fontsize=8.5)
    pairs = [line for line in lines if "low" in line]
    for n in sorted({line["n"] for line in pairs}):
        mine = sorted((line["high"] / line["low"], line["correlation"]) for line in pairs if line["n"] == n)
        right.plot(*zip(*mine, strict=True), "o", label=f"{n / 1e9:.2f} B parameters")
    right.axhline(0, color="0.8", linewidth=1)
    far = max(pairs, key=lambda line: line["high"] / line["low"])
    right.annotate(f"4 B against 100 B tokens: {far['correlation']:.2f}", (far["high"] / far["low"], far["correlation"]),
                   (1.15, 0.08), arrowprops={"arrowstyle": "-", "color": "0.5"}, va="center")  # fmt: skip
    right.set(xscale="log", xlabel="the longer training has so many times the tokens", ylabel="rank correlation of the losses",
              title="The same settings, trained shorter and longer")  # fmt: skip
    right.legend(fontsize=8.5)
    right.set_xticks((1, 2, 5, 10, 25), ["1", "2", "5", "10", "25"])
    right.xaxis.set_minor_locator(NullLocator())
    return figure
