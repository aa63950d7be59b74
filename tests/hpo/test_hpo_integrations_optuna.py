"""Our samplers and pruners in Optuna's studies, by its own published tests and by ours; studies there and back."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase
from optuna.trial import TrialState

import hpo
from hpo import Float
from hpo.integrations.optuna import Pruner, Sampler, export_study, import_study, list_distributions

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Ours:
    """The sampler that a class of tests is about."""

    name = ""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return partial(Sampler, self.name, seed=0)


class TestRandom(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "random"


class TestTPE(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "tpe"


class TestCMAES(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "cmaes"


class TestGP(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "gp"


class TestNSGA2(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "nsga2"


# -- what Optuna's tests do not ask --------------------------------------------------------------------------------------


def bowl(trial: Any) -> float:
    x, k = trial.suggest_float("x", -5.0, 5.0), trial.suggest_int("k", 1, 8)
    return float(x**2 + abs(k - 3) + (trial.suggest_categorical("kind", ["a", None, "c"]) != "a"))


@pytest.mark.parametrize("name", ["gp", "tpe", "genetic", "de", "cmaes", "sobol"])
def test_any_process_proposes_the_same(name: str, tmp_path: Path) -> None:
    """One sampler for all trials, and a new one for each, over a database: what it recorded has travelled with the trials."""
    url, options = f"sqlite:///{tmp_path}/optuna.db", {"population": 5} if name in ("genetic", "de") else {}
    one = optuna.create_study(sampler=Sampler(name, seed=3, **options))
    one.optimize(bowl, 14)
    for number in range(14):
        sampler = pickle.loads(pickle.dumps(Sampler(name, seed=3, **options)))
        again = optuna.create_study(study_name="many", storage=url, load_if_exists=True, sampler=sampler)
        again.optimize(bowl, 1)
        assert again.trials[-1].params == one.trials[number].params


def test_running_trials_are_pending() -> None:
    study = optuna.create_study(sampler=Sampler("gp", seed=1))
    study.optimize(bowl, 8)
    space = study.trials[0].distributions
    asked = [study.ask(space) for _ in range(4)]
    assert len({tuple(trial.params.items()) for trial in asked}) == 4
    replica = next(iter(study.sampler._replicas.values()))  # type: ignore[attr-defined]
    assert {key[0] for key in replica.history.pending} == {8, 9, 10}, "the last one is in nobody's history yet"


def test_an_enqueued_trial_is_pending_with_its_own_values() -> None:
    study = optuna.create_study(sampler=Sampler("gp", seed=1))
    study.optimize(bowl, 5)
    study.enqueue_trial({"x": 4.0})
    first, second = study.ask(), study.ask()
    first.suggest_int("k", 1, 8)  # Optuna asks a sampler at the first value that was not enqueued
    second.suggest_float("x", -5.0, 5.0)
    replica = next(iter(study.sampler._replicas.values()))  # type: ignore[attr-defined]
    assert replica.history.jobs[first.number, 1].config["x"] == 4.0
    study.tell(first, bowl(first))  # type: ignore[arg-type]
    study.ask().suggest_float("x", -5.0, 5.0)
    assert dict(replica.history.jobs[first.number, 1].config) == first.params and (first.number, 1) in replica.history.results


def events_of(sampler: Sampler, study: optuna.Study) -> list[Any]:
    """What a sampler reads of a study."""
    trials = study.get_trials(deepcopy=False)
    space = {name: found for name, found in trials[0].distributions.items() if not found.single()}
    return [event.canonical() for event in sampler._read_replica(study, trials, -1, space).history.events]


@pytest.mark.parametrize("seed", range(6))
def test_a_history_hangs_on_the_study_and_not_on_who_reads_it_when(seed: int) -> None:
    """Four workers with two samplers, trials that are told late, enqueued, pruned, half asked for or failing."""
    rng, samplers = np.random.default_rng(seed), [Sampler("random", seed=7), Sampler("random", seed=7)]
    study = optuna.create_study(sampler=samplers[0])
    study.optimize(bowl, 1)
    running: list[optuna.Trial] = []
    for _ in range(40):
        study.sampler = samplers[int(rng.integers(2))]
        if rng.random() < 0.2:
            study.enqueue_trial({"x": float(rng.uniform(-5, 5))} if rng.random() < 0.5 else {"x": 1.0, "k": 2, "kind": None})
        if len(running) < 4 and rng.random() < 0.6:
            running.append(study.ask())
            if rng.random() < 0.5:
                running[-1].suggest_float("x", -5.0, 5.0)
        elif running:
            trial = running.pop(int(rng.integers(len(running))))
            if rng.random() < 0.1:
                study.tell(trial, state=TrialState.FAIL)
                continue
            value = bowl(trial)
            if rng.random() < 0.3:
                trial.report(value, int(rng.integers(0 if seed % 2 else 1, 9)))
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, value)
        fresh = events_of(Sampler("random", seed=7), study)
        assert all(events_of(sampler, study) == fresh for sampler in samplers)
    assert len(fresh) > 20


def test_it_searches_better_than_at_random() -> None:
    def best(name: str, seed: int) -> float:
        study = optuna.create_study(sampler=Sampler(name, seed=seed))
        study.optimize(lambda trial: sum((trial.suggest_float(f"x{i}", -1, 1) - 0.3) ** 2 for i in range(4)), 25)
        return study.best_value

    assert all(best("gp", seed) < 0.2 * best("random", seed) for seed in range(3))


def test_pruned_trials_are_read_where_they_ended() -> None:
    study = optuna.create_study(sampler=Sampler("tpe", seed=1), pruner=Pruner("asha_stopping", max_resource=9))

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        for epoch in range(1, 10):
            trial.report(x**2 + 1 / epoch, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x**2

    study.optimize(objective, 30)
    history = next(iter(study.sampler._replicas.values())).history  # type: ignore[attr-defined]
    untils = {trial: until for trial, until in history.results}
    for trial in study.trials[1:-1]:
        if trial.state == TrialState.PRUNED:
            assert untils[trial.number] == trial.last_step
    assert history.header.horizon == 9
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.PRUNED) > 10 and {trial.last_step for trial in study.trials} == {1, 3, 9}


@pytest.mark.parametrize(("rule", "options", "expected"), [
    ("asha_stopping", {"max_resource": 9}, lambda values, mine: mine in sorted(values)[: 1 + (len(values) - 1) // 3]),
    ("median", {"rungs": [3], "max_resource": 9, "grace_trials": 3},
     lambda values, mine: len(values) <= 3 or mine <= sorted(values[:-1])[(len(values) - 1) // 2]),
])  # fmt: skip
def test_a_pruner_prunes_by_its_rule(rule: str, options: dict[str, Any], expected: Callable[..., bool]) -> None:
    rng, study = np.random.default_rng(0), optuna.create_study(pruner=Pruner(rule, **options))
    values: list[float] = []
    for _ in range(30):
        trial = study.ask()
        trial.report(9.0, 0)
        assert not trial.should_prune()
        values.append(float(rng.random()))
        trial.report(values[-1], 3)
        stopped = not expected(values, values[-1])
        assert [trial.should_prune() for _ in range(2)] == [stopped] * 2
        trial.report(5.0, 4)
        assert trial.should_prune() == stopped, "it is judged once at a rung, and the verdict stands"
        study.tell(trial, 1.0)


def test_rungs_are_judged_however_seldom_a_trial_asks() -> None:
    study = optuna.create_study(pruner=Pruner("median", rungs=[3, 6], max_resource=9, grace_trials=1))
    for value, stopped in ((1.0, False), (0.5, False), (2.0, True)):
        trial = study.ask()
        for step in range(1, 6):
            trial.report(value if step == 3 else 0.0, step)
        assert trial.should_prune() == stopped, "by its value at 3, although it asks at 5"
        study.tell(trial, 1.0)


def test_constraints_are_read() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("excess", 0.5 - x)
        return x

    study = optuna.create_study(sampler=Sampler("gp", seed=0, constraints_func=lambda trial: [trial.user_attrs["excess"]]))
    study.optimize(objective, 20)
    tried = [trial.params["x"] for trial in study.trials[12:]]
    assert np.median(np.abs(np.array(tried) - 0.5)) < 0.1, "the least x that is allowed"


def test_a_space_is_searched_from_the_first_trial_on() -> None:
    study = optuna.create_study(sampler=Sampler("gp", seed=0, space={"x": (-5.0, 5.0), "k": (1, 8)}))
    study.optimize(lambda trial: trial.suggest_float("x", -5, 5) + trial.suggest_int("k", 1, 8), 1)
    assert study.trials[0].params == {"x": 0.0, "k": 5} or study.trials[0].params == {"x": 0.0, "k": 4}, "the middle"


def test_what_is_no_sampler_is_refused() -> None:
    with pytest.raises(TypeError, match="'asha' is a scheduler"):
        Sampler("asha")
    with pytest.raises(ValueError, match="sampler is 'gpx'; allowed are"):
        Sampler("gpx")
    with pytest.raises(ValueError, match="rule is 'asha'; allowed are"):
        Pruner("asha")
    with pytest.raises(ValueError, match="no conditions"):
        list_distributions({"a": ["x", "y"], "b": Float(0, 1, when={"a": "x"})})
    study = optuna.create_study(sampler=Sampler(lambda space, seed: "no", seed=0))
    study.optimize(bowl, 1)
    with pytest.raises(TypeError, match=r"gave 'no'; allowed is a sampler"):
        study.optimize(bowl, 1)


# -- studies there and back ----------------------------------------------------------------------------------------------


def test_a_study_there_and_back_is_the_same() -> None:
    source = optuna.create_study(directions=["minimize", "maximize"], sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 1e-3, 1.0, log=True)
        if trial.number == 3:
            raise ArithmeticError("too much")
        return x, x + trial.suggest_int("k", 0, 9, step=3) + (trial.suggest_categorical("c", ["a", "b"]) == "a")

    source.optimize(objective, 12, catch=(ArithmeticError,))
    ours = import_study(source, "random", seed=1)
    assert len(ours.pareto) == len(source.best_trials)
    back = export_study(ours)
    for old, new in zip(source.trials, back.trials, strict=True):
        assert (old.state, old.values) == (new.state, new.values)
        assert all(new.params[name] == value for name, value in old.params.items())
        assert all(new.distributions[name] == one for name, one in old.distributions.items())
    assert ours.optimizer.ask() is not None, "it goes on"


def test_budgets_and_failures_of_ours_are_states_there() -> None:
    optimizer = hpo.ASHA(hpo.Random({"x": (0.0, 1.0)}, seed=0), max_resource=9)
    study = hpo.Study(optimizer)
    first = optimizer.ask()
    assert first is not None
    optimizer.tell(first, hpo.Result(error="no"))
    for _ in range(20):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, {"loss": job.config["x"] + 1 / job.until, "extra": 2.0})
    pending = optimizer.ask()
    found = export_study(study)
    states = [trial.state for trial in found.trials]
    assert states[0] == TrialState.FAIL and found.trials[0].system_attrs["fail_reason"] == "no"
    assert states[pending.trial] == TrialState.RUNNING  # type: ignore[union-attr]
    for trial in found.trials[1:]:
        keys = [key for key in study.history.trials[trial.number] if key in study.history.results]
        assert trial.intermediate_values == {until: study.history.results[n, until].metrics["loss"] for n, until in keys}
        if trial.state != TrialState.RUNNING:
            assert trial.state == (TrialState.COMPLETE if keys[-1][1] == 9 else TrialState.PRUNED)
            assert trial.user_attrs["extra"] == 2.0
    again = import_study(found, lambda space, seed: hpo.ASHA(hpo.Random(space, seed=seed), max_resource=9))
    for trial in found.trials[1:]:
        key = study.history.trials[trial.number][-1]
        if trial.state != TrialState.RUNNING:
            assert again.history.results[key].metrics["value"] == study.history.results[key].metrics["loss"]


def test_an_empty_study_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the 0 finished trials"):
        import_study(optuna.create_study())


def test_what_was_pruned_and_reported_comes_back() -> None:
    """The value of a pruned trial, the values on the way (steps count from 1 here), and attributes that are numbers."""
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("size", 3)
        trial.set_user_attr("host", "a")
        for step in range(5):
            trial.report(x + step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x  # and not the last that was reported

    source = optuna.create_study(sampler=optuna.samplers.RandomSampler(0), pruner=optuna.pruners.MedianPruner(2, 0))
    source.optimize(objective, 12)
    back = export_study(import_study(source, "random", seed=1))
    assert {trial.state for trial in source.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for old, new in zip(source.trials, back.trials, strict=True):
        assert (old.state, old.values) == (new.state, new.values)
        assert {step + 1: value for step, value in old.intermediate_values.items()} == new.intermediate_values
        assert new.user_attrs["size"] == 3 and "host" not in new.user_attrs
