"""The tree of a study whose trials were cloned, as a picture: whose weights came from whom.

Jaderberg et al. 2017 draw such trees. Keys are the nodes, and a key's parent is the checkpoint that its job started from. Every
leaf has a row of its own; a node stands in the row of the trial that goes on from it, else in the middle of its children. So no
line crosses another, and whoever has a common ancestor stands together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpo import ancestry
from hpo.analysis.drawing import add_legend, house_style, new_figure
from hpo.analysis.lines import amount
from hpo.analysis.subject import Subject
from hpo.history import History
from hpo.job import Key
from surrogates.style import BLUE, GREEN, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEND = 0.45  # of a job, in which the line of a copy leaves its donor's
FAINTEST = 0.15  # opacity of the worst at a budget
TICKS = 6
MANY = 500  # jobs above which crosses are smaller

Line = list[tuple[float, float]]


def draw_lineage(subject: Subject, winner: Key) -> Figure:
    """Every trained job as a line from its source to its end, the more opaque the better at its budget; on top the jobs that made
    the winner, with a ring at each copy. Needs a clone."""
    history = subject.history
    rows, path = place_rows(history), ancestry.lineage(history, winner)
    count = 1 + max(rows.values())
    with house_style():
        from matplotlib.collections import LineCollection
        from matplotlib.colors import to_rgba

        figure, (axes,) = new_figure(min(max(0.9 + 0.095 * count, 2.2), 6.5))
        width = min(max(90 / count, 0.7), 2.2)
        shades = shade_keys(subject)
        keys = sorted((key for key in rows if key not in path), key=lambda key: shades[key])
        colours = [to_rgba(GREEN, FAINTEST + (1 - FAINTEST) * shades[key]) for key in keys]
        axes.add_collection(LineCollection([_line(history, rows, key) for key in keys], colors=colours, linewidths=width))
        axes.plot([], [], color=GREEN, linewidth=2.2, label="the darker, the better at its budget")
        mine = [point for key in path for point in _line(history, rows, key)]
        words = f"{subject.leads if winner == subject.leader else 'lineage'}: trial {winner[0]}"
        axes.plot(*zip(*mine, strict=True), color=BLUE, linewidth=max(2.4, 1.3 * width), solid_capstyle="round", label=words)
        _mark_points(axes, history, rows, path)
        _mark_axes(axes, history, count)
        add_legend(figure)
    return figure


def place_rows(history: History) -> dict[Key, float]:
    """The row of every finished key. Leaves have 0, 1, 2, ..., and the leaves below a key have rows without a gap."""
    children: dict[Key | None, list[Key]] = defaultdict(list)
    for key in history.finished_keys:
        source = history.jobs[key].source
        children[source if source in history.results else None].append(key)
    rows: dict[Key, float] = {}
    open_: list[tuple[Key, bool, list[Key]]] = [(key, place % 2 > 0, []) for place, key in enumerate(reversed(children[None]))]
    leaves = 0
    while open_:  # not recursive: a lineage may be long
        key, up, below = open_.pop()  # whether its first copy goes above it; its children in the order of their rows
        if below:
            own = next((rows[child] for child in below if child[0] == key[0]), None)
            rows[key] = sum(rows[child] for child in below) / len(below) if own is None else own
        elif children[key]:
            above, own_, under = _split_children(key, children[key], up)
            open_.append((key, up, [*above, *own_, *under]))
            open_ += [(child, False, []) for child in reversed(under)]
            open_ += [(child, up, []) for child in own_]
            open_ += [(child, True, []) for child in reversed(above)]
        else:
            rows[key], leaves = float(leaves), leaves + 1
    return rows


def _split_children(key: Key, children: Sequence[Key], up: bool) -> tuple[list[Key], list[Key], list[Key]]:
    """(copies above, the trial that goes on, copies below). Copies go by turns to either side; the first to the side on which
    the branch lies already, so that a long lineage does not run to and fro."""
    copies, own = [child for child in children if child[0] != key[0]], [child for child in children if child[0] == key[0]]
    first, second = copies[::2], copies[1::2]
    above, under = (first, second) if up else (second, first)
    return above[::-1], own, under


def shade_keys(subject: Subject) -> dict[Key, float]:
    """By key, its place among those that finished at its budget: 1 for the best, 0 for the worst and for failures."""
    history, good = subject.history, set(subject.successes)
    found = dict.fromkeys(history.finished_keys, 0.0)
    for until in history.budgets:
        ranked = sorted((key for key in history.at(until) if key in good), key=lambda key: subject.sign * subject.value(key))
        found |= {key: 1 - place / max(len(ranked) - 1, 1) for place, key in enumerate(ranked)}
    return found


def _line(history: History, rows: dict[Key, float], key: Key) -> Line:
    """From where a job's source ends to its own end: straight, or with a bend at the beginning into another row."""
    source = history.jobs[key].source
    start, row = (0, rows[key]) if source not in rows else (source[1], rows[source])
    if row == rows[key]:
        return [(start, row), (key[1], row)]
    t = np.linspace(0.0, 1.0, 24)
    x, y = start + BEND * t * (key[1] - start), row + (3 - 2 * t) * t**2 * (rows[key] - row)
    return [*zip(x.tolist(), y.tolist(), strict=True), (key[1], rows[key])]


def _mark_points(axes: Axes, history: History, rows: dict[Key, float], path: Sequence[Key]) -> None:
    """Rings where the winner's weights were copied, a dot at its end, crosses at failures."""
    copied = [history.jobs[key].source for key in path if key[0] in history.adopted and key == history.trials[key[0]][0]]
    rings = [key for key in copied if key in rows]
    axes.plot([key[1] for key in rings], [rows[key] for key in rings], "o", color=BLUE, markersize=5, markerfacecolor="white",
              markeredgewidth=1.6, zorder=4, label="copied, and explored" if rings else None)  # fmt: skip
    axes.plot([path[-1][1]], [rows[path[-1]]], "o", color=BLUE, markersize=6, zorder=4)
    failed, size = [key for key in rows if history.is_failure(key)], 4 if len(rows) < MANY else 2
    axes.plot([key[1] for key in failed], [rows[key] for key in failed], "x", color=MUTED, markersize=size, markeredgewidth=1,
              zorder=4, label="failed" if failed else None)  # fmt: skip


def _mark_axes(axes: Axes, history: History, count: float) -> None:
    ends = history.budgets
    step = -(-len(ends) // TICKS)
    shown = [0, *ends[::-1][::step][::-1]]
    axes.set_xticks(shown, [amount(until) for until in shown])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set(xlabel=f"{history.header.unit} trained", xlim=(0, ends[-1] * 1.02), ylim=(count - 0.3, -0.7))
