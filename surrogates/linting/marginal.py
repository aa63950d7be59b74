"""What is checked of a marginal acquisition f(posterior, incumbent) -> score, on made-up posteriors.

Which invariances are right. Targets are standardised: their zero is the middle of whatever happened to be tried, so an
order of points that depends on it is wrong. Their unit is the spread of what was tried, and a margin of "a hundredth of
the spread" may well be meant: an order that depends on the unit is only noted.

Notation     mean, sd (m,)  the posterior at m points     B  the incumbent     slopes  d score / d mean, d score / d sd
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from surrogates.acquisitions.marginal import Acquisition, AcquisitionFunction, Belief, Normal, Numerical
from surrogates.domain import Array
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
    two_digits,
)

B = -1.3  # the incumbent of every made-up posterior
FAR = (5.0, 10.0, 20.0, 40.0)  # standard deviations above it
SMALL = (0.0, 1e-12, 1e-6)  # standard deviations that must not break anything; 1e-7 is what a GP without noise has
SDS = (0.05, 0.3, 1.0, 2.0)
NEAR = np.linspace(-8.0, 8.0, 64)  # in standard deviations from the incumbent, which is not among them: there may be a kink
TOLERANCE = 1e-9  # of the range of the scores: a difference of this much is none
SHIFTS, SCALES = (-5.0, 5.0), (0.1, 10.0)


@dataclass(frozen=True)
class MarginalProbe:
    """An acquisition that is given fresh arrays every time."""

    acquisition: Acquisition

    def raw(self, mean: Array, sd: Array, incumbent: float = B) -> Any:
        """What the function returns, as it is."""
        return self.function(Normal(np.array(mean), np.array(sd)), incumbent)

    @property
    def function(self) -> AcquisitionFunction:
        """The function itself, without what keeps it from writing."""
        return self.acquisition.f if isinstance(self.acquisition, Numerical) else self.acquisition

    def score(self, mean: Array, sd: Array, incumbent: float = B) -> Array:
        """(m,)"""
        return np.asarray(self.raw(mean, sd, incumbent), dtype=float)

    def slopes(self, mean: Array, sd: Array) -> tuple[Array, Array]:
        """By mean (m,) and by sd (m,), as the maximiser gets them."""
        chosen = self.acquisition
        if isinstance(chosen, Numerical):  # which refuses a function that writes: that is `compare_posterior`'s to find, alone
            chosen = replace(chosen, f=on_copies(chosen.f))
        _, by_mean, by_sd = chosen.gradient(Normal(np.array(mean), np.array(sd)), B)
        return np.asarray(by_mean, dtype=float), np.asarray(by_sd, dtype=float)


def on_copies(f: AcquisitionFunction) -> AcquisitionFunction:
    """f, given arrays of its own."""

    def copying(posterior: Belief, incumbent: float) -> Any:
        return f(Normal(np.array(posterior.mean), np.array(posterior.sd)), incumbent)

    return copying


def cloud(m: int = 60) -> tuple[Array, Array]:
    """Means and sds (m,) as a study has them: means between -2 and 2, sds between 0.1 and 1.5."""
    rng = np.random.default_rng(0)
    return rng.uniform(-2.0, 2.0, m), np.exp(rng.uniform(np.log(0.1), np.log(1.5), m))


def grid() -> tuple[Array, Array]:
    """Means and sds, both (sds, means): NEAR at every one of SDS, means rising."""
    sd = np.repeat(np.array(SDS)[:, None], len(NEAR), axis=1)
    return B + sd * NEAR, sd


def place(mean: float, sd: float) -> str:
    """A point in words."""
    side = "at" if mean == B else f"{abs(mean - B):.3g} {'above' if mean > B else 'below'}"
    return f"sd = {sd:.3g} and a mean {side} the incumbent"


# --- whether it can be asked ------------------------------------------------------------------------------------------


def call_once(probe: MarginalProbe) -> Measured:
    """One call."""
    probe.raw(*cloud(7))
    return "pass", "7 points were scored"


def score_shapes(probe: MarginalProbe) -> Measured:
    """(m,) for m points."""
    shapes = {m: np.shape(probe.raw(*cloud(m))) for m in (1, 2, 7)}
    wrong = [f"{m} points gave an array of shape {got}" for m, got in shapes.items() if got != (m,)]
    return fail_if("; ".join(wrong), "1, 2 and 7 points gave as many scores")


def score_numbers(probe: MarginalProbe) -> Measured:
    """float64, and none of them NaN at ordinary points."""
    mean, sd = (part.ravel() for part in grid())
    return count_nan(np.asarray(probe.raw(mean, sd)), lambda i: f", one at {place(mean[i], sd[i])}", " scores")


def repeat_call(probe: MarginalProbe) -> Measured:
    """The same question twice."""
    first, second = (probe.score(*cloud()) for _ in range(2))
    changed = int((~close(first, second, 0.0)).sum())
    return fail_if(f"{changed} of {len(first)} scores differ between two calls" if changed else "",
                   "two calls gave the same bits")  # fmt: skip


# --- whether it can be climbed ----------------------------------------------------------------------------------------


def compare_slopes(probe: MarginalProbe) -> Measured:
    """Derivatives of its own against central differences."""
    if isinstance(probe.acquisition, Numerical):
        return "skip", "it has none of its own: differences are taken"
    mean, sd = (part.ravel() for part in grid())
    came = [np.asarray(part) for part in probe.acquisition.gradient(Normal(mean.copy(), sd.copy()), B)]
    if [part.shape for part in came] != [mean.shape] * 3:
        return "fail", f"for {len(mean)} points it gave arrays of shapes {[part.shape for part in came]}"
    expected = Numerical(probe.acquisition, step=1e-4).gradient(Normal(mean, sd), B)
    for name, got, wanted in zip(("score", "d score / d mean", "d score / d sd"), came, expected, strict=True):
        off = np.flatnonzero(~close(got, wanted))
        if len(off):
            at = place(mean[off[0]], sd[off[0]])
            return "fail", f"{name} is {got[off[0]]:.6g} where {wanted[off[0]]:.6g} was measured, at {at}"
    return "pass", f"agrees with differences at {len(mean)} points"


def far_slopes(probe: MarginalProbe) -> Measured:
    """Score and slopes far above the incumbent, at sd = 1."""
    mean, sd = B + np.array(FAR), np.ones(len(FAR))
    score, slopes = probe.score(mean, sd), np.abs(probe.slopes(mean, sd)).max(axis=0)
    said = f"{two_digits(FAR)} sd above the incumbent scores are {two_digits(score)} and slopes {two_digits(slopes)}"
    good = np.isfinite(score) & np.isfinite(slopes) & (slopes >= STEEP)
    return fail_if("" if good.all() else f"{said}; the maximiser stops at {STEEP:.0e}", said)


def certain_slopes(probe: MarginalProbe) -> Measured:
    """Score and slopes where sd is as good as zero: below, at and above the incumbent."""
    mean, sd = (part.ravel() for part in np.meshgrid(B + np.array([-1.0, 0.0, 1.0]), np.array(SMALL)))
    said = ("score", probe.score(mean, sd)), *zip(("slope by mean", "slope by sd"), probe.slopes(mean, sd), strict=True)
    for name, values in said:
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            return "fail", f"the {name} is {values[bad[0]]} at {place(mean[bad[0]], sd[bad[0]])}"
    return "pass", f"finite at sd = {two_digits(SMALL)}, below, at and above the incumbent"


# --- whether it keeps to itself ---------------------------------------------------------------------------------------


def compare_posterior(probe: MarginalProbe) -> Measured:
    """The posterior's arrays after a call."""
    posterior, before = Normal(*cloud()), Normal(*cloud())
    probe.function(posterior, B)
    changed = [name for name in ("mean", "sd") if not np.array_equal(getattr(posterior, name), getattr(before, name))]
    return fail_if(f"a call changed posterior.{' and posterior.'.join(changed)}" if changed else "",
                   "posterior.mean and posterior.sd are as before")  # fmt: skip


def point_company(probe: MarginalProbe) -> Measured:
    """Points in another order, in halves, and one by one."""
    mean, sd = cloud()
    together = probe.score(mean, sd)
    shuffled = np.random.default_rng(1).permutation(len(mean))
    halves = [probe.score(mean[part], sd[part]) for part in (slice(0, 30), slice(30, 60))]
    single = [probe.score(mean[i : i + 1], sd[i : i + 1]) for i in range(8)]
    ways = {
        "in another order": (together[shuffled], probe.score(mean[shuffled], sd[shuffled])),
        "in halves": (together, np.concatenate(halves)),
        "one by one": (together[:8], np.concatenate(single)),
    }
    return compare_ways(ways, TOLERANCE, "points")


# --- whether it wants the right thing ---------------------------------------------------------------------------------


def mean_effect(probe: MarginalProbe) -> Measured:
    """The score along rising means."""
    mean, sd = grid()
    scores = probe.score(mean.ravel(), sd.ravel()).reshape(mean.shape)
    rises = np.array([np.diff(line, prepend=line[0]) / (spread(line) or 1.0) for line in scores])
    rises = np.where(np.isnan(rises), 0.0, rises)  # from one infinity to the next
    i, j = np.unravel_index(int(rises.argmax()), rises.shape)
    wrong = f"the score rises from {scores[i, j - 1]:.4g} to {scores[i, j]:.4g} at {place(mean[i, j], sd[i, j])}"
    return fail_if(wrong if rises[i, j] > TOLERANCE else "", "never rises with the mean")


def sd_effect(probe: MarginalProbe) -> Measured:
    """The score along rising sds, with the mean at and above the incumbent."""
    sd = np.geomspace(0.01, 3.0, 40)
    at, above = (probe.score(np.full_like(sd, mean), sd) for mean in (B, B + 1.0))
    if (np.diff(at) < -TOLERANCE * spread(at)).any():
        return "note", f"it avoids risk: at the incumbent the score falls from {at[0]:.4g} to {at[-1]:.4g} as sd grows"
    if max(spread(at), spread(above)) == 0.0:
        return "note", "it never explores: at and above the incumbent the score is the same at every sd"
    return "pass", "does not fall as sd grows, at the incumbent"


def order_change(probe: MarginalProbe, shift: float, scale: float) -> str:
    """How the order of points changes when all targets do; empty where it does not."""
    mean, sd = cloud()
    before = probe.score(mean, sd)
    return order(before, probe.score(scale * mean + shift, scale * sd, scale * B + shift), TOLERANCE)


def shift_effect(probe: MarginalProbe) -> Measured:
    """Whether the order of points depends on where zero is."""
    changes = {f"moved by {shift:g}": order_change(probe, shift, 1.0) for shift in SHIFTS}
    right = f"the order of 60 points is the same when all targets are moved by {two_digits(SHIFTS)}"
    return judge_orders(changes, "fail", right)


def scale_effect(probe: MarginalProbe) -> Measured:
    """Whether the order of points depends on the unit."""
    changes = {f"times {scale:g}": order_change(probe, 0.0, scale) for scale in SCALES}
    right = f"the order of 60 points is the same when all targets are multiplied by {two_digits(SCALES)}"
    return judge_orders(changes, "note", right)


GATES = (
    Check("runs", call_once, "Read arrays posterior.mean (m,) and posterior.sd (m,), and a number; assign to none of them; "
                             "wrap a function of torch tensors: Autograd(f).", gate=True),
    Check("shape", score_shapes, "Return an array (m,), one score a point.", gate=True),
    Check("numbers", score_numbers, "Compute in float64, and give every ordinary point a number.", gate=True),
    Check("repeatable", repeat_call, "Draw random numbers in the score(context) of a ModelAcquisition, from "
                                     "context.seed.", gate=True),
)  # fmt: skip
GRADIENT = Check("gradient", compare_slopes, "Correct `gradient`, or leave it out: differences are taken then.")
REST = (
    Check("far from data", far_slopes, "Return the logarithm of the worth, from functions that do not underflow "
                                       "(scipy.special.log_ndtr, surrogates.acquisitions.normal.log_h)."),
    Check("sd near zero", certain_slopes, "Keep sd away from zero (np.maximum(posterior.sd, 1e-12)) and take logarithms of "
                                          "positive numbers only."),
    Check("in place", compare_posterior, "Work on copies: other readers get the same arrays, and a study refuses what writes to "
                                         "them."),
    Check("company", point_company, "Score each point by its own mean and sd: nothing summed, ranked or scaled over the points "
                                    "of a call."),
    Check("mean", mean_effect, "Let the score fall as the mean grows: lower is better."),
    Check("sd", sd_effect, "If it is to explore, let the score grow with sd where the mean is no better than the incumbent."),
    Check("shift", shift_effect, "Read the mean only as incumbent - posterior.mean: zero is the middle of what was tried, not "
                                 "of the problem."),
    Check("scale", scale_effect, "If it should not know the unit, divide everything by sd, or give every term the unit of the "
                                 "targets."),
)  # fmt: skip


def marginal_findings(acquisition: Acquisition) -> tuple[Finding, ...]:
    """All checks. Where its own gradient is wrong, the others take differences, so that each fault is found alone."""
    first = ask((*GATES, GRADIENT), MarginalProbe(acquisition))
    if not all(finding.is_ok for finding in first[:-1]):
        return (*first, *(Finding(check.name, "skip", first[-1].measured) for check in REST))
    trusted = acquisition if first[-1].is_ok else Numerical(acquisition)
    return (*first, *ask(REST, MarginalProbe(trusted)))
