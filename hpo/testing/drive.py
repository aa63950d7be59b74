"""The loop that drives an optimizer by hand, and what holds of every single job."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from typing import Any

from hpo.history import History
from hpo.job import Job, Key, Result
from hpo.optimizer import Optimizer
from hpo.optimizers import make
from hpo.optimizers.finals import Finals
from hpo.study import Study
from hpo.testing.spaces import Loss, rugged_loss


class Drive:
    """Asks and tells an optimizer: `workers` at a time, finishing in random order, with everything checked.

    loss    of a configuration, a budget and a seed, or a mapping of metrics; an ArithmeticError is the configuration's failure
    study   what Study takes: objectives, horizon, log
    """

    def __init__(self, optimizer: Any, loss: Loss = rugged_loss, workers: int = 3, seed: int = 0, **study: Any) -> None:
        self.study = Study(optimizer, **study)
        self.optimizer: Optimizer = self.study.optimizer
        self.history: History = self.study.history
        self.loss, self.workers, self.rng = loss, workers, random.Random(seed)
        self.running: list[Job] = []
        self.kept: set[Key] = set()
        self.leaked: list[set[Key]] = []  # after every finish, what is kept and need not be
        self.asked = 0

    def run(self, jobs: int = 30, lost: float = 0.0, foreign: float = 0.0, twice: float = 0.0) -> History:
        """Until `jobs` were asked and all of them have come back, or the optimizer has finished.

        lost, foreign, twice   how often, at a finish, the job is lost instead, a result that was not asked is added before,
                               a result is told again
        """
        while self.fill(jobs):
            if self.rng.random() < foreign:
                self.add()
            self.finish(self.running.pop(self.rng.randrange(len(self.running))), lost, twice)
        return self.history

    def fill(self, jobs: int) -> bool:
        """Asks until all workers have a job; whether any has."""
        if isinstance(self.optimizer, Finals) and self.history.phase == "search" and 2 * self.asked >= max(jobs, 12):
            self.history.limit("half of the jobs", {"jobs": jobs}, "finals", {"keep": self.optimizer.keep})
        while len(self.running) < self.workers and self.asked < jobs:
            job = self.ask()
            if job is None:
                assert self.running or may_end(self.optimizer), "stalled: nothing is pending and nothing was asked"
                break
            self.running.append(job)
        return bool(self.running)

    def ask(self) -> Job | None:
        """The next job, checked."""
        before = dict(self.history.pending)
        job = self.optimizer.ask()
        if job is None:
            return None
        self.asked += 1
        self.check(job, before)
        return job

    def check(self, job: Job, before: Mapping[Key, Job]) -> None:
        """What holds of every job. `before` is what was pending when it was asked."""
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
            assert job.source in self.history.results and not self.history.is_failure(job.source)
            assert job.source in self.kept, "the source's checkpoint was given up before: `live` has to name it"
            assert job.source[1] < job.until

    def finish(self, job: Job, lost: float = 0.0, twice: float = 0.0) -> None:
        """Tells a job's result, or loses the job; gives up what the study then releases."""
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
        self.leaked.append({key for key in self.kept - needed if not self.history.is_failure(key)})

    def result(self, job: Job) -> Result:
        """What the loss says of a job."""
        try:
            return Result.of(self.loss(job.config, job.until, job.seed), self.study.header.objectives)
        except ArithmeticError as error:
            return Result(error=str(error))

    def add(self) -> None:
        """Adds a result that was not asked: a random configuration, at some budget, zero or NaN."""
        job = make("random", self.optimizer.space, seed=self.rng.randrange(10**6)).ask()
        assert job is not None
        horizon = self.study.header.horizon
        until = self.rng.choice([1, horizon, max(1, horizon // 3)])
        self.optimizer.add(job.config, 0.0 if self.rng.random() < 0.5 else math.nan, until)


def may_end(optimizer: Optimizer) -> bool:
    """Whether an optimizer may have nothing to ask although nothing is pending."""
    if isinstance(optimizer, Finals) and optimizer.history.phase == "finals":
        return True
    return not optimizer.is_endless or not optimizer.chooser.is_endless
