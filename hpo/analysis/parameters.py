"""Pictures of a study's hyperparameters: importance, effects, slices, parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.analysis.axes import limit_values, mark_parameter, trim
from hpo.analysis.captions import PANELS
from hpo.analysis.drawing import SMALL, add_legend, house_style, new_figure
from hpo.analysis.importance import Correlations, Effect, Importance
from hpo.analysis.lines import short
from hpo.analysis.subject import Subject
from hpo.parameters import Categorical, Parameter
from surrogates.style import BLUE, GREEN, GREY, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 300  # results in the picture of parallel coordinates: the best ones
OUTSIDE = -0.12  # the position of an inactive parameter, left of its range


def draw_importance(found: Importance) -> Figure:
    """Each total index as a bar. The first-order part is solid; the rest is interaction. Needs an index that is not 0."""
    names, places = list(found.total), range(len(found.total))
    totals, first = list(found.total.values()), [min(found.first[name], found.total[name]) for name in found.total]
    with house_style():
        from matplotlib.ticker import FuncFormatter

        figure, (axes,) = new_figure(1.1 + 0.27 * len(names))
        axes.barh(places, totals, height=0.66, color=GREY, alpha=0.55, label="with interactions")
        axes.barh(places, first, height=0.66, color=GREEN, label="by itself")
        for place, total in enumerate(totals):
            axes.annotate(f"{total:.0%}", (total, place), (4, 0), textcoords="offset points", va="center", fontsize=SMALL,
                          color=MUTED)  # fmt: skip
        axes.set_yticks(places, [trim(name, 24) for name in names])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.15 * max(totals))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        axes.set_xlabel(f"share of the variance of the modelled {trim(found.objective)}")
        add_legend(figure)
    return figure


def draw_effects(found: Importance, subject: Subject) -> Figure:
    """Marginal effects of the parameters that mattered most, on one scale, with a mark at the leader's values."""
    best = subject.history.jobs[subject.leader].config if subject.leader is not None else {}
    rows, columns = _grid(len(found.effects))
    with house_style():
        from matplotlib.lines import Line2D

        figure, every = new_figure(0.7 + 1.9 * rows, rows, columns)
        for place, (axes, effect) in enumerate(zip(every, found.effects, strict=False)):
            _draw_effect(axes, effect, subject, best.get(effect.name))
            if place % columns == 0:
                axes.set_ylabel("modelled " + subject.objective)
        for axes in every[len(found.effects) :]:
            axes.set_visible(False)
        marks = [Line2D([], [], color=GREEN, linewidth=2), Line2D([], [], color=BLUE, linewidth=2)]
        words = ["averaged over the others", "the others as in the best"]
        figure.legend(marks, words, loc="outside upper left", ncols=2, fontsize=SMALL, handlelength=1.6, borderaxespad=0.2)
    return figure


def _grid(count: int) -> tuple[int, int]:
    columns = min(2, count)
    return -(-count // columns), columns


def _draw_effect(axes: Axes, effect: Effect, subject: Subject, chosen: object) -> None:
    spec = subject.space.parameters[effect.name]
    axes.set_xlabel(effect.name)
    mark_parameter(axes, spec)
    x: Sequence[Any] = effect.values
    style: Mapping[str, Any] = {"linewidth": 2}
    at: Any = chosen
    if isinstance(spec, Categorical):
        x, style = range(len(effect.values)), {"marker": "o", "markersize": 5.5, "linestyle": "none"}
        at = None if chosen is None and None not in effect.values else spec.encode(chosen)
    axes.plot(x, effect.mean, color=GREEN, **style)
    if effect.around:
        axes.plot(x, effect.around, color=BLUE, **style)
    if at is not None:
        axes.axvline(at, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))


def draw_slices(found: Correlations, subject: Subject) -> Figure:
    """Every result over the value of each hyperparameter, the most correlated hyperparameter first. Needs a result and a
    hyperparameter."""
    names = list(found.tau)[:PANELS]
    rows, columns = _grid(len(names))
    with house_style():
        figure, every = new_figure(0.3 + 1.75 * rows, rows, columns)
        for place, (axes, name) in enumerate(zip(every, names, strict=False)):
            _draw_slice(axes, found, subject, name)
            if place % columns == 0:
                axes.set_ylabel(subject.objective)
        for axes in every[len(names) :]:
            axes.set_visible(False)
        limit_values(every[0], subject.sign, [subject.value(key) for key in found.keys])
    return figure


def _draw_slice(axes: Axes, found: Correlations, subject: Subject, name: str) -> None:
    spec = subject.space.parameters[name]
    configs = [subject.history.jobs[key].config for key in found.keys]
    there = [(config[name], key) for config, key in zip(configs, found.keys, strict=True) if name in config]
    x = [spec.encode(value) if isinstance(spec, Categorical) else value for value, _ in there]
    axes.set_xlabel(name)
    mark_parameter(axes, spec)
    axes.scatter(x, [subject.value(key) for _, key in there], s=18, color=BLUE, alpha=0.7, linewidths=0)


def draw_parallel(found: Correlations, subject: Subject) -> Figure:
    """Parallel coordinates, one below the other: each result is a line from the objective through every hyperparameter, and
    the best tenth is in colour. Needs a result and a hyperparameter."""
    columns = subject.space.columns
    keys = sorted(found.keys, key=lambda key: (subject.sign * subject.value(key), key))[:LINES]
    values = [subject.value(key) for key in keys]
    with house_style():
        figure, (axes,) = new_figure(0.9 + 0.36 * (len(columns) + 1))
        low, high = min(values), max(values)
        best = max(1, len(keys) // 10)
        for place in reversed(range(len(keys))):
            row = subject.space.encode(subject.history.jobs[keys[place]].config)
            x = [(values[place] - low) / ((high - low) or 1.0), *map(_position, row, map(subject.space.parameters.get, columns))]
            looks: dict[str, Any] = {"color": GREY, "alpha": 0.35, "linewidth": 0.8}
            if place < best:
                looks = {"color": BLUE, "alpha": 0.8, "linewidth": 2.2 if place == 0 else 1.1}
            axes.plot(x, range(len(x)), **looks)
        specs = [subject.space.parameters[name] for name in columns]
        _name_rows(axes, [(subject.objective, short(low), short(high)), *map(_ends, columns, specs)])
        axes.set_xlabel("blue: the best tenth; left of a range: inactive")
    return figure


def _position(value: float, spec: Parameter | None) -> float:
    if np.isnan(value):
        return OUTSIDE
    return float(value) / max(spec.size - 1, 1) if isinstance(spec, Categorical) else float(value)


def _ends(name: str, spec: Parameter) -> tuple[str, str, str]:
    if isinstance(spec, Categorical):
        return name, str(spec.values[0]), str(spec.values[-1])
    return name, short(spec.decode(0.0)), short(spec.decode(1.0))


def _name_rows(axes: Axes, rows: Sequence[tuple[str, str, str]]) -> None:
    """Writes each row's name at the left, and the ends of its range above its line."""
    for place, (_, low, high) in enumerate(rows):
        for x, text, side in ((0.0, low, "left"), (1.0, high, "right")):
            axes.annotate(trim(text), (x, place), (0, 2), textcoords="offset points", ha=side, va="bottom", fontsize=SMALL,
                          color=MUTED)  # fmt: skip
    axes.set_yticks(range(len(rows)), [trim(name, 20) for name, _, _ in rows])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xticks([])
    axes.set(xlim=(OUTSIDE - 0.04, 1.04), ylim=(len(rows) - 0.6, -0.7))
