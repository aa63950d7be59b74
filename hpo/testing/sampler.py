"""What samplers keep beside what every optimizer keeps."""

from __future__ import annotations

from typing import Any

import pytest

from hpo.logs.base import canonical
from hpo.optimizer import adapt
from hpo.optimizers.asha import ASHA
from hpo.space import Space
from hpo.testing.drive import Drive
from hpo.testing.optimizer import OptimizerLaws
from hpo.testing.replay import changed_jobs
from hpo.testing.spaces import TIGHT


class SamplerLaws(OptimizerLaws):
    """What every sampler keeps, by itself and under a scheduler."""

    def build_scheduler(self) -> ASHA:
        """The sampler over the first of the spaces, under a scheduler."""
        return ASHA(adapt(self.build()), max_resource=9)

    def test_under_a_scheduler(self) -> None:
        """It works with results at several budgets, and with paused and resumed trials."""
        history = Drive(self.build_scheduler(), workers=4, seed=11).run(self.jobs, lost=0.1, foreign=0.1)
        assert any(job.source is not None for job in history.jobs.values()) or not self.build().is_endless
        assert changed_jobs(history, self.build_scheduler) == []

    def test_a_new_trial_a_time(self) -> None:
        """By itself it trains every configuration to the horizon, once and from nothing."""
        history = Drive(self.build(), seed=12, horizon=9).run(8)
        assert all(job.until == 9 and job.source is None for job in history.jobs.values())


class NewnessLaws:
    """What samplers keep that declare repeats = False, by themselves and under schedulers: a fresh trial gets a
    configuration that no trial had, whatever the types of its parameters, while one is feasible."""

    jobs = 16

    def make(self, space: Space, seed: int) -> Any:
        """The optimizer, new. A subclass writes this one."""
        raise NotImplementedError(f"{type(self).__name__} says how an optimizer is made: def make(self, space, seed)")

    @pytest.mark.parametrize("tight", TIGHT)
    def test_no_configuration_comes_twice_while_there_is_a_new_one(self, tight: str) -> None:
        make_space, count = TIGHT[tight]
        drive = Drive(self.make(make_space(), 0), workers=3, seed=1)
        drive.run(self.jobs)
        fresh = [job for job in drive.history.jobs.values() if job.source is None]
        different = {canonical(job.config) for job in fresh}
        assert len(different) == min(len(fresh), count)
        assert len({(canonical(job.config), job.seed) for job in fresh}) == len(fresh)
