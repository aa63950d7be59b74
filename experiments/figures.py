"""The report's figures as inline SVG. Colours are variables of the page's style sheet, so that they follow light and dark.

Every colour below is a placeholder that Matplotlib draws with and that `svg` replaces. The series colours are Okabe and
Ito's, which people with any colour vision can tell apart.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from experiments.importance import Effect, Importance, Seen
from experiments.live import amount
from experiments.progress import best_so_far, clock, rung_points
from hpo.job import Key
from hpo.parameters import Categorical, Float, Int, Parameter
from hpo.space import Space
from hpo.study import Study

INK, MUTED, GRID = "#010203", "#040506", "#070809"
BEST, DEFAULT, THIN, FIRST = "#0a0b0c", "#0d0e0f", "#101112", "#131415"
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", BEST: "best", DEFAULT: "default", THIN: "thin", FIRST: "first"}
Point = tuple[float, float]
WIDEST = 2.0  # so many times as high as the losses ask for may a picture become for a line that must be seen
FEW = 10  # results of which the 90th percentile says nothing
DIVERGED = 3.0  # so many times the lowest loss is further off than a training that has just begun
PANELS = 16  # hyperparameters whose results are shown

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}


def draw(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure in the report's style."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False, sharey=True)[0])


def svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an element of a page: no declarations, no addresses, colours as variables, its own ids."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(
        r'<svg\b[^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{title}">', text, count=1
    )
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return re.sub(r'id="((?:figure|axes|patch|text|line2d|matplotlib|xtick|ytick|legend|PathC)[^"]*)"', "", text)


def _losses(axes: Axes, values: Sequence[float], lines: Sequence[float] = (), always: Sequence[float] = ()) -> float:
    """Limits that show the good end: losses of diverged trials may leave the picture at the top, and how many is said. The
    points of `lines` stay inside unless they lie so far away that nothing else could be told apart; what is `always` to be
    seen is. Returns the highest loss inside."""
    good = sorted(values)
    low, top = min([*good, *lines, *always]), good[int(0.9 * (len(good) - 1))]
    if len(good) <= FEW:
        top = max(loss for loss in good if loss <= max(DIVERGED * good[0], good[0]))
    top = max([top, *always, *(loss for loss in lines if loss <= low + WIDEST * (top - low))])
    margin = max(0.06 * (top - low), 0.01)
    axes.set_ylim(low - margin, top + margin)
    above = sum(loss > top for loss in good)
    if above:
        words = f"{above} result{'s' * (above > 1)} above"
        axes.annotate(words, (1, 1), (0, 2), "axes fraction", "offset points", ha="right", va="bottom", fontsize=9, color=MUTED)
    axes.set_ylabel("validation loss (nats per token)")
    return top


def progress(study: Study, default: Point | None) -> str:
    """Best so far over the seconds of the search, with every finished training, beside the default configuration."""
    history, times = study.history, clock(study.history)
    good = [key for key in history.results if not history.is_failure(key)]
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = draw(8.6, 3.7)
        _scatter_by_budget(axes, study, good, times)
        steps = [(seconds, history.losses(key)[0]) for seconds, key in best_so_far(history)]
        end = max(times.values())
        always = [default[1]] if default is not None else []
        top = _losses(axes, [history.losses(key)[0] for key in good], [loss for _, loss in steps], always)
        x, y = [*(s for s, _ in steps), end], [min(loss, top) for loss in (*(loss for _, loss in steps), steps[-1][1])]
        axes.step(x, y, where="post", color=BEST, linewidth=2.2, label="best so far")
        if default is not None:
            axes.axhline(default[1], color=DEFAULT, linewidth=1.6, linestyle=(0, (5, 3)), label=_at_default(default))
        axes.set_xlabel("seconds of search")
        axes.set_xlim(0, max(end, 1e-3) * 1.02)
        _legend(figure)
        return svg(figure, "progress", "Best validation loss so far over the seconds of the search")


def _at_default(default: Point) -> str:
    return f"default configuration at {amount(default[0])} tokens"


def _scatter_by_budget(axes: Axes, study: Study, keys: Sequence[Key], times: Mapping[Key, float]) -> None:
    budgets = study.history.budgets
    for place, until in enumerate(budgets):
        here = [key for key in keys if key[1] == until]
        size = 8 + 26 * (place + 1) / len(budgets)
        label = None if place else "every training, longer ones larger"
        x, y = [times[key] for key in here], [study.history.losses(key)[0] for key in here]
        axes.scatter(x, y, s=size, color=THIN, alpha=0.55, linewidths=0, label=label)


def curves(study: Study, best: Key, default: Sequence[Point], same: bool = False) -> str:
    """Every trial's learning curve by rung, thin; the best and the default configuration, which may be the `same`, above."""
    history = study.history
    ends = {key[0]: key for key in history.finished_keys if not history.is_failure(key)}  # the furthest of every trial
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = draw(8.6, 3.9)
        for key in ends.values():
            x, y = zip(*rung_points(history, key[0]), strict=True)
            axes.plot(x, y, color=THIN, linewidth=0.9, alpha=0.6, marker="o", markersize=2.2, markeredgewidth=0)
        if default:
            x, y = zip(*default, strict=True)
            axes.plot(x, y, color=DEFAULT, linewidth=1.8, marker="s", markersize=4.5, linestyle=(0, (5, 3)))
            axes.lines[-1].set_label("default configuration" + ", handed over" * same)
        mine = [] if same else rung_points(history, best[0])
        if mine:
            x, y = zip(*mine, strict=True)
            axes.plot(x, y, color=BEST, linewidth=2.4, marker="o", markersize=5.5, label=f"handed over: trial {best[0]}")
        axes.set_xscale("log")
        _rung_ticks(axes, sorted({*history.budgets, *(step for step, _ in default[-1:])}))
        axes.set_xlabel("tokens trained")
        shown = [history.losses(key)[0] for key in history.finished_keys if not history.is_failure(key)]
        reached = [loss for points in (mine, default) for _, loss in points[-1:]]
        begun = [loss for points in (mine, default) for _, loss in points if loss <= DIVERGED * min(shown)]
        _losses(axes, shown, (), [*reached, *begun])
        _legend(figure)
        return svg(figure, "curves", "Validation loss of every trial over the tokens it was trained on")


def _legend(figure: Figure) -> None:
    """Above the picture, where it covers no data."""
    figure.legend(loc="outside upper left", ncols=3, handlelength=1.8, columnspacing=1.6, borderaxespad=0.2)


def _rung_ticks(axes: Axes, budgets: Sequence[float]) -> None:
    shown = budgets if len(budgets) <= 6 else budgets[:: (len(budgets) + 5) // 6]
    axes.set_xticks(shown, [amount(until) for until in shown])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def indices(found: Importance) -> str:
    """Total index as a bar, its first-order part solid: what is left is interaction."""
    names = list(found.total)
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = draw(8.6, 0.9 + 0.29 * len(names))
        places = range(len(names))
        first = [min(found.first[name], found.total[name]) for name in names]
        axes.barh(
            places,
            [found.total[name] for name in names],
            height=0.66,
            color=THIN,
            alpha=0.55,
            label="with interactions",
        )
        axes.barh(places, first, height=0.66, color=FIRST, label="by itself")
        for place, name in enumerate(names):
            axes.annotate(f"{100 * found.total[name]:.0f} %", (found.total[name], place), (5, 0), textcoords="offset points",
                          va="center", fontsize=10, color=MUTED)  # fmt: skip
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.12 * max(found.total.values()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
        axes.set_xlabel("share of the variance of the modelled loss")
        axes.legend(loc="lower right")
        return svg(figure, "indices", "Sobol indices of the hyperparameters")


def effects(found: Importance, space: Space, best: Mapping[str, object]) -> str:
    """Marginal effects of the parameters that mattered most, on one scale of loss; a mark at the best configuration."""
    with matplotlib.rc_context(STYLE):
        figure, all_axes = draw(8.6, 3.1, len(found.effects))
        for axes, effect in zip(all_axes, found.effects, strict=True):
            _effect(axes, effect, space, best.get(effect.name))
        all_axes[0].set_ylabel("modelled loss")
        marks = [Line2D([], [], color=FIRST, linewidth=2), Line2D([], [], color=BEST, linewidth=2)]
        words = ["averaged over all others", "all others as in the best configuration"]
        figure.legend(marks, words, loc="outside upper left", ncols=2, handlelength=1.8, borderaxespad=0.2)
        return svg(figure, "effects", "Marginal effects of the most important hyperparameters")


def seen(few: Seen, space: Space) -> str:
    """Every result's loss over the value of each hyperparameter: what there is to see before there is a model."""
    names = list(few.values)[:PANELS]
    rows = -(-len(names) // 4)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.5 + 1.9 * rows), layout="constrained")
        grid = figure.subplots(rows, 4, squeeze=False, sharey=True)
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        for axes, name in zip(grid.flat, names, strict=False):
            _seen(axes, few, space, name)
        _losses(grid[0][0], few.losses)
        for row in grid:
            row[0].set_ylabel("loss")
        return svg(figure, "seen", "Loss of every result over each hyperparameter")


def _seen(axes: Axes, few: Seen, space: Space, name: str) -> None:
    there = [(value, loss) for value, loss in zip(few.values[name], few.losses, strict=True) if value is not None]
    axes.set_xlabel(name)
    spec = space.parameters[name]
    if isinstance(spec, Categorical):
        options = [str(value) for value in spec.choices]
        _option_ticks(axes, options)
        axes.set_xlim(-0.5, len(options) - 0.5)
        there = [(options.index(str(value)), loss) for value, loss in there]
    else:
        _number_axis(axes, spec)
    axes.scatter([value for value, _ in there], [loss for _, loss in there], s=22, color=BEST, alpha=0.75, linewidths=0)


def _effect(axes: Axes, effect: Effect, space: Space, chosen: object) -> None:
    axes.set_xlabel(effect.name)
    if isinstance(space.parameters[effect.name], Categorical):
        x: Sequence[Any] = list(range(len(effect.values)))
        style: dict[str, Any] = {"marker": "o", "markersize": 5.5, "linestyle": "none"}
        _option_ticks(axes, [str(value) for value in effect.values])
        axes.set_xlim(-0.5, len(x) - 0.5)
        at: Any = effect.values.index(chosen) if chosen in effect.values else None
    else:
        x, style, at = effect.values, {"linewidth": 2}, chosen
        _number_axis(axes, space.parameters[effect.name])
    axes.plot(x, effect.losses, color=FIRST, **style)
    if effect.around:
        axes.plot(x, effect.around, color=BEST, **style)
    if at is not None:
        axes.axvline(at, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))


def _option_ticks(axes: Axes, names: Sequence[str]) -> None:
    """A label an option; turned where they have no room side by side, each ending at its own place."""
    turned = sum(map(len, names)) > 12
    axes.set_xticks(range(len(names)), names)
    if turned:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor", fontsize=9)


def _number_axis(axes: Axes, spec: Parameter) -> None:
    """Over the whole range of a number, with the few labels that have room: its ends and what lies between."""
    assert isinstance(spec, Float | Int)
    log = spec.log
    if log:
        axes.set_xscale("log")
    ticks = _ticks(spec)
    axes.set_xticks(ticks, [f"{tick:.2g}" if isinstance(spec, Float) and tick != spec.hi else f"{tick:.4g}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    low, high = float(spec.lo), float(spec.hi)
    ratio = (high / low) ** 0.05 if log else 0.05 * (high - low)
    axes.set_xlim((low / ratio, high * ratio) if log else (low - ratio, high + ratio))


def _ticks(spec: Float | Int) -> list[float]:
    """The ends and the middle of a range; all values of a short range of whole numbers."""
    if isinstance(spec, Int):
        allowed = range(spec.lo, spec.hi + 1, spec.step)
        if len(allowed) <= 4:
            return list(allowed)
    middle = (spec.lo * spec.hi) ** 0.5 if spec.log else (spec.lo + spec.hi) / 2
    if isinstance(spec, Int):
        middle = min(allowed, key=lambda value: abs(value - middle))
    return [spec.lo, middle, spec.hi]
