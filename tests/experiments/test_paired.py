"""Paired comparisons beside plain forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.benchmark.tasks import TASKS
from experiments.paired import FLOOR, count_clear, half_width, interval, over_tasks, scale_of, score


def test_the_interval_is_that_of_students_t() -> None:
    values = np.random.default_rng(0).normal(1.0, 2.0, 20)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert values.mean() - half_width(values) == pytest.approx(low) and values.mean() + half_width(values) == pytest.approx(high)
    assert interval(np.array([-1.0, -1.0])) == "-1.00 ± 0.00"


def test_half_the_regret_is_a_score_of_minus_one_and_nothing_counts_below_the_floor() -> None:
    assert score([1.0, 2.0], [2.0, 1.0], 1e-9) == pytest.approx([-1.0, 1.0])
    assert score([0.0], [1e-9], 10.0) == pytest.approx([0.0], abs=1e-6)
    assert score([0.0], [7.0 * FLOOR], 1.0) == pytest.approx([-3.0])


def test_tasks_count_alike_and_only_where_seeds_are_paired() -> None:
    by_task = {"a": np.array([1.0, 2.0, 9.0]), "b": np.array([3.0, 6.0])}
    assert over_tasks(by_task) == pytest.approx([2.0, 4.0])
    clear = {"better": np.array([-1.0, -1.1, -0.9]), "worse": np.array([1.0, 1.1]), "open": np.array([-1.0, 1.0])}
    assert count_clear({**clear, "worse": np.array([1.0, 1.1, 0.9])}) == (1, 1)


def test_the_scale_is_the_median_regret() -> None:
    task = TASKS["branin"]
    rows = task.space().domain.random(np.random.default_rng(5), 4000)
    there = np.median([task.true(task.space().decode(row)) for row in rows]) - task.best
    assert scale_of(task) == pytest.approx(there, rel=0.2)
