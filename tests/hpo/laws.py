"""The laws of the protocol as inheritable classes, and the loop that drives an optimizer by hand."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from hpo import (
    ASHA,
    GP,
    OPTIMIZERS,
    PBT,
    Categorical,
    Finals,
    Float,
    Grid,
    History,
    Hyperband,
    Int,
    Job,
    MedianStopping,
    MemoryLog,
    Optimizer,
    Result,
    Scheduler,
    Sobol,
    Space,
    SQLiteLog,
    Study,
    make,
)
from hpo.logs.base import canonical
from tests.hpo.objectives import SPACES, quadratic, value

ROOT = Path(__file__).resolve().parent.parent.parent
TOP = 9  # the horizon of every scheduler under the laws

# what keeps the laws short; a new optimizer needs no line here
OPTIONS: dict[str, dict[str, Any]] = {
    "grid": {"points": 2},
    "halving": {"max_resource": TOP},
    "hyperband": {"max_resource": TOP},
    "asha": {"max_resource": TOP},
    "median": {"rungs": (1, 3), "max_resource": TOP},
    "pbt": {"population": 4, "generations": 3, "max_resource": TOP},
}


def build(name: str, space: Space, seed: int) -> Optimizer:
    """A case by name: one of OPTIMIZERS, "scheduler(sampler)", or "finals(...)" of these."""
    if name.startswith("finals("):
        return Finals(build(name.removeprefix("finals(").removesuffix(")"), space, seed), keep=2)
    scheduler, _, sampler = name.rstrip(")").partition("(")
    options = dict(OPTIONS.get(scheduler, {}))
    if sampler:
        options["sampler"] = make(sampler, space, seed, **OPTIONS.get(sampler, {}))
    return make(scheduler, space, seed, **options)


FINISHED = ("random", "asha(gp)", "hyperband", "median", "freezethaw", "pbt", "grid")
CASES = [*OPTIMIZERS, "asha(gp)", "hyperband(sobol)", "pbt(gp)", "median(gp)", "asha(grid)"]
CASES += [f"finals({name})" for name in FINISHED]


def test_cases_are_what_they_say() -> None:
    space = SPACES["mixed"]()
    for name, outer, inner in [("asha(gp)", ASHA, GP), ("hyperband(sobol)", Hyperband, Sobol), ("pbt(gp)", PBT, GP),
                               ("median(gp)", MedianStopping, GP), ("asha(grid)", ASHA, Grid),
                               ("finals(asha(gp))", Finals, GP)]:  # fmt: skip
        made = build(name, space, 0)
        assert type(made) is outer and isinstance(made, Scheduler | Finals) and type(made.chooser) is inner


Value = Callable[[Mapping[str, Any], int, int], Any]


class Drive:
    """Asks and tells an optimizer by hand: `workers` at a time, finishing in random order, with everything checked."""

    def __init__(
        self, optimizer: Optimizer, value: Value = value, workers: int = 3, seed: int = 0, **study: Any
    ) -> None:
        self.optimizer, self.value, self.workers = optimizer, value, workers
        self.study = Study(optimizer, **study)
        self.history = self.study.history
        self.rng = random.Random(seed)
        self.running: list[Job] = []
        self.kept: set[tuple[int, int]] = set()
        self.leaked: list[set[tuple[int, int]]] = []  # after every finish, what is kept and need not be
        self.asked = 0

    def go(self, jobs: int = 30, lost: float = 0.0, foreign: float = 0.0, twice: float = 0.0) -> History:
        """Until `jobs` were asked and all of them have come back, or the optimizer has finished."""
        while self.fill(jobs):
            if self.rng.random() < foreign:
                self.add()
            self.finish(self.running.pop(self.rng.randrange(len(self.running))), lost, twice)
        return self.history

    def fill(self, jobs: int) -> bool:
        if isinstance(self.optimizer, Finals) and self.history.phase == "search" and 2 * self.asked >= max(jobs, 12):
            self.history.limit("half of the jobs", {"jobs": jobs}, phase="finals")
        while len(self.running) < self.workers and self.asked < jobs:
            job = self.ask()
            if job is None:
                assert self.running or may_end(self.optimizer), "stalled: nothing is pending and nothing was asked"
                break
            self.running.append(job)
        return bool(self.running)

    def ask(self) -> Job | None:
        before = dict(self.history.pending)
        job = self.optimizer.ask()
        if job is None:
            return None
        self.asked += 1
        self.check(job, before)
        return job

    def check(self, job: Job, before: Mapping[Any, Job]) -> None:
        space = self.optimizer.space
        assert space.check(job.config) == dict(job.config)
        assert json.loads(json.dumps(dict(job.config))) == dict(job.config)
        assert 1 <= job.until <= self.study.header.horizon
        assert job.key not in before and job.key not in self.history.results
        assert all((job.seed, job.config) != (j.seed, j.config) for j in before.values() if j.trial != job.trial)
        keys = self.history.trials[job.trial]
        assert [key[1] for key in keys] == sorted({key[1] for key in keys}), "budgets of a trial rise"
        assert all(self.history.jobs[key].config == job.config for key in keys), "a trial has one configuration"
        assert sum(j.trial == job.trial for j in self.history.pending.values()) == 1
        if job.source is not None:
            assert job.source in self.history.results and not self.history.failed(job.source)
            assert job.source in self.kept, "the source's checkpoint was given up before"
            assert job.source[1] < job.until

    def finish(self, job: Job, lost: float = 0.0, twice: float = 0.0) -> None:
        if self.rng.random() < lost:
            self.optimizer.lose(job)
        else:
            assert self.optimizer.tell(job, self.result(job))
            self.kept.add(job.key)
            if self.rng.random() < twice:
                first, events = self.history.results[job.key], len(self.history)
                assert not self.optimizer.tell(job, 123.0)
                assert self.history.results[job.key] == first and len(self.history) == events
        self.release()

    def release(self) -> None:
        """Gives up what `release` names, as a run does, and holds it against what `keep` says of everything."""
        needed, released = set(self.study.keep()), set(self.study.release())
        assert not needed & released, "a checkpoint that is needed was given up"
        self.kept -= released
        self.leaked.append({key for key in self.kept - needed if not self.history.failed(key)})

    def result(self, job: Job) -> Result:
        try:
            return Result({"loss": self.value(job.config, job.until, job.seed)})
        except ArithmeticError as error:
            return Result(error=str(error))

    def add(self) -> None:
        space = self.optimizer.space
        config = make("random", space, seed=self.rng.randrange(10**6)).ask()
        assert config is not None
        until = self.rng.choice([1, self.study.header.horizon, max(1, self.study.header.horizon // 3)])
        self.optimizer.add(config.config, 0.0 if self.rng.random() < 0.5 else math.nan, until)


def may_end(optimizer: Optimizer) -> bool:
    if isinstance(optimizer, Finals) and optimizer.history.phase == "finals":
        return True
    return not optimizer.endless or not optimizer.chooser.endless


def starts(history: History) -> list[str]:
    """Every job as canonical JSON, in order of starting."""
    return [canonical(event.body["job"]) for event in history.events if event.kind == "start"]


def replay(history: History, fresh: Callable[[], Optimizer]) -> list[str]:
    """Where `decide` over the growing log differs from what the log says; a new optimizer for every prefix."""
    log = MemoryLog()
    prefix = History(history.header, log)
    wrong = []
    for position, event in enumerate(history.events):
        if event.kind == "start":
            seen = event.body["seen"]
            assert seen == position == len(prefix), "one driver reads everything"
            job = fresh().decide(prefix)
            said = canonical(job.to_json()) if job is not None else "None"
            if said != canonical(event.body["job"]):
                wrong.append(f"event {position}: {canonical(event.body['job'])} became {said}")
        log.append(event)
        prefix.refresh()
    return wrong


def replayed_elsewhere(path: Path, name: str, space: str, seed: int) -> str:
    """What a fresh process with another PYTHONHASHSEED says about the log: "n replayed", or the differences."""
    code = f"""
from tests.hpo.laws import *
fresh = lambda: build({name!r}, SPACES[{space!r}](), {seed})
history = Study(fresh(), log=SQLiteLog({str(path)!r})).history
print("\\n".join(replay(history, fresh)) or f"{{len(starts(history))}} replayed")
"""
    other = "1" if os.environ.get("PYTHONHASHSEED") == "4242" else "4242"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": other}, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def failing(config: Mapping[str, Any], until: int, seed: int) -> float:
    raise ArithmeticError("diverged")


HOSTILE: dict[str, Value] = {
    "failing": failing,
    "nan": lambda config, until, seed: math.nan,
    "inf": lambda config, until, seed: -math.inf,
    "equal": lambda config, until, seed: 1.0,
    "zero": lambda config, until, seed: 0.0,
    "huge": lambda config, until, seed: 10.0 ** (300 * math.sin(seed)),
    "tiny": lambda config, until, seed: 1.0 + 1e-16 * (seed % 7),
    "half": lambda config, until, seed: math.nan if seed % 2 else value(config, until, seed),
}


# spaces on which repeating is easy, and how many feasible configurations each has
NEW: dict[str, tuple[Callable[[], Space], float]] = {
    "log": (lambda: Space(width=Int(1, 20_000, log=True)), 20_000),
    "linear": (lambda: Space(a=Int(0, 10_000), b=Categorical(["x", "y"])), 20_002),
    "narrow": (lambda: Space(x=Float(1e6, 1e6 + 1e-9)), 10),
    "few": (lambda: Space(width=Int(1, 20_000), constraints=[lambda c: c["width"] in (7, 19_000)]), 2),
    "conditional": (lambda: Space(kind=Categorical(["x", "y"]), n=Int(1, 50_000, log=True, when={"kind": "x"}),
                                  constraints=[lambda c: c.get("n", 1) < 6]), 6),
}  # fmt: skip


class OptimizerLaws:
    """What every optimizer keeps. A subclass names a case, or overrides `make`."""

    name: str

    @property
    def jobs(self) -> int:
        return 13 if self.learns else 24  # the model speaks from the eleventh on

    def make(self, space: str = "mixed", seed: int = 0) -> Optimizer:
        return build(self.name, SPACES[space](), seed)

    @cached_property
    def learns(self) -> bool:
        return isinstance(self.make("plane").chooser, GP)

    def test_proposals_change_nothing(self) -> None:
        drive = Drive(self.make())
        for count in range(0, self.jobs, 5):
            drive.go(count)
            optimizer, digest = drive.optimizer, drive.history.digest
            first, again = optimizer.decide(drive.history), optimizer.decide(drive.history)
            other = self.make().decide(drive.history)
            assert first == again == other
            live = optimizer.live(drive.history)
            assert live == optimizer.live(drive.history) and len(set(live)) == len(live)
            assert drive.history.digest == digest and not drive.history.pending

    @pytest.mark.parametrize("space", SPACES)
    def test_every_prefix_gives_the_original_job(self, space: str) -> None:
        history = Drive(self.make(space), workers=4, seed=1).go(self.jobs, lost=0.15, foreign=0.1, twice=0.1)
        assert replay(history, lambda: self.make(space)) == []
        last = max(i for i, event in enumerate(history.events) if event.kind == "start")
        job = self.make(space).decide(history.prefix(last))
        assert job is not None and canonical(job.to_json()) == canonical(history.events[last].body["job"])

    def test_every_prefix_in_a_fresh_process(self, tmp_path: Path) -> None:
        drive = Drive(self.make(), workers=4, seed=2, log=SQLiteLog(tmp_path / "log.db"))
        history = drive.go(self.jobs, lost=0.1, foreign=0.1)
        said = replayed_elsewhere(tmp_path / "log.db", self.name, "mixed", 0)
        assert said == f"{len(starts(history))} replayed"

    @pytest.mark.parametrize("hostile", HOSTILE)
    @pytest.mark.parametrize("space", ["mixed", "small"])
    def test_hostile_losses(self, hostile: str, space: str) -> None:
        drive = Drive(self.make(space), HOSTILE[hostile], seed=3)
        drive.go(self.jobs, foreign=0.1)
        assert drive.asked == self.jobs or may_end(drive.optimizer)
        if hostile in ("failing", "nan", "inf"):
            assert all(job.source is None for job in drive.history.jobs.values())

    @pytest.mark.parametrize("workers", [1, 7])
    def test_lost_foreign_and_repeated(self, workers: int) -> None:
        drive = Drive(self.make(), workers=workers, seed=4)
        history = drive.go(2 * self.jobs, lost=0.35, foreign=0.2, twice=0.3)
        assert not history.pending or drive.asked >= 2 * self.jobs
        assert all(len(history.trials[trial]) == 1 for trial in history.added), "nobody resumes a foreign trial"
        limit = [key for key, result in history.results.items() if (result.error or "").startswith("lost 3 times")]
        for key in limit:
            losses = [event for event in history.events if event.kind == "lost" and
                      (event.body["trial"], event.body["until"]) == key]  # fmt: skip
            assert len(losses) == history.header.lost_limit

    @pytest.mark.parametrize("workers", [1, 5])
    def test_checkpoints_go_when_they_are_of_no_use(self, workers: int) -> None:
        drive = Drive(self.make(), workers=workers, seed=7)
        drive.go(3 * self.jobs, lost=0.1, foreign=0.1)
        after = 2 * workers + 2  # finishes, in which there is a start: verdicts are final at one
        for early, late in zip(drive.leaked, drive.leaked[after:], strict=False):
            assert not early & late

    def test_lost_comes_back_first(self) -> None:
        drive = Drive(self.make())
        drive.go(0 if may_end(drive.optimizer) else 5)
        first = drive.ask()
        assert first is not None
        drive.optimizer.lose(first)
        assert drive.optimizer.ask() == first

    def test_permuted_finishes(self) -> None:
        drive = Drive(self.make(), workers=4, seed=5)
        for upto in (4, 9, 15):
            while len(drive.running) < 4 and drive.asked < upto:
                job = drive.ask()
                if job is None:
                    break
                drive.running.append(job)
            nexts = []
            for order in (drive.running, drive.running[::-1], drive.running[1:] + drive.running[:1]):
                copy = drive.history.prefix(len(drive.history))
                for job in order:
                    copy.finish(job, drive.result(job))
                nexts.append(self.make().decide(copy))
            assert nexts[0] == nexts[1] == nexts[2]
            while drive.running:
                drive.finish(drive.running.pop())

    def test_monotone_or_scaled_losses_change_nothing(self) -> None:
        def run(change: Callable[[float], float]) -> list[str]:
            return starts(Drive(self.make(), lambda c, u, s: change(value(c, u, s)), seed=6).go(self.jobs))

        base = run(lambda v: v)
        changes: list[Callable[[float], float]] = [lambda v: v * 2.0**10, lambda v: v * 2.0**-20]
        if not self.learns:
            changes += [math.exp, lambda v: v**3, lambda v: -1.0 / v]
        for change in changes:
            assert run(change) == base

    def test_seeds_differ(self) -> None:
        def runs(seed: int) -> list[str]:
            return starts(Drive(self.make("plane", seed)).go(6))

        assert runs(0) == runs(0)
        seeds = [json.loads(job)["seed"] for job in runs(0)]
        assert runs(0) != runs(1) and len(set(seeds)) >= len(seeds) // 3

    def test_pinned_configurations_go_first(self) -> None:
        optimizer = self.make()
        pinned = [make("random", SPACES["mixed"](), seed=s).ask().config for s in (10, 11)]  # type: ignore[union-attr]
        for config in pinned:
            optimizer.enqueue(config)
        first, second = optimizer.ask(), optimizer.ask()
        assert first is not None and second is not None
        assert [first.config, second.config] == pinned
        assert optimizer.history.queued is None

    def test_describes_itself_in_json(self) -> None:
        said = canonical(self.make().describe())
        assert said == canonical(self.make().describe()) and "0x" not in said


class NewnessLaws:
    """What samplers keep that declare repeats = False, by themselves and under schedulers: a fresh trial gets a
    configuration that no trial had, whatever the types of its parameters, while one is feasible."""

    name: str
    jobs = 16

    @pytest.mark.parametrize("space", NEW)
    def test_no_configuration_comes_twice_while_there_is_a_new_one(self, space: str) -> None:
        make_space, count = NEW[space]
        drive = Drive(build(self.name, make_space(), 0), workers=3, seed=1)
        drive.go(self.jobs)
        fresh = [job.config for job in drive.history.jobs.values() if job.source is None]
        different = {canonical(config) for config in fresh}
        assert len(different) == min(len(fresh), count)
        assert len({(canonical(job.config), job.seed) for job in drive.history.jobs.values() if job.source is None}) == len(fresh)


class LearnerLaws:
    """What optimizers keep that learn from results, on an easy quadratic: a sign test over fixed seeds."""

    name: str
    seeds = range(16)
    jobs = 25

    def best(self, name: str, seed: int) -> float:
        drive = Drive(build(name, SPACES["plane"](), seed), quadratic, workers=2)
        drive.go(self.jobs)
        return min(quadratic(job.config, 1000, 0) for job in drive.history.jobs.values())

    def test_beats_random(self) -> None:
        scheduler, _, _ = self.name.partition("(")
        peer = "random" if scheduler == self.name else f"{scheduler}(random)"
        wins = sum(self.best(self.name, seed) < self.best(peer, seed) for seed in self.seeds)
        assert wins >= 12  # by chance 0.038
