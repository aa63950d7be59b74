"""What only logs in tables of a database can get wrong: neighbours, names, types, schemas, damage, processes."""

from __future__ import annotations

import math
import os
import random
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from hpo import Random, SQLiteLog, Study, load
from hpo.logs import Collision, Event, LogError, SQLLog, delete_study, list_studies, open_log, schema
from hpo.testing import Drive
from tests.hpo.cases import build
from tests.hpo.objectives import line
from tests.hpo.servers import IN_TABLES, SEVERAL, at, statements, url
from tests.hpo.test_hpo_logs import HEADER, start

SERVER = [name for name in IN_TABLES if name not in (SEVERAL, "mariadb")]
each = pytest.mark.parametrize("name", [SEVERAL, *SERVER])


@each
def test_studies_stand_beside_each_other(name: str, place: Path) -> None:
    """Names are told apart by case and accent, and no study sees another's events."""
    names = ["a", "A", "\u00e1", "a b/c?d&e=f%g", "\u5b66\u7fd2\u7387 \U0001f600", "x" * 255]
    logs = [SQLLog(url(name, place).replace("study=study", ""), study) for study in names]
    assert {log.study for log in logs} == set(names)
    for i, log in enumerate(logs):
        assert log.header() is None and log.open({**HEADER, "seed": i}) == {**HEADER, "seed": i}
        for k in range(i):
            log.append(start(k))
    assert list_studies(url(name, place)) == {study: i for i, study in enumerate(names)}
    for i, log in enumerate(logs):
        assert list(log.read(0)) == [start(k) for k in range(i)]
        again = open_log(log.place.partition("?")[0] + url(name, place)[len(url(name, place).partition("?")[0]):]
                         .replace("study=study", log.place.partition("?")[2]))  # fmt: skip
        assert again.header() == {**HEADER, "seed": i}, "the name survives its own URL"
        again.close()
    delete_study(url(name, place), "A")
    with pytest.raises(LogError, match=r"study of the log .*study=A.* was deleted"):
        logs[1].append(start(9))
    with pytest.raises(ValueError, match=r"there is no study 'A' in .*; there are \['a'"):
        delete_study(url(name, place), "A")
    assert list(logs[2].read(0)) == [start(0), start(1)] and set(list_studies(url(name, place))) == {*names} - {"A"}
    for log in logs:
        log.close()


@pytest.mark.parametrize("wrong", ["", " a", "a\n", "a\0b", "x" * 256, "\ud800"])
def test_names_that_a_database_would_change_are_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the name of a study is .*; allowed are 1 to 255 characters"):
        SQLLog(f"sqlite:///{tmp_path}/a.db", wrong)


def test_a_study_is_named_once_and_numbers_are_numbers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"in its URL and beside it"):
        SQLLog(f"sqlite:///{tmp_path}/a.db?study=a", "b")
    with pytest.raises(ValueError, match="pool_size of a log is 'many'; allowed is a whole number of at least 1"):
        open_log(f"sqlite:///{tmp_path}/a.db?study=a&pool_size=many")
    with pytest.raises(ValueError, match="names no file"):
        open_log("sqlite://?study=a")


@each
def test_large_bodies_and_exact_times(name: str, place: Path) -> None:
    """Five megabytes, every bit of a time, and whatever JSON holds."""
    log, rng = at(name, place), random.Random(0)
    log.open({**HEADER, "text": "\u5b66\U0001f600" * 100_000})
    times = [struct.unpack("<d", rng.randbytes(8))[0] for _ in range(300)]
    times = [t for t in times if math.isfinite(t)] + [5e-324, -0.0, 1.7976931348623157e308, 2.2250738585072014e-308, 1 / 3]
    log.append(Event("enqueue", {"config": {"text": "\u5b66\U0001f600\0'\\" * 150_000, "x": [math.nan, math.inf, -0.0]}}, 0.5))
    for t in times:
        log.append(Event("run", {}, t))
    log.close()
    again = at(name, place)
    assert again.open({}) == {**HEADER, "text": "\u5b66\U0001f600" * 100_000}
    large, *events = again.read(0)
    assert [event.time for event in events] == times
    assert large.body["config"]["text"] == "\u5b66\U0001f600\0'\\" * 150_000
    assert str(large.body["config"]["x"]) == "[nan, inf, -0.0]"
    again.close()


@each
def test_what_another_driver_told_is_read_at_once(name: str, place: Path) -> None:
    """A reader that once began to read is not kept at that moment."""
    one, two = at(name, place), at(name, place)
    one.open(HEADER), two.open(HEADER)
    for i in range(5):
        (one, two)[i % 2].append(start(i))
        assert len(one.read(0)) == len(two.read(0)) == i + 1
        with pytest.raises(Collision):
            (two, one)[i % 2].append(start(i))
    one.close()
    two.close()


@each
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE hpo_events SET time = time - 3600 WHERE position = 7", "event 7 is not as it was written"),
        ("UPDATE hpo_events SET body = replace(body, '0.', '1.') WHERE position = 6", "event 6 is not as it was written"),
        ("UPDATE hpo_events SET identity = NULL WHERE position = 6", "event 6 is not as it was written"),
        ("DELETE FROM hpo_events WHERE position = 5", "event 5 is missing"),
        ("UPDATE hpo_events SET position = 500 WHERE position = 5", r"event \d+ was never counted"),
        ("UPDATE hpo_events SET position = 500 WHERE position = 5; UPDATE hpo_events SET position = 5 WHERE position = 6; "
         "UPDATE hpo_events SET position = 6 WHERE position = 500", "event 5 is not as it was written"),
        ("UPDATE hpo_studies SET count = count + 1", "the number of events that is kept with its header is not as it was"),
        ("UPDATE hpo_studies SET body = replace(body, '0', '1')", "its header is not as it was written"),
        ("UPDATE hpo_schema SET version = 9", r"are of the later version 9; this version of the framework knows up to 3"),
        ("DROP TABLE hpo_events", "its tables are not as they were made, or damaged"),
    ],
)  # fmt: skip
def test_what_was_changed_is_named_with_its_place(name: str, place: Path, statement: str, said: str) -> None:
    log = at(name, place)
    Drive(build("asha", line(), 0), log=log).run(30)
    log.close()
    statements(name, place, *statement.split("; "))
    for again in (lambda: Study(build("asha", line(), 0), log=url(name, place)), lambda: load(url(name, place))):
        with pytest.raises(LogError, match=said) as caught:
            again()
        assert log.place in str(caught.value) and "\n" not in str(caught.value)


@each
def test_an_event_of_another_study_is_named(name: str, place: Path) -> None:
    log, other = at(name, place), open_log(url(name, place, "other"))
    for one in (log, other):
        one.open(HEADER)
        one.append(start(0))
        one.close()
    statements(name, place, "DELETE FROM hpo_events WHERE study = 1", "UPDATE hpo_events SET study = 1")
    again = at(name, place)
    again.open(HEADER)
    with pytest.raises(LogError, match="event 0 is not as it was written"):
        again.read(0)
    again.close()


@each
def test_a_cut_tail_is_counted_and_what_follows_stands(name: str, place: Path) -> None:
    log = at(name, place)
    log.open(HEADER)
    for i in range(10):
        log.append(start(i))
    log.close()
    statements(name, place, "DELETE FROM hpo_events WHERE position >= 6")
    again = at(name, place)
    with pytest.warns(UserWarning, match="is cut: it held 10 events and holds the first 6; the last 4 are missing"):
        again.open(HEADER)
    again.append(start(50))
    assert [event.body["job"]["trial"] for event in again.read(0)] == [*range(6), 50]
    again.close()


@each
def test_an_event_that_was_never_counted_blocks_nobody_for_ever(name: str, place: Path) -> None:
    """A position that is taken is tried again, and in the end named."""
    log = at(name, place)
    log.open(HEADER)
    log.append(start(0))
    statements(name, place, "UPDATE hpo_events SET position = 1, identity = 'moved'")
    with pytest.raises(LogError, match="an event that was never counted stands behind the last one"):
        log.append(start(1))
    log.close()


@each
def test_tables_of_version_1_become_those_of_version_2(name: str, place: Path) -> None:
    """Version 1 had no tokens. A reader leaves the tables as they are."""
    log = at(name, place)
    Drive(build("asha", line(), 0), log=log).run(30)
    before = list(log.read(0))
    log.close()
    drop = {"mysql": "DROP INDEX hpo_events_token ON hpo_events",
            "postgresql": "ALTER TABLE hpo_events DROP CONSTRAINT hpo_events_token"}  # fmt: skip
    if name == SEVERAL:  # SQLite drops no column that is unique
        old = "CREATE TABLE old AS SELECT study, position, identity, kind, body, time, digest FROM hpo_events"
        first = ("CREATE TABLE hpo_events (study INTEGER NOT NULL, position INTEGER NOT NULL, identity VARCHAR(255), "
                 "kind VARCHAR(32) NOT NULL, body TEXT NOT NULL, time DOUBLE NOT NULL, digest BLOB NOT NULL, "
                 "PRIMARY KEY (study, position), CONSTRAINT hpo_events_identity UNIQUE (study, identity))")  # fmt: skip
        statements(name, place, old, "DROP TABLE hpo_events", first, "INSERT INTO hpo_events SELECT * FROM old", "DROP TABLE old")
    else:
        statements(name, place, drop[name], "ALTER TABLE hpo_events DROP COLUMN token")
    statements(name, place, "UPDATE hpo_schema SET version = 1")
    reader = open_log(url(name, place), readonly=True)
    reader.open({})
    assert list(reader.read(0)) == before and statements(name, place, "SELECT version FROM hpo_schema") == [(1,)]
    reader.close()
    study = Study(build("asha", line(), 0), log=url(name, place))
    assert statements(name, place, "SELECT version FROM hpo_schema") == [(schema.SCHEMA,)]
    job = study.optimizer.ask()
    assert job is not None and study.optimizer.tell(job, 1.0)
    study.history.log.close()
    tokens = statements(name, place, "SELECT count(token) FROM hpo_events")
    assert tokens == [(2,)] and len(load(url(name, place)).history) == len(before) + 2


@each
def test_a_study_by_its_url(name: str, place: Path) -> None:
    """Made, read, loaded and continued; a reader makes no tables."""
    where: Any = FileNotFoundError if name == SEVERAL else LogError
    with pytest.raises(where, match=r"there is no log|holds no study yet"):
        load(url(name, place))
    study = Study(Random(line()), log=url(name, place))
    for _ in range(5):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, job.config["x"])
    again = load(url(name, place))
    assert again.best.config == study.best.config
    job = again.optimizer.ask()
    assert job is not None and job.trial == 5
    reader = open_log(url(name, place), readonly=True)
    assert reader.open({}) == study.history.log.header() and reader.path is None
    with pytest.raises(PermissionError, match="was opened for reading; nothing can be told to it"):
        reader.append(start(9))
    for log in (study.history.log, again.history.log, reader):
        log.close()
    with pytest.raises(ValueError, match="is closed"):
        reader.read(0)


@each
def test_a_forked_child_has_connections_of_its_own(name: str, place: Path) -> None:
    log = at(name, place)
    log.open(HEADER)
    log.append(start(0))
    child = os.fork()
    if not child:
        done = 1
        try:
            for i in range(20):
                log.append(start(100 + i))
            done = len(log.read(0)) < 21
        finally:
            os._exit(done)
    for i in range(20):
        log.append(start(200 + i))
    assert os.waitpid(child, 0)[1] == 0
    log.append(start(300))
    assert len(log.read(0)) == 42
    log.close()


@each
def test_threads_share_one_connection(name: str, place: Path) -> None:
    log, failed = open_log(url(name, place) + "&pool_size=1&max_overflow=0"), []
    log.open(HEADER)

    def work(k: int) -> None:
        try:
            for i in range(10):
                log.append(start(10 * k + i))
                log.read(0)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(log.read(0)) == 60
    log.close()


def test_a_file_is_shown_as_it_is_called(tmp_path: Path) -> None:
    """An @ in a path is no end of a password."""
    (tmp_path / "me:a@b").mkdir()
    log = open_log(f"sqlite:///{tmp_path}/me:a@b/all.db?study=a")
    log.open(HEADER)
    log.close()
    assert log.place == f"sqlite:///{tmp_path}/me:a@b/all.db?study=a" and os.listdir(tmp_path / "me:a@b") == ["all.db"]
    assert list_studies(log.place) == {"a": 0}


def test_one_study_in_a_file_and_several_are_told_apart(tmp_path: Path) -> None:
    SQLiteLog(tmp_path / "one.db").open(HEADER)
    with pytest.raises(LogError, match=r"one\.db' is the log of one study; open it without \?study="):
        open_log(f"sqlite:///{tmp_path}/one.db?study=a")
    log = open_log(f"sqlite:///{tmp_path}/all.db?study=a")
    log.open(HEADER)
    log.append(start(0))
    for again in (lambda: open_log(f"sqlite:///{tmp_path}/all.db"), lambda: open_log(tmp_path / "all.db")):
        with pytest.raises(LogError, match=r"is a database of several studies; name one, as 'sqlite:///.*all\.db\?study=NAME'"):
            again()
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["all.db", "one.db"], "closed, a database is one file"
    (tmp_path / "text.db").write_text("no database at all, and long enough for a header of one\n" * 10)
    with pytest.raises(LogError, match="is not a database"):
        open_log(f"sqlite:///{tmp_path}/text.db?study=a")
    with pytest.raises(FileNotFoundError, match=r"folder of the log .* does not exist"):
        open_log(f"sqlite:///{tmp_path}/no/a.db?study=a")
