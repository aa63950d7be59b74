"""hpo.load of a URL and of a log, and of what was registered: plain classes, dataclasses, under schedulers."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo import ASHA, GP, OPTIMIZERS, MemoryLog, Random, Space, SQLiteLog, Study, load
from hpo.logs import LogError
from tests.hpo.test_hpo_load import PLAIN, Own, price, write
from tests.hpo.toys.sampler import Nearby
from tests.hpo.toys.scheduler import Leaders


def test_a_study_by_its_url_and_from_its_log(tmp_path: Path) -> None:
    wrote = write(tmp_path / "s.sqlite", Random(PLAIN), 3)
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    assert load(url).best == wrote.best
    with pytest.raises(FileNotFoundError, match="there is no log"):
        load(f"sqlite:///{tmp_path / 'none.sqlite'}")
    assert not (tmp_path / "none.sqlite").exists()
    with pytest.raises(LogError, match="that was given holds no study yet"):
        load("memory://")
    for log in (SQLiteLog(tmp_path / "s.sqlite"), MemoryLog()):
        own = Study(Random(PLAIN), log=log)
        again = load(log)
        assert again.history.log is log and again.optimizer.decide(again.history) == own.optimizer.decide(own.history)
        job = again.optimizer.ask()
        assert job is not None and again.optimizer.tell(job, 0.0)
        own.history.refresh()
        assert own.history.results.keys() == again.history.results.keys()


def test_a_log_that_is_given_is_forbidden_to_the_loaded_study_only(tmp_path: Path) -> None:
    log = MemoryLog()
    own = Study(GP(PLAIN, cost=price), log=log)
    with pytest.warns(UserWarning, match="the log that was given was opened for reading: the cost"):
        study = load(log)
    for act in (study.optimizer.ask, lambda: study.optimizer.enqueue({"x": 0.5})):
        with pytest.raises(PermissionError, match="the cost"):
            act()
    assert own.optimizer.ask() is not None


def test_a_class_that_was_registered_asks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain classes and dataclasses, alone and under schedulers."""
    space = Space(PLAIN)
    builds: list[Callable[[], Any]] = [
        lambda: Nearby(space, points=3), lambda: ASHA(Nearby(space), max_resource=9),  # type: ignore[arg-type]
        lambda: Leaders(Nearby(space), horizon=27), lambda: Leaders(Random(space, seed=4)), lambda: Own(space, seed=5),
    ]  # fmt: skip
    for place, make_one in enumerate(builds):
        write(tmp_path / f"{place}.sqlite", make_one())
        with pytest.warns(UserWarning, match="and was not registered"):
            load(tmp_path / f"{place}.sqlite")
    for name, cls in (("nearby", Nearby), ("leaders", Leaders), ("own", Own)):
        monkeypatch.setitem(OPTIMIZERS, name, cls)
    for place, make_one in enumerate(builds):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            study = load(tmp_path / f"{place}.sqlite")
        same = Study(make_one(), log=tmp_path / f"{place}.sqlite")
        job = study.optimizer.ask()
        same.history.refresh()
        assert job is not None and job == same.optimizer.decide(same.history.prefix(len(same.history) - 1))


class Priced:
    """A plain sampler with a function among its options."""

    def __init__(self, space: Any, price: Any = price, word: str = "plain") -> None:
        self.space, self.price, self.word = Space.of(space), price, word

    def sample(self, history: Any, trial: int) -> dict[str, float]:
        return {"x": 0.5 / (trial + 1)}


def test_a_function_among_the_options_of_a_registered_class_is_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "s.sqlite", Priced(PLAIN), 2)  # type: ignore[arg-type]
    monkeypatch.setitem(OPTIMIZERS, "priced", Priced)
    with pytest.warns(UserWarning, match=r"the price '.*price' of Priced cannot stand in a file") as said:
        load(tmp_path / "s.sqlite")
    assert "optimizer=Priced(space, price=..., word='plain')) takes it again" in str(said[0].message), "it takes no seed"
    assert load(tmp_path / "s.sqlite", optimizer=Priced(PLAIN)).optimizer.ask() is not None  # type: ignore[arg-type]
