"""A picture of a posterior and an acquisition, along one column or over two.

    plot(gp, mine, path="mine.png")              a GaussianProcess, whole or in a slice through its best row
    plot((X, y), "logei", columns=(0, 3))        rows X (n, d) in [0, 1] and losses y (n,), to which a GP is fitted first

Losses are standardised ones. Colours are Okabe and Ito's, and cividis: people with any colour vision can tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surrogates.acquisitions import (
    Acquisition,
    AcquisitionFunction,
    Context,
    ModelAcquisition,
    ScoreFunction,
    acquisition,
    score_of,
)
from surrogates.columns import OFF
from surrogates.domain import Array, Domain, Kind, Mask
from surrogates.fitting import fit
from surrogates.gp import GaussianProcess
from surrogates.style import BLUE, INK, MUTED, ORANGE, STYLE
from surrogates.transform import standardise

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = {1: 401, 2: 61}  # a column, by the number of columns
DEPTH = 20.0  # how far below its maximum a score on a log scale is shown
DEEP = 5.0  # any other one, in units of the way from its median to its maximum
ON = 1e-6  # rows this close to the slice lie on it


def plot(
    model: GaussianProcess | tuple[Array, Array],
    chosen: str | Acquisition | ModelAcquisition | AcquisitionFunction = "logei",
    *,
    columns: Sequence[int] | None = None,
    at: Array | None = None,
    pending: Array | None = None,
    incumbent: float | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    path: str | Path | None = None,
) -> Figure:
    """Posterior and acquisition along one column, or over two; the place with the highest score in the picture is marked.

    model      a GaussianProcess without pending rows; or rows (n, d) of floats in [0, 1] with their losses (n,)
    chosen     a name, any f(posterior, incumbent), or an acquisition
    columns    one or two; by default all of one or two, else the two with the shortest length scales
    at         (d,) the row in which the other columns stay; by default the told row with the least posterior mean
    pending    (p, d) rows in flight; the posterior is shown with them observed at their mean
    incumbent  by default the least posterior mean of a told row, as in a study
    names      (d,) of the columns
    seed       of acquisitions that draw
    path       where the figure is saved, too; the suffix says how
    ValueError for columns, rows, names or an incumbent that do not fit, and where nothing that would be shown is feasible.
    """
    if not isinstance(model, GaussianProcess) and not (isinstance(model, tuple) and len(model) == 2):
        raise ValueError(f"a {type(model).__name__} came to be plotted; allowed are a GaussianProcess, which an optimizer's "
                         "posterior() gives, and a tuple of rows and losses")
    gp = model if isinstance(model, GaussianProcess) else fit_data(*model)
    domain, rows = gp.domain, list_training_rows(gp)
    means = gp.mean(domain.at_horizon(rows))
    flight = check_rows(domain, np.zeros((0, domain.d)) if pending is None else pending, "pending")
    best = float(means.min()) if incumbent is None else number(incumbent)
    context = Context((gp,), domain.at_horizon(rows), flight, best, seed)
    base = one(check_rows(domain, context.rows[means.argmin()] if at is None else at, "at"))
    view = View(context, chosen_columns(gp, columns), base, column_names(domain, names))
    return render(view, score_of(acquisition(chosen), context), path)


# --- what is shown ----------------------------------------------------------------------------------------------------


def fit_data(X: Array, y: Array) -> GaussianProcess:
    """A GP of standardised losses y (n,) over float columns X (n, d), or (n,) for one."""
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    X = X[:, None] if X.ndim == 1 else X
    if X.ndim != 2 or y.shape != X.shape[:1] or len(X) == 0:
        came = f"{len(y)} losses" if y.ndim == 1 else f"losses of shape {y.shape}"
        raise ValueError(f"rows of shape {X.shape} came with {came}; allowed are rows (n, d) with a loss each (n,), n > 0")
    if not ((X >= 0.0) & (X <= 1.0)).all():
        raise ValueError(f"rows have positions from {X.min():g} to {X.max():g}; allowed are positions in [0, 1]")
    d = X.shape[1]
    kind: Kind = "float"
    domain, z = Domain((kind,) * d, (None,) * d, (0,) * d, ((),) * d), standardise(y).z
    return GaussianProcess(domain, X, z, fit(X, z, domain, seed=0))


def list_training_rows(gp: GaussianProcess) -> Array:
    """(n, d) the rows that a posterior was given: its features, with the warping undone."""
    Z, warp = gp.Z, gp.theta.log_warp
    if warp:
        a, b = np.exp(np.array(warp)).reshape(2, -1)
        still = gp.domain.never_warped | (Z == OFF)
        numeric = np.where(still, 0.5, Z)
        Z = np.where(still, Z, (1.0 - (1.0 - numeric) ** (1.0 / b)) ** (1.0 / a))
    return gp.domain.snap(Z)


def check_rows(domain: Domain, rows: Array, name: str) -> Array:
    """Legal rows (k, d). ValueError when their columns do not fit, or they lie outside of the domain."""
    rows = np.asarray(rows, dtype=float)
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != domain.d:
        raise ValueError(f"{name} has shape {rows.shape}; allowed are rows of {domain.d} columns")
    domain.check(rows, name)
    if not len(rows):
        return rows
    found = domain.snap(rows)
    missing = np.argwhere(np.isnan(rows) & ~np.isnan(found))
    if len(missing):
        raise ValueError(f"{name} has no number in column {missing[0, 1]} of row {missing[0, 0]}; allowed is NaN where it is "
                         "inactive")
    return found


def one(rows: Array) -> Array:
    """(d,) the only row. ValueError for none and for several."""
    if len(rows) != 1:
        raise ValueError(f"at has {len(rows)} rows; allowed is one")
    return np.asarray(rows[0])


def number(incumbent: Any) -> float:
    """A finite number. ValueError for anything else."""
    if not isinstance(incumbent, Real) or not np.isfinite(float(incumbent)):
        raise ValueError(f"incumbent is {incumbent!r}; allowed is a finite number")
    return float(incumbent)


def chosen_columns(gp: GaussianProcess, columns: Sequence[int] | None) -> tuple[int, ...]:
    """One or two columns. ValueError for others."""
    d = gp.domain.d
    if columns is None:
        shortest = np.argsort(gp.theta.log_l, kind="stable")[:2]
        return tuple(sorted(int(c) for c in shortest))
    came: Any = tuple(columns) if isinstance(columns, Sequence | np.ndarray) else columns
    fits = isinstance(came, tuple) and len(came) in (1, 2) and all(isinstance(c, int | np.integer) for c in came)
    if not fits or len(set(came)) < len(came) or not set(came) <= set(range(d)):
        raise ValueError(f"columns are {came!r}; allowed are one or two different ones of 0 to {d - 1}, such as (0,)")
    return tuple(int(c) for c in came)


def column_names(domain: Domain, names: Sequence[str] | None) -> tuple[str, ...]:
    """A name for every column. ValueError when their number does not fit."""
    if names is None:
        return tuple(f"column {c}" for c in range(domain.d))
    if len(names) != domain.d:
        raise ValueError(f"{len(names)} names came for {domain.d} columns: allowed is one each")
    return tuple(names)


@dataclass(frozen=True, eq=False)
class View:
    """A slice of the domain: `columns` move, the others stay as in `base` (d,)."""

    context: Context
    columns: tuple[int, ...]
    base: Array
    names: tuple[str, ...]

    @property
    def domain(self) -> Domain:
        """The domain of the rows."""
        return self.context.domain

    def axis(self, column: int) -> Array:
        """(k,) values of a column, in small steps: between levels and categories the nearest one is shown."""
        k = POINTS[len(self.columns)]
        if self.domain.categorical[column]:
            return np.linspace(-0.5, self.domain.sizes[column] - 0.5, k)
        return np.linspace(0.0, 1.0, k)

    def rows(self) -> Array:
        """(k, d) or (k * k, d) legal rows, the first column changing slowest."""
        axes = np.meshgrid(*(self.axis(column) for column in self.columns), indexing="ij")
        X = np.repeat(self.base[None], axes[0].size, axis=0)
        for column, values in zip(self.columns, axes, strict=True):
            X[:, column] = values.ravel()
        return self.domain.snap(X)

    def is_in_slice(self, rows: Array) -> Mask:
        """(n,) which rows lie in the slice."""
        others = [c for c in range(self.domain.d) if c not in self.columns]
        features = self.domain.features(rows)[:, others] - self.domain.features(self.base[None])[:, others]
        return np.asarray((np.abs(features) < ON).all(axis=1))


@dataclass(frozen=True, eq=False)
class Values:
    """What is drawn of the m rows of a view: mean, sd and score (m,), NaN where nothing is feasible."""

    mean: Array
    sd: Array
    score: Array
    best: Array | None  # (d,) the row with the highest score; None where no score is finite
    label: str

    @classmethod
    def of(cls, view: View, score: ScoreFunction) -> Values:
        """All rows of a view."""
        X = view.rows()
        mean, variance = view.context.hallucinated_gp.predict(X)
        with np.errstate(all="ignore"):
            values = np.asarray(score(X), dtype=float)
        on = view.domain.is_feasible(X)
        if not on.any():
            raise ValueError("nothing in the picture is feasible: choose other columns, or another row to go through (at)")
        mean, sd = np.where(on, mean, np.nan), np.where(on, np.sqrt(variance), np.nan)
        reached = np.where(on & np.isfinite(values), values, -np.inf)
        best = X[reached.argmax()] if np.isfinite(reached).any() else None
        shown, label = clip_scores(values, score.log_scale)
        return cls(mean, sd, np.where(on, shown, np.nan), best, label)


def clip_scores(values: Array, log_scale: bool) -> tuple[Array, str]:
    """Scores that can be drawn, and their label: infinite values, and those too far down a log scale, are cut off."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return np.zeros_like(values), "score: nowhere finite"
    low, high = float(finite.min()), float(finite.max())
    depth = DEPTH if log_scale else DEEP * (high - float(np.median(finite)))
    label = "log score" if log_scale else "score"
    if 0.0 < depth < high - low:
        low, label = high - depth, f"{label} (cut at maximum − {depth:.3g})"
    return np.clip(np.where(np.isnan(values), low, values), low, high), label


# --- drawing ----------------------------------------------------------------------------------------------------------


def render(view: View, score: ScoreFunction, path: str | Path | None) -> Figure:
    """The figure; saved too if there is a path."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        values = Values.of(view, score)
        figure = curves(view, values) if len(view.columns) == 1 else maps(view, values)
        if path is not None:
            figure.savefig(path, dpi=120)
    return figure


def curves(view: View, values: Values) -> Figure:
    """One column: the posterior above, the acquisition below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    (column,) = view.columns
    x, context = view.axis(column), view.context
    upper.fill_between(x, values.mean - 2 * values.sd, values.mean + 2 * values.sd, color=BLUE, alpha=0.18, lw=0,
                       label="mean ± 2 sd")  # fmt: skip
    upper.plot(x, values.mean, color=BLUE, lw=1.8)
    upper.axhline(context.incumbent, color=MUTED, lw=0.9, ls=(0, (5, 3)), label="incumbent")
    for label, looks, rows, heights in group_rows(view):
        upper.plot(rows[:, column], heights, ls="none", label=label, **looks)
    lower.fill_between(x, values.score, np.nanmin(values.score), color=ORANGE, alpha=0.18, lw=0)
    lower.plot(x, values.score, color=ORANGE, lw=1.8)
    if values.best is not None:
        for axes in (upper, lower):
            axes.axvline(values.best[column], color=ORANGE, lw=0.9, zorder=1)
        lower.plot(values.best[column], np.nanmax(values.score), "v", color=ORANGE, ms=9, ls="none", label="maximum")
    upper.set_ylabel("standardised loss")
    lower.set(ylabel="acquisition", xlim=(x[0], x[-1]))
    lower.set_title(values.label, fontsize=9, loc="right", color=MUTED)
    label_axis(lower, view, column, "x")
    figure.legend(loc="outside upper center", ncols=6, fontsize=9, handlelength=1.4, columnspacing=1.2)
    return figure


def maps(view: View, values: Values) -> Figure:
    """Two columns: mean, sd and acquisition as filled contours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 4.3), layout="constrained")
    first, second = view.columns
    x, y = view.axis(first), view.axis(second)
    every: list[Any] = list(figure.subplots(1, 3, sharex=True, sharey=True))
    titles = ("posterior mean", "posterior sd", f"acquisition, {values.label}")
    for axes, title, part in zip(every, titles, (values.mean, values.sd, values.score), strict=True):
        filled = axes.contourf(x, y, part.reshape(len(x), len(y)).T, levels=levels(part), cmap="cividis")
        figure.colorbar(filled, ax=axes, pad=0.02, aspect=30)
        axes.set_title(title, fontsize=10)
        for label, looks, rows, _ in group_rows(view):
            axes.plot(rows[:, first], rows[:, second], ls="none", label=label, clip_on=False, **looks)
        if values.best is not None:
            axes.plot(*values.best[list(view.columns)], "*", color=ORANGE, mec="white", mew=0.9, ms=16, ls="none",
                      clip_on=False, zorder=5, label="maximum of the acquisition")  # fmt: skip
        label_axis(axes, view, first, "x")
    label_axis(every[0], view, second, "y")
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, handlelength=1.2)
    return figure


def group_rows(view: View) -> list[tuple[str, dict[str, Any], Array, Array]]:
    """Label, style, rows (k, d) and losses (k,) of told and of pending rows; groups without rows are left out."""
    context = view.context
    rows, losses, on = context.rows, context.gp.y, view.is_in_slice(context.rows)
    whole = len(view.columns) == view.domain.d
    dots = {"marker": "o", "ms": 6, "mfc": INK, "mec": "white", "mew": 0.9, "zorder": 4}
    faint = {"marker": "o", "ms": 4, "mfc": "white", "mec": MUTED, "mew": 0.8, "zorder": 3}
    flying = {"marker": "D", "ms": 6, "mfc": "white", "mec": ORANGE, "mew": 1.4, "zorder": 4}
    groups = [
        ("told" if whole else "told, in the slice", dots, rows[on], losses[on]),
        ("told, elsewhere", faint, rows[~on], losses[~on]),
        ("pending", flying, context.pending_rows, context.gp.mean(context.pending_rows)),
    ]
    return [group for group in groups if len(group[2])]


def levels(values: Array) -> Array:
    """Contour levels at round numbers; around a surface that is flat, too."""
    from matplotlib.ticker import MaxNLocator

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.0 if high - low > 1e-9 * max(abs(low), abs(high)) else 1e-3 * max(abs(low), 1.0)
    found = np.asarray(MaxNLocator(20).tick_values(low - margin, high + margin))
    found[0], found[-1] = min(found[0], low), max(found[-1], high)  # a tick may be rounded to the inner side
    return found


def label_axis(axes: Axes, view: View, column: int, side: str) -> None:
    """The column's name, and a tick at every category."""
    axes.set(**{f"{side}label": view.names[column]})
    if view.domain.categorical[column]:
        axes.set(**{f"{side}ticks": range(view.domain.sizes[column])})
