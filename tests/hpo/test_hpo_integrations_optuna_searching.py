"""Objectives that were written for Optuna, on our studies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo
from hpo.integrations.optuna import minimize
from hpo.integrations.optuna.spaces import unite
from tests.hpo.examples import run_example

ROOT = Path(__file__).resolve().parents[2]


def branching(trial: Any) -> float:
    """Values that are asked for only on one side."""
    x = trial.suggest_float("x", -5, 5)
    trial.set_user_attr("twice", 2 * x)
    trial.set_user_attr("text", "kept with the trial alone")
    if x > 0:
        return float(x**2 + trial.suggest_int("k", 1, 4))
    return float(x**2 + (trial.suggest_categorical("kind", ["slow", None, "fast"]) != "fast"))


class Given:
    """A trial whose values are given."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("suggest"):
            return lambda one, *_, **__: self.values[one]
        return lambda *_, **__: None


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_every_result_is_that_of_its_configuration(executor: str) -> None:
    """Those of trials that were added to a later study, with values that they never asked for, too."""
    study = minimize(branching, "tpe", 25, seed=1, executor=executor, workers=None if executor == "inline" else 3)
    assert set(study.optimizer.space.parameters) == {"x", "k", "kind"} and len(study.history.trials) == 25
    for key, result in study.history.results.items():
        config = dict(study.history.jobs[key].config)
        assert result.metrics["value"] == branching(Given(config))
        assert result.metrics == {"value": result.metrics["value"], "twice": 2 * config["x"]}
    assert len(study.history.added) < 25, "the last study has searched"


def test_it_is_the_study_that_a_known_space_gives() -> None:
    """But for the trials of the studies before, drawn at random."""
    space = {"x": (-5.0, 5.0), "k": (1, 4), "kind": ["slow", None, "fast"]}
    study = minimize(branching, "gp", 12, space=space, seed=2)
    plain = hpo.minimize(lambda config: branching(Given(config)), space, "gp", 12, seed=2, quiet=True)
    assert not study.history.added
    assert [dict(job.config) for job in study.history.jobs.values()] == [dict(job.config) for job in plain.history.jobs.values()]


def test_schedulers_pause_and_stop_trials_at_their_reports() -> None:
    steps: list[int] = []

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", -1, 1)
        for epoch in range(1, 10):
            trial.report(x**2 + 1 / epoch, epoch)
            steps.append(epoch)
            assert not trial.should_prune()
        return float(x**2)

    study = minimize(objective, lambda space, seed: hpo.ASHA(hpo.GP(space, seed=seed), max_resource=9), 20)
    assert len(study.history.trials) == 20 and isinstance(study.optimizer, hpo.ASHA)
    whole = [key for key in study.history.results if key[1] == 9]
    assert 2 <= len(whole) < 12 and len(steps) < 0.7 * 9 * 20


def test_a_trial_that_was_trained_to_its_end_before_the_space_was_known_stands_at_the_horizon() -> None:
    """The first trial is the best one here, and it stays that beside those that a scheduler trains."""

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("rate", 0.1, 1.0)
        for step in range(1, 10):
            trial.report(rate + trial.number, step)
        return float(rate + trial.number)

    study = minimize(objective, lambda space, seed: hpo.ASHA(hpo.Random(space, seed=seed), max_resource=9), 8)
    assert (0, 9) in study.history.results and study.best.number == 0 and study.best.value < 1.0 + 1e-9


def test_ranges_that_change_are_held_by_one_space() -> None:
    def objective(trial: Any) -> float:
        high = 10 if trial.number < 5 else 20
        return float(trial.suggest_float("x", 0, high) + trial.suggest_int("k", 0, high, step=5))

    study = minimize(objective, "random", 15)
    specs = study.optimizer.space.parameters
    assert (specs["x"], specs["k"]) == (hpo.Float(0.0, 20.0), hpo.Int(0, 20, step=5))
    for key, result in study.history.results.items():
        assert result.metrics["value"] == pytest.approx(sum(study.history.jobs[key].config.values()))


def test_what_holds_both_of_two_distributions() -> None:
    from optuna.distributions import CategoricalDistribution as C
    from optuna.distributions import FloatDistribution as F
    from optuna.distributions import IntDistribution as N

    assert unite(F(0, 1, step=0.25), F(0.5, 2, step=0.25)) == F(0, 2, step=0.25)
    assert unite(F(0, 1, step=0.25), F(0.5, 2, step=0.5)) == F(0, 2)
    assert unite(N(0, 9, step=3), N(1, 4, step=3)) == N(0, 9)
    assert unite(N(1, 8, log=True), N(4, 64, log=True)) == N(1, 64, log=True)
    assert unite(C(["a", "b"]), C(["c", "a"])) == C(["a", "b", "c"])


def test_one_name_of_two_kinds_is_refused() -> None:
    def objective(trial: Any) -> float:
        return float(trial.suggest_float("x", 1, 2, log=trial.number % 2 == 0))

    study = minimize(objective, "random", 6)
    errors = [result.error for result in study.history.results.values()]
    assert [error is None for error in errors] == [True, False] * 3
    assert errors[1] is not None and errors[1].startswith("ValueError: 'x' was met as FloatDistribution(")


def test_several_objectives_and_trials_that_prune_themselves() -> None:
    def objective(trial: Any) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 4:
            trial.report(1.0, 3)
            raise optuna.TrialPruned
        return x, 1 - x

    study = minimize(objective, "nsga2", 10, directions=["minimize", "maximize"])
    assert study.header.objectives == {"value0": "min", "value1": "max"} and len(study.pareto) == 1
    assert study.history.results[4, 1].error == "TrialPruned: by the objective itself, at step 3, with the value 1"
    with pytest.raises(ValueError, match=r"directions is .'up'.; allowed are minimize and maximize"):
        minimize(objective, directions=["up"])


def test_objects_as_choices() -> None:
    kinds = [("a", 1), ("b", 2)]

    def objective(trial: Any) -> float:
        return float(trial.suggest_categorical("kind", kinds)[1])

    study = minimize(objective, "random", 8)
    assert study.best.config == {"kind": 0} and study.best.value == 1.0


KILLED = """
import time
from hpo.integrations.optuna import minimize

def objective(trial):
    time.sleep(0.02)
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_float("y", -5, 5) if trial.number > 6 else 0.0
    z = trial.suggest_int("z", 1, 9) if trial.number > 12 else 0
    return x**2 + y**2 + z

study = minimize(objective, "tpe", 30, seed=4, log="chain.sqlite")
print([(job.config, study.history.results[key].metrics) for key, job in study.history.jobs.items()])
"""


def test_a_killed_search_goes_on_to_the_same_end(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(KILLED)
    outputs = []
    for name, kills in (("whole", 0), ("killed", 4)):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, str(tmp_path / "program.py")]
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        for attempt in range(kills):
            run = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 900
            wanted = "chain.sqlite" if attempt < 1 else f"chain-{min(attempt + 1, 3)}.sqlite"
            while run.poll() is None and not (folder / wanted).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.15)
            run.send_signal(signal.SIGKILL)
            run.wait()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]


def test_the_example() -> None:
    assert run_example(minimize)["study"].history.trials


def test_what_is_to_be_caught_does_not_end_the_search() -> None:
    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        if trial.number < 4:
            raise ValueError("no")
        return float(x)

    with pytest.raises(RuntimeError, match="catch=ValueError goes on"):
        minimize(objective, "random", 6)
    study = minimize(objective, "random", 6, catch=ValueError)
    assert [result.error for result in study.history.results.values()] == ["ValueError: no"] * 4 + [None] * 2


@pytest.mark.parametrize("optimizer", [optuna.samplers.RandomSampler(), hpo.Random({"x": (0.0, 1.0)})])
def test_an_optimizer_that_is_made_already_is_refused_in_a_sentence(optimizer: Any) -> None:
    with pytest.raises(TypeError, match=r"allowed are a name of hpo\.OPTIMIZERS and a function of"):
        minimize(branching, optimizer, 3, space={"x": (-5.0, 5.0)})


def test_older_names_ask_for_the_same() -> None:
    def older(trial: Any) -> float:
        a, b = trial.suggest_uniform("a", 0, 1), trial.suggest_loguniform("b", 1e-3, 1)
        return float(a + b + trial.suggest_discrete_uniform("c", 0, 1, 0.25))

    def newer(trial: Any) -> float:
        a, b = trial.suggest_float("a", 0, 1), trial.suggest_float("b", 1e-3, 1, log=True)
        return float(a + b + trial.suggest_float("c", 0, 1, step=0.25))

    studies = [minimize(one, "random", 5) for one in (older, newer)]
    assert studies[0].space.describe() == studies[1].space.describe()
    assert [job.config for job in studies[0].history.jobs.values()] == [job.config for job in studies[1].history.jobs.values()]
