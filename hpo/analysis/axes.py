"""Limits and labels of axes: the good end of the values, budgets, the range of a hyperparameter; labels that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo.analysis.drawing import SMALL
from hpo.analysis.lines import amount
from hpo.parameters import Categorical, Float, Int, Parameter
from hpo.values import quantity
from surrogates.style import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDEST = 2.0  # to show a whole line, a picture may become so many times as high as the losses need
FEW = 10  # so few results have no useful 90th percentile
DIVERGED = 3.0  # among few results, one that is so many times as far from the best as the median has diverged
ROOM = 12  # letters of options that fit side by side


def limit_values(
    axes: Axes, sign: float, values: Sequence[float], lines: Sequence[float] = (), always: Sequence[float] = ()
) -> float:
    """Sets limits that show the good end: values of diverged trials may be outside, and a note says how many are. The points
    of `lines` stay inside, unless they are so far away that the rest could not be distinguished; those of `always` stay
    inside in any case. Returns the worst value inside."""
    good, others, musts = (sorted(sign * value for value in some) for some in (values, lines, always))
    low, top = min([*good, *others, *musts]), highest_shown(good)
    top = max([top, *musts, *(loss for loss in others if loss <= low + WIDEST * (top - low))])
    margin = 0.06 * (top - low) or 0.01 * abs(top) or 0.01
    ends = sign * (low - margin), sign * (top + margin)
    axes.set_ylim(min(ends), max(ends))
    beyond = sum(loss > top + margin for loss in good)
    if beyond:
        words, y, over = ("above", 1, 2) if sign > 0 else ("below", 0, 3)
        said = f"{quantity(beyond, 'results')} {words}"
        axes.annotate(said, (1, y), (0, over), "axes fraction", "offset points", ha="right", va="bottom", fontsize=SMALL,
                      color=MUTED)  # fmt: skip
    return sign * top


def highest_shown(good: Sequence[float]) -> float:
    """The highest of the sorted losses that a picture shows: nine in ten are inside, of a few all that did not diverge."""
    if len(good) > FEW:
        return good[int(0.9 * (len(good) - 1))]
    reach = good[0] + DIVERGED * max(good[len(good) // 2] - good[0], abs(good[0]))
    return max(loss for loss in good if loss <= reach)


def mark_budgets(axes: Axes, budgets: Sequence[float]) -> None:
    """A logarithmic axis of budgets with at most five labels."""
    from matplotlib.ticker import NullFormatter

    axes.set_xscale("log")
    shown = budgets if len(budgets) <= 5 else budgets[:: (len(budgets) + 4) // 5]
    axes.set_xticks(shown, [amount(until) for until in shown])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def mark_parameter(axes: Axes, spec: Parameter) -> None:
    """The x axis shows the whole range of a hyperparameter; options are at 0, 1, ..."""
    if isinstance(spec, Categorical):
        names = [trim(str(value)) for value in spec.values]
        _mark_options(axes, names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    else:
        _mark_numbers(axes, spec)


def trim(text: str, most: int = 16) -> str:
    """A text as a label of an axis, cut to at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _mark_options(axes: Axes, names: Sequence[str]) -> None:
    """One label for each option; if they do not fit side by side they are turned, and each ends at its option."""
    axes.set_xticks(range(len(names)), names)
    if sum(map(len, names)) > ROOM:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor", fontsize=SMALL)


def _mark_numbers(axes: Axes, spec: Parameter) -> None:
    """The whole range of a number, with the few labels that fit: its ends and some values between."""
    from matplotlib.ticker import NullFormatter

    assert isinstance(spec, Float | Int)
    if spec.log:
        axes.set_xscale("log")
    ticks = number_ticks(spec)
    axes.set_xticks(ticks, [f"{tick:.2g}" if isinstance(spec, Float) and tick != spec.hi else f"{tick:.4g}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    low, high = float(spec.lo), float(spec.hi)
    ratio = (high / low) ** 0.05 if spec.log else 0.05 * (high - low)
    axes.set_xlim((low / ratio, high * ratio) if spec.log else (low - ratio, high + ratio))


def number_ticks(spec: Float | Int) -> list[float]:
    """The ends and the middle of a range; all values of a short range of whole numbers."""
    if isinstance(spec, Int):
        allowed = range(spec.lo, spec.hi + 1, spec.step)
        if len(allowed) <= 4:
            return list(allowed)
    middle = (spec.lo * spec.hi) ** 0.5 if spec.log else (spec.lo + spec.hi) / 2
    if isinstance(spec, Int):
        middle = min(allowed, key=lambda value: abs(value - middle))
    return [spec.lo, middle, spec.hi]
