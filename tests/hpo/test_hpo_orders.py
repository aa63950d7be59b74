"""The order of several objectives: an epsilon-net by its definition, what sorts by it, and the header that holds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo
from hpo import Float, History, Int, Optimizer, Result, Space, Stop, Study
from hpo.executors import Simulator
from hpo.logs import MemoryLog
from hpo.pareto import ORDERS, epsilon_net, fronts, pareto_order
from hpo.testing import changed_jobs

Rows = list[tuple[float, ...]]
TWO = {"a": "min", "b": "min"}
ROWS = st.integers(2, 3).flatmap(
    lambda m: st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.5, 4.0, 7.0])] * m), min_size=1, max_size=14)
)


# -- the definition ------------------------------------------------------------------------------------------------------


def by_definition(rows: Rows) -> list[int]:
    """The least first loss; then, again and again, the one whose nearest among those before is the farthest."""
    low, high = [min(column) for column in zip(*rows, strict=True)], [max(column) for column in zip(*rows, strict=True)]

    def gap(i: int, j: int) -> float:
        scaled = [[(row[c] - low[c]) / ((high[c] - low[c]) or 1.0) for c in range(len(low))] for row in (rows[i], rows[j])]
        return sum((x - y) ** 2 for x, y in zip(*scaled, strict=True))

    order = [min(range(len(rows)), key=lambda i: (rows[i][0], i))]
    while len(order) < len(rows):
        left = [i for i in range(len(rows)) if i not in order]
        order.append(max(left, key=lambda i: (min(gap(i, j) for j in order), -i)))
    return order


def check_net(rows: Rows, order: Sequence[int]) -> None:
    """What makes it a net: for every k, what is left lies no farther from the first k than these lie apart."""
    low, high = [min(column) for column in zip(*rows, strict=True)], [max(column) for column in zip(*rows, strict=True)]
    points = [[(x - a) / ((b - a) or 1.0) for x, a, b in zip(row, low, high, strict=True)] for row in rows]
    for k in range(2, len(rows)):
        first, left = [points[i] for i in order[:k]], [points[i] for i in order[k:]]
        apart = min(math.dist(first[i], first[j]) for i in range(k) for j in range(i))
        assert max(min(math.dist(point, other) for other in first) for point in left) <= apart + 1e-12


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_a_net_is_what_its_definition_says(rows: Rows) -> None:
    assert epsilon_net(rows) == by_definition(rows)
    check_net(rows, epsilon_net(rows))


def test_ranks_in_the_place_of_an_order_are_seen() -> None:
    rows = [(float(x), (9.0 - x) ** 1.5) for x in range(10)]
    order = epsilon_net(rows)
    check_net(rows, order)
    with pytest.raises(AssertionError):
        check_net(rows, [order.index(i) for i in range(len(rows))])  # the position of each, which is not an order


def test_the_first_few_of_a_net_spread_where_crowding_stays_at_an_end() -> None:
    rows = [(0.0, 10.0), (0.5, 7.0), (1.5, 6.0), (4.5, 3.0), (5.0, 2.8), (6.0, 2.6), (10.0, 0.0)]
    assert pareto_order(rows, "epsilon")[:3] == [0, 6, 3]
    assert pareto_order([(x * 1e9, y) for x, y in rows], "epsilon") == pareto_order(rows, "epsilon"), "bytes count as much"


@given(st.sampled_from(list(ORDERS)), st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 5.0, math.inf])] * 2), max_size=14))
@settings(max_examples=200, deadline=None)
def test_fronts_come_one_after_the_other_and_failures_last(by: str, rows: Rows) -> None:
    order, finite = pareto_order(rows, by), [i for i, row in enumerate(rows) if math.inf not in row]
    assert order[len(finite) :] == [i for i in range(len(rows)) if i not in finite]
    at = 0
    for front in fronts([rows[i] for i in finite]):
        assert sorted(order[at : at + len(front)]) == [finite[i] for i in front]
        at += len(front)
    twins = [(i, j) for i in finite for j in finite if i < j and rows[i] == rows[j]]
    assert all(order.index(i) < order.index(j) for i, j in twins), "of equal ones the first"


def told(order: str, rows: Sequence[tuple[float, float]]) -> Study:
    study = Study(hpo.Random(Space(x=Float(0.0, 1.0))), objectives=TWO, order=order)
    for a, b in rows:
        study.optimizer.add({"x": 0.5}, {"a": a, "b": b})
    return study


@pytest.mark.parametrize("order", ORDERS)
def test_what_failed_in_one_objective_never_leads(order: str) -> None:
    history = told(order, [(math.nan, -9.0), (1.0, 1.0), (2.0, 3.0), (0.0, math.inf), (1.0, 1.0)]).history
    assert [key[0] for key in history.rank(history.finished_keys)] == [1, 4, 2, 0, 3]
    assert [key[0] for key in history.ranking(1)] == [1, 4]


# -- the header ----------------------------------------------------------------------------------------------------------

FRONT = [(0.0, 10.0), (0.5, 7.0), (1.5, 6.0), (4.5, 3.0), (5.0, 2.8), (6.0, 2.6), (10.0, 0.0)]


def test_recommendations_read_the_order() -> None:
    for order, by in (("crowding", pareto_order(FRONT)), ("epsilon", pareto_order(FRONT, "epsilon"))):
        study = told(order, FRONT)
        assert [key[0] for key in study.optimizer.candidates(study.history)] == by[:3]
    assert pareto_order(FRONT)[:3] != pareto_order(FRONT, "epsilon")[:3]


def test_a_log_keeps_its_order(tmp_path: Path) -> None:
    path, space = tmp_path / "study.sqlite", Space(x=Float(0.0, 1.0))

    def open_it(**options: Any) -> Study:
        return Study(hpo.Random(space), objectives=TWO, log=path, **options)

    study = open_it(order="epsilon")
    study.optimizer.add({"x": 0.5}, (1.0, 2.0))
    study.history.log.close()
    assert hpo.load(path).header.order == "epsilon"
    with pytest.raises(ValueError, match="order was 'epsilon' and is now 'crowding'"):
        open_it()
    assert len(open_it(order="epsilon").history.results) == 1


def test_a_header_from_before_orders_is_one_of_crowding() -> None:
    plain = hpo.Random(Space(x=Float(0.0, 1.0))).header(TWO).to_json()
    old, log = {name: value for name, value in plain.items() if name != "order"}, MemoryLog()
    log.open(old)
    study = hpo.load(log)
    assert study.header.order == "crowding" and study.history.refusal is None
    log = MemoryLog()
    log.open(old)
    with pytest.raises(ValueError, match="order was 'crowding' and is now 'epsilon'"):
        Study(hpo.Random(Space(x=Float(0.0, 1.0))), objectives=TWO, order="epsilon", log=log)


def test_orders_that_are_none_are_refused() -> None:
    space: dict[str, Any] = {"x": (0.0, 1.0)}
    with pytest.raises(ValueError, match=r"order is 'lonely'; allowed are \['crowding', 'epsilon'\]"):
        hpo.minimize(lambda c: (1, 2), space, "random", 2, objectives=TWO, order="lonely", quiet=True)
    with pytest.raises(ValueError, match="order is 'epsilon', but 'loss' is the only objective"):
        hpo.minimize(lambda c: 1.0, space, "random", 2, order="epsilon", quiet=True)


# -- who sorts by it -----------------------------------------------------------------------------------------------------

SPACE = Space(x=Float(0.0, 1.0), n=Int(1, 8))
SORTED: dict[str, Callable[[], Optimizer]] = {
    "asha": lambda: hpo.ASHA(hpo.Random(SPACE, seed=1), max_resource=9),
    "asha_stopping": lambda: hpo.ASHAStopping(hpo.Random(SPACE, seed=1), max_resource=9),
    "halving": lambda: hpo.SuccessiveHalving(hpo.Random(SPACE, seed=1), max_resource=9),
    "hyperband": lambda: hpo.Hyperband(hpo.Random(SPACE, seed=1), max_resource=9),
    "pasha": lambda: hpo.PASHA(hpo.Random(SPACE, seed=1), max_resource=9),
    "bohb": lambda: hpo.BOHB(hpo.KDE(SPACE, seed=1), max_resource=9),
    "pbt": lambda: hpo.PBT(hpo.Random(SPACE, seed=1), population=6, generations=5, max_resource=10),
    "nsga2": lambda: hpo.NSGA2(SPACE, seed=1, population=8),
    "cmaes": lambda: hpo.CMAES(SPACE, seed=1),
}


def trade_off(config: dict[str, Any], until: int, seed: int) -> Any:
    """Nearly everything is on the front; one in nine fails."""
    x = config["x"]
    if int(x * 1e6) % 9 == 0:
        raise ValueError("diverged")
    return {"a": x**3 + 0.2 * config["n"] / until, "b": (1.0 - x) ** 2 + 0.02 * config["n"]}


def search(make: Callable[[], Optimizer], order: str) -> History:
    optimizer = make()
    study = Study(optimizer, objectives=TWO, order=order, horizon=max(optimizer.horizon, 9))
    return hpo.run(study, Simulator(trade_off, workers=3, straggle=0.5), Stop(when=lambda history: len(history.results) >= 36))


@pytest.mark.parametrize("name", SORTED)
def test_both_orders_replay_and_differ(name: str) -> None:
    found = {order: search(SORTED[name], order) for order in ORDERS}
    for history in found.values():
        assert len(history.results) >= 15 and changed_jobs(history, SORTED[name]) == []
    jobs = [[(job.key, job.source, job.config) for job in history.jobs.values()] for history in found.values()]
    assert jobs[0] != jobs[1], "the order is read"


def test_asha_promotes_by_the_order_of_the_header() -> None:
    for order in ORDERS:
        history = search(SORTED["asha"], order)
        log, checked = MemoryLog(), 0
        prefix = History(history.header, log)
        for event in history.events:
            job = event.body.get("job", {})
            if event.kind == "start" and job["source"] is not None:
                rung = prefix.at(job["source"][1])
                rows = [prefix.losses(key) for key in rung]
                top = [rung[i] for i in pareto_order(rows, order)[: len(rung) // 3]]
                gone = {prefix.jobs[key].source for key in prefix.jobs}
                assert tuple(job["source"]) == next(key for key in top if key not in gone)
                checked += 1
            log.append(event)
            prefix.refresh()
        assert checked >= 8


def test_one_objective_knows_no_order() -> None:
    study = Study(hpo.Random(SPACE))
    for loss in (3.0, math.nan, 1.0, 3.0, 1.0):
        study.optimizer.add({"x": 0.5, "n": 1}, Result({"loss": loss}))
    history = study.history
    assert study.header.order == "crowding" and [key[0] for key in history.rank(history.finished_keys)] == [2, 4, 0, 3, 1]
