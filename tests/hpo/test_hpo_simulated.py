"""Two thousand asynchronous studies on a simulated clock: failures, stragglers, lost jobs, foreign trials."""

import math
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from hpo import (
    ASHA,
    PBT,
    Grid,
    History,
    Hyperband,
    Job,
    MedianStopping,
    Optimizer,
    Random,
    Result,
    Sampler,
    Simulator,
    Sobol,
    Stop,
    Study,
    SuccessiveHalving,
    run,
)
from hpo.testing.spaces import SPACES, noise, plane
from hpo.testing.spaces import rugged_loss as value
from tests.hpo.cases import build
from tests.thinning import thin

MAKERS: list[Any] = [
    lambda s: ASHA(Random(plane(), seed=s), max_resource=9),
    lambda s: Hyperband(Random(plane(), seed=s), max_resource=9, rounds=1),
    lambda s: PBT(Random(plane(), seed=s), population=4, generations=5, max_resource=20),
    lambda s: MedianStopping(Random(plane(), seed=s), rungs=(1, 3), max_resource=9, grace_trials=2),
    lambda s: SuccessiveHalving(Random(plane(), seed=s), max_resource=4, reduction_factor=2, rounds=3),
    lambda s: ASHA(Grid(plane(), points=4), max_resource=9, min_early_stopping_rate=1),
    lambda s: Random(SPACES["mixed"](), seed=s),
    lambda s: Sobol(plane(), seed=s),
    lambda s: Hyperband(Grid(plane(), points=3), max_resource=4, reduction_factor=2, rounds=2),
    lambda s: ASHA(Random(SPACES["small"](), seed=s), max_resource=8, reduction_factor=2),
]


class Watched(Simulator):
    """A simulator that fails some configurations, and adds foreign trials and repeated tells while jobs run."""

    def __init__(self, study: Study, seed: int, **options: Any) -> None:
        self.study, self.chance = study, random.Random(seed)
        self.foreign = self.chance.choice([0.0, 0.1])
        self.broken = self.chance.choice([0.0, 0.3, 1.0]) if seed % 5 == 0 else 0.1
        super().__init__(self.judge, seed=seed, **options)

    def judge(self, config: dict[str, Any], until: int, seed: int) -> Any:
        fate = noise("fate", seed)
        if fate < self.broken:
            if fate < self.broken / 2:
                raise RuntimeError("out of memory")
            return math.nan
        return value(config, until, seed)

    def submit(self, job: Job, attempts: Any = None) -> None:
        assert self.free > 0
        super().submit(job, attempts)
        if self.chance.random() < self.foreign:
            job_ = Random(self.study.optimizer.space, seed=self.chance.randrange(999)).ask()
            assert job_ is not None
            self.study.optimizer.add(job_.config, self.chance.choice([0.0, 9.0, math.nan]),
                                     self.chance.randint(1, self.study.header.horizon))  # fmt: skip
        if self.chance.random() < 0.1 and self.study.history.finished_keys:
            key = self.chance.choice(list(self.study.history.finished_keys))
            assert not self.study.optimizer.tell(self.study.history.jobs[key], -1.0)


def simulate(optimizer: Optimizer, workers: int, seed: int, trials: int | None, **options: Any) -> Study:
    study = Study(optimizer, horizon=max(optimizer.horizon, 1))
    chance = random.Random(seed)
    options = {"straggle": chance.choice([0.0, 1.0]), "drop": chance.choice([0.0, 0.0, 0.02, 0.3]), **options}
    run(study, Watched(study, seed, workers=workers, **options), Stop(trials=trials))
    return study


def invariants(study: Study) -> None:
    history = study.history
    assert not history.pending and not history.retries
    began: Counter[Any] = Counter()
    lost: Counter[Any] = Counter()
    done: dict[Any, Result] = {}
    configs: dict[int, Any] = {}
    for event in history.events:
        if event.kind == "start":
            job = Job.from_json(event.body["job"])
            began[job.key] += 1
            assert began[job.key] == lost[job.key] + 1, "given out twice"
            assert 1 <= job.until <= study.header.horizon and job.key not in done
            assert configs.setdefault(job.trial, job.config) == job.config, "a trial changed its configuration"
            if job.source is not None:
                assert job.source in done and job.source[1] < job.until
        elif event.kind == "finish":
            done[event.body["trial"], event.body["until"]] = Result.from_json(event.body["result"])
        elif event.kind == "lost":
            key = event.body["trial"], event.body["until"]
            lost[key] += 1
            if lost[key] == history.header.lost_limit:
                done[key] = Result(error="lost 3 times")
    for key, result in history.results.items():
        if key[0] not in history.added:
            assert done[key].error == result.error
    assert max(lost.values(), default=0) <= history.header.lost_limit
    for trial, keys in history.trials.items():
        budgets = [until for _, until in keys]
        assert budgets == sorted(set(budgets))
        sources = [history.jobs[key].source for key in keys]
        assert sources[1:] == keys[:-1], "a trial goes on from its own last key"
        assert trial not in history.added or len(keys) == 1


def rank(history: History, keys: list[Any]) -> list[Any]:
    return sorted(keys, key=lambda key: (history.losses(key), key))


def asha_promotes_from_the_top(study: Study, optimizer: ASHA) -> None:
    history, eta = study.history, optimizer.reduction_factor
    for event in history.events:
        job = Job.from_json(event.body["job"]) if event.kind == "start" else None
        if job is not None and job.source is not None and event.body["attempt"] == 0:
            then = history.prefix(event.body["seen"])
            rung = [key for key in then.at(job.source[1]) if key[0] not in then.added]
            place = rank(then, rung).index(job.source)
            assert place < math.floor(len(rung) / eta + 1e-9), "not in the best 1/eta at that time"
            assert optimizer.rungs.index(job.until) == optimizer.rungs.index(job.source[1]) + 1


def brackets_hold_the_right_numbers(study: Study, optimizer: Hyperband | SuccessiveHalving, whole: bool) -> None:
    history = study.history
    held: dict[int, dict[int, set[int]]] = {}
    for job in history.jobs.values():
        if "bracket" in job.note.member:
            held.setdefault(job.note.member["bracket"], {}).setdefault(job.until, set()).add(job.trial)
    for bracket, rungs in held.items():
        ladder = optimizer.ladder(bracket)
        assert ladder is not None and set(rungs) <= {until for _, until in ladder}
        entered, below = rungs[ladder[0][1]], 0
        for size, until in ladder:
            inside = rungs.get(until, set())
            assert len(inside) <= size and inside <= entered
            if whole:
                good = [trial for trial in entered if below == 0 or not history.is_failure((trial, below))]
                assert len(inside) == min(size, len(good))
            if until != ladder[-1][1] and whole:
                following = next(u for _, u in ladder if u > until)
                best = rank(history, [(t, until) for t in inside if not history.is_failure((t, until))])
                up = rungs.get(following, set())
                assert up == {trial for trial, _ in best[: len(up)]}, "not the best went on"
            entered, below = inside, until


def slots_complete(study: Study, optimizer: PBT) -> None:
    history = study.history
    seen: dict[tuple[int, int], Job] = {}
    for job in history.jobs.values():
        if "slot" in job.note.member:
            place = job.note.member["slot"], job.note.member["generation"]
            assert place not in seen and job.until == optimizer.budget(place[1])
            seen[place] = job
    assert set(seen) == {(s, g) for s in range(optimizer.population) for g in range(1, optimizer.generations + 1)}
    for (slot, generation), job in seen.items():
        if generation == 1:
            assert job.source is None
            continue
        mine = seen[slot, generation - 1]
        peers = [seen[s, generation - 1].key for s in range(optimizer.population)]
        if job.trial == mine.trial:
            assert job.source == mine.key and not history.is_failure(mine.key)
        elif job.source is None:
            assert all(history.is_failure(key) for key in peers)
        else:
            assert job.source in peers and not history.is_failure(job.source) and job.source[0] in history.trials
            best = rank(history, peers)[: max(1, math.ceil(optimizer.truncation * len(peers)))]
            assert job.source in best and job.seed != history.jobs[job.source].seed
            assert job.trial in history.adopted


@pytest.mark.parametrize("part", thin(range(4)))
@pytest.mark.parametrize("workers", [1, 4, 16])
def test_two_thousand_studies(workers: int, part: int) -> None:
    for seed in range(part * 167, (part + 1) * 167):
        optimizer = MAKERS[seed % len(MAKERS)](seed)
        sampler: Sampler = getattr(optimizer, "sampler", optimizer)
        ends = (
            isinstance(optimizer, PBT | Hyperband | SuccessiveHalving) and getattr(optimizer, "rounds", 1) is not None
        )
        trials = None if ends else 14
        study = simulate(optimizer, workers, seed, trials)
        try:
            invariants(study)
            if isinstance(optimizer, ASHA):
                asha_promotes_from_the_top(study, optimizer)
            if isinstance(optimizer, Hyperband | SuccessiveHalving):
                brackets_hold_the_right_numbers(study, optimizer, isinstance(sampler, Random))
            if isinstance(optimizer, PBT):
                slots_complete(study, optimizer)
            if trials is not None and isinstance(sampler, Random | Sobol):
                assert len(study.history.trials) - len(study.history.added) == trials
        except AssertionError:
            print(f"seed {seed}, {workers} workers, {optimizer!r}")
            raise


@pytest.mark.parametrize("name", ["asha(gp)", "pbt(gp)"])
def test_models_on_sixteen_workers(name: str) -> None:
    study = simulate(build(name, SPACES["mixed"](), 3), 16, 11, None if "pbt" in name else 16)
    invariants(study)


@pytest.mark.parametrize("seed", range(3))
def test_one_worker_trains_the_same_population_as_eight(seed: int) -> None:
    """PBT is reproducible, and not only replayable: the same slots, generations, configurations, seeds and donors."""

    def population(workers: int, **options: Any) -> dict[Any, Any]:
        optimizer = PBT(Random(SPACES["mixed"](), seed=seed), population=8, generations=6, max_resource=12)
        study = Study(optimizer)
        run(study, Simulator(lambda c, u, s: value(c, u, s), workers=workers, seed=seed, **options))
        jobs = study.history.jobs.values()
        return {(j.note.member["slot"], j.note.member["generation"]): (dict(j.config), j.seed, j.source, j.trial) for j in jobs}

    one = population(1)
    assert len(one) == 48 and one == population(8, straggle=2.0) == population(3, drop=0.05) == population(20)


@pytest.mark.parametrize("name", ["hyperband", "halving", "random", "sobol", "grid"])
def test_brackets_are_reproducible(name: str) -> None:
    """Whatever the number of workers, the same configurations are tried in the same order."""

    def configs(workers: int) -> list[Mapping[str, Any]]:
        study = Study(build(name, SPACES["mixed"](), 1))
        run(study, Simulator(lambda c, u, s: value(c, u, s), workers=workers, straggle=1.0), Stop(trials=12))
        return [study.history.jobs[keys[0]].config for _, keys in sorted(study.history.trials.items())]

    assert configs(1) == configs(5) == configs(16)
