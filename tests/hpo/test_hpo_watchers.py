"""Watchers: what they are told, and that none of them can harm a study."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, Inline, Random, Stop, Study
from hpo.executors import Lost
from hpo.history import History
from hpo.job import Key
from hpo.watchers import Watcher
from tests.hpo.objectives import square

SPACE = hpo.Space(x=hpo.Float(-1, 1))


def train(config: dict[str, float], report: Any) -> None:
    for step in range(1, 10):
        report(step, config["x"] + 1 / step)


class Told(Watcher):
    """Notes all that it is told, and whether it stood in the log by then."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin(self, study: Study) -> None:
        self.calls.append(("begin", len(study.history.results)))

    def __call__(self, study: Study, key: Key | None) -> None:
        assert key is None or (key in study.history.results and study.history.log.read(0)[-1].kind in ("finish", "limit"))
        self.calls.append(key)

    def end(self, study: Study) -> None:
        self.calls.append("end")

    @property
    def keys(self) -> list[Key]:
        return [call for call in self.calls if isinstance(call, tuple) and call[0] != "begin"]


def test_begin_starts_results_end_in_this_order(tmp_path: Path) -> None:
    told, again = Told(), Told()
    study = hpo.minimize(train, SPACE, ASHA(Random(SPACE), max_resource=9), 6, log=tmp_path / "s.db", quiet=True, watch=told)
    assert told.calls[0] == ("begin", 0) and told.calls[-1] == "end"
    assert told.calls[1:-1:2] == [None] * len(study.history.results), "with one worker a start and a result take turns"
    assert told.keys == list(study.history.results)
    more = hpo.minimize(train, SPACE, ASHA(Random(SPACE), max_resource=9), 8, log=tmp_path / "s.db", quiet=True, watch=again)
    assert again.calls[0] == ("begin", len(told.keys)), "what stood there before is not told again"
    assert told.keys + again.keys == list(more.history.results)


@pytest.mark.parametrize("call", [hpo.minimize, hpo.maximize])
def test_several_functions_and_objects(call: Any) -> None:
    first, second = Told(), Told()
    seen: list[Any] = []
    study = call(square, SPACE, "random", 3, quiet=True, watch=[first, lambda study, key: seen.append(key), second])
    assert first.keys == second.keys == [key for key in seen if key is not None] == list(study.history.results)
    hpo.run(Study(Random(SPACE)), Inline(square), Stop(2), (first,))
    assert len(first.keys) == 5
    assert hpo.RandomSearch({"x": (0.0, 1.0)}, 2).run(square, quiet=True, watch=second) and len(second.keys) == 5


class Broken(Told):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def begin(self, study: Study) -> None:
        super().begin(study)
        self._fail("begin")

    def __call__(self, study: Study, key: Key | None) -> None:
        super().__call__(study, key)
        self._fail("call")

    def end(self, study: Study) -> None:
        super().end(study)
        self._fail("end")

    def _fail(self, place: str) -> None:
        if place in self.where:
            raise OSError("the disk is [full]")


@pytest.mark.parametrize("where", ["begin", "call", "end", "begin call end"])
def test_an_exception_is_said_once_by_name_and_harms_nobody(where: str) -> None:
    broken, told = Broken(where), Told()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study = hpo.minimize(square, SPACE, "random", 5, quiet=True, watch=[broken, told])
    (warning,) = caught
    assert str(warning.message).startswith("the watcher Broken raised OSError: the disk is [full]; the study goes on")
    assert warning.filename == __file__, "it points to the caller's line"
    assert len(study.history.results) == 5 and broken.keys == told.keys, "it is called again all the same"
    assert told.calls[-1] == broken.calls[-1] == "end"


def test_functions_are_named_by_their_own_name() -> None:
    def stumble(word: str, study: Study, key: Key | None) -> None:
        raise KeyError(word)

    with pytest.warns(UserWarning, match=r"the watcher test_functions.*stumble raised KeyError"):
        hpo.minimize(square, SPACE, "random", 2, quiet=True, watch=partial(stumble, "x"))


class Interrupting(Told):
    def __call__(self, study: Study, key: Key | None) -> None:
        super().__call__(study, key)
        if len(self.keys) == 2:
            raise KeyboardInterrupt


def test_ctrl_c_ends_the_run_and_every_watcher_has_its_end(tmp_path: Path) -> None:
    first, second = Interrupting(), Told()
    study = Study(Random(SPACE), log=tmp_path / "s.db")
    with pytest.raises(KeyboardInterrupt):
        hpo.run(study, Inline(square), Stop(5), [first, second])
    assert first.calls[-1] == second.calls[-1] == "end" and len(study.history.results) == 2


class Vital(Broken):
    is_vital = True


def test_a_vital_one_ends_the_run_with_everything_told(tmp_path: Path) -> None:
    told, study = Told(), Study(Random(SPACE), log=tmp_path / "s.db")
    with pytest.raises(OSError, match="full"):
        hpo.run(study, Inline(square), Stop(5), [told, Vital("call")])
    assert told.calls[-1] == "end"


class Losing(Inline):
    """Every job of trial 0 dies with its worker."""

    def wait(self, timeout: float | None = None) -> Any:
        outcome = super().wait(timeout)
        return (outcome[0], Lost("worker", "killed")) if outcome is not None and outcome[0].trial == 0 else outcome


def test_a_job_that_is_lost_too_often_is_told_once() -> None:
    seen: list[Any] = []
    study = Study(Random(SPACE))
    hpo.run(study, Losing(square), Stop(3), lambda study, key: seen.append(key))
    assert sorted(key for key in seen if key is not None) == [(0, 1), (1, 1), (2, 1)]
    assert study.history.results[0, 1].error == "lost 3 times: killed"


def test_a_result_that_is_refused_is_not_told(tmp_path: Path) -> None:
    """Another driver, which took this one for dead, was first."""
    seen: list[Any] = []
    study = Study(Random(SPACE), log=tmp_path / "s.db")

    def overtaken(config: dict[str, float]) -> float:
        job = next(iter(study.history.pending.values()))
        if job.trial == 1:
            other = History(study.header, hpo.SQLiteLog(tmp_path / "s.db"))
            other.finish(job, hpo.Result({"loss": 7.0}))
        return config["x"]

    hpo.run(study, Inline(overtaken), Stop(3), lambda study, key: seen.append(key))
    assert [key for key in seen if key is not None] == [(0, 1), (2, 1)] and study.history.results[1, 1].metrics == {"loss": 7.0}


@pytest.mark.parametrize("watch", [3, "tracker", [Told(), 3], Told, [Told], {"a": Told()}], ids=range(6))
def test_what_is_no_watcher_is_refused_before_anything_begins(watch: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"watch (is|holds) "):
        hpo.minimize(square, SPACE, "random", 2, log=tmp_path / "s.db", quiet=True, watch=watch)
    assert not (tmp_path / "s.db").exists()
