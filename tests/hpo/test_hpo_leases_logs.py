"""Leases in every log that several drivers can open: rows of drivers, and drivers as processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hpo import Inline, MemoryLog, Random, SQLiteLog, Stop, Study, open_log, run
from hpo.failures import Failures
from hpo.leases import Leases
from hpo.logs.base import Driver
from hpo.loop import Loop
from tests.hpo.cases import ROOT
from tests.hpo.driving import make
from tests.hpo.objectives import line
from tests.hpo.servers import IN_TABLES, SHARED, at, statements, url
from tests.hpo.test_hpo_leases import PATIENCE, Aging, eventually, journal, look, study_on
from tests.hpo.test_hpo_logs import HEADER, start

each = pytest.mark.parametrize("name", [name for name in SHARED if name != "mariadb"])


@each
def test_rows_of_drivers_are_no_events(name: str, place: Path) -> None:
    log, other = at(name, place), at(name, place)
    log.open(HEADER)
    other.open(HEADER)
    assert log.drivers() == [] and log.append(start(0)) == 0
    rows = [Driver(3, "m/1/2", 0, 5, 60.0), Driver(7, "ä 学 /1/2", 2**40, 6, 0.1 + 0.2)]
    for row in rows:
        log.beat(row)
    log.beat(Driver(3, "m/1/2", 9, 8, 60.0))
    assert [row for row, _ in other.drivers()] == [Driver(3, "m/1/2", 9, 8, 60.0), rows[1]]
    assert len(other.read(0)) == 1 and log.append(start(1)) == 1
    other.leave(4)
    other.leave(3, 0)  # it has been renewed since
    assert [row.number for row, _ in log.drivers()] == [3, 7]
    other.leave(3, 9)
    assert [row.number for row, _ in log.drivers()] == [7]
    log.beat(rows[0])
    other.leave(3)
    assert [row.number for row, _ in log.drivers()] == [7]
    log.close()
    other.close()
    again = at(name, place)
    again.open(HEADER)
    assert [row for row, _ in again.drivers()] == [rows[1]] and len(again.read(0)) == 2
    again.close()


@each
def test_the_age_of_a_beat_is_told_by_the_server(name: str, place: Path) -> None:
    log = at(name, place)
    log.open(HEADER)
    log.beat(Driver(0, "m/1/2", 0, 0, 60.0))
    time.sleep(0.3)
    log.beat(Driver(1, "m/1/2", 0, 0, 60.0))
    (_, first), (_, second) = log.drivers()
    if name in ("postgresql", "mysql"):
        assert first is not None and second is not None and 0.3 <= first - second < first < 60.0
    else:
        assert first is second is None, "several machines may work with a file, and each has a clock"
    log.close()


@pytest.mark.parametrize("name", [name for name in IN_TABLES if name != "mariadb"])
def test_a_study_that_goes_takes_its_drivers_along(name: str, place: Path) -> None:
    from hpo.logs import delete_study

    for study in ("a", "b"):
        log = open_log(url(name, place, study))
        log.open(HEADER)
        log.beat(Driver(0, f"{study}/1/2", 0, 0, 60.0))
        log.close()
    delete_study(url(name, place, "a"), "a")
    assert statements(name, place, "SELECT process FROM hpo_drivers") == [("b/1/2",)]


@each
def test_drivers_share_a_study(name: str, place: Path) -> None:
    """Clones of each other's trials, one of the drivers killed on the way; every attempt is run by one, and all end together."""
    (place / "url").write_text(url(name, place))
    command = [sys.executable, "-m", "tests.hpo.driving", str(place), "pbt", "0.1", "60", "0"]
    lives = [subprocess.Popen([*command, dies], cwd=ROOT) for dies in ("1", "0", "0")]
    eventually(lambda: len(list(place.glob("ready-*"))) == 3)
    (place / "go").touch()
    assert [life.wait(PATIENCE) for life in lives] == [-signal.SIGKILL, 0, 0]
    attempts = [tuple(entry[1:4]) for entry in journal(place) if entry[0] == "begin"]
    study = Study(make("pbt"), log=url(name, place))
    history = study.history
    assert len(attempts) == len(set(attempts)) and not history.pending and not history.retries and len(history.at(9)) >= 3
    lost = [event.body["cause"] for event in history.events if event.kind == "lost"]
    assert lost == ["driver"] and history.log.drivers() == []
    history.log.close()


def test_a_run_leaves_no_row(tmp_path: Path) -> None:
    study = Study(Random(line()), log=SQLiteLog(tmp_path / "s.sqlite"))
    seen: list[int] = []
    before = set(threading.enumerate())

    def look_around(config: Any) -> float:
        seen.append(len(study.history.log.drivers()))
        return 1.0

    run(study, Inline(look_around), Stop(trials=3))
    assert seen == [1, 1, 1] and study.history.log.drivers() == []
    assert not {thread for thread in threading.enumerate() if thread.name == "lease"} - before
    starts = [event.body for event in study.history.events if event.kind == "start"]
    assert {body["driver"] for body in starts} == {0} and study.history.events[0].kind == "run"


def test_a_log_that_gives_no_positions_is_refused(tmp_path: Path) -> None:
    class Silent(MemoryLog):
        def append(self, event: Any) -> int:
            super().append(event)
            return None  # type: ignore[return-value]

    with pytest.raises(TypeError, match=r"append of the log .* returned None; it must return the event's position"):
        run(Study(Random(line()), log=Silent()), Inline(lambda config: 1.0), Stop(trials=1))


def test_a_driver_that_was_stopped_beats_before_it_begins_another_job(tmp_path: Path) -> None:
    """Else the others, who take it for dead, would take the new job over at once."""
    study, beats = Study(Random(line(), seed=1), log=SQLiteLog(tmp_path / "s.sqlite")), []

    def work(config: Any) -> float:
        beats.append([row.beats for row, _ in study.history.log.drivers()])
        if len(beats) == 2:
            loop.leases._beaten -= 7201.0  # as if it had been stopped for so long
        return 1.0

    loop = Loop(study, Inline(work), Stop(trials=4), None, Failures(), 7200.0)
    loop.run()
    assert beats == [[0], [0], [1], [1]]


def test_rows_of_the_dead_go_unless_they_have_come_back() -> None:
    """Also of those who had nothing in flight. Whoever was only stopped, and has renewed its lease since the look, keeps its row:
    without one what it starts next would be taken from it."""
    log = Aging()
    study = study_on(log)
    numbers = [study.history.run() for _ in range(3)]
    leases = Leases(study.history, study.history.run(), 60.0)
    for number in numbers:
        log.rows[number], log.ages[number] = Driver(number, "elsewhere/1/1", 4, 0, 60.0), 61.0
    log.ages[numbers[0]] = 1.0
    assert look(leases) == {numbers[0]}
    log.beat(Driver(numbers[1], "elsewhere/1/1", 5, 0, 60.0))
    leases.forget_dead()
    assert sorted(log.rows) == [*numbers[:2], leases.number]
    log.ages[numbers[1]] = 61.0
    leases.close()
    assert sorted(log.rows) == numbers[:1], "whoever leaves looks once more"
