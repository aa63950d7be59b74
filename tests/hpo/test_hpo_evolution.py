"""Differential and regularized evolution beside plain forms of their papers; what all evolutionary methods reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from hpo import Categorical, Float, Random, Space, Study, make, minimize
from hpo.optimizers import differential_evolution as de
from hpo.optimizers import operators
from hpo.optimizers.genetic import Genetic
from hpo.optimizers.nsga2 import NSGA2
from hpo.optimizers.regularized_evolution import RegularizedEvolution
from hpo.testing.drive import Drive
from tests.hpo.evolving import MIXED, cube, mixed, rosenbrock, sphere, tell_all
from tests.hpo.examples import run_example

Patch = pytest.MonkeyPatch


def test_selection_slot_by_slot() -> None:
    """Each slot holds the best that was tried in it."""
    optimizer = de.DifferentialEvolution(cube(), seed=1, population=5)
    Study(optimizer)
    history = tell_all(optimizer, 60, sphere)
    by_slot: dict[int, list[Any]] = {}
    for key, job in history.jobs.items():
        by_slot.setdefault(job.note.record["slot"]["place"], []).append(key)
    held = history.fold(optimizer.owner, partial(de.SlotPopulations, 5)).of(1).individuals
    assert [len(keys) for keys in by_slot.values()] == [12] * 5, "the least advanced slot is served first"
    assert [min(by_slot[place], key=lambda key: history.losses(key)) for place in range(5)] == list(held)


def test_workers_beyond_the_slots_try_random_configurations_that_no_slot_takes() -> None:
    optimizer = de.DifferentialEvolution(cube(), seed=1, population=4)
    Study(optimizer)
    jobs = [optimizer.ask() for _ in range(7)]
    assert [job.note.record.get("slot", {}).get("place") for job in jobs if job] == [0, 1, 2, 3, None, None, None]
    for job in reversed(jobs):
        assert job is not None and optimizer.tell(job, -1.0 if "slot" not in job.note.record else 1.0)
    held = optimizer.history.fold(optimizer.owner, partial(de.SlotPopulations, 4)).of(1).individuals
    assert list(held) == [(0, 1), (1, 1), (2, 1), (3, 1)], "the best are none of them: they were tried in no slot"


def test_the_parameter_that_changes_has_another_value_to_change_to() -> None:
    space = Space({"x": Float(0.0, 1.0), **{f"only{i}": Categorical(["this"]) for i in range(6)}})
    optimizer = RegularizedEvolution(space, population=4, sample_size=4)
    Study(optimizer)
    history = tell_all(optimizer, 30, lambda config: config["x"])
    drawn = [job.config["x"] for job in history.jobs.values()]
    assert len(set(drawn)) == 30


@pytest.mark.parametrize("strategy", de.STRATEGIES)
def test_a_trial_vector_is_that_of_the_paper(strategy: str) -> None:
    optimizer = de.DifferentialEvolution(cube(6), seed=1, population=6, strategy=strategy, mutation=0.7, crossover=1.0)
    Study(optimizer)
    history = tell_all(optimizer, 12, sphere)
    keys = [key for key in history.fold(optimizer.owner, partial(de.SlotPopulations, 6)).of(1).individuals if key is not None]
    target, others, best = keys[0], keys[1:], history.rank(keys)[0]
    rng = np.random.default_rng(5)
    child = optimizer.child(history, target, others, best, rng)
    chosen = [others[i] for i in np.random.default_rng(5).choice(len(others), 3, replace=False)]
    x, top, a, b, c = ((np.array(list(history.jobs[key].config.values())) + 5) / 10 for key in (target, best, *chosen))
    plain = a + 0.7 * (b - c) if strategy == de.STRATEGIES[0] else x + 0.7 * (top - x) + 0.7 * (a - b)
    plain = np.abs(plain)
    plain = np.where(plain > 1, 2 - plain, plain)
    np.testing.assert_allclose(child, plain, atol=1e-12)


def test_columns_cross() -> None:
    rng = np.random.default_rng(0)
    crossed = np.array([operators.cross_binomially(np.zeros(8), np.ones(8), 0.25, rng) for _ in range(4000)])
    assert abs(crossed.mean() - (0.25 + 0.75 / 8)) < 0.01 and (crossed.sum(axis=1) >= 1).all()


def plain_aging(history: Any, population: int) -> list[Any]:
    """The population by its definition: the youngest results, in the order of their finishes."""
    order = [event.body["trial"] for event in history.events if event.kind == "finish"]
    return [(trial, 1) for trial in order[-population:]]


def test_parents_die_of_age() -> None:
    optimizer = RegularizedEvolution(cube(), seed=4, population=8, sample_size=8)
    Study(optimizer)
    history = tell_all(optimizer, 40, sphere)
    child = optimizer.ask()
    parent = min(plain_aging(history, 8), key=lambda key: history.losses(key))  # a tournament of all
    differ = [name for name, value in history.jobs[parent].config.items() if child.config[name] != value]  # type: ignore[union-attr]
    assert len(differ) == 1, "one parameter changes"


def test_a_mistake_in_aging_is_seen(monkeypatch: Patch) -> None:
    """Without deaths the parent is the best of all, which is none of the youngest here."""
    from hpo.optimizers import regularized_evolution as module

    def immortal(self: Any, history: Any, keys: Any) -> None:
        for key in keys:
            self.living[key[1]] = (*self.living.get(key[1], ()), key)

    for wrong in (False, True):
        if wrong:
            monkeypatch.setattr(module.Aging, "absorb", immortal)
        losses = iter([0.0, *range(1, 100)])
        optimizer = RegularizedEvolution(cube(), seed=4, population=8, sample_size=8)
        Study(optimizer)
        history = tell_all(optimizer, 8 + 12, lambda config, losses=losses: next(losses))
        living = history.fold(optimizer.owner, partial(module.Aging, 8)).living[1]
        assert ((0, 1) in living) == wrong


# -- what they reach -----------------------------------------------------------------------------------------------------

# the median of the best after 400 trials over 20 seeds stays below; random search is far above
REACHED: dict[tuple[str, ...], tuple[Space, Callable[[Any], float], float, dict[str, Any]]] = {
    ("genetic", "sphere"): (cube(), sphere, 0.15, {"generations": None}),
    ("genetic", "rosenbrock"): (cube(), rosenbrock, 40.0, {"generations": None}),
    ("genetic", "mixed"): (MIXED, mixed, 0.02, {"generations": None}),
    ("de", "sphere"): (cube(), sphere, 0.15, {}),
    ("de", "rosenbrock"): (cube(), rosenbrock, 30.0, {}),
    ("de", "mixed"): (MIXED, mixed, 0.02, {}),
    ("de", "sphere", "current-to-best"): (cube(), sphere, 0.15, {"strategy": "current-to-best/1/bin"}),
    ("de", "rosenbrock", "current-to-best"): (cube(), rosenbrock, 30.0, {"strategy": "current-to-best/1/bin"}),
    ("regularized", "sphere"): (cube(), sphere, 0.15, {}),
    ("regularized", "rosenbrock"): (cube(), rosenbrock, 20.0, {}),
    ("regularized", "mixed"): (MIXED, mixed, 0.02, {}),
}


QUICK = (("genetic", "mixed"), ("de", "sphere"))


@pytest.mark.parametrize(("case", "seeds"), [*((case, 7) for case in QUICK), *(pytest.param(case, 20, marks=pytest.mark.slow)
                                             for case in REACHED)])  # fmt: skip
def test_it_reaches_what_is_stated_over_twenty_seeds(case: tuple[str, ...], seeds: int) -> None:
    space, f, most, options = REACHED[case]
    best = [f(minimize(f, space, make(case[0], space, seed, **options), 400, quiet=True).best.config) for seed in range(seeds)]
    assert np.median(best) < most
    random = [f(minimize(f, space, Random(space, seed=seed), 400, quiet=True).best.config) for seed in range(5)]
    assert np.median(best) < 0.6 * np.median(random)


@pytest.mark.parametrize("workers", [1, 4, 16])
@pytest.mark.parametrize("name", ["genetic", "de", "regularized", "nsga2"])
def test_asynchronous_workers_with_losses_never_stall(name: str, workers: int) -> None:
    drive = Drive(make(name, MIXED, 3, **({"generations": None} if name == "genetic" else {})),
                  lambda config, until, seed=0: mixed(config), workers=workers, seed=5)  # fmt: skip
    history = drive.run(150, lost=0.1, foreign=0.05, twice=0.1)
    assert len(history.jobs) >= 140 and len(history.results) >= len(history.jobs) - 16
    if name == "de":
        flying = history.fold(drive.optimizer.owner, partial(de.SlotPopulations, 20)).of(1).flying
        assert not {key for key in flying if key is not None} & history.results.keys(), "what has come back has left its slot"


@pytest.mark.parametrize("cls", [Genetic, NSGA2, RegularizedEvolution, de.DifferentialEvolution])
def test_the_examples(cls: type) -> None:
    assert run_example(cls)["study"].history.trials
