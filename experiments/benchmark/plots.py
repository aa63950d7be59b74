"""The benchmark's figures: regret by evaluations, mean ranks by evaluations, the critical-difference diagram.

Colours are Okabe and Ito's without the yellow, which is lost on white; methods beyond them get dashes. Ours is thick and
blue, random search grey.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.benchmark.collected import OURS, Collected, is_variant, kind
from experiments.benchmark.ranking import Ranking
from experiments.benchmark.ranks import Floats, Friedman, cliques
from experiments.benchmark.summary import quantile
from surrogates.style import BLUE, GREEN, GREY, INK, MUTED, ORANGE, STYLE

NAMES = ("curves", "ranks", "critical")
COLOURS = (ORANGE, GREEN, "#cc79a7", "#e69f00", INK, "#56b4e9")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
COLUMNS, DPI = 4, 100


def draw_figures(found: Collected, ranking: Ranking | None) -> dict[str, bytes]:
    """Each figure for which there is something to show, as PNG, 1400 pixels wide."""
    with matplotlib.rc_context({**STYLE, "font.size": 11}):
        made = {"curves": regret_curves(found)}
        if ranking is not None:
            made["ranks"] = rank_progress(ranking)
            if ranking.friedman[0] is not None:
                made["critical"] = draw_critical_difference(ranking.methods, ranking.friedman[0])
        return {name: png(figure) for name, figure in made.items()}


def png(figure: Figure) -> bytes:
    """The figure's file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def line_styles(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, dashes and width of every method."""
    made: dict[str, dict[str, Any]] = {}
    place = 0
    for method in methods:
        if method == OURS:
            made[method] = {"color": BLUE, "linewidth": 3.0, "zorder": 5}
        elif is_variant(method):
            dashes = DASHES[1:][sum(map(is_variant, made)) % 2]
            made[method] = {"color": BLUE, "linewidth": 1.6, "linestyle": dashes, "zorder": 4}
        elif method == "random":
            made[method] = {"color": GREY, "linewidth": 1.5, "linestyle": DASHES[1], "zorder": 2}
        else:
            round_, colour = divmod(place, len(COLOURS))
            dashes = DASHES[round_ % len(DASHES)]
            made[method] = {"color": COLOURS[colour], "linewidth": 1.5, "linestyle": dashes, "zorder": 3}
            place += 1
    return made


# -- regret ------------------------------------------------------------------------------------------------------------


def regret_curves(found: Collected) -> Figure:
    """A panel a task: median regret by evaluations, the band between the quartiles behind it."""
    rows = math.ceil(len(found.tasks) / COLUMNS)
    figure = Figure(figsize=(14, 0.9 + 2.75 * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    style = line_styles(found.methods)
    for panel in panels[len(found.tasks) :]:
        panel.set_visible(False)
    for panel, task in zip(panels, found.tasks, strict=False):
        _regrets(panel, found, task, style)
    figure.supxlabel("evaluations", fontsize=11)
    figure.supylabel("regret, median and quartiles", fontsize=11)
    _legend(figure, found.methods, style)
    return figure


def _legend(figure: Figure, methods: Sequence[str], style: Mapping[str, Mapping[str, Any]]) -> None:
    lines = [Line2D([], [], **style[method]) for method in methods]
    columns = math.ceil(len(methods) / math.ceil(len(methods) / 9))
    figure.legend(lines, methods, loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.6)


def _regrets(panel: Axes, found: Collected, task: str, style: Mapping[str, Mapping[str, Any]]) -> None:
    bands = {method: band(found, task, method) for method in found.methods}
    bands = {method: values for method, values in bands.items() if values.shape[1]}
    floor = lowest(np.concatenate([values.ravel() for values in bands.values()]))
    for method, values in bands.items():
        low, middle, high = np.where(np.isfinite(values), np.maximum(values, floor), np.nan)
        x = np.arange(1, len(middle) + 1)
        panel.fill_between(x, low, high, color=style[method]["color"], alpha=0.12, linewidth=0, step="post")
        panel.plot(x, middle, drawstyle="steps-post", **style[method])
    panel.set_title(task, loc="left", fontsize=11.5, fontweight="bold")
    panel.set_title(kind(task), loc="right", fontsize=10, color=MUTED)
    panel.set_xticks([1, *found.checkpoints])
    panel.set_xlim(left=0)
    _regret_axis(panel, floor, bands)


def band(found: Collected, task: str, method: str) -> Floats:
    """(3, n) quartiles and median over the seeds that reach the longest study's end; (3, 0) without any."""
    mine = found.traces.get((task, method), ())
    n = max((len(trace.regret) for trace in mine), default=0)
    if not n:
        return np.empty((3, 0))
    regrets = found.regrets(task, method, range(1, n + 1))
    return np.stack([quantile(regrets, q) for q in (0.25, 0.5, 0.75)])


def lowest(values: Floats) -> float:
    """Where zero stands on a logarithmic axis: half a decade below the least positive value; 0 if there is none."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return 0.0
    least = float(positive.min())
    return least / 3 if (values <= 0).any() else least


def _regret_axis(panel: Axes, floor: float, bands: Mapping[str, Floats]) -> None:
    if floor <= 0:
        return
    panel.set_yscale("log")
    panel.yaxis.set_minor_formatter(NullFormatter())
    zero = any((values <= 0).any() for values in bands.values())
    low, high = panel.get_ylim()
    narrow = math.log10(high / low) < 1.2
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    above = floor * (high / low) ** 0.08 if zero else 0.0  # no label within 8 % of the height above that of zero
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value, above, narrow)))
    if zero:
        panel.axhline(floor, color=MUTED, linewidth=0.8, linestyle=DASHES[2], zorder=1)
        panel.annotate("0", (0, floor), (-4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                       ha="right", va="center", fontsize=10, color=MUTED)  # fmt: skip


def tick(value: float, above: float, plain: bool) -> str:
    """A label on a logarithmic axis; none where it would cover the label of zero."""
    if value < above:
        return ""
    return f"{value:.6g}" if plain else f"$10^{{{round(math.log10(value))}}}$"


# -- ranks -------------------------------------------------------------------------------------------------------------


def rank_progress(ranking: Ranking) -> Figure:
    """Mean rank over tasks after every evaluation; the methods' names at the ends of their lines."""
    figure = Figure(figsize=(14, 6), layout=ConstrainedLayoutEngine(w_pad=0.15))
    axes = figure.subplots()
    style = line_styles(ranking.found.methods)
    n = ranking.checkpoints[-1]
    means = ranking.ranks_after(range(1, n + 1))
    for place, method in enumerate(ranking.methods):
        axes.plot(range(1, n + 1), means[:, place], **style[method])
    ends = spread_labels(means[-1], 0.052 * float(np.ptp(means)))
    for place, method in enumerate(ranking.methods):
        weight = "bold" if method == OURS else "normal"
        axes.annotate(f"{method}  {means[-1, place]:.2f}", (n, means[-1, place]), (n * 1.025, ends[place]),
                      color=BLUE if method == OURS else INK, fontsize=12, fontweight=weight, va="center",
                      annotation_clip=False, arrowprops={"arrowstyle": "-", "relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 2,
                      "linewidth": 0.9, "color": style[method]["color"]})  # fmt: skip
    axes.set_xlim(1, n)
    axes.set_xticks([1, *ranking.checkpoints])
    axes.invert_yaxis()
    axes.set_xlabel("evaluations")
    axes.set_ylabel(f"mean rank over {len(ranking.tasks)} tasks (1 is best)")
    return figure


def spread_labels(places: Floats, gap: float) -> Floats:
    """The places moved apart to at least a gap, in the same order, about where they were."""
    order = np.argsort(places, kind="stable")
    apart = places[order] - gap * np.arange(len(places))  # what is to ascend: least squares by pooling neighbours
    blocks: list[list[float]] = []
    for value in apart:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    moved = np.repeat([value for value, _ in blocks], [int(count) for _, count in blocks])
    found = np.empty_like(moved)
    found[order] = moved + gap * np.arange(len(places))
    return found


def draw_critical_difference(methods: Sequence[str], test: Friedman) -> Figure:
    """Demšar's diagram: mean whole ranks; what a bar joins does not differ by the critical difference."""
    order = np.argsort(test.ranks, kind="stable")
    ranks = [float(test.ranks[place]) for place in order]
    k, groups = len(methods), cliques(ranks, test.critical)
    half, top = (k + 1) // 2, 0.75 + 0.32 * len(groups)
    figure = Figure(figsize=(14, 1.5 + 0.32 * len(groups) + 0.42 * half), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(1 - 0.32 * k, k + 0.32 * k)
    axes.set_ylim(top + 0.45 * half, -1.3)
    _scale(axes, k, test.critical)
    for row, (low, high) in enumerate(groups):
        y = 0.45 + 0.32 * row
        axes.plot([ranks[low] - 0.04, ranks[high] + 0.04], [y, y], color=INK, linewidth=5, solid_capstyle="round")
    for place, rank in enumerate(ranks):
        left = place < half
        y = top + 0.45 * (place if left else k - 1 - place)
        _name(axes, methods[order[place]], rank, y, 1 - 0.05 * k if left else k + 0.05 * k, left)
    return figure


def _scale(axes: Axes, k: int, gap: float) -> None:
    axes.plot([1, k], [0, 0], color=INK, linewidth=1.2)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, -0.12], color=INK, linewidth=1.2)
        axes.text(rank, -0.22, str(rank), ha="center", va="bottom", fontsize=12)
    axes.plot([1, 1 + gap], [-0.85, -0.85], color=MUTED, linewidth=2, marker="|", markersize=9)
    axes.text(1 + gap / 2, -0.95, f"critical difference {gap:.2f}", ha="center", va="bottom", fontsize=12, color=MUTED)


def _name(axes: Axes, method: str, rank: float, y: float, edge: float, left: bool) -> None:
    colour, width = (BLUE, 2.2) if method == OURS else (INK, 1.0)
    axes.plot([rank, rank, edge], [0, y, y], color=colour, linewidth=width)
    said = f"{method}  {rank:.2f}" if left else f"{rank:.2f}  {method}"
    axes.text(edge + (-0.08 if left else 0.08), y, said, ha="right" if left else "left", va="center", fontsize=13,
              color=colour, fontweight="bold" if method == OURS else "normal")  # fmt: skip
