"""The random forest as a sampler, beside the laws of all: what it reads, what is pending, failed, in several objectives."""

from __future__ import annotations

import numpy as np
import pytest

from hpo import OPTIMIZERS, Float, History, Job, RandomForest, Result, Space
from hpo.optimizers.forest import CHEBYSHEV
from hpo.optimizers.rung_results import RungResults
from hpo.rng import stream
from surrogates import standardise
from tests.hpo.examples import run_example

pytest.importorskip("sklearn")
PLANE = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))


def bowl(config: dict[str, float]) -> float:
    return (config["x"] - 0.3) ** 2 + (config["y"] - 0.7) ** 2


def told(optimizer: RandomForest, n: int, seed: int = 0) -> History:
    """The history of the optimizer after n random results that it has not asked for."""
    for row in np.random.default_rng(seed).random((n, 2)):
        config = {"x": float(row[0]), "y": float(row[1])}
        optimizer.add(config, bowl(config))
    return optimizer.history


def test_it_is_listed_and_its_example_runs() -> None:
    assert OPTIMIZERS["forest"] is RandomForest
    study = run_example(RandomForest)["study"]
    assert len(study.history.trials) == 30 and study.best.value < 0.06


def test_the_first_points_are_the_middle_and_a_sobol_sequence() -> None:
    optimizer = RandomForest(PLANE, seed=1)
    assert optimizer.enough == 4 and RandomForest(PLANE, initial=7).enough == 7
    assert RandomForest(Space(a=list("abcdefg"), b=(0.0, 1.0))).enough == 7
    jobs = []
    for _ in range(5):
        jobs.append(optimizer.ask())
        optimizer.tell(jobs[-1], bowl(jobs[-1].config))
    assert jobs[0].config == PLANE.midpoint()
    assert [job.note.record.get("sobol") for job in jobs] == [None, 0, 1, 2, None]


def test_it_finds_the_bowl_where_random_search_does_not() -> None:
    best = []
    for kind in (RandomForest, OPTIMIZERS["random"]):
        for seed in range(2):
            optimizer = kind(PLANE, seed=seed)
            for _ in range(40):
                job = optimizer.ask()
                optimizer.tell(job, bowl(job.config))
            best.append(min(min(losses) for losses in map(optimizer.history.losses, optimizer.history.results)))
    assert np.mean(best[:2]) < 2e-3 < np.mean(best[2:]) / 2


def test_the_random_fraction_is_what_is_drawn_at_random() -> None:
    """With 1, asks are draws of the stream, whatever was told; with 0 they lie where results are good."""
    at_random, by_model = RandomForest(PLANE, random_fraction=1.0), RandomForest(PLANE, random_fraction=0.0)
    for optimizer in (at_random, by_model):
        told(optimizer, 60)
    first = [at_random.sample(at_random.history, trial) for trial in range(100, 130)]
    good = [by_model.sample(by_model.history, trial) for trial in range(100, 110)]
    assert np.mean([bowl(config) for config in first]) > 0.1 > 4 * np.mean([bowl(config) for config in good])
    other = RandomForest(PLANE, random_fraction=1.0)
    told(other, 60, seed=1)
    assert [other.sample(other.history, trial) for trial in range(100, 130)] == first


def test_what_is_pending_is_observed_at_the_mean() -> None:
    optimizer = RandomForest(PLANE, seed=2)
    history = told(optimizer, 40)
    read = RungResults.of(history, PLANE).at(history, 1)
    history.start(Job(40, {"x": 0.95, "y": 0.05}, 1), len(history))  # far from all that is good
    with_pending = RungResults.of(history, PLANE).at(history, 1)
    assert len(with_pending.running) == 1
    apart = optimizer.fit(read, stream(2, 41, "test")), optimizer.fit(with_pending, stream(2, 41, "test"))
    corner = PLANE.encode({"x": 0.95, "y": 0.05})[None]
    assert apart[1].predict(corner).mean == pytest.approx(apart[0].predict(corner).mean, abs=0.35)
    assert len(optimizer.history.pending) == 1
    jobs = [optimizer.ask() for _ in range(8)]  # at work at the same time: none is where another one is
    assert len({tuple(job.config.values()) for job in jobs}) == 8


def test_failures_are_as_bad_as_the_worst_and_are_kept_away_from() -> None:
    optimizer = RandomForest(PLANE, seed=0, random_fraction=0.0)
    for row in np.random.default_rng(0).random((60, 2)):
        config = {"x": float(row[0]), "y": float(row[1])}
        optimizer.add(config, Result(error="diverged") if row[0] < 0.4 else bowl(config))
    history = optimizer.history
    read = RungResults.of(history, PLANE).at(history, 1)
    z = optimizer.targets(read, stream(0, 0, "test"))
    assert len(z) == 60 and np.isfinite(z).all() and len(read.failed) > 10
    assert z[-len(read.failed) :].min() >= z[: -len(read.failed)].max() - 1e-9
    asked = [optimizer.sample(history, trial) for trial in range(60, 75)]
    assert np.mean([config["x"] >= 0.38 for config in asked]) > 0.9 and min(map(bowl, asked)) < 0.05


def test_several_objectives_are_made_one_with_other_weights_every_time() -> None:
    optimizer = RandomForest(PLANE)
    history = History(optimizer.header({"loss": "min", "accuracy": "max"}))
    optimizer.bind(history)
    rng = np.random.default_rng(0)
    for row in rng.random((20, 2)):
        optimizer.add({"x": float(row[0]), "y": float(row[1])}, {"loss": float(row[0]), "accuracy": float(row[0] ** 2 - row[1])})
    read = RungResults.of(history, PLANE).at(history, 1)
    z = np.column_stack([standardise(column).z for column in read.losses.T])
    weighted = (z - z.min(0)) * stream(0, 7, "test").dirichlet(np.ones(2))
    expected = standardise(weighted.max(1) + CHEBYSHEV * weighted.sum(1)).z
    assert np.array_equal(optimizer.targets(read, stream(0, 7, "test")), expected)
    assert not np.allclose(optimizer.targets(read, stream(0, 8, "test")), expected)


def test_results_are_read_at_the_highest_budget_that_has_enough() -> None:
    """At budget 1 the best x is 0.1, at budget 3 it is 0.9; with few results there the lower one counts."""
    space = Space(x=Float(0.0, 1.0))
    for count, best in ((12, 0.9), (2, 0.1)):
        optimizer = RandomForest(space, random_fraction=0.0, initial=6)
        optimizer.bind(History(optimizer.header(horizon=3)))
        for i in range(30):
            x = (i + 0.5) / 30
            optimizer.add({"x": x}, abs(x - 0.1), until=1)
        for i in range(count):
            x = (i + 0.5) / count
            optimizer.add({"x": x}, abs(x - 0.9), until=3)
        asked = [optimizer.sample(optimizer.history, trial)["x"] for trial in range(100, 105)]
        assert np.median(asked) == pytest.approx(best, abs=0.12)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"trees": 0}, "trees is 0"), ({"initial": 0}, "initial is 0"), ({"random_fraction": 1.5}, "random_fraction is 1.5"),
     ({"random_fraction": float("nan")}, "random_fraction is nan"), ({"trees": 2.5}, "trees is 2.5")],
)  # fmt: skip
def test_options_that_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RandomForest(PLANE, **options)


def test_without_scikit_learn_it_is_refused_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surrogates.forest.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="needs scikit-learn"):
        RandomForest(PLANE)
