"""Optimizers of plain classes: no base of ours, no dataclass. The laws hold for them in tests/hpo/test_hpo_toys.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpo import (
    ASHA,
    Finals,
    History,
    Inline,
    Job,
    Optimizer,
    Random,
    Sampler,
    Scheduler,
    Space,
    Stop,
    Study,
    load,
    make,
    minimize,
    register,
    run,
)
from hpo.optimizer import adapt
from hpo.optimizers import OPTIMIZERS
from tests.hpo.objectives import line, square
from tests.hpo.toys.sampler import Nearby
from tests.hpo.toys.scheduler import Leaders


def reports(config: dict[str, Any], report: Callable[[int, float], None]) -> None:
    for step in range(1, 10):
        report(step, config["x"] ** 2 + 1 / step)


def test_a_plain_sampler_searches() -> None:
    study = minimize(square, line(), Nearby(line(), points=3), 5, quiet=True)
    assert len(study.history.results) == 5
    assert study.header.optimizer == {"name": "Nearby", "module": "tests.hpo.toys.sampler", "points": 3}
    assert isinstance(study.optimizer, Sampler) and isinstance(study.optimizer, Nearby)


def test_it_asks_and_tells() -> None:
    study = Study(Nearby(line()))
    for _ in range(3):
        job = study.optimizer.ask()
        assert job is not None and study.optimizer.tell(job, job.config["x"])
    assert study.best.value == min(result.metrics["loss"] for result in study.history.results.values())


def test_it_goes_under_schedulers_and_finals() -> None:
    for build in (lambda: ASHA(Nearby(line()), max_resource=9), lambda: Leaders(Nearby(line())),  # type: ignore[arg-type]
                  lambda: Finals(ASHA(Nearby(line()), max_resource=9)), lambda: Finals(Leaders(Random(line())))):  # type: ignore[arg-type]  # fmt: skip
        study = minimize(reports, line(), build(), 6, quiet=True)  # type: ignore[arg-type]
        assert {until for _, until in study.history.results} > {3}


def test_a_plain_scheduler_has_what_schedulers_have() -> None:
    made = adapt(Leaders(Nearby(line(), seed=5), horizon=27))
    assert isinstance(made, Scheduler) and isinstance(made.sampler, Sampler)
    assert (made.horizon, made.seed, made.is_endless) == (27, 5, True)
    assert made.describe()["sampler"] == {"name": "Nearby", "module": "tests.hpo.toys.sampler", "points": 8}


def test_the_object_and_its_optimizer_are_one() -> None:
    mine = Nearby(line())
    made = adapt(mine)
    mine.points = 9
    assert made.points == 9 and adapt(made) is made
    made.tell(made.ask(), 1.0)
    with pytest.raises(ValueError, match="this Nearby already has a history of 2 events"):
        Study(mine)  # type: ignore[arg-type]


def test_a_log_of_one_is_read_and_goes_on_with_it(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    first = minimize(square, line(), Nearby(line()), 4, log=path, quiet=True)
    first.history.log.close()
    said = "the optimizer .Nearby., which is none .* and was not registered, cannot stand in a file"
    with pytest.warns(UserWarning, match=said):
        assert load(path).best.key == first.best.key
    again = load(path, optimizer=Nearby(line()))  # type: ignore[arg-type]
    job = again.optimizer.ask()
    assert job is not None and job.config == minimize(square, line(), Nearby(line()), 5, quiet=True).trial((4, 1)).config
    with pytest.raises(ValueError, match=r"optimizer.points was 8 and is now 5"):
        Study(Nearby(line(), points=5), log=path)  # type: ignore[arg-type]


class OnlyBase(Optimizer):
    """Only the base, and an `__init__` that knows of no dataclass."""

    def __init__(self, space: Any, depth: int = 2) -> None:
        self.space, self.depth, self._cache = Space.of(space), depth, {1: 2}

    def propose(self, history: History) -> Job | None:
        return Job(history.next_trial, {"x": 0.5}, self.depth)

    @property
    def horizon(self) -> int:
        return self.depth


class OnlySampler(Sampler):
    def __init__(self, space: Any, seed: int = 0, depth: int = 2) -> None:
        super().__init__(space, seed=seed)
        self.depth = depth

    def options(self) -> dict[str, Any]:
        return {"levels": self.depth}

    def sample(self, history: History, trial: int) -> dict[str, Any]:
        return {"x": 1 / (self.depth + trial)}


def test_a_base_without_a_dataclass_is_described_too() -> None:
    assert OnlyBase(line()).describe() == {"name": "OnlyBase", "module": __name__, "depth": 2}
    assert OnlySampler(line()).describe() == {"name": "OnlySampler", "module": __name__, "levels": 2}
    study = Study(OnlyBase({"x": (0.0, 1.0)}))
    assert (study.header.horizon, study.header.seed) == (2, 0) and study.optimizer.ask() is not None


@dataclass(frozen=True)
class Frozen:
    space: Space
    width: float = 0.1

    def sample(self, history: History, trial: int) -> dict[str, Any]:
        return {"x": self.width / (1 + trial)}


def test_a_frozen_dataclass_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Study(Frozen(line())).header.optimizer == {"name": "Frozen", "width": 0.1}  # type: ignore[arg-type]
    assert len(minimize(square, line(), Frozen(line()), 3, quiet=True).history.results) == 3  # type: ignore[arg-type]
    monkeypatch.setitem(OPTIMIZERS, "frozen", Frozen)
    register("frozen", Frozen)
    assert make("frozen", line(), width=0.2).describe() == {"name": "Frozen", "width": 0.2}
    with pytest.raises(ValueError, match=r"'frozen' has no option 'seed'; allowed are \['space', 'width'\]"):
        make("frozen", line(), seed=3)


class WithHorizon:
    """Its horizon is set where the base has a property."""

    def __init__(self) -> None:
        self.space, self.horizon = line(), 4

    def propose(self, history: History) -> Job | None:
        trial = history.next_trial
        source = next((key for key in history.results if key[1] == 2 and history.trials[key[0]][-1] == key), None)
        return Job(trial, {"x": 0.5}, 2) if source is None else Job(source[0], {"x": 0.5}, 4, source)


def test_attributes_hide_what_the_base_computes_and_sources_are_kept() -> None:
    study = Study(WithHorizon())  # type: ignore[arg-type]
    assert study.header.horizon == 4
    job = study.optimizer.ask()
    assert job is not None and study.optimizer.tell(job, 1.0)
    assert study.release() == [] and study.keep() == [(0, 2)]


class Bare:
    sample: Any = None

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Proposes(Bare):
    def propose(self, history: History) -> None:
        return None


class Samples(Bare):
    def sample(self, trial: int) -> dict[str, Any]:  # type: ignore[override]
        return {}


class Draws:
    def sample(self, history: History, trial: int) -> dict[str, Any]:
        return {"x": 0.5}


class Slotted:
    __slots__ = ("space",)

    def propose(self, history: History) -> None:
        return None


class NoSpace(Sampler):
    def __init__(self) -> None:
        pass

    def sample(self, history: History, trial: int) -> None:
        return None


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no space": (Proposes, r"Proposes has no space; its __init__ should say self.space = Space.of\(space\)"),
    "a mapping": (lambda: Proposes(space={"x": (0, 1)}), "Proposes has the space .*, which is no Space"),
    "a seed": (lambda: Proposes(space=line(), seed=-1), "the seed of Proposes"),
    "arguments": (lambda: Samples(space=line()), r"Samples.sample takes \(trial: .*; it is called with \(history, trial\)"),
    "machinery": (lambda: Proposes(space=line(), history=[]), "Proposes has a 'history' of its own, which every optimizer has"),
    "a name": (lambda: Proposes(space=line(), name="x"), "Proposes has an option 'name', which a log says of every optimizer"),
    "slots": (Slotted, "Slotted has __slots__, which leave no room for a history"),
    "a base": (NoSpace, "NoSpace has no space"),
    "no space and no __init__": (Draws, r"Draws has no space; its __init__ should say self.space = Space.of\(space\)"),
    "nothing": (Bare, r"is an instance of Bare, but Bare has neither propose\(history\) nor sample\(history, trial\); allowed"),
    "a class of nothing": (lambda: Bare, r"optimizer is the class Bare, but Bare has neither propose\(history\) nor sample"),
    "a class": (lambda: Proposes, r"optimizer is the class Proposes; allowed is an instance such as Proposes\(space\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_lacking_is_said_in_a_sentence(case: str) -> None:
    build, sentence = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=sentence):
        Study(build())
    if case.startswith("no"):
        with pytest.raises((TypeError, ValueError), match=sentence):
            minimize(square, line(), build(), 2, quiet=True)


class Dry(Nearby):
    def sample(self, history: History, trial: int) -> None:
        return None


@pytest.mark.parametrize("build", [Dry, lambda space: ASHA(Dry(space), max_resource=9)])  # type: ignore[arg-type]
def test_a_search_that_tries_nothing_says_so(build: Any) -> None:
    said = r"nothing was tried: Dry.sample\(history, trial\) returned None at once, which means that there is no configuration"
    with pytest.warns(UserWarning, match=said) as caught:
        study = minimize(reports, line(), build(line()), 3, quiet=True, horizon=9)
    assert len(caught) == 1 and caught[0].filename == __file__ and not study.history.results
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minimize(reports, line(), build(line()), 0, quiet=True, horizon=9)
        tried = build(line())
        tried = Study(tried, horizon=9)
        tried.optimizer.add({"x": 0.5}, 1.0)
        run(tried, Inline(reports, 9), Stop(trials=5))
