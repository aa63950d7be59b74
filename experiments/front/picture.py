"""The picture of a front: loss over bytes, coloured by time, and loss over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.front.record import Point, Record
from experiments.job import flat
from hpo.analysis.drawing import house_style, save_figure
from surrogates.style import GREY, INK, MUTED, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 10.0, 4.6  # inches
SMALL = 8  # points
MOST = 14  # labels in a panel
Box = tuple[float, float, float, float]  # centre, half width, half height; in pixels
MARGIN = 1.2  # factor around what is shown on a logarithmic axis
FAR = 0.5  # of the range from the front to the default: losses so far above are not shown


@dataclass(frozen=True)
class Horizontal:
    """What a panel has on its horizontal axis."""

    label: str
    value: Callable[[Point], float]


SIZE = Horizontal("weights, kB", lambda point: point.bytes / 1e3)
TIME = Horizontal("forward pass, ms", lambda point: point.time[1])


def draw_front(record: Record, path: Path) -> Figure:
    """Draws a record that has a member, and saves the picture as the suffix of the path says."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        colours = _colours(record)
        for axes, scale in zip(panels, (SIZE, TIME), strict=True):
            _draw_panel(axes, record, scale, colours)
        panels[0].set_ylabel("validation loss, nats a token")
        _limit_losses(panels[0], record)
        bar = figure.colorbar(_mappable(colours), ax=list(panels), pad=0.01, aspect=30, fraction=0.035)
        bar.set_label(TIME.label, fontsize=9)
        bar.outline.set_visible(False)
        _format_times(bar.ax.yaxis)
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=5, fontsize=9, handlelength=1.6, columnspacing=1.6)
        figure.draw_without_rendering()  # where everything is, so that labels can be put where there is room
        for axes, scale in zip(panels, (SIZE, TIME), strict=True):
            _label_members(axes, record, scale)
        panels[1].text(1, 1.012, "labels: trial, layers × width", transform=panels[1].transAxes, ha="right", va="bottom",
                       fontsize=SMALL, color=MUTED)  # fmt: skip
        save_figure(figure, path)
    return figure


# -- marks -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Colours:
    """A colour for every time."""

    norm: Any
    map: Any


def _colours(record: Record) -> Colours:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    times = [TIME.value(point) for point in record.shown]
    low, high = min(times), max(times)
    if low == high:
        low, high = 0.9 * low, 1.1 * high
    return Colours(LogNorm(low, high), ListedColormap(colormaps["viridis"](np.linspace(0.88, 0.0, 256))))


def _mappable(colours: Colours) -> Any:
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(colours.norm, colours.map)


def _draw_panel(axes: Axes, record: Record, scale: Horizontal, colours: Colours) -> None:
    shown = record.shown
    others = [one for one in record.points if one not in shown and not one.is_default]
    axes.set_xscale("log")
    axes.scatter([scale.value(one) for one in others], [one.loss for one in others], s=14, color=GREY, alpha=0.45, linewidths=0,
                 label="dominated")  # fmt: skip
    x, y = staircase([(scale.value(one), one.loss) for one in shown])
    axes.step(x, y, where="post", color=MUTED, linewidth=1.0, label="lowest loss up to there", zorder=2)
    if scale is TIME:
        _draw_spreads(axes, record)
    holds = [one for one in shown if one.dominated_by is None]
    falls = [one for one in shown if one.dominated_by is not None]
    axes.scatter([scale.value(one) for one in holds], [one.loss for one in holds], c=[TIME.value(one) for one in holds], s=46,
                 norm=colours.norm, cmap=colours.map, edgecolors="white", linewidths=0.8, zorder=4,
                 label="on the front")  # fmt: skip
    if falls:
        axes.scatter([scale.value(one) for one in falls], [one.loss for one in falls], s=40, facecolors="white",
                     edgecolors=colours.map(colours.norm([TIME.value(one) for one in falls])), linewidths=1.4, zorder=4,
                     label="only in the search on the front")  # fmt: skip
    if record.default is not None:
        axes.scatter(scale.value(record.default), record.default.loss, marker="D", s=52, color=ORANGE, edgecolors="white",
                     linewidths=0.8, zorder=5, label="the default")  # fmt: skip
    places = [scale.value(one) for one in record.points]
    axes.set_xlim(min(places) / MARGIN, max(places) * MARGIN)
    axes.set_xlabel(scale.label)
    _format_times(axes.xaxis)


def _draw_spreads(axes: Axes, record: Record) -> None:
    """The quartiles of members and default, as lines behind their marks. Long ones leave the panel rather than stretch it."""
    for point in record.points:
        if point.is_member or point.is_missing or point.is_default:
            colour = ORANGE if point.is_default else MUTED
            axes.plot([point.time[0], point.time[2]], [point.loss] * 2, color=colour, linewidth=1.2, alpha=0.6, zorder=3)


def staircase(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Of points (x, y), the corners of the least y up to every x, with the last x at the end."""
    x: list[float] = []
    y: list[float] = []
    for one, value in sorted(points):
        if not y or value < y[-1]:
            x.append(one)
            y.append(value)
    return [*x, max(one for one, _ in points)], [*y, y[-1]]


def _limit_losses(axes: Axes, record: Record) -> None:
    """Limits that show the front and the default; losses far above are left out, and counted."""
    shown = [one.loss for one in record.points if one.is_member or one.is_missing or one.is_default]
    low, high = min(shown), max(shown)
    span = high - low or 0.1
    top = min(max(one.loss for one in record.points), high + FAR * span)
    axes.set_ylim(low - 0.08 * span, top + 0.08 * span)
    beyond = sum(one.loss > top for one in record.points)
    if beyond:
        axes.text(0.99, 0.985, f"{beyond} above", transform=axes.transAxes, ha="right", va="top", fontsize=SMALL, color=MUTED)


def _format_times(axis: Any) -> None:
    """Plain numbers at a logarithmic axis that may span less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high > 20 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


# -- labels ------------------------------------------------------------------------------------------------------------


def _label_members(axes: Axes, record: Record, scale: Horizontal) -> None:
    """Trial and layers x width beside each member; a label that would cover others wherever it is put is left out."""
    everything = [(scale.value(one), one.loss) for one in record.points]
    marks = [(*axes.transData.transform(place), 6.0, 6.0) for place in everything]  # centre, half width and half height
    marks += _line_boxes(axes, *staircase([(scale.value(one), one.loss) for one in record.shown]))
    labels: list[Box] = []
    chosen = [one for one in record.shown if not one.is_default][:MOST]
    for point in sorted(chosen, key=lambda one: (one.dominated_by is not None, one.loss)):
        config = flat(point.config)
        text = f"{point.trial}: {config['layers']}×{config['hidden']}"
        half = 2.9 * len(text) * SMALL / 8 + 1, 0.6 * SMALL + 1
        at = axes.transData.transform((scale.value(point), point.loss))
        best = _place_label(at, half, marks, labels, axes)
        if best is None:
            continue
        labels.append(best)
        x, y = axes.transData.inverted().transform(best[:2])
        colour = INK if point.dominated_by is None else MUTED
        axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color=colour, zorder=6)


def _place_label(at: Any, half: tuple[float, float], marks: Sequence[Box], labels: Sequence[Box], axes: Axes) -> Box | None:
    """The box of a label around a mark: of the places beside it that cover no other label, the one that covers the least of
    marks and lines; else one that is further off and covers nothing; None if there is none."""
    for heights, most in (((1, -1, 0), inf), ((2, -2), 0.0)):
        moves = [(dx, dy) for dx, dy in product((1, -1, 0), heights) if dx or dy]
        boxes = [(at[0] + dx * (half[0] + 8), at[1] + dy * (half[1] + 6), *half) for dx, dy in moves]
        free = [(_cover(box, marks, axes), box) for box in boxes if not _cover(box, labels, axes)]
        if free and min(free)[0] <= most:
            return min(free)[1]
    return None


def _line_boxes(axes: Axes, x: Sequence[float], y: Sequence[float]) -> list[Box]:
    """Thin boxes that cover a staircase, in pixels."""
    at = [axes.transData.transform(place) for place in zip(x, y, strict=True)]
    boxes = []
    for (a, b), (c, d) in pairwise(at):
        boxes += [((a + c) / 2, b, (c - a) / 2, 3.0), (c, (b + d) / 2, 3.0, abs(b - d) / 2)]
    return boxes


def _cover(box: Box, others: Sequence[Box], axes: Axes) -> float:
    """The area that a box shares with others; a great one outside the panel."""
    x, y, width, height = box
    panel = axes.bbox
    if not (panel.x0 <= x - width and x + width <= panel.x1 and panel.y0 <= y - height and y + height <= panel.y1):
        return 1e9
    shared = 0.0
    for a, b, wide, high in others:
        across = min(x + width, a + wide) - max(x - width, a - wide)
        along = min(y + height, b + high) - max(y - height, b - high)
        shared += max(0.0, across) * max(0.0, along)
    return shared
