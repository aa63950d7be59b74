"""FreezeThaw: what a unit of budget is worth, what goes on, what ends, what is refused; over a GP and over other samplers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from hpo import (
    ASHA,
    GP,
    PBT,
    FreezeThaw,
    Grid,
    History,
    Job,
    Optimizer,
    Random,
    Result,
    Simulator,
    Sobol,
    Space,
    SQLiteLog,
    Stop,
    Study,
    make,
    run,
)
from hpo.optimizers import freezethaw
from hpo.optimizers.freezethaw import CHANCES, FIRST, OUTCOMES, gain_rates, variance_reduction
from hpo.optimizers.gp.fits import Recipe
from hpo.optimizers.gp.observations import Observations
from hpo.testing import Drive, LearnerLaws, changed_jobs, replay_in_process, started_jobs
from hpo.testing.spaces import SPACES, mixed_space, plane, quadratic
from surrogates import EI, GaussianProcess, fit, standardise
from surrogates.acquisitions.marginal import Normal
from tests.hpo.cases import TOP, build, build_over
from tests.hpo.objectives import line


@pytest.mark.slow
class TestLearner(LearnerLaws):
    def make(self, space: Space, seed: int) -> Optimizer:
        return build("freezethaw(gp)", space, seed)

    def make_peer(self, space: Space, seed: int) -> Optimizer:
        return build("freezethaw(random)", space, seed)


# --- what it is worth -------------------------------------------------------------------------------------------------


def gains(mean: float, learned: float, left: float, incumbent: float) -> np.ndarray:
    after = mean + learned * OUTCOMES
    return np.asarray(EI()(Normal(after, np.full(len(after), left)), incumbent))


@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.7, 3.0])
@pytest.mark.parametrize(("learned", "left"), [(0.5, 0.5), (1.0, 0.01), (0.01, 1.0)])
def test_worth_is_the_price_at_which_one_is_indifferent(mean: float, learned: float, left: float) -> None:
    look, rest, gain = 2.0, 48.0, gains(mean, learned, left, 0.0)

    def profit(price: float) -> float:
        return float(CHANCES @ np.maximum(gain - price * rest, 0.0)) - price * look

    one = (np.array([x]) for x in (mean, learned, left, look, rest))
    assert float(np.exp(gain_rates(*one, 0.0)[0])) == pytest.approx(brentq(profit, 0.0, 10.0, xtol=1e-14), rel=1e-6)


def test_without_a_look_it_is_improvement_over_cost() -> None:
    mean, zero, left = np.array([0.3, -0.2, 40.0]), np.zeros(3), np.array([0.5, 0.1, 1.0])
    rest = np.array([32.0, 2.0, 1.0])
    found = gain_rates(mean, zero, left, zero, rest, 0.0)
    assert np.isfinite(found).all(), "forty standard deviations away"
    assert np.exp(found[:2]) == pytest.approx(EI()(Normal(mean[:2], left[:2]), 0.0) / rest[:2])


def test_a_cheap_look_is_worth_something() -> None:
    """The more a look tells, the more a start is worth; and nothing tells more than the whole training at once."""
    some = np.linspace(0.0, 0.999, 6)
    found = gain_rates(np.zeros(6), np.sqrt(some), np.sqrt(1 - some), np.full(6, 2.0), np.full(6, 48.0), -1.0)
    assert (np.diff(found) > 0).all()


def test_what_a_look_takes_away() -> None:
    """As much as conditioning on the look's row takes from the variance at the horizon."""
    history = search(30).history
    read = GP(plane()).observe(history)
    z = standardise(read.losses[:, 0]).z
    gp = GaussianProcess(read.domain, read.rows, z, fit(read.rows, z, read.domain, 0))
    plain = np.random.default_rng(0).random((4, 2))
    looks, last = (np.column_stack([plain, np.full(4, share)]) for share in (1 / 3, 1.0))
    variance = gp.predict(last)[1]
    left = [gp.condition(look[None]).predict(row[None])[1][0] for look, row in zip(looks, last, strict=True)]
    found = variance_reduction(gp, looks, last, variance)
    assert found == pytest.approx(1.0 - np.array(left) / variance, rel=1e-5) and (found > 0.01).all()


def opposed(n: int, seed: int) -> tuple[Study, list[GaussianProcess], Observations]:
    """A search, and two models of its results: one that expects much of everything, one that is sure of what it has seen."""
    study = search(n, seed)
    optimizer = study.optimizer
    assert isinstance(optimizer, FreezeThaw)
    read = optimizer._gp.observe(study.history)
    ((gp,), _) = optimizer._models(read)
    theta = gp.theta
    s, v = theta.log_outputscale, theta.log_noise
    thetas = replace(theta, log_outputscale=s + 2.0), replace(theta, log_outputscale=s - 6.0, log_noise=v - 6.0)
    return study, [GaussianProcess(read.domain, read.rows, gp.y, theta) for theta in thetas], read


@pytest.mark.parametrize(("n", "seed"), [(30, 1), (20, 1), (20, 3)])
def test_over_samples_of_the_hyperparameters_worths_are_averaged_and_not_their_logarithms(
    n: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one sample hopes for a gain and another is sure that there is none, half of the gain may be hoped for."""
    study, gps, _ = opposed(n, seed)
    optimizer, history = study.optimizer, study.history
    assert isinstance(optimizer, FreezeThaw)
    paused, new = optimizer._paused(history), optimizer.sampler.draft(history, history.next_trial)

    def chosen(models: list[GaussianProcess]) -> object:
        monkeypatch.setattr(optimizer, "_models", lambda read: (models, {}))
        return optimizer._best(history, paused, new)[0]

    bold, sure = chosen(gps[:1]), chosen(gps[1:])
    assert bold != sure and chosen(gps) == bold, "what the sure one is worth is nothing beside it"


def test_all_samples_share_one_shortlist(monkeypatch: pytest.MonkeyPatch) -> None:
    study, gps, read = opposed(20, 1)
    optimizer, history = study.optimizer, study.history
    assert isinstance(optimizer, FreezeThaw)
    paused = optimizer._paused(history)
    plain = read.rows_of(paused)[:, :-1]
    at = np.array([until for _, until in paused])
    each = [optimizer._worth([gp], read, plain, at) for gp in gps]
    monkeypatch.setattr(freezethaw, "SHORTLIST", 3)
    few = [np.isfinite(optimizer._worth([gp], read, plain, at)) for gp in gps]
    assert (few[0] != few[1]).any(), "each alone would list others"
    both = optimizer._worth(gps, read, plain, at)
    on = np.isfinite(both)
    assert on.sum() in (3, 4)
    np.testing.assert_allclose(both[on], (np.logaddexp(*each) - np.log(2.0))[on], rtol=1e-12)


# --- what it does -----------------------------------------------------------------------------------------------------


def test_rungs_are_those_of_asha() -> None:
    for low, high, eta in [(1, 81, 3.0), (2, 50, 3.0), (4, 4, 2.0), (1, 10, 1.5)]:
        assert FreezeThaw(GP(plane()), low, high, eta).rungs == ASHA(GP(plane()), low, high, eta).rungs


def search(jobs: int = 60, seed: int = 0) -> Study:
    drive = Drive(FreezeThaw(GP(plane(), seed=seed), max_resource=27), quadratic, workers=1)
    drive.run(jobs)
    return drive.study


def test_the_good_go_on_and_the_others_are_left() -> None:
    history = search().history
    trained = {trial: keys[-1][1] for trial, keys in history.trials.items()}
    values = {trial: quadratic(history.jobs[keys[0]].config, 1000) for trial, keys in history.trials.items()}
    whole = [values[trial] for trial, until in trained.items() if until == 27]
    left = [values[trial] for trial, until in trained.items() if until == 1]
    assert len(whole) >= 2 and len(left) >= 5 and np.median(whole) < np.median(left)
    assert min(whole) == min(values.values()) or min(whole) < 1e-3


def test_a_trial_goes_one_step_at_a_time_from_its_own_checkpoint() -> None:
    history = search().history
    rungs = [1, 3, 9, 27]
    for job in history.jobs.values():
        below = rungs[rungs.index(job.until) - 1]
        assert job.source == (None if job.until == 1 else (job.trial, below))


def test_the_first_curve_is_that_of_the_best() -> None:
    history = search(FIRST + 1).history
    first = next(job for job in history.jobs.values() if job.source is not None)
    assert first.source == history.rank(history.at(1))[0] and len(history.trials) == FIRST


def test_all_that_waits_is_kept() -> None:
    study = search(25)
    history = study.history
    waits = {keys[-1] for keys in history.trials.values() if keys[-1][1] < 27}
    live = study.optimizer.live(history)
    assert set(live) == waits and [until for _, until in live] == sorted((until for _, until in live), reverse=True)


def test_parallel_workers_share_the_trials() -> None:
    history = Drive(FreezeThaw(GP(plane()), max_resource=9), quadratic, workers=6, seed=1).run(40)
    assert len(history.results) == 40 == len(history.jobs)
    assert Counter(until for _, until in history.results)[9] >= 3


# --- where it ends ----------------------------------------------------------------------------------------------------


def test_a_list_ends_when_all_of_it_is_trained() -> None:
    optimizer = FreezeThaw(Grid(SPACES["small"]()), max_resource=9)
    assert not optimizer.is_endless and FreezeThaw(GP(plane())).is_endless
    history = Drive(optimizer, workers=2).run(100)
    assert sorted(keys[-1] for keys in history.trials.values()) == [(trial, 9) for trial in range(6)]
    assert optimizer.decide(history) is None


def test_a_limit_on_trials_ends_where_something_new_would_be_worth_more() -> None:
    study = Study(FreezeThaw(GP(plane()), max_resource=27))
    run(study, Simulator(quadratic, workers=2), Stop(trials=12))
    trained = [keys[-1][1] for keys in study.history.trials.values()]
    assert len(trained) == 12 and max(trained) == 27 and min(trained) == 1


def test_failures_do_not_go_on() -> None:
    optimizer = FreezeThaw(GP(line()), max_resource=9)
    history = optimizer.history
    for i in range(6):
        job = optimizer.ask()
        assert job is not None and job.source is None
        optimizer.tell(job, Result(error="diverged") if i else 1.0)
        if i >= FIRST - 1:
            break
    job = optimizer.ask()
    assert job is not None and job.source == (0, 1), "the only success"
    optimizer.tell(job, Result(error="diverged"))
    assert optimizer.live(history) == []
    job = optimizer.ask()
    assert job is not None and job.source is None


# --- what is recorded and refused -------------------------------------------------------------------------------------


def test_a_reopened_study_never_fits_its_past(monkeypatch: pytest.MonkeyPatch) -> None:
    history = search(40).history
    asked = [event.body for event in history.events if event.kind == "start"]
    noted = [body["job"] for body in asked if "gp" in body["job"]["note"].get("record", {})]
    assert any(job["source"] for job in noted), "a continuation records a fit too"
    plain = [body for body in asked if "gp" not in body["job"]["note"].get("record", {}) and body["seen"] > 40]

    def refuse(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(Recipe, "thetas", refuse)
    assert len(plain) >= 5
    for body in plain:
        job = FreezeThaw(GP(plane()), max_resource=27).decide(history.prefix(body["seen"]))
        assert job == Job.from_json(body["job"])


@pytest.mark.parametrize("name", ["freezethaw(sobol)", "freezethaw(grid)"])
def test_a_sampler_without_a_model_gets_one(name: str) -> None:
    history = Drive(build(name, mixed_space(), 1), workers=4, seed=1).run(18, lost=0.15, foreign=0.1, twice=0.1)
    assert any("gp" in job.note.record for job in history.jobs.values())
    assert changed_jobs(history, lambda: build(name, mixed_space(), 1)) == []


def weighed(history: History) -> list[Job]:
    """Jobs that were chosen by the model: started when there were results at two budgets, and something was paused."""
    budgets: set[int] = set()
    found = []
    for event in history.events:
        if event.kind == "start" and len(budgets) > 1:
            found.append(Job.from_json(event.body["job"]))
        elif event.kind == "finish":
            budgets.add(event.body["until"])
    return found


@pytest.mark.slow
def test_forty_jobs_on_four_workers_in_a_fresh_process(tmp_path: Path) -> None:
    """How many of them go on hangs on the last bits of a fit, and so on the processor; that the model chose does not."""
    drive = Drive(build("freezethaw", mixed_space(), 7), workers=4, seed=7, log=SQLiteLog(tmp_path / "log.db"))
    history = drive.run(40, lost=0.05, foreign=0.03)
    assert len(started_jobs(history)) == 40 and any(job.source is not None for job in history.jobs.values())
    chosen = weighed(history)
    assert len(chosen) >= 15 and any("gp" in job.note.record for job in chosen)
    assert replay_in_process(build_over, tmp_path / "log.db", "freezethaw", "mixed", 7) == "40 replayed"


@pytest.mark.parametrize("options", [{"samples": 3}, {"warp": True}, {"power": True}, {"explore_every": 0}])
def test_options_of_the_gp(options: dict[str, int]) -> None:
    def fresh() -> FreezeThaw:
        return FreezeThaw(GP(plane(), **options), max_resource=TOP)  # type: ignore[arg-type]

    assert changed_jobs(Drive(fresh(), quadratic, seed=3).run(16), fresh) == []


def test_refusals() -> None:
    with pytest.raises(ValueError, match="FreezeThaw takes one objective, but"):
        Study(FreezeThaw(GP(line())), objectives={"loss": "min", "size": "min"}).optimizer.ask()
    for refused in (GP(line(), cost="seconds"), GP(line(), constraints={"size": 1.0})):
        with pytest.raises(ValueError, match="FreezeThaw weighs losses by budgets alone"):
            FreezeThaw(refused)
    with pytest.raises(TypeError, match="FreezeThaw takes a sampler"):
        FreezeThaw(PBT(Random(line())))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_resource 9 is above max_resource 3"):
        FreezeThaw(GP(line()), min_resource=9, max_resource=3)


def test_by_name_over_a_gp() -> None:
    made = make("freezethaw", line())
    assert isinstance(made, FreezeThaw) and type(made.sampler) is GP
    other = make("freezethaw", line(), sampler="sobol")
    assert isinstance(other, FreezeThaw) and type(other.sampler) is Sobol
