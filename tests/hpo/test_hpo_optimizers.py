"""Every optimizer that is listed, and compositions, under the laws."""

from collections.abc import Mapping
from typing import Any

import pytest

from hpo import OPTIMIZERS, Optimizer, Sampler, Scheduler, Space
from hpo.testing import LearnerLaws, NewnessLaws, OptimizerLaws, SamplerLaws, SchedulerLaws
from hpo.testing.spaces import SPACES
from tests.hpo.cases import CASES, build, learns, test_cases_are_what_they_say  # noqa: F401


class Case:
    """Makes the optimizer by its name."""

    name: str

    def make(self, space: Space, seed: int) -> Optimizer:
        return build(self.name, space, seed)


class Learner(Case, LearnerLaws):
    def make_peer(self, space: Space, seed: int) -> Optimizer:
        scheduler, _, sampler = self.name.partition("(")
        return build(f"{scheduler}(random)" if sampler else "random", space, seed)


def laws_of(name: str) -> type[OptimizerLaws]:
    """Those of samplers or of schedulers for what is listed; those of every optimizer for compositions."""
    cls = OPTIMIZERS.get(name, Optimizer)
    return SamplerLaws if issubclass(cls, Sampler) else SchedulerLaws if issubclass(cls, Scheduler) else OptimizerLaws


# Minutes of laws over what the parts of these, and other compositions, are held to as well.
HEAVY = (
    "Testllamatune(gp)", "Testmedian(gp)", "Testpbt(gp)", "Testfinals(freezethaw)", "Testfinals(asha(gp))", "TestLearnerforest",
    "TestLearnermedian(gp)", "TestLearnerasha(gp)", "TestNewnessllamatune(gp)", "TestNewnessfreezethaw",
    "TestNewnessfreezethaw(gp)", "TestNewnesshyperband(tpe)", "TestNewnessasha(gp)", "TestNewnessasha(tpe)",
    "Testllamatune(cmaes)", "Testasha(llamatune)",
)  # fmt: skip


def enter(prefix: str, name: str, *bases: type, **attributes: Any) -> None:
    """A test class of this module, which any process finds here."""
    title = prefix + "".join(part.capitalize() for part in name.replace(")", "").split("("))
    if prefix + name in HEAVY:
        attributes["pytestmark"] = pytest.mark.slow
    globals()[title] = type(title, bases, {"__module__": __name__, "name": name, **attributes})


BY_LEARNING: Mapping[bool, Mapping[str, Any]] = {
    True: {"jobs": 13, "invariance": "scale"},  # the model speaks from the eleventh on
    False: {"jobs": 24, "invariance": "rank"},
}

for _name in CASES:
    enter("Test", _name, Case, laws_of(_name), **BY_LEARNING[learns(_name)])

for _name, _more in (("gp", {}), ("asha(gp)", {}), ("median(gp)", {"jobs": 40}), ("tpe", {"jobs": 40}),
                     ("asha(tpe)", {}), ("cmaes", {"jobs": 40}), ("asha(cmaes)", {"jobs": 40}),
                     ("forest", {"jobs": 40})):  # fmt: skip
    enter("TestLearner", _name, Learner, **_more)

for _name in [*CASES, "freezethaw(gp)"]:
    _chooser = build(_name, SPACES["plane"](), 0).chooser
    if isinstance(_chooser, Sampler) and not _chooser.repeats:
        enter("TestNewness", _name, Case, NewnessLaws)
