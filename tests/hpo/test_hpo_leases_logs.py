"""Leases in every log that several drivers can open: rows of drivers, and drivers as processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo import Study, open_log
from hpo.logs.base import Driver
from tests.hpo.cases import ROOT
from tests.hpo.driving import make
from tests.hpo.servers import IN_TABLES, SHARED, at, home, statements, url
from tests.hpo.test_hpo_leases import PATIENCE, eventually, journal
from tests.hpo.test_hpo_logs import HEADER, start

each = pytest.mark.parametrize("name", [name for name in SHARED if name != "mariadb"])


@pytest.fixture
def place(name: str, tmp_path: Path) -> Iterator[Path]:
    with home(name, tmp_path):
        yield tmp_path


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
    other.leave(3)
    other.leave(4)
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
    (place / "go").touch()
    command = [sys.executable, "-m", "tests.hpo.driving", str(place), "pbt", "0.03", "60"]
    lives = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    first = eventually(lambda: journal(place))[0][4]
    killed = next(life for life in lives if life.pid == first)
    killed.kill()
    assert [life.wait(PATIENCE) for life in lives if life is not killed] == [0, 0]
    killed.wait()
    attempts = [tuple(entry[1:4]) for entry in journal(place) if entry[0] == "begin"]
    study = Study(make("pbt"), log=url(name, place))
    history = study.history
    assert len(attempts) == len(set(attempts)) and not history.pending and not history.retries and len(history.at(9)) >= 3
    lost = [event.body["cause"] for event in history.events if event.kind == "lost"]
    assert lost == ["driver"] and history.log.drivers() == []
    history.log.close()
