"""The GP over several budgets: losses as they were measured, the budget as the last column, proposals at the horizon."""

from __future__ import annotations

import numpy as np
import pytest

from hpo import ASHA, GP, Categorical, Float, History, Random, Result, Simulator, Space, Stop, Study, run
from hpo.job import Job
from hpo.optimizers.gp import fits as model
from hpo.optimizers.gp.observations import AtHorizon, Observations
from surrogates import GaussianProcess, Score, acquisition, fit, standardise


def line() -> Space:
    return Space(x=Float(0.0, 1.0))


def told(losses: dict[tuple[int, int], float]) -> History:
    """A history of trials at x = trial / 10, with these losses by (trial, until)."""
    optimizer = ASHA(Random(line()), max_resource=9)
    history = optimizer.history
    for (trial, until), loss in sorted(losses.items()):
        source = (
            (trial, max(u for t, u in losses if t == trial and u < until)) if (trial, until) != (trial, 1) else None
        )
        job = Job(trial, {"x": trial / 10}, until, source)
        history.start(job, len(history))
        history.finish(job, Result({"loss": loss}))
    return history


def test_losses_are_read_as_they_were_measured() -> None:
    inf = float("inf")
    losses = {(0, 1): 5.0, (1, 1): 4.0, (2, 1): inf, (0, 3): 3.0, (1, 3): 3.5, (1, 9): 2.5}
    history = told(losses)
    read = Observations.of(history, line())
    assert dict(zip(read.keys, read.losses[:, 0], strict=True)) == losses


def test_one_budget_is_left_alone() -> None:
    history = told({(0, 1): 5.0, (1, 1): 4.0})
    read = Observations.of(history, line())
    assert not read.has_budgets and read.domain is read.space.domain
    assert read.rows.tolist() == [[0.0], [0.1]] and read.lift(np.array([[0.5]])).tolist() == [[0.5]]


def test_several_budgets_are_shares_of_the_horizon() -> None:
    history = told({(0, 1): 5.0, (1, 1): 4.0, (1, 3): 3.0})
    read = Observations.of(history, line())
    assert read.rows.tolist() == [[0.0, 1 / 9], [0.1, 1 / 9], [0.1, 1 / 3]]
    assert read.domain.kinds == ("float", "budget") and read.domain.has_budget
    lifted = read.lift(np.array([[0.3]]))
    assert lifted.tolist() == [[0.3, 1.0]] and read.domain.snap(lifted).tolist() == lifted.tolist()


def test_the_whole_training_alone_is_the_horizon() -> None:
    history = told({(0, 1): 5.0, (0, 3): 4.0, (0, 9): 3.0, (1, 1): 4.0})
    read = Observations.of(history, line())
    assert read.rows_of([(0, 9), (1, 1)])[:, -1].tolist() == [1.0, 1 / 9]


def test_constraints_hold_with_a_budget_too() -> None:
    """They are asked about configurations, and see no budget."""
    space = Space(x=Float(0.0, 1.0), y=Categorical(["a", "b"]), constraints=[lambda config: config["x"] < 0.25])
    read = Observations(told({}), space, [], 1, 9)
    rows = np.array([[0.1, 0.0, 1 / 9], [0.9, 1.0, 1.0], [0.2, 1.0, 1.0]])
    assert read.domain.is_feasible(rows).tolist() == [True, False, True]
    assert (read.domain.random(np.random.default_rng(0), 50)[:, 0] < 0.25).all()
    assert Observations(told({}), line(), [], 1, 9).domain.feasible is None


def test_gradient_at_the_horizon() -> None:
    rng = np.random.default_rng(0)
    history = told({(t, u): float(rng.normal()) for t in range(9) for u in (1, 3)})
    read = Observations.of(history, line())
    z = standardise(read.losses[:, 0]).z
    gp = GaussianProcess(read.domain, read.rows, z, fit(read.rows, z, read.domain, 0))
    score = AtHorizon(Score(gp, acquisition("logei"), float(z.min())), read)
    X, h = np.array([[0.23], [0.71]]), 1e-6
    values, slopes = score.gradient(X)
    assert slopes.shape == X.shape and values == pytest.approx(score(X))
    assert slopes == pytest.approx(((score(X + h) - score(X - h)) / (2 * h))[:, None], rel=1e-4)


def test_fits_go_on_beyond_what_a_model_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """All results are counted, however many of them the model keeps."""
    monkeypatch.setattr(model, "MOST", 20)
    study = Study(ASHA(GP(Space(x=Float(0, 1), y=Float(0, 1)), seed=0, explore_every=0), max_resource=9))
    run(study, Simulator(value), Stop(60))
    fits = [job.note.record["gp"]["loss"]["n"] for job in study.history.jobs.values() if "gp" in job.note.record]
    assert fits == sorted(fits) and max(fits) > 60


@pytest.mark.parametrize(("objectives", "least"), [({"loss": "min"}, 0.05), ({"loss": "min", "seconds": "min"}, 1e-3)])
def test_asks_in_flight_are_apart_at_low_rungs_too(objectives: dict[str, str], least: float) -> None:
    """What is pending counts at the horizon: a short training in flight would hardly move what is believed there."""
    space = Space(x=Float(0, 1), y=Float(0, 1))
    study = Study(ASHA(GP(space, seed=0, explore_every=0), max_resource=27), objectives=objectives)
    optimizer = study.optimizer
    for _ in range(25):
        job = optimizer.ask()
        x, y = job.config["x"], job.config["y"]
        loss = np.sin(9 * x) + np.cos(7 * y + 3 * x) + 3.0 / job.until + 0.2 * x / job.until
        optimizer.tell(job, {"loss": loss, "seconds": job.until * (1 + x)})
    fresh = [job for job in (optimizer.ask() for _ in range(12)) if job.until == 1][:6]
    rows = np.array([space.encode(job.config) for job in fresh])
    apart = np.abs(rows[:, None] - rows).max(axis=2) + np.eye(len(rows))
    assert len(fresh) == 6 and apart.min() > least


def test_a_bound_is_judged_at_the_horizon() -> None:
    """Every short training keeps it, and only configurations that keep it when trained to the end are of use."""

    def measured(config: dict[str, float], until: int, seed: int) -> dict[str, float]:
        return {"loss": value(config, until, seed), "seconds": until * (1.0 + 9.0 * config["y"])}

    space = Space(x=Float(0, 1), y=Float(0, 1))
    study = Study(ASHA(GP(space, seed=0, constraints={"seconds": 27 * 5.0}, explore_every=0), max_resource=27))
    run(study, Simulator(measured), Stop(45))
    late = [job.config["y"] for key, job in study.history.jobs.items() if key[0] > 25]
    assert np.mean(np.array(late) < 0.5) > 0.7, "y < 0.44 keeps the bound; the best loss is at y = 0.81"


def value(config: dict[str, float], until: int, seed: int) -> float:
    return (config["x"] - 0.37) ** 2 + (config["y"] - 0.81) ** 2 + 3.0 / until + 0.2 * config["x"] / until


def test_low_rungs_help_where_they_tell() -> None:
    """The optimum is found from short trainings, with only a handful of long ones."""

    def best(sampler: type[GP] | type[Random], seed: int) -> float:
        space = Space(x=Float(0, 1), y=Float(0, 1))
        study = Study(ASHA(sampler(space, seed=seed), max_resource=27))
        run(study, Simulator(value, workers=2), Stop(30))
        assert study.best.until == 27
        return study.best.value - 3.0 / 27

    gp, random = [best(GP, s) for s in range(5)], [best(Random, s) for s in range(5)]
    assert np.median(gp) < 0.5 * np.median(random) and max(gp) < max(random)


@pytest.mark.parametrize("chosen", ["nei", "kg", "mes", "thompson"])
def test_acquisitions_of_the_model_under_a_constraint(chosen: str) -> None:
    """What they draw and descend over keeps to the constraint, and fits recorded with a budget are read again."""
    space = Space(x=Float(0, 1), y=Float(0, 1), constraints=[lambda config: config["x"] + config["y"] < 1.5])
    optimizer = ASHA(GP(space, acquisition=chosen), max_resource=9)
    run(Study(optimizer), Simulator(value, workers=2), Stop(9))
    history = optimizer.history
    assert len(history.budgets) > 1
    assert all(job.config["x"] + job.config["y"] < 1.5 for job in history.jobs.values())
    fits = [job.note.record["gp"]["loss"] for job in history.jobs.values() if "loss" in job.note.record.get("gp", {})]
    assert {len(theta) for fit in fits for theta in fit["thetas"]} in ({9}, {5, 9})  # one budget: d + 3; several: d + 7
