"""The linter on acquisitions of the whole model: every fault found alone."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from surrogates import EI, LogEI, Numerical, Thompson, lint, score_of
from tests.surrogates.test_linting import anchored, in_units, remarks

LOG_EI = LogEI()


@dataclass(frozen=True, eq=False)
class Whole:
    """LogEI, or another one, and how its score is spoilt: spoil(score, context) -> score."""

    spoil: Any
    base: Any = LOG_EI
    log_scale: bool = True

    def score(self, context):
        return self.spoil(score_of(self.base, context), context)


@dataclass(frozen=True, eq=False)
class Spoilt:
    """A score whose values, or whose slopes, are replaced."""

    inner: Any
    value: Any = None  # (X, value) -> value
    slope: Any = None  # (X, slope) -> slope
    log_scale: bool = True

    def __call__(self, X):
        return self.inner(X) if self.value is None else self.value(X, self.inner(X))

    def gradient(self, X):
        slope = self.inner.gradient(X)[1]
        return self(X), slope if self.slope is None else self.slope(X, slope)


def whole_raising(score, context):
    return Spoilt(score, value=lambda X, value: 1 / 0)


def flat_slopes(score, context):
    return Spoilt(score, slope=lambda X, slope: slope[:, :1])


def other_scale(score, context):
    return Spoilt(score, log_scale=False)


def whole_coarse(score, context):
    return Spoilt(score, value=lambda X, value: value.astype(np.float32))


def whole_nan(score, context):
    return Spoilt(score, value=lambda X, value: np.where(X[:, 0] > 0.5, np.nan, value))


def unseeded(score, context):
    offset = np.random.default_rng().normal()
    return Spoilt(score, value=lambda X, value: value + offset)


def off_slopes(score, context):
    return Spoilt(score, slope=lambda X, slope: 1.001 * slope)


def two_values(score, context):
    class Two(Spoilt):
        def gradient(self, X):
            return score(X) + 1.0, score.gradient(X)[1]

    return Two(score)


def categorical_slopes(score, context):
    return Spoilt(score, slope=lambda X, slope: slope + (np.arange(slope.shape[1]) == 2))


def infinite_at_told(score, context):
    told = set(context.domain.keys(context.started_rows))

    def value(X, value):
        return np.where([key in told for key in context.domain.keys(X)], -np.inf, value)

    return Spoilt(score, value=value)


def writing_rows(score, context):
    context.rows[:, 0] *= 0.5
    return score


def whole_centred(score, context):
    return Spoilt(score, lambda X, value: value - 0.5 * value.mean(), lambda X, slope: slope - 0.5 * slope.mean(axis=0))


def regardless(score, context):
    return score_of(LogEI(), replace(context, pending=context.pending[:0]))


def last_alone(score, context):
    """Far from the row that was started last, wherever the others are."""
    if len(context.pending) == 0:
        return score
    last = context.pending[-1][context.domain.floats]

    def away(X):
        return X[:, context.domain.floats] - last

    def slope(X, slope):
        slope = np.array(slope)
        slope[:, context.domain.floats] += 2.0 * away(X)
        return slope

    return Spoilt(score, lambda X, value: value + (away(X) ** 2).sum(axis=1), slope)


def as_it_is(score, context):
    return score


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Whole(whole_raising), {"runs": "fail"}),
        (Whole(flat_slopes), {"shape": "fail"}),
        (Whole(other_scale), {"shape": "fail"}),
        (Whole(whole_coarse), {"numbers": "fail"}),
        (Whole(whole_nan), {"numbers": "fail"}),
        (Whole(unseeded), {"repeatable": "fail"}),
        (Whole(off_slopes), {"gradient": "fail"}),
        (Whole(two_values), {"gradient": "fail"}),
        (Whole(categorical_slopes), {"gradient": "fail"}),
        (Whole(as_it_is, EI(), log_scale=False), {"far from data": "fail"}),
        (Whole(infinite_at_told), {"sd near zero": "fail"}),
        (Whole(writing_rows), {"in place": "fail"}),
        (Whole(whole_centred), {"company": "fail"}),
        (Whole(regardless), {"pending": "note"}),
        (Whole(last_alone), {"batch": "fail"}),
        (Whole(as_it_is, Numerical(anchored), log_scale=False), {"shift": "fail"}),
        (Whole(as_it_is, Numerical(in_units), log_scale=False), {"scale": "note"}),
        (Whole(as_it_is), {}),
    ],
    ids=lambda value: value.spoil.__name__ if isinstance(value, Whole) else "-".join(value),
)
def test_a_fault_in_the_whole_model_is_found_alone(chosen: Whole, found: dict[str, str]) -> None:
    report = lint(chosen)
    assert remarks(report) == found, str(report)


def test_the_order_of_a_batch_is_measured_against_what_a_seed_changes() -> None:
    said = lint(Whole(last_alone))["batch"].measured
    assert "of their range when 2 pending rows come in reverse, and by at most 0 when the seed does" in said
    assert lint("nei")["batch"].measured.startswith("scores change by 0.0"), "draws go to other rows"


def test_seeds_are_told_apart() -> None:
    assert "another seed gave others" in lint(Thompson())["repeatable"].measured
    assert "another seed gave the same" in lint(Whole(as_it_is))["repeatable"].measured
