"""The optimizer of the settings: every pair by name, and classes of one's own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.job import SPACES, space
from experiments.tune.optimizer import check_classes, make_optimizer
from experiments.tune.settings import SAMPLERS, SCHEDULERS, Settings


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_pair_builds_and_trains_to_the_horizon(sampler: str, scheduler: str, name: str) -> None:
    settings = Settings(sampler=sampler, scheduler=scheduler, space=name)
    if scheduler == "bohb" and sampler != "kde":
        with pytest.raises(ValueError, match="scheduler cannot be 'bohb': BOHB takes a KDE"):
            make_optimizer(settings, space(name))
        return
    made = make_optimizer(settings, space(name))
    assert made.horizon in (1, settings.horizon)  # a sampler alone takes the study's
    job = made.ask() if made.horizon > 1 else None
    assert job is None or 1 <= job.until <= settings.horizon


# -- classes of one's own ----------------------------------------------------------------------------------------------

MINE = """
from hpo import Job
from hpo.rng import stream

NUMBER = 3


class Draws:
    def __init__(self, space, seed=0):
        self.space, self.seed = space, seed

    def sample(self, history, trial):
        return self.space.decode(self.space.domain.random(stream(self.seed, trial, "mine"), 1)[0])


class Deep(Draws):
    def __init__(self, space, depth):
        super().__init__(space)


class Odd(Draws):
    def sample(self, history):
        return {}


class Halves:
    def __init__(self, sampler, horizon, min_resource=1):
        self.sampler, self.horizon, self.min_resource = sampler, horizon, min_resource

    def propose(self, history):
        best = next(history.ranking(self.min_resource), None)
        if best is not None and history.trials[best[0]][-1] == best:
            job = history.jobs[best]
            return Job(best[0], job.config, self.horizon, best, job.seed)
        return self.sampler.fresh(history, self.min_resource)


class Alone:
    def __init__(self, space, seed=0):
        self.space, self.seed = space, seed

    def propose(self, history):
        return None


class Nothing:
    pass
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with the modules `own_classes` and `own_broken`, which are forgotten again."""
    (tmp_path / "own_classes.py").write_text(MINE)
    (tmp_path / "own_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("own_classes", "own_broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("place", ["own_classes", "./own_classes.py"])
def test_plain_classes_are_made_with_what_they_take(mine: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(mine)
    settings = Settings(sampler=f"{place}:Draws", scheduler=f"{place}:Halves", seed=7)
    check_classes(settings)
    made = make_optimizer(settings, space())
    sizes = {"horizon": settings.horizon, "min_resource": settings.min_resource}
    sampler = {"name": "Draws", "module": "own_classes"}
    assert made.describe() == {"name": "Halves", "module": "own_classes", "sampler": sampler, **sizes}
    assert made.seed == 7
    job = made.ask()
    assert job is not None and job.until == settings.min_resource


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sampler": "own_missing:Draws"}, "sampler cannot be 'own_missing:Draws': there is no module 'own_missing'"),
        ({"sampler": "./missing.py:Draws"}, "sampler cannot be './missing.py:Draws': there is no file "),
        ({"sampler": "own_broken:Draws"}, "importing 'own_broken' failed: ZeroDivisionError"),
        ({"sampler": "own_classes:"}, "names no class; allowed are 'package.module:Class'"),
        ({"sampler": "own_classes:Drawn"}, "'own_classes' has no class 'Drawn'; its classes are ['Draws', 'Deep', "),
        ({"sampler": "own_classes:NUMBER"}, "allowed is a class"),
        ({"sampler": "own_classes:Nothing"}, "'own_classes:Nothing' is no Sampler"),
        ({"sampler": "own_classes:Halves"}, "'own_classes:Halves' is no Sampler"),
        ({"sampler": "own_classes:Deep"}, "its option 'depth' has no default; a sampler is given space, seed"),
        ({"scheduler": "own_missing:Halves"}, "scheduler cannot be 'own_missing:Halves': there is no module"),
        ({"scheduler": "own_classes:Draws"}, "'own_classes:Draws' is no Scheduler"),
        ({"scheduler": "own_classes:Alone"}, "it has no option 'sampler', which a scheduler takes"),
        ({"scheduler": "own_classes:Halves", "population": 4}, "'own_classes:Halves' has no option 'population'; its "),
        ({"scheduler": "own_classes:Halves", "reduction_factor": 2}, "no option 'reduction_factor'; its options are ['samp"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_what_is_no_class_of_its_kind_is_refused_in_one_sentence(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_classes(Settings(**changed))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("mine")
def test_a_method_that_takes_something_else_is_refused_in_one_sentence() -> None:
    settings = Settings(sampler="own_classes:Odd", scheduler="none")
    check_classes(settings)
    with pytest.raises(ValueError, match=r"sampler cannot be 'own_classes:Odd': Odd.sample takes \(history\); it is called with"):
        make_optimizer(settings, space())
