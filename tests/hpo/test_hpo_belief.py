"""What a GP believes of a configuration: right as often as it says, and the same as its own proposals are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hpo
from hpo.analysis.belief import NoModelError, score_config
from hpo.analysis.replays import replay_jobs
from tests.hpo.cases import build
from tests.thinning import thin

SPACE = hpo.Space(x=hpo.Float(0.0, 1.0), y=hpo.Float(0.0, 1.0))
NOISE = 0.02
GPS: dict[str, dict[str, Any]] = {"plain": {}, "power": {"power": True}, "samples": {"samples": 3}}


def bowl(config: dict[str, Any]) -> float:
    return float((config["x"] - 0.3) ** 2 + (config["y"] - 0.6) ** 2)


def noisy_study(sampler: hpo.GP, sign: float = 1.0, trials: int = 25) -> tuple[hpo.Study, np.random.Generator]:
    rng = np.random.default_rng(7)
    search = hpo.minimize if sign > 0 else hpo.maximize
    return search(lambda c: sign * (bowl(c) + NOISE * rng.normal()), SPACE, sampler, trials, quiet=True), rng


@pytest.mark.parametrize("name", thin(GPS))
def test_the_interval_holds_what_is_measured(name: str) -> None:
    """95 of 100 are right; of 50, ten are wrong by chance with a probability below 1e-4."""
    study, rng = noisy_study(hpo.GP(SPACE, seed=1, **GPS[name]))
    held = 0
    for _ in range(50):
        config = SPACE.decode(rng.random(2))
        (mean, low, high) = score_config(study.optimizer, study.history, config).values["loss"]
        assert low <= mean <= high
        held += low <= bowl(config) + NOISE * rng.normal() <= high
    assert held >= 40


def test_what_is_better_is_believed_to_be_better() -> None:
    study, _ = noisy_study(hpo.GP(SPACE, seed=1))
    good, bad = ({"x": x, "y": 0.6} for x in (0.3, 0.9))
    near, far = (score_config(study.optimizer, study.history, config) for config in (good, bad))
    assert near.better is not None and far.better is not None and near.better > 0.05 > 1e-3 > far.better
    assert near.values["loss"].mean < far.values["loss"].mean and near.place is not None and far.place is not None
    assert near.place < far.place <= (far.among or 0) == 1002


def test_maximised_objectives_are_said_as_they_are_reported() -> None:
    plus, minus = (noisy_study(hpo.GP(SPACE, seed=1), sign)[0] for sign in (1.0, -1.0))
    config = {"x": 0.5, "y": 0.5}
    a, b = (score_config(study.optimizer, study.history, config) for study in (plus, minus))
    (mean, low, high), (other, below, above) = a.values["loss"], b.values["value"]
    assert (other, below, above) == (-mean, -high, -low) and a.better == b.better


def test_the_next_proposal_is_the_first() -> None:
    """Whatever it is that the sampler maximises."""
    for options in ({}, {"acquisition": "pi"}, {"acquisition": "ucb"}):
        study, _ = noisy_study(hpo.GP(SPACE, seed=2, explore_every=0, **options))
        job = study.optimizer.decide(study.history.prefix(len(study.history) - 1))  # before the limit of trials
        assert job is not None
        found = score_config(study.optimizer, study.history, job.config)
        assert found.place == 1 and found.tried == []


def test_nothing_is_changed() -> None:
    study, _ = noisy_study(hpo.GP(SPACE, seed=3), trials=12)
    events, job = len(study.history), study.optimizer.decide(study.history)
    score_config(study.optimizer, study.history, {"x": 0.1, "y": 0.2})
    assert len(study.history) == events and study.optimizer.decide(study.history) == job


def test_before_the_model_is_asked_there_is_no_rank() -> None:
    study, _ = noisy_study(hpo.GP(SPACE, seed=3), trials=2)
    belief = score_config(study.optimizer, study.history, {"x": 0.1, "y": 0.2})
    assert belief.place is None and belief.better is not None and belief.values


def test_the_best_itself_is_not_better_than_the_best() -> None:
    study = hpo.minimize(bowl, SPACE, hpo.GP(SPACE, seed=4), 12, quiet=True)
    belief = score_config(study.optimizer, study.history, study.best.config)
    assert belief.better == 0.0 and belief.tried == [study.best.key]


def test_rungs_are_judged_at_the_horizon() -> None:
    def report_steps(config: dict[str, Any], report: Any) -> None:
        for step in range(1, 10):
            report(step, bowl(config) + 1 / step)

    study = hpo.minimize(report_steps, SPACE, hpo.ASHA(hpo.GP(SPACE, seed=1), max_resource=9), 20, quiet=True)
    config = {"x": 0.4, "y": 0.6}
    belief = score_config(study.optimizer, study.history, config)
    assert belief.until == 9 and abs(belief.values["loss"].mean - bowl(config) - 1 / 9) < 0.1


@pytest.mark.parametrize("options", [{"constraints": {"heat": 0.4}}, {"acquisition": "parego"}], ids=["bounds", "parego"])
def test_fronts_and_bounds(options: dict[str, Any]) -> None:
    def measure(config: dict[str, Any]) -> dict[str, float]:
        return {"a": config["x"], "b": (1 - config["x"]) ** 2 + config["y"], "heat": config["y"]}

    study = hpo.minimize(measure, SPACE, hpo.GP(SPACE, seed=1, **options), 14, objectives=["a", "b"], quiet=True)
    free, costly = (score_config(study.optimizer, study.history, {"x": 0.41, "y": y}) for y in (0.0, 0.9))
    assert free.better is not None and costly.better is not None and free.better > 0.9 and costly.better < 0.1
    assert [*free.values] == ["a", "b"]
    if "constraints" in options:
        assert free.feasible is not None and costly.feasible is not None and free.feasible > 0.9 > 0.1 > costly.feasible
    else:
        assert free.feasible is None


def test_under_llamatune_its_own_model_is_asked() -> None:
    study = hpo.minimize(bowl, SPACE, hpo.LlamaTune(hpo.GP(SPACE, seed=1), dimensions=2), 15, quiet=True)
    near, far = (score_config(study.optimizer, study.history, {"x": x, "y": 0.6}) for x in (0.3, 0.9))
    assert near.values["loss"].mean < far.values["loss"].mean and (near.place or 0) < (far.place or 0)


@pytest.mark.parametrize("name", ["random", "tpe", "nsga2", "pbt", "asha(random)", "finals(asha)"])
def test_without_a_model_it_says_so(name: str) -> None:
    optimizer = build(name, SPACE, 0)
    with pytest.raises(NoModelError, match="has no model"):
        score_config(optimizer, hpo.Study(optimizer).history, {"x": 0.1, "y": 0.2})


def test_without_results_it_believes_nothing() -> None:
    optimizer = hpo.GP(SPACE)
    with pytest.raises(NoModelError, match="no results yet"):
        score_config(optimizer, hpo.Study(optimizer).history, {"x": 0.1, "y": 0.2})


def test_when_all_have_failed_nothing_is_the_best() -> None:
    optimizer = hpo.GP(SPACE)
    history = hpo.Study(optimizer).history
    for i in range(6):
        optimizer.add({"x": i / 5, "y": 0.5}, float("nan"))
    belief = score_config(optimizer, history, {"x": 0.1, "y": 0.2})
    assert belief.better is None


# -- replays -----------------------------------------------------------------------------------------------------------


def test_jobs_are_replayed_with_several_in_flight_and_lost() -> None:
    optimizer = hpo.GP(SPACE, seed=1)
    history = hpo.Study(optimizer).history
    for i in range(16):
        job = optimizer.ask()
        assert job is not None
        if i % 5 == 4:
            optimizer.lose(job)
        elif i % 3:
            optimizer.tell(job, bowl(dict(job.config)))
    found = list(replay_jobs(history, hpo.GP(SPACE, seed=1)))
    assert len(found) == 16 and all(now is not None and was.to_json() == now.to_json() for was, now in found)
    other = list(replay_jobs(history, hpo.GP(SPACE, seed=2)))
    assert sum(now is not None and was.config == now.config for was, now in other) < 16
