"""Pictures of a study's results: the best so far, learning curves by rung, the Pareto front."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from hpo.analysis.axes import DIVERGED, limit_values, mark_budgets
from hpo.analysis.drawing import add_legend, house_style, new_figure
from hpo.analysis.lines import amount
from hpo.analysis.progress import best_so_far, objective_value
from hpo.analysis.subject import Subject
from hpo.job import Key
from hpo.trial import best_front
from surrogates.style import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHED = (0, (5, 3))


def draw_history(subject: Subject) -> Figure:
    """Best so far, with every finished key, over the seconds of the search; over the number of results if no seconds were
    counted; only the results where none is the best, since none keeps the optimizer's bounds. Needs a success."""
    history, good = subject.history, subject.successes
    times, unit = subject.finish_positions()
    with house_style():
        figure, (axes,) = new_figure(3.1)
        _scatter_by_budget(axes, subject, times)
        steps = best_so_far(history, subject.place)
        values, end = [subject.value(key) for key in steps], max(times.values())
        default = subject.default_end()
        always = [] if default is None else [subject.value(default)]
        worst = limit_values(axes, subject.sign, [subject.value(key) for key in good], values, always)
        shown = [min(value, worst) if subject.sign > 0 else max(value, worst) for value in (*values, *values[-1:])]
        if steps:
            axes.step([*(times[key] for key in steps), end], shown, where="post", color=BLUE, linewidth=2.2, label="best so far")
        if default is not None:
            words = "default" if history.header.horizon == 1 else f"default, {amount(default[1])} {history.header.unit}"
            axes.axhline(always[0], color=ORANGE, linewidth=1.6, linestyle=DASHED, label=words)
        axes.set(xlabel=unit, ylabel=subject.value_label, xlim=(0, max(end, 1e-3) * 1.02))
        add_legend(figure)
    return figure


def _scatter_by_budget(axes: Axes, subject: Subject, times: dict[Key, float]) -> None:
    budgets = subject.history.budgets
    for place, until in enumerate(budgets):
        here = [key for key in subject.successes if key[1] == until]
        size = 8 + 26 * (place + 1) / len(budgets)
        words = "every result" if len(budgets) == 1 else "results, larger budgets larger"
        x, y = [times[key] for key in here], [subject.value(key) for key in here]
        axes.scatter(x, y, s=size, color=GREY, alpha=0.55, linewidths=0, label=None if place else words)


def draw_curves(subject: Subject) -> Figure:
    """Every trial's learning curve by rung as a thin line; on top the leader and the default, which may be the same. Needs a
    success."""
    history, leader = subject.history, subject.leader
    ends = {key[0]: key for key in subject.successes}  # the success of every trial at its highest budget
    with house_style():
        figure, (axes,) = new_figure(3.3)
        for trial in ends:
            x, y = zip(*subject.rung_points(trial), strict=True)
            axes.plot(x, y, color=GREY, linewidth=0.9, alpha=0.6, marker="o", markersize=2.2, markeredgewidth=0)
        same = leader is not None and leader[0] == subject.default
        default = subject.rung_points(subject.default)
        mine = [] if same or leader is None else subject.rung_points(leader[0])
        if default:
            x, y = zip(*default, strict=True)
            words = f"default, {subject.leads}" if same else "default"
            axes.plot(x, y, color=ORANGE, linewidth=1.8, marker="s", markersize=4.5, linestyle=DASHED, label=words)
        if mine and leader is not None:
            x, y = zip(*mine, strict=True)
            words = f"{subject.leads}: trial {leader[0]}"
            axes.plot(x, y, color=BLUE, linewidth=2.4, marker="o", markersize=5.5, label=words)
        mark_budgets(axes, sorted({*history.budgets, *(step for step, _ in default[-1:])}))
        axes.set(xlabel=f"{history.header.unit} trained", ylabel=subject.value_label)
        _limit_curves(axes, subject, mine, default)
        if axes.get_legend_handles_labels()[0]:
            add_legend(figure)
    return figure


def _limit_curves(axes: Axes, subject: Subject, *lines: list[tuple[int, float]]) -> None:
    """Limits that show the ends of the highlighted lines. Their beginnings are shown too, unless the first losses of a training
    are so far away that the rest could not be distinguished."""
    shown, sign = [subject.value(key) for key in subject.successes], subject.sign
    low = min(sign * value for value in shown)
    ends = [value for points in lines for _, value in points[-1:]]
    begun = [value for points in lines for _, value in points if sign * value <= low + DIVERGED * abs(low)]
    limit_values(axes, sign, shown, (), [*ends, *begun])


def draw_pareto(subject: Subject) -> Figure:
    """Every success at the front's budget by two objectives, with the Pareto front; one panel for each pair. Needs a success,
    and several objectives."""
    history, names = subject.history, list(subject.history.header.objectives)
    front = best_front(history)
    until = front[0][1] if front else history.highest_budget  # no front: what succeeded breaks the optimizer's bounds
    assert until is not None
    pairs = list(combinations(range(len(names)), 2))
    with house_style():
        columns = min(2, len(pairs))
        rows = -(-len(pairs) // columns)
        figure, every = new_figure(0.5 + (2.8 if columns == 1 else 2.2) * rows, rows, columns, share=False)
        keys = history.successes.at(until)
        for axes, (a, b) in zip(every, pairs, strict=False):
            for some, colour, size, words in ((keys, GREY, 16, "every result"), (front, BLUE, 30, "Pareto front")):
                x, y = [objective_value(history, key, a) for key in some], [objective_value(history, key, b) for key in some]
                axes.scatter(x, y, s=size, color=colour, alpha=0.75, linewidths=0, label=words)
            axes.set(xlabel=_aim(subject, a), ylabel=_aim(subject, b))
        for axes in every[len(pairs) :]:
            axes.set_visible(False)
        add_legend(figure)
    return figure


def _aim(subject: Subject, place: int) -> str:
    name, direction = list(subject.history.header.objectives.items())[place]
    return f"{name} ({'higher' if direction == 'max' else 'lower'} is better)"
