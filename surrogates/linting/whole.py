"""What is checked of an acquisition of the whole model, in a small context: 12 told rows, 2 pending, 3 columns.

The posteriors are those of known hyperparameters: two, if the acquisition says that it takes one an objective (`several`),
else one. Scores are asked at rows inside the domain, so that differences can be taken on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from surrogates.acquisitions.context import Context, ModelAcquisition, ScoreFunction
from surrogates.acquisitions.traits import is_multi_objective
from surrogates.domain import Array, Domain
from surrogates.gp import GaussianProcess
from surrogates.hyperparameters import Hyperparameters
from surrogates.linting.findings import (
    STEEP,
    Check,
    Finding,
    Measured,
    ask,
    close,
    compare_ways,
    count_nan,
    fail_if,
    judge_orders,
    order,
    spread,
)

MIXED = Domain(("float", "float", "categorical"), (None,) * 3, (0, 0, 3), ((),) * 3)
LINE = Domain(("float",), (None,), (0,), ((),))
STEP = 1e-4  # of differences, to fourth order
SHIFT, SCALE = 4.0, 8.0
SEEDS = 3  # other seeds, which say how much drawing alone changes scores
ROUNDING = 1e-6  # of the range of the scores: rows that are conditioned on in another order
TOLERANCE = 1e-3  # of the range of the scores: descents end a little elsewhere when the unit changes


@dataclass(frozen=True)
class Trial:
    """An acquisition, the context that it is tried in, and rows X (24, 3) that are scored."""

    acquisition: ModelAcquisition
    context: Context
    X: Array = field(default_factory=lambda: inner_rows(24))

    @classmethod
    def of(cls, acquisition: ModelAcquisition, kernel: str) -> Trial:
        """In the context for everything but what is far from data."""
        return cls(acquisition, mixed_context(objectives(acquisition), kernel))

    @property
    def kernel(self) -> str:
        """The name of the posteriors' kernel."""
        return self.context.gps[0].theta.kernel

    @cached_property
    def score(self) -> ScoreFunction:
        """The score in this context, made once."""
        return self.at(seed=self.context.seed)

    def at(self, **changed: Any) -> ScoreFunction:
        """A new score in a changed context, with rows of its own."""
        rows, pending = self.context.rows.copy(), self.context.pending.copy()
        return self.acquisition.score(replace(self.context, **{"rows": rows, "pending": pending, **changed}))


def objectives(acquisition: ModelAcquisition) -> int:
    """How many posteriors it is given."""
    return 2 if is_multi_objective(acquisition) else 1


def inner_rows(m: int) -> Array:
    """(m, 3) rows of MIXED that keep away from the bounds."""
    X = MIXED.random(np.random.default_rng(7), m)
    X[:, MIXED.floats] = 0.05 + 0.9 * X[:, MIXED.floats]
    return X


def mixed_context(many: int, kernel: str, noise: float = 1e-3) -> Context:
    """12 rows of MIXED at which a wave was seen, another one an objective."""
    rows, pending = np.split(MIXED.random(np.random.default_rng(3), 14), [12])
    theta = Hyperparameters((-0.7, -0.5, 0.0), 0.0, float(np.log(noise)), 0.1, kernel)
    waves = [np.sin(5.0 * rows[:, 0] + i) + rows[:, 1] ** 2 + 0.3 * rows[:, 2] - 1.0 for i in range(many)]
    gps = tuple(GaussianProcess(MIXED, rows, wave, theta) for wave in waves)
    return Context(gps, rows, pending, float(gps[0].mean(rows).min()), seed=0)


def steep_context(many: int, kernel: str) -> Context:
    """30 rows on a steep line, nearly without noise: most of it lies hundreds of standard deviations above the best."""
    rows = np.linspace(0.0, 1.0, 30)[:, None]
    theta = Hyperparameters((-0.7,), 0.2, float(np.log(1e-8)), 0.1, kernel)
    gp = GaussianProcess(LINE, rows, 3.0 * rows[:, 0] - 1.5, theta)
    return Context((gp,) * many, rows, np.zeros((0, 1)), -1.5, seed=0)


# --- whether it can be asked ------------------------------------------------------------------------------------------


def score_once(trial: Trial) -> Measured:
    """One score, with and without derivatives."""
    trial.score(trial.X)
    trial.score.gradient(trial.X)
    told, pending = len(trial.context.rows), len(trial.context.pending)
    return "pass", f"scored {len(trial.X)} rows after {told} told and {pending} pending ones"


def row_shapes(trial: Trial) -> Measured:
    """(m,) for m rows, and (m, d) derivatives."""
    wrong = []
    for m in (1, 2, 7):
        X = trial.X[:m]
        values, (again, slopes) = trial.score(X), trial.score.gradient(X)
        got = np.shape(values), np.shape(again), np.shape(slopes)
        if got != ((m,), (m,), X.shape):
            wrong.append(f"for X {X.shape} score(X) is {got[0]} and score.gradient(X) is {got[1]}, {got[2]}")
    scales = trial.acquisition.log_scale, trial.score.log_scale
    if not all(isinstance(scale, (bool, np.bool_)) for scale in scales) or scales[0] != scales[1]:
        wrong.append(f"log_scale is {scales[0]!r} in the acquisition and {scales[1]!r} in its score")
    return fail_if("; ".join(wrong), "1, 2 and 7 rows gave as many scores and derivatives")


def row_numbers(trial: Trial) -> Measured:
    """float64, and none of them NaN."""
    values = np.asarray(trial.score(trial.X))
    return count_nan(values)


def repeat_context(trial: Trial) -> Measured:
    """The same context twice, then another seed."""
    changed = not np.array_equal(trial.score(trial.X), trial.at(seed=trial.context.seed)(trial.X), equal_nan=True)
    other = np.array_equal(trial.score(trial.X), trial.at(seed=trial.context.seed + 1)(trial.X))
    said = f"the same seed gave the same bits; another seed gave {'the same' if other else 'others'}"
    return fail_if("the same context, seed included, gave different scores" if changed else "", said)


# --- whether it can be climbed ----------------------------------------------------------------------------------------


def compare_row_slopes(trial: Trial) -> Measured:
    """Derivatives against differences in the float columns; zero in the others."""
    score, X = trial.score, trial.X
    value, slope = score.gradient(X)
    if not close(np.asarray(value), score(X), 1e-9).all():
        return "fail", "score.gradient(X) gives other scores than score(X)"
    for c in np.flatnonzero(MIXED.floats):
        wanted = difference(score, X, int(c))
        off = np.abs(slope[:, c] - wanted).max()
        if not off <= 1e-4 * np.abs(wanted).max():
            return "fail", f"in column {c} the slopes are off by {off:.2g}, where the steepest is {np.abs(wanted).max():.2g}"
    if np.any(slope[:, MIXED.categorical] != 0.0):
        return "fail", "slopes in a categorical column are not zero"
    return "pass", f"agrees with differences at {len(X)} rows, and is zero in the categorical column"


def difference(score: Callable[[Array], Array], X: Array, column: int) -> Array:
    """(m,) the derivative by one column."""
    step = STEP * np.eye(X.shape[1])[column]
    near, far = score(X + step) - score(X - step), score(X + 2 * step) - score(X - 2 * step)
    return np.asarray((8.0 * near - far) / (12.0 * STEP))


def steep_slopes(trial: Trial) -> Measured:
    """Score and slopes where the mean is hundreds of standard deviations above the best."""
    score = trial.acquisition.score(steep_context(objectives(trial.acquisition), trial.kernel))
    X = np.linspace(0.4, 0.95, 61)[:, None]
    value, slope = score.gradient(X)
    if not (np.isfinite(value).all() and np.isfinite(slope).all()):
        return "fail", "scores or slopes are not finite hundreds of sd above the best"
    flat = int((np.abs(slope[:, 0]) < STEEP).sum())
    said = f"hundreds of sd above the best {flat} of {len(X)} slopes are below {STEEP:.0e}, where the maximiser stops"
    return fail_if(said if flat > len(X) // 5 else "", said)


def started_slopes(trial: Trial) -> Measured:
    """Score and slopes at told and pending rows, nearly without noise."""
    context = mixed_context(len(trial.context.gps), trial.kernel, noise=1e-8)
    value, slope = trial.acquisition.score(context).gradient(context.started_rows)
    for name, values in (("scores", value), ("rows of slopes", slope)):
        bad = int((~np.isfinite(values)).reshape(len(value), -1).any(axis=1).sum())
        if bad:
            return "fail", f"{bad} of {len(value)} {name} are not finite at told and pending rows"
    return "pass", "finite at told and pending rows"


# --- whether it keeps to itself ---------------------------------------------------------------------------------------


def compare_arrays(trial: Trial) -> Measured:
    """Every array of the context, and the rows, after a score."""
    context, X = mixed_context(len(trial.context.gps), trial.kernel), trial.X.copy()
    before = [array.copy() for array in arrays(context, X)]
    trial.acquisition.score(context).gradient(X)
    changed = not all(np.array_equal(now, was) for now, was in zip(arrays(context, X), before, strict=True))
    return fail_if("scoring changed an array of the context or the rows" if changed else "",
                   "rows, pending rows and posteriors are as before")  # fmt: skip


def arrays(context: Context, X: Array) -> list[Array]:
    """What must not change."""
    return [X, context.rows, context.pending, *(a for gp in context.gps for a in (gp.Z, gp.y, gp.L, gp.alpha))]


def row_company(trial: Trial) -> Measured:
    """Rows in another order and one by one."""
    together = trial.score(trial.X)
    shuffled = np.random.default_rng(1).permutation(len(together))
    single = np.concatenate([trial.score(x[None]) for x in trial.X])
    ways = {
        "in another order": (together[shuffled], trial.score(trial.X[shuffled])),
        "one by one": (together, single),
    }
    return compare_ways(ways, 1e-6, "rows")


# --- whether it wants the right thing ---------------------------------------------------------------------------------


def pending_effect(trial: Trial) -> Measured:
    """What the best row is worth once it is pending."""
    before = trial.at(pending=np.zeros((0, MIXED.d)))
    values = before(trial.X)
    best = trial.X[values.argmax()][None]
    then, now = float(values.max()), float(trial.at(pending=best)(best)[0])
    said = f"the best of {len(values)} rows is worth {then:.4g}, and {now:.4g} once it is pending"
    return ("pass" if now < then - 1e-9 * spread(values) else "note"), said


def pending_order(trial: Trial) -> Measured:
    """Pending rows in reverse.

    Of what is drawn at pending rows others are drawn in another order, which changes scores about as much as a seed does.
    """
    values, reverse = trial.score(trial.X), trial.context.pending[::-1].copy()
    change = departure(values, trial.at(pending=reverse)(trial.X))
    drawn = max(departure(values, trial.at(seed=trial.context.seed + i)(trial.X)) for i in range(1, SEEDS + 1))
    said = f"scores change by {change:.2g} of their range when {len(reverse)} pending rows come in reverse"
    return fail_if(f"{said}, and by at most {drawn:.2g} when the seed does" if change > max(drawn, ROUNDING) else "", said)


def departure(before: Array, after: Array) -> float:
    """The largest change of scores (m,), as a share of their range; infinite where others are infinite."""
    moved = np.abs(after - before)[before != after].max(initial=0.0)
    return float(np.nan_to_num(moved, nan=np.inf)) / (spread(before) or 1.0)


def context_order_change(trial: Trial, shift: float, scale: float) -> str:
    """How the order of rows changes when all targets and their posteriors change; empty where it does not."""
    context, scaled = trial.context, []
    for gp in context.gps:
        theta = replace(
            gp.theta,
            mean=scale * gp.theta.mean + shift,
            log_outputscale=gp.theta.log_outputscale + 2.0 * float(np.log(scale)),
            log_noise=gp.theta.log_noise + 2.0 * float(np.log(scale)),
        )
        scaled.append(GaussianProcess(MIXED, context.rows, scale * gp.y + shift, theta))
    other = trial.at(gps=tuple(scaled), incumbent=scale * context.incumbent + shift)
    return order(trial.score(trial.X), other(trial.X), TOLERANCE)


def move_targets(trial: Trial) -> Measured:
    """Whether the order of rows depends on where zero is."""
    changes = {f"moved by {SHIFT:g}": context_order_change(trial, SHIFT, 1.0)}
    return judge_orders(changes, "fail", f"the order of rows is the same, moved by {SHIFT:g}")


def rescale_targets(trial: Trial) -> Measured:
    """Whether the order of rows depends on the unit."""
    changes = {f"times {SCALE:g}": context_order_change(trial, 0.0, SCALE)}
    return judge_orders(changes, "note", f"the order of rows is the same, times {SCALE:g}")


GATES = (
    Check("runs", score_once, "Give score(context) -> an object with score(X), score.gradient(X) and log_scale.", gate=True),
    Check("shape", row_shapes, "Return scores (m,) and derivatives (m, d) for rows X (m, d), and one log_scale for both.",
          gate=True),
    Check("numbers", row_numbers, "Compute in float64, and give every row a number.", gate=True),
    Check("repeatable", repeat_context, "Draw random numbers in score(context), from "
                                          "np.random.default_rng(context.seed) alone.", gate=True),
)  # fmt: skip
REST = (
    Check("gradient", compare_row_slopes, "Correct `gradient`; surrogates.Known takes differences of any function of rows."),
    Check("far from data", steep_slopes, "Return the logarithm of the worth, from functions that do not underflow "
                                         "(surrogates.acquisitions.normal)."),
    Check("sd near zero", started_slopes, "Keep variances away from zero (GaussianProcess.positive) and take logarithms of "
                                          "positive numbers only."),
    Check("in place", compare_arrays, "Work on copies: a posterior is used again for the next proposal."),
    Check("company", row_company, "Score each row by itself: nothing summed, ranked or scaled over the rows of a call."),
    Check("pending", pending_effect, "Unless its proposals differ by the seed, score with context.hallucinated_gp, or "
                                     "integrate over context.pending: else parallel workers all try the same row."),
    Check("batch", pending_order, "Give every row of context.pending the same say: the order in which jobs were started means "
                                  "nothing."),
    Check("shift", move_targets, "Read means only as differences: zero is the middle of what was tried, not of the problem."),
    Check("scale", rescale_targets, "If it should not know the unit, divide by a sd, or give every term the unit of the "
                                    "targets."),
)  # fmt: skip
MEANS = "does not apply: it reads the whole model, not one mean and sd a point"


def whole_findings(acquisition: ModelAcquisition, kernel: str) -> tuple[Finding, ...]:
    """All checks, with posteriors of this kernel, and which of the marginal ones do not apply."""
    return (*ask((*GATES, *REST), Trial.of(acquisition, kernel)), Finding("mean", "skip", MEANS), Finding("sd", "skip", MEANS))
