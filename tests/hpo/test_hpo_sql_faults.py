"""Connections that break, servers that are killed and started again, and many drivers: nothing twice, nothing dropped."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hpo import GP, Random, Study
from hpo.logs import Collision, database, open_log
from tests.hpo.objectives import line
from tests.hpo.own_servers import OWN, Line, OwnMariaDB, drivers, free_port, join
from tests.hpo.servers import IN_TABLES, SERVERS, SEVERAL, at, home, server, url
from tests.hpo.test_hpo_logs import HEADER, start
from tests.thinning import thin

SERVER = list(SERVERS)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is: what should end at once would hang if it did not."""
    monkeypatch.setattr(database, "PATIENCE", 3600.0)
    monkeypatch.setattr(database, "FIRST", 3600.0)


def through(where: str, cable: Line) -> str:
    """A URL by way of a line."""
    return sa.make_url(where).set(host="127.0.0.1", port=cable.port).render_as_string(hide_password=False)


def cable_to(name: str) -> Line:
    engine, absence = server(name)
    if engine is None:
        pytest.skip(absence)
    return Line(engine.url.host or "127.0.0.1", engine.url.port or {"postgresql": 5432, "mysql": 3306}[name])


@pytest.mark.parametrize("name", SERVER)
@pytest.mark.parametrize("arrives", [True, False], ids=["committed", "rolled back"])
@pytest.mark.parametrize("text", [b"COMMIT", b"FOR UPDATE", b"INSERT INTO hpo_events", b"UPDATE hpo_studies"])
def test_a_line_that_breaks_at_any_statement(name: str, place: Path, arrives: bool, text: bytes) -> None:
    """Whether the server has done it or not, the event is there once, and no collision is made up."""
    cable = cable_to(name)
    log = open_log(through(url(name, place), cable))
    log.open(HEADER)
    for i in range(3):
        cable.cut_at(text, arrives)
        log.append(start(i))
        with pytest.raises(Collision):
            log.append(start(i))
        assert list(log.read(0)) == [start(k) for k in range(i + 1)]
    assert cable.cuts >= 1, "the text was sent"
    log.close()
    cable.close()


@pytest.mark.parametrize("name", SERVER)
@pytest.mark.parametrize("text", [b"COMMIT", b"INSERT INTO hpo_events", b"FROM hpo_events"])
def test_a_line_that_breaks_in_a_turn(name: str, place: Path, text: bytes) -> None:
    """The turn after a collision is lost, the append is not."""
    cable = cable_to(name)
    log, other = open_log(through(url(name, place), cable)), at(name, place)
    log.open(HEADER), other.open(HEADER)
    for i in range(3):
        if i:
            with pytest.raises(Collision):
                log.append(start(0))
        cable.cut_at(text, i == 0)
        assert len(log.read(0)) == 2 * i
        log.append(start(2 * i))
        other.append(start(2 * i + 1))
        assert list(log.read(0)) == [start(k) for k in range(2 * i + 2)]
    assert cable.cuts == 3
    for one in (log, other):
        one.close()
    cable.close()


@pytest.mark.parametrize("name", SERVER)
def test_a_line_that_breaks_while_reading_and_opening(name: str, place: Path) -> None:
    cable = cable_to(name)
    for i, text in enumerate((b"CREATE TABLE", b"FROM hpo_schema", b"INSERT INTO hpo_studies", b"FROM hpo_events")):
        log = open_log(through(url(name, place, f"study {i}"), cable))
        cable.cut_at(text, False)
        assert log.open(HEADER) == HEADER and len(log.read(0)) == 0
        assert cable.cuts == i + 1, text
        log.close()
    cable.close()


@pytest.mark.parametrize("name", SERVER)
def test_a_server_that_is_not_there_is_named_without_the_password(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "FIRST", 0.2)
    port = free_port()
    log = open_log(f"{name}://me:s3cret@127.0.0.1:{port}/test?study=a&connect_timeout=2")
    assert log.place == f"{name}://me@127.0.0.1:{port}/test?study=a" and "s3cret" not in repr(vars(log))
    with pytest.raises(ConnectionError, match=rf"127.0.0.1:{port}/test\?study=a' has not answered for 0.2 seconds") as caught:
        log.open(HEADER)
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SERVER)
def test_a_database_or_a_user_that_is_not_there_is_refused_at_once(name: str) -> None:
    engine, absence = server(name)
    if engine is None:
        pytest.skip(absence)
    base = engine.url.set(drivername=name)
    wrong = base.set(username="nobody_at_all", password="s3cret") if name == "mysql" else base.set(username="nobody_at_all")
    for where in (base.set(database="no_such_database"), wrong):
        with pytest.raises(PermissionError, match="may not be used so") as caught:
            open_log(where.render_as_string(hide_password=False)).open(HEADER)
        assert "s3cret" not in str(caught.value)


def test_a_password_is_not_shown_where_the_url_is_wrong() -> None:
    for wrong in ("mysqll://root:s3cret@host/a", "postgresql://root:s3cret@host:port/a?study=x", "mysql://u:s3cret@h/a?pool_size=x",
                  "mysql+nodriver://u:s3cret@h/a", "mysql://u:s3cret@h/a?study=%00"):  # fmt: skip
        with pytest.raises((ValueError, ModuleNotFoundError)) as caught:
            open_log(wrong)
        assert "s3cret" not in str(caught.value) and caught.value.__cause__ is None


def test_what_mariadb_cannot_take_at_once_is_refused_in_a_sentence() -> None:
    """With a server that takes a megabyte at once; what was told before stands, and the log goes on."""
    from hpo.logs import Event

    class Narrow(OwnMariaDB):
        packet = "--max-allowed-packet=1M"

    with Narrow() as own:
        log = open_log(f"{own.url}?study=a")
        log.open(HEADER)
        log.append(start(0))
        with pytest.raises(ValueError, match=r"an event of 5,0.* is more than the log .* max_allowed_packet is 1,048,576"):
            log.append(Event("enqueue", {"config": {"x": "a" * 5_000_000}}, 0.0))
        log.append(start(1))
        assert len(log.read(0)) == 2
        log.close()


def lose_and_stop(where: str) -> None:
    """Loses a trial, keeps the lock for its next proposal, and is stopped before it comes to that."""
    log = open_log(where)
    log.open(HEADER)
    with pytest.raises(Collision):
        log.append(start(0))
    os.kill(os.getpid(), signal.SIGSTOP)
    log.append(start(1))
    log.close()


@pytest.mark.parametrize("name", SERVER)
def test_a_driver_that_is_stopped_with_a_lock_holds_nobody_up(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes its connection away; when it goes on, it makes another, and what it tells is there once."""
    settings = [line.replace("10", "1") for line in database.SETTINGS[name]]
    assert settings != database.SETTINGS[name]
    monkeypatch.setitem(database.SETTINGS, name, settings)
    log = at(name, place)
    log.open(HEADER)
    log.append(start(0))
    with drivers(lose_and_stop, [(url(name, place),)]) as at_work:
        os.waitid(os.P_PID, at_work[0].pid or 0, os.WSTOPPED)
        log.append(start(2))
        os.kill(at_work[0].pid or 0, signal.SIGCONT)
        join(at_work)
    assert list(log.read(0)) == [start(0), start(2), start(1)]
    log.close()


def test_a_closed_log_leaves_no_connection(tmp_path: Path) -> None:
    """Also in the middle of a turn. What is not ours in the URL reaches the driver: here the name of the program."""
    with home("postgresql", tmp_path):
        log = open_log(url("postgresql", tmp_path) + "&application_name=hpo_here")
        log.open(HEADER)
        log.append(start(0))
        with pytest.raises(Collision):
            log.append(start(0))
        engine, _ = server("postgresql")
        assert engine is not None
        with engine.connect() as db:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hpo_here'"
            assert db.exec_driver_sql(query).scalar() == 1
            log.close()
            for _ in range(100):  # the server needs a moment to see it
                if (count := db.exec_driver_sql(query).scalar()) == 0:
                    break
                time.sleep(0.02)
            assert count == 0


def append_all(where: str, me: int, number: int, folder: Path) -> None:
    """What one driver does: it appends, writes down what was told, and reads on."""
    log, read = open_log(where), 0
    log.open(HEADER)
    with open(folder / f"told-{me}", "w", buffering=1) as file:
        for i in range(number):
            log.append(start(1000 * me + i))
            file.write(f"{1000 * me + i}\n")
            if i % 10 == 0:
                read += len(log.read(read))
    log.close()


def told(folder: Path) -> list[list[int]]:
    return [[int(text) for text in path.read_text().split()] for path in sorted(folder.glob("told-*"))]


def check_whole(where: str, mine: list[list[int]]) -> None:
    """Every told event is there once, and each driver's are in its order."""
    log = open_log(where)
    log.open({})
    found = [event.body["job"]["trial"] for event in log.read(0)]
    log.close()
    assert len(found) == len(set(found)) and set(found) >= {trial for one in mine for trial in one}
    for k, one in enumerate(mine):
        assert [trial for trial in found if trial // 1000 == k][: len(one)] == one


@pytest.mark.parametrize("name", SERVER)
def test_a_server_that_is_killed_while_three_drivers_append(name: str, tmp_path: Path) -> None:
    """kill -9 of the whole server, three times, and started again: the drivers go on by themselves."""
    with OWN[name]() as own, drivers(append_all, [(f"{own.url}?study=a", k, 300, tmp_path) for k in range(3)]) as at_work:
        log = open_log(f"{own.url}?study=a")
        log.open(HEADER)
        for part in (100, 300, 500):
            while len(log.read(0)) < part:
                assert all(driver.exitcode in (None, 0) for driver in at_work)
                time.sleep(0.02)
            own.kill()
            time.sleep(0.5)
            own.start()
        join(at_work)
        assert [len(one) for one in told(tmp_path)] == [300, 300, 300]
        check_whole(f"{own.url}?study=a", told(tmp_path))
        assert len(log.read(0)) == 900
        log.close()


@pytest.mark.parametrize("name", [SEVERAL, *SERVER])
def test_drivers_that_are_killed_leave_whole_events(name: str, place: Path) -> None:
    where = url(name, place)
    with drivers(append_all, [(where, k, 200, place) for k in range(4)]) as at_work:
        log = at(name, place)
        log.open(HEADER)
        while len(log.read(0)) < 200:
            time.sleep(0.02)
        for driver in at_work[:3]:
            driver.kill()
        join(at_work[3:])
        check_whole(where, told(place))
        log.close()


@pytest.mark.parametrize("name", thin([SEVERAL, *SERVER], 2))
def test_eight_drivers_append_two_hundred_events_each(name: str, place: Path) -> None:
    """Dense, none twice, no deadlock, and nobody waits for ever."""
    where = url(name, place)
    with drivers(append_all, [(where, k, 200, place) for k in range(8)]) as at_work:
        join(at_work)
    assert [len(one) for one in told(place)] == [200] * 8
    check_whole(where, told(place))


def search(where: str, method: str, number: int, out: Path) -> None:
    study, mine = Study(METHODS[method](line()), log=where), []
    for _ in range(number):
        job = study.optimizer.ask()
        assert job is not None
        mine.append(job.key)
        assert study.optimizer.tell(job, (job.config["x"] - 0.3) ** 2)
    study.history.log.close()
    out.write_text(json.dumps(mine))


METHODS: dict[str, Any] = {"random": Random, "gp": GP}


@pytest.mark.parametrize("name", [SEVERAL, *SERVER])
@pytest.mark.parametrize("method", thin(METHODS))
def test_a_study_with_three_drivers(name: str, place: Path, method: str) -> None:
    """No job twice, none lost, and every proposal follows from what it had read."""
    number, where, make = {"random": 40, "gp": 8}[method], url(name, place), METHODS[method]
    with drivers(search, [(where, method, number, place / f"mine-{k}") for k in range(3)]) as at_work:
        join(at_work)
    keys = [tuple(key) for path in place.glob("mine-*") for key in json.loads(path.read_text())]
    study = Study(make(line()), log=where)
    assert sorted(keys) == sorted(study.history.results) == [(trial, 1) for trial in range(3 * number)]
    assert not study.history.pending
    for event in study.history.events:
        if event.kind == "start":
            job = make(line()).decide(study.history.prefix(event.body["seen"]))
            assert job is not None and job.to_json() == event.body["job"]
    study.history.log.close()


def test_every_kind_of_server_is_tried() -> None:
    assert set(OWN) == set(SERVERS) == {*IN_TABLES} - {SEVERAL, "mariadb"}
