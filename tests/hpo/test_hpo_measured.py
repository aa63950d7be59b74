"""Which number a cost or a bound reads: the user's of that name, or the framework's beside it."""

import math
from typing import Any

import pytest

from hpo import GP, Float, History, Result, Space
from hpo.metrics import metric_values


def told(results: list[Result], **options: Any) -> tuple[GP, History]:
    optimizer = GP(Space(x=Float(0.0, 1.0)), initial=3, explore_every=0, **options)
    for i, result in enumerate(results):
        optimizer.add({"x": (i + 0.5) / len(results)}, result)
    return optimizer, optimizer.history


def own(i: int, seconds: float) -> Result:
    return Result({"loss": i % 3 + 0.1 * i, "seconds": seconds}, system={"seconds": 1e-3})


def beside(i: int, seconds: float) -> Result:
    return Result({"loss": i % 3 + 0.1 * i}, system={"seconds": seconds})


def old(i: int, seconds: float) -> Result:
    return Result({"loss": i % 3 + 0.1 * i, "seconds": seconds})


COSTS = [math.exp(math.sin(i)) for i in range(8)]


@pytest.mark.parametrize("kind", [own, beside, old])
def test_the_cost_is_read_where_it_stands(kind: Any) -> None:
    _, history = told([kind(i, cost) for i, cost in enumerate(COSTS)], cost="seconds")
    assert metric_values(history, history.finished_keys, "seconds") == COSTS


def test_proposals_do_not_depend_on_where_it_stands() -> None:
    asks = [
        told([kind(i, cost) for i, cost in enumerate(COSTS)], **options)[0].ask()
        for kind in (own, beside, old) for options in ({"cost": "seconds"}, {"constraints": {"seconds": 1.0}})
    ]  # fmt: skip
    assert asks[0] == asks[2] == asks[4] and asks[1] == asks[3] == asks[5]


def test_an_old_log_goes_on_with_the_framework_s_seconds() -> None:
    """Its results have no system: its seconds were the worker's, as those of the results since are."""
    results = [old(i, cost) if i < 4 else beside(i, cost) for i, cost in enumerate(COSTS)]
    _, history = told(results, cost="seconds")
    assert metric_values(history, history.finished_keys, "seconds") == COSTS


def test_where_a_user_reports_a_name_nothing_else_is_taken_for_it() -> None:
    results = [own(i, cost) if i % 2 else beside(i, cost) for i, cost in enumerate(COSTS)]
    optimizer, history = told(results, constraints={"seconds": 1.0})
    expected = [cost if i % 2 else None for i, cost in enumerate(COSTS)]
    assert metric_values(history, history.finished_keys, "seconds") == expected
    good = [key for key, cost in zip(history.finished_keys, expected, strict=True) if cost is not None and cost <= 1.0]
    assert set(optimizer.candidates(history)) <= set(good)


def test_a_name_that_nobody_has_is_refused_with_what_there_is() -> None:
    optimizer, _ = told([beside(i, 1.0) for i in range(10)], cost="flops")
    with pytest.raises(ValueError, match=r"no result has the metric 'flops'; allowed are \['loss', 'seconds'\]"):
        optimizer.ask()
