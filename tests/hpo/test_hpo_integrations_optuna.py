"""Our samplers in Optuna's studies: its own published tests of samplers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from hpo.integrations.optuna import Sampler


class Ours:
    """The sampler that a class of tests is about."""

    name = ""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return partial(Sampler, self.name, seed=0)


class TestRandom(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "random"


class TestTPE(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "tpe"


class TestCMAES(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "cmaes"


class TestGP(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "gp"


class TestNSGA2(Ours, BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    name = "nsga2"
