"""CMA-ES: its generations under the protocol, restarts, what it reaches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from cmaes import CMA

import hpo
from hpo.optimizers.cma import joint
from hpo.optimizers.cma.gaussian import Gaussian
from hpo.optimizers.cma.paths import member_of
from hpo.optimizers.cma_es import CMAES
from hpo.testing import Drive, changed_jobs
from hpo.testing.spaces import plane, quadratic
from tests.hpo.test_hpo_cma_arrays import gap, rugged

CLOSE = 1e-8
Patch = pytest.MonkeyPatch


# -- generations under the protocol -------------------------------------------------------------------------------------


def box(d: int) -> hpo.Space:
    return hpo.Space({f"x{i}": hpo.Float(0.0, 1.0) for i in range(d)})


def value(config: Mapping[str, Any]) -> float:
    return float(rugged(np.array([[*config.values()]]))[0])


def study_gap(d: int) -> float:
    """Of 20 generations of a study, the largest difference from the library's CMA over the same points."""
    sampler, theirs = CMAES(box(d), seed=d, restarts="none"), CMA(np.full(d, 0.5), 1 / 6)
    lam, rng, worst = theirs.population_size, np.random.default_rng(0), 0.0
    for generation in range(20):
        jobs = [sampler.ask() for _ in range(lam)]
        told = []
        for job in rng.permutation(np.array(jobs, dtype=object)):
            record = member_of(job)
            assert record is not None and record["generation"] == generation == record["update"]
            told.append((np.array(record["x"]), value(job.config)))
            sampler.tell(job, told[-1][1])
        theirs.tell(told)
        path = sampler.path(sampler.history)
        assert path.updates == generation + 1 and path.joint.gaussian is not None
        worst = max(worst, gap(path.joint.gaussian, theirs))
    return worst


@pytest.mark.parametrize("d", [2, 7, 20])
def test_a_study_walks_the_librarys_path(d: int) -> None:
    """Through the history: what finishes in any order within a generation, and what the log holds, change nothing."""
    assert study_gap(d) < CLOSE


@pytest.mark.parametrize("error", ["order", "ties", "shortened"])
def test_a_mistake_on_the_way_is_seen(error: str, monkeypatch: Patch) -> None:
    right = joint.Joint.update

    def wrong(self: joint.Joint, X: np.ndarray, C: np.ndarray) -> joint.Joint:
        if error == "order":
            X = X[::-1]
        elif error == "ties":  # the best two in the other order
            X = X[[1, 0, *range(2, len(X))]]
        else:
            X = self.gaussian.mean + 0.999 * (X - self.gaussian.mean)  # type: ignore[union-attr]
        return right(self, X, C)

    monkeypatch.setattr(joint.Joint, "update", wrong)
    assert study_gap(7) > 100 * CLOSE


def records(sampler: CMAES) -> list[tuple[int, int, int]]:
    found = [member_of(job) for job in sampler.history.jobs.values()]
    return [(r["generation"], r["place"], r["update"]) for r in found if r is not None]


def test_asks_beyond_a_generation_belong_to_the_next() -> None:
    sampler = CMAES(plane(), population=4)
    jobs = [sampler.ask() for _ in range(10)]
    assert records(sampler) == [(i // 4, i % 4, 0) for i in range(10)]
    for job in jobs[3:7]:  # four of them finish first, of two generations: the update is theirs
        sampler.tell(job, value(job.config))
    late = sampler.ask()
    assert records(sampler)[-1] == (2, 2, 1)
    for job in (jobs[0], jobs[1], jobs[2]):
        sampler.tell(job, value(job.config))
    assert sampler.path(sampler.history).updates == 1 and len(sampler.path(sampler.history).members) == 3
    sampler.tell(late, value(late.config))
    assert sampler.path(sampler.history).updates == 2


def test_a_generation_is_closed_over_the_first_by_key() -> None:
    """More may have finished between two starts than a generation holds: the others count in the next."""
    sampler = CMAES(plane(), population=4)
    jobs = [sampler.ask() for _ in range(7)]
    for job in reversed(jobs):
        sampler.tell(job, value(job.config))
    path = sampler.path(sampler.history)
    assert path.updates == 1 and path.members == tuple(job.key for job in jobs[4:])


def test_members_of_an_older_distribution_are_shortened(monkeypatch: Patch) -> None:
    seen: list[int] = []
    right = joint.Joint.shorten
    monkeypatch.setattr(joint.Joint, "shorten", lambda self, X: (seen.append(len(X)), right(self, X))[1])
    sampler = CMAES(plane(), population=4)
    jobs = [sampler.ask() for _ in range(8)]
    for job in jobs[:4]:
        sampler.tell(job, value(job.config))
    sampler.path(sampler.history)
    assert seen == []
    for job in jobs[4:]:
        sampler.tell(job, value(job.config))
    assert sampler.path(sampler.history).updates == 2 and seen == [4]


def test_a_lost_job_keeps_its_place_and_at_the_limit_ranks_last() -> None:
    sampler = CMAES(plane(), population=4)
    first = sampler.ask()
    for _ in range(3):
        sampler.lose(first)
        again = sampler.ask()
        if again.trial == first.trial:
            assert again == first
    jobs = [again, *(sampler.ask() for _ in range(2))]
    assert records(sampler) == [(0, i, 0) for i in range(4)]
    for job in jobs:
        sampler.tell(job, 1e9)
    history = sampler.history
    assert sampler.path(history).updates == 1 and history.is_failure(first.key)
    mean = sampler.path(history).joint.gaussian.mean  # type: ignore[union-attr]
    X = np.array([member_of(history.jobs[job.key])["x"] for job in (*jobs, first)])  # type: ignore[index]
    assert mean == pytest.approx(Gaussian.begin(np.full(2, 0.5), 1 / 6).update(X).mean)


def test_what_was_added_or_pinned_has_no_place() -> None:
    """The path is that of its members alone, however good the others are."""
    sampler, pinned = CMAES(plane(), seed=3, population=4), {"x": 0.9, "y": 0.9}
    sampler.enqueue(pinned)
    first = sampler.ask()
    assert first.config == pinned and member_of(first) is None
    sampler.tell(first, -100.0)
    for _ in range(20):
        job = sampler.ask()
        sampler.tell(job, value(job.config))
        sampler.add({"x": -0.9, "y": 0.9}, -200.0)
    history = sampler.history
    members = [job for job in history.jobs.values() if member_of(job) is not None]
    assert records(sampler) == [(i // 4, i % 4, i // 4) for i in range(20)]
    state = Gaussian.begin(np.full(2, 0.5), 1 / 6)
    for i in range(0, 20, 4):
        best_first = sorted(members[i : i + 4], key=lambda job: history.losses(job.key))
        state = state.update(np.array([member_of(job)["x"] for job in best_first]))  # type: ignore[index]
    found = sampler.path(history).joint.gaussian
    assert found is not None and (found.mean == state.mean).all() and (state.C == found.C).all()


def test_earlier_results_are_a_warm_start() -> None:
    near, rng = {"x": 0.6, "y": -0.6}, np.random.default_rng(0)
    configs = [{"x": float(x), "y": float(y)} for x, y in rng.uniform(-1, 1, (20, 2))]

    def told(**options: Any) -> CMAES:
        sampler = CMAES(plane(), population=6, **options)
        for config in [near, *configs]:
            sampler.add(config, (config["x"] - 0.6) ** 2 + (config["y"] + 0.6) ** 2)
        return sampler

    warm_one, cold = told(), told(warm_start=False)
    assert cold.path(cold.history).joint.gaussian.mean.tolist() == [0.5, 0.5]  # type: ignore[union-attr]
    began = warm_one.path(warm_one.history).joint.gaussian
    assert began is not None and np.abs(began.mean - [0.8, 0.2]).max() < 0.1 and began.sigma < 0.15
    warm_one.ask()
    warm_one.add({"x": 0.0, "y": 0.0}, -1.0)
    again = warm_one.path(warm_one.history).joint.gaussian
    assert again is not None and (again.mean == began.mean).all(), "a path begins once"


def test_one_state_a_first_budget() -> None:
    """Under Hyperband trials begin at several budgets, and are compared with their like; a rung above counts no more."""
    sampler = CMAES(plane(), population=4)
    study = hpo.Study(hpo.Hyperband(sampler, max_resource=9))
    hpo.run(study, hpo.Simulator(lambda c, until, seed: (c["x"] - 0.3) ** 2 + 1 / until, workers=2), hpo.Stop(trials=60))
    history = study.history
    first = {until: [k for k, job in history.jobs.items() if k[1] == until and member_of(job)] for until in (1, 3, 9)}
    assert all(len(keys) >= 4 for keys in first.values())
    for until, keys in first.items():
        path = sampler.path(history, until)
        assert path.updates == len(keys) // 4 and all(job.source is None for job in map(history.jobs.get, keys) if job)
        assert [member_of(history.jobs[key])["place"] for key in keys] == [i % 4 for i in range(len(keys))]  # type: ignore[index]


def test_several_objectives_are_ranked_by_fronts() -> None:
    space = plane()
    study = hpo.minimize(
        lambda c: {"a": (c["x"] - 0.5) ** 2 + c["y"] ** 2, "b": (c["x"] + 0.1) ** 2 + c["y"] ** 2},
        space, CMAES(space, seed=1), 120, objectives=["a", "b"], quiet=True,
    )  # fmt: skip
    last = [study.history.jobs[key].config for key in study.history.finished_keys[-30:]]
    assert np.median([abs(config["y"]) for config in last]) < 0.15
    assert np.mean([-0.3 < config["x"] < 0.7 for config in last]) > 0.8


# -- restarts -------------------------------------------------------------------------------------------------------------


def populations(restarts: str, trials: int, **options: Any) -> list[tuple[int, int, float]]:
    """(population, first update, sigma) of every run."""
    sampler = CMAES(plane(), seed=5, population=4, restarts=restarts, **options)
    runs: dict[int, tuple[int, int, float]] = {}
    for _ in range(trials):
        job = sampler.ask()
        path = sampler.path(sampler.history)
        sigma = path.joint.gaussian.sigma  # type: ignore[union-attr]
        runs.setdefault(path.run, (path.population, path.first, sigma))
        sampler.tell(job, (job.config["x"] - 0.3) ** 2 + (job.config["y"] + 0.4) ** 2)
    return list(runs.values())


def test_ipop_doubles_the_population() -> None:
    found = populations("ipop", 700, tolerance=1e-3)
    assert [population for population, _, _ in found[:3]] == [4, 8, 16]
    assert [first for _, first, _ in found] == sorted({first for _, first, _ in found}) and found[1][1] > 5
    assert all(sigma == 1 / 6 for _, _, sigma in found)


def test_bipop_alternates_large_and_small() -> None:
    found = populations("bipop", 700, tolerance=1e-3)
    sizes, sigmas = [population for population, _, _ in found], [sigma for _, _, sigma in found]
    assert sizes[:2] == [4, 8] and max(sizes) >= 16
    small = [i for i, sigma in enumerate(sigmas) if sigma < 1 / 6]
    assert small and all(sigma >= 1 / 600 for sigma in sigmas) and all(sizes[i] < max(sizes[:i]) for i in small)


@pytest.mark.parametrize("restarts", ["ipop", "bipop"])
def test_restarts_replay(restarts: str) -> None:
    """Through several runs, with lost jobs, stragglers and foreign results, every job comes out of its own prefix again."""

    def make() -> CMAES:
        return CMAES(plane(), seed=1, population=4, restarts=restarts, tolerance=0.03)

    drive = Drive(make(), quadratic, workers=3, seed=6)
    history = drive.run(260, lost=0.1, foreign=0.05)
    path = make().path(history)
    assert path.run >= 2 and path.updates > path.first > 0
    assert changed_jobs(history, make) == []


def test_without_restarts_the_run_goes_on() -> None:
    assert len(populations("none", 300, tolerance=1e-3)) == 1


def test_a_plain_ends_a_run() -> None:
    """Where every loss is the same, or fails, there is nothing to follow: by ranks alone, whatever the unit of the loss."""
    for loss in (1.0, math.nan):
        sampler = CMAES(plane(), population=4)
        for _ in range(140):
            sampler.tell(sampler.ask(), loss)
        assert sampler.path(sampler.history).run == 1 and sampler.path(sampler.history).population == 8


# -- what it reaches --------------------------------------------------------------------------------------------------------


def sphere(x: np.ndarray) -> float:
    return float(((x - 0.7) ** 2).sum())


def ellipsoid(x: np.ndarray) -> float:
    return float((1e6 ** np.linspace(0, 1, len(x)) * (x - 0.7) ** 2).sum())


def rosenbrock(x: np.ndarray) -> float:
    z = 4 * x - 2
    return float((100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2).sum())


REACHED: dict[str, tuple[Callable[[np.ndarray], float], int, float, int]] = {
    "sphere": (sphere, 500, 1e-6, 10),  # the library takes 328 to 433 evaluations over these seeds, ours 350 to 448
    "ellipsoid": (ellipsoid, 1400, 1e-6, 10),  # 990 to 1311, and 1086 to 1266
    "rosenbrock": (rosenbrock, 2300, 1e-6, 9),  # 1458 to 2079, and 1463 to 2098
}


@pytest.mark.parametrize("name", [name if name == "sphere" else pytest.param(name, marks=pytest.mark.slow) for name in REACHED])
def test_it_reaches_what_is_stated(name: str) -> None:
    """In five dimensions, over ten seeds."""
    function, trials, target, most = REACHED[name]
    reached = 0
    for seed in range(10):
        sampler = CMAES(box(5), seed=seed)
        for _ in range(trials):
            job = sampler.ask()
            loss = function(np.array([*job.config.values()]))
            sampler.tell(job, loss)
            if loss < target:
                reached += 1
                break
    assert reached >= most


def mixed() -> hpo.Space:
    return hpo.Space(
        lr=hpo.Float(1e-5, 1e-1, log=True),
        layers=hpo.Int(1, 24),
        act=hpo.Categorical(["relu", "gelu", "silu", "tanh", "sine"]),
        opt=hpo.Categorical(["sgd", "adamw"]),
        momentum=hpo.Float(0, 0.99, when={"opt": "sgd"}),
        constraints=[lambda c: c["layers"] % 2 == 0],
    )


def mixed_loss(c: Mapping[str, Any]) -> float:
    wrong = 2.0 * (c["act"] != "silu") + 1.0 * (c["opt"] != "sgd")
    return (math.log10(c["lr"]) + 3.5) ** 2 + 0.1 * abs(c["layers"] - 16) + wrong + abs(c.get("momentum", 0.0) - 0.7)


def test_numbers_integers_choices_and_conditions_together() -> None:
    for seed in range(5):
        study = hpo.minimize(mixed_loss, mixed(), CMAES(mixed(), seed=seed), 500, quiet=True)
        best = study.best
        assert best.value < 0.02, f"seed {seed}: {best.value} at {best.config}"
        assert (best.config["act"], best.config["opt"], best.config["layers"]) == ("silu", "sgd", 16)


def test_a_rare_feasible_set() -> None:
    """Where the distribution holds no feasible point, the nearest feasible row stands for it, and the mean follows."""
    space = hpo.Space(a=hpo.Int(1, 4000), b=hpo.Float(0.0, 1.0), constraints=[lambda c: c["a"] % 97 == 0 and c["b"] > 0.9])
    sampler = CMAES(space, seed=2)
    for _ in range(60):
        job = sampler.ask()
        sampler.tell(job, abs(job.config["a"] - 970) / 1000 + job.config["b"])
    assert sampler.path(sampler.history).updates == 60 // sampler.path(sampler.history).population
    assert min(sampler.history.losses(key)[0] for key in sampler.history.finished_keys) < 1.1


def test_a_space_of_constants() -> None:
    sampler = CMAES(hpo.Space(a=hpo.Const(3)))
    jobs = [sampler.ask() for _ in range(3)]
    assert all(job.config == {"a": 3} for job in jobs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sigma": 0}, "sigma is 0; allowed is a number above 0 and up to 10"),
        ({"population": 3}, "population is 3; allowed is an integer of at least 4"),
        ({"restarts": "often"}, r"restarts is 'often'; allowed are \['ipop', 'bipop', 'none'\]"),
        ({"tolerance": 2}, "tolerance is 2; allowed is a number above 0 and up to 1"),
        ({"warm_start": 1}, "warm_start is 1; allowed are True and False"),
    ],
)
def test_options_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CMAES(plane(), **options)


def test_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.hpo.examples import run_example

    run_example(CMAES)
    assert "'optimizer': 'adamw'" in capsys.readouterr().out
