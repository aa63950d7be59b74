"""TPE: its options, constraints, several objectives, its company, what an ask costs."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from hpo import ASHA, PBT, TPE, Categorical, Float, History, Int, Job, MedianStopping, Random, Result, Space
from hpo.bounds import explain_infeasible
from hpo.optimizers import tpe
from hpo.optimizers.proposals import draw_feasible
from hpo.testing import Drive, changed_jobs
from hpo.testing.spaces import mixed_space, plane, rugged_loss
from surrogates import parzen
from surrogates.parzen import ParzenEstimator


def branches() -> Space:
    return Space(
        lr=Float(1e-5, 1e-1, log=True), x=Float(-2.0, 3.0), n=Int(1, 5000), kind=Categorical(["a", "b", "c"]),
        m=Float(0.0, 1.0, when={"kind": "a"}), w=Int(1, 4000, when={"kind": ["a", "b"]}),
    )  # fmt: skip


# -- options ------------------------------------------------------------------------------------------------------------


def proposals(optimizer: TPE, n: int = 20, jobs: int = 16) -> list[dict[str, Any]]:
    drive = Drive(optimizer, rugged_loss, seed=3)
    drive.run(n)
    return [dict(job.config) for job in [drive.ask() for _ in range(jobs - 12)] if job is not None]


@pytest.mark.parametrize("options", [
    {"gamma": 0.4}, {"gamma": lambda n: 5}, {"draws": 3}, {"initial": 4}, {"multivariate": False},
], ids=lambda value: ", ".join(value))  # fmt: skip
def test_every_option_changes_what_is_proposed(options: dict[str, Any]) -> None:
    assert proposals(TPE(mixed_space(), **options)) != proposals(TPE(mixed_space()))


@pytest.mark.parametrize(("options", "said"), [
    ({"gamma": 1.5}, "gamma is 1.5; allowed is a number between 0 and 1, or a function of n"),
    ({"draws": 0}, "draws is 0; allowed is an integer of at least 1"),
    ({"initial": 0}, "initial is 0; allowed is an integer of at least 1"),
    ({"multivariate": "yes"}, "multivariate is 'yes'; allowed are True, False and None"),
    ({"constraints": {"size": float("inf")}}, "the bound of the constraint 'size' is inf; allowed is a finite number"),
    ({"constraints": 3}, "constraints is 3; allowed is {metric: bound}"),
])  # fmt: skip
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        TPE(plane(), **options)
    assert str(error.value) == said


def test_a_rule_that_returns_no_count_is_named() -> None:
    with pytest.raises(ValueError, match=r"gamma\(12\) is 0\.5; allowed is an integer of at least 0"):
        TPE(plane(), gamma=lambda n: 0.5)._count(12, 1)  # type: ignore[arg-type, return-value]


def bounded_study(constraints: Mapping[str, float], seed: int, jobs: int = 40) -> TPE:
    """The loss falls towards x = 1, y = 1, where the size x + y is beyond the bound 0."""
    optimizer = TPE(plane(), seed=seed, constraints=constraints)
    for _ in range(jobs):
        job = optimizer.ask()
        assert job is not None
        size = job.config["x"] + job.config["y"]
        optimizer.tell(job, {"loss": -size, "size": size})
    return optimizer


def test_constraints_are_learned_and_kept_in_what_is_recommended() -> None:
    bounded, free = (bounded_study(constraints, seed=1) for constraints in ({"size": 0.0}, {}))
    kept = [[result.metrics["size"] <= 0.0 for key, result in sorted(one.history.results.items()) if key[0] >= 15]
            for one in (bounded, free)]  # fmt: skip
    assert np.mean(kept[0]) > 0.5 > 0.2 > np.mean(kept[1])
    best = bounded.recommend(bounded.history)
    assert best is not None and -0.5 < bounded.history.results[best].metrics["size"] <= 0.0
    assert free.history.results[free.recommend(free.history)].metrics["size"] > 1.0  # type: ignore[index]


def test_why_nothing_is_recommended() -> None:
    optimizer = bounded_study({"size": -5.0}, seed=0, jobs=12)
    assert optimizer.recommend(optimizer.history) is None
    assert explain_infeasible(optimizer.history).startswith("none of 12 successful results keeps size <= -5; the least size is -")
    with pytest.raises(ValueError, match=r"no result has the metric 'weight'; allowed are \['loss', 'size'"):
        bounded_study({"weight": 1.0}, seed=0, jobs=12)


def hypervolume(points: list[list[float]]) -> float:
    """Of two objectives, below (2, 2)."""
    total, least = 0.0, 2.0
    for a, b in sorted(points):
        if b < least and a < 2.0:
            total, least = total + (2.0 - a) * (least - b), b
    return total


def test_several_objectives_beat_random() -> None:
    """Two bowls in the plane: the hypervolume of what was found, over eight seeds."""
    def front(cls: type, seed: int) -> float:
        optimizer = cls(plane(), seed=seed)
        optimizer.bind(History(optimizer.header({"a": "min", "b": "max"})))
        points = []
        for _ in range(40):
            job = optimizer.ask()
            x, y = job.config["x"], job.config["y"]
            points.append([(x - 0.6) ** 2 + y**2, (x + 0.6) ** 2 + y**2])
            optimizer.tell(job, {"a": points[-1][0], "b": -points[-1][1]})
        return hypervolume(points)

    assert sum(front(TPE, seed) > front(Random, seed) for seed in range(8)) >= 7  # by chance 0.035


# -- constraints of the space -------------------------------------------------------------------------------------------


def is_diagonal(config: Mapping[str, Any]) -> bool:
    return abs(config["x"] - config["y"]) < 0.1


@pytest.mark.parametrize("multivariate", (True, False))
def test_blocks_are_combined_among_what_is_feasible(multivariate: bool) -> None:
    """The first row is feasible, and worth at least as much as the best whole draw."""
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0), z=Float(0.0, 1.0), constraints=[is_diagonal])
    domain, rng = space.domain, np.random.default_rng(0)
    optimizer, better = TPE(space, multivariate=multivariate), 0
    for _ in range(20):
        good, bad = (ParzenEstimator(domain, domain.random(rng, n), multivariate=multivariate) for n in (5, 20))
        values = draw_feasible(domain, good.draw_values, rng, 24)
        assert len(values) == 24 and domain.is_feasible(values).all()
        ranked = optimizer.rank_draws(values, good, bad)
        worth = good.log_density(ranked) - bad.log_density(ranked)
        best = (good.log_density(values) - bad.log_density(values)).max()
        assert domain.is_feasible(ranked).all() and worth[0] >= best - 1e-12
        assert (np.diff(worth[1:]) <= 1e-12).all()
        better += worth[0] > best + 1e-9
    assert better == 0 if multivariate else better > 10


def test_few_draws_are_feasible_where_nothing_is() -> None:
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0), constraints=[lambda c: c["x"] < 0.001])
    domain = space.domain
    far = ParzenEstimator(domain, np.full((30, 2), 0.9), prior=1e-9)
    assert len(draw_feasible(domain, far.draw_values, np.random.default_rng(0), 24)) == 0
    history = Drive(TPE(space), rugged_loss).run(20)
    assert all(job.config["x"] < 0.001 for job in history.jobs.values())


# -- company ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [
    lambda: PBT(TPE(plane(), seed=2), population=4, generations=4, max_resource=8),
    lambda: MedianStopping(TPE(plane(), seed=2), rungs=(1, 3), max_resource=9),
    lambda: ASHA(TPE(branches(), seed=2), max_resource=9),
], ids=("pbt", "median", "asha"))  # fmt: skip
def test_under_schedulers_it_replays(build: Callable[[], Any]) -> None:
    history = Drive(build(), workers=5, seed=4).run(50, lost=0.1, foreign=0.1)
    assert changed_jobs(history, build) == []


def test_sixteen_asks_at_once_are_sixteen_configurations() -> None:
    drive = Drive(TPE(plane()), workers=1, seed=1)
    drive.run(20)
    xy = np.array([[job.config["x"], job.config["y"]] for job in [drive.ask() for _ in range(16)] if job is not None])
    apart = np.sqrt(((xy[:, None] - xy[None]) ** 2).sum(-1))[np.triu_indices(16, 1)]
    assert len(xy) == 16 and apart.min() > 1e-3 and np.median(apart) > 0.2


class Lines:
    """Counts lines of Python that run, comprehensions' turns included: what a machine's load does not change."""

    def __enter__(self) -> Lines:
        self.count, self._before = 0, sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: Any, event: str, argument: object) -> Any:
        self.count += event == "line"
        return self._trace


@pytest.mark.parametrize("objectives", (1, 2))
def test_an_ask_runs_no_python_for_every_result(objectives: int) -> None:
    """All that grows are arrays: an ask after 2000 results runs as many lines as one after 500."""
    optimizer = TPE(branches())
    history = History(optimizer.header({f"loss{i}": "min" for i in range(objectives)}))
    optimizer.bind(history)
    drawn, rng, costs = Random(branches(), seed=9), np.random.default_rng(0), []
    for trial in range(2000):
        job = Job(trial, drawn.sample(history, trial) or {}, 1)
        history.start(job, len(history))
        history.finish(job, Result({f"loss{i}": float(rng.random()) for i in range(objectives)}))
        if trial in (499, 1999):
            optimizer.decide(history)  # reads what is new
            with Lines() as lines:
                optimizer.decide(history)
            costs.append(lines.count)
    assert costs[1] < (1.2 if objectives == 1 else 4.0) * costs[0] and costs[1] < 20_000, costs


def test_the_example_of_the_page_runs() -> None:
    for module in (tpe, parzen):
        result = doctest.testmod(module)
        assert result.failed == 0 and 0 < result.attempted <= 10
