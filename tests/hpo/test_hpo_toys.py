"""A sampler and a scheduler as somebody writes them on the first day: plain classes, one file each, under the laws."""

from __future__ import annotations

from typing import Any

from hpo import Random, Space
from hpo.testing import LearnerLaws, SamplerLaws, SchedulerLaws
from tests.hpo.toys.sampler import Nearby
from tests.hpo.toys.scheduler import Leaders


class TestNearby(SamplerLaws):
    invariance = "rank"

    def make(self, space: Space, seed: int) -> Any:
        return Nearby(space, seed=seed)


class TestNearbyLearns(LearnerLaws):
    def make(self, space: Space, seed: int) -> Any:
        return Nearby(space, seed=seed)


class TestLeaders(SchedulerLaws):
    invariance = "rank"

    def make(self, space: Space, seed: int) -> Any:
        return Leaders(Random(space, seed=seed))


class TestLeadersOverNearby(SchedulerLaws):
    invariance = "rank"

    def make(self, space: Space, seed: int) -> Any:
        return Leaders(Nearby(space, seed=seed))
