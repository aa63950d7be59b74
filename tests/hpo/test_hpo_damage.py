"""Files that are damaged, cut, no log at all, or an older or a later one."""

import json
import math
import os
import random
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo import ASHA, History, Random, SQLiteLog, Study, load
from hpo.logs import Collision, Event, LogError
from hpo.logs.rows import digest_of
from hpo.logs.tables import Plain
from hpo.testing import Drive, changed_jobs
from tests.hpo.cases import build
from tests.hpo.damaging import DAMAGES, OUTCOMES, Whole, damaged, main, outcome, wholes
from tests.hpo.objectives import line
from tests.hpo.test_hpo_logs import WRONG, start


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[Whole]:
    return wholes(tmp_path_factory.mktemp("wholes"))


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused_counted_or_harmless(name: str, logs: list[Whole], tmp_path: Path) -> None:
    """The short form of `python -m tests.hpo.damaging`: no damage makes another study, or a shorter one without a word."""
    rng = random.Random(name)
    for i in range(6):
        path = tmp_path / f"{i}.sqlite"
        came, said = outcome(path, damaged(name, path, rng, logs))
        assert came in OUTCOMES[:3], said


@pytest.mark.slow
def test_two_thousand_damaged_logs() -> None:
    assert main(["--count", "2000", "--seed", "7"]) == 0


def rows(path: Path, *statements: str, also: Callable[[sqlite3.Connection], Any] | None = None) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    if also is not None:
        also(db)
    db.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A study by ASHA of 30 jobs."""
    log = SQLiteLog(tmp_path / "study.sqlite")
    Drive(build("asha", line(), 0), log=log).run(30)
    log.close()
    return log.path


def asha() -> ASHA:
    made = build("asha", line(), 0)
    assert isinstance(made, ASHA)
    return made


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE events SET timestamp = timestamp - 3600 WHERE position = 7", "is damaged: event 7 is not as it was written"),
        ("UPDATE events SET body = replace(body, '0.', '1.') WHERE position = 6", "event 6 is not as it was written"),
        ("DELETE FROM events WHERE position = 5", "event 5 is missing"),
        ("UPDATE events SET position = 500 WHERE position = 5", "event \\d+ was never counted"),
        ("UPDATE header SET count = count + 1", "the number of events that is kept with its header is not as it was written"),
        ("UPDATE header SET body = replace(body, '0', '1')", "its header is not as it was written"),
        ("DELETE FROM header", "its header is missing"),
        ("PRAGMA user_version = 4", r"is of the later version 4; this version of the framework reads up to 3"),
        ("DROP TABLE header", "its tables are not as version 3 makes them"),
        ("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END", "its tables are not as version 3"),
    ],
)
def test_what_was_changed_is_named_with_file_and_place(path: Path, statement: str, said: str) -> None:
    rows(path, statement)
    before = path.read_bytes()
    for again in (lambda: Study(asha(), log=SQLiteLog(path)), lambda: load(path)):
        with pytest.raises(LogError, match=said) as caught:
            again()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == before, "nothing is mended or written anew"


def test_a_cut_tail_is_counted(path: Path) -> None:
    whole = Study(asha(), log=SQLiteLog(path)).history
    rows(path, "DELETE FROM events WHERE position >= 40")
    n = len(whole)
    with pytest.warns(UserWarning, match=rf"held {n} events and holds the first 40; the last {n - 40} are missing"):
        history = Study(asha(), log=SQLiteLog(path)).history
    assert history.events == whole.events[:40]


@pytest.mark.parametrize("change", sorted(WRONG))
def test_forged_events_are_refused_by_their_types(tmp_path: Path, change: str) -> None:
    """A digest is no signature: whoever can write a file can make one that fits. Names of files come from integers only."""
    event, said = WRONG[change]
    if change == "no time":  # SQLite has no NaN
        event, said = Event("run", {}, math.inf), "its time is inf"
    if change == "a body of text":
        said = "event 0 is '{}', which is no mapping"
    if change == "a time of text":
        said = "event 0 is not as it was written"
    path = tmp_path / "study.sqlite"
    log = SQLiteLog(path)
    log.open(asha().header().to_json())
    tables: Any = log.tables
    log.close()
    body = json.dumps(event.body)
    identity = None if change in ("no job", "a body of text") else event.identity
    digest = tables.rows.digest(0, identity, event.kind, body, event.time)
    row = (0, identity, event.kind, body, event.time, digest)
    rows(path, also=lambda db: db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row))
    rows(path, also=lambda db: db.execute("UPDATE header SET count = 1, seal = ?", (tables.rows.seal(1),)))
    with pytest.raises(LogError, match=said) as caught:
        Study(asha(), log=SQLiteLog(path))
    assert repr(str(path)) in str(caught.value) and "event 0" in str(caught.value)


def test_digests_tell_apart_what_is_written_alike() -> None:
    assert digest_of(1, b"", b"run") != digest_of(1, b"", b"run", key=b"k") != digest_of(1, b"", b"run", key=b"l")
    assert len({digest_of(1, b"23"), digest_of(12, b"3"), digest_of(123, b""), digest_of(123)}) == 4


# -- what is no log --------------------------------------------------------------------------------------------------


def text(path: Path) -> None:
    path.write_text("epoch,loss\n" * 100)


def short_text(path: Path) -> None:
    path.write_text("x")


def empty(path: Path) -> None:
    path.touch()


def theirs(path: Path) -> None:
    rows(path, "CREATE TABLE trials (number INTEGER)", "INSERT INTO trials VALUES (1)")


def alike(path: Path) -> None:
    rows(path, "CREATE TABLE events (a)", "CREATE TABLE header (b)")


def without_tables(path: Path) -> None:
    rows(path, "CREATE TABLE a (b)", "DROP TABLE a")


def of_a_program(path: Path) -> None:
    rows(path, "PRAGMA application_id = 1234", *list(Plain.sql.values())[:2])


def without_its_wal(path: Path) -> None:
    """A study of version 1 whose driver was killed at once, copied as one file."""
    db = sqlite3.connect(path.with_name("first.sqlite"), isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE header (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL)")
    shutil.copyfile(path.with_name("first.sqlite"), path)
    db.close()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (text, "is not a log of this framework"),
        (short_text, "is not a log of this framework"),
        (empty, "is an empty file, whatever it held; remove it to begin a new study there"),
        (Path.mkdir, "is a folder; allowed is the path of a file"),
        (theirs, r"is not a log of this framework: it is a database that holds \['trials'\]"),
        (alike, "is not a log of this framework: it is a database that holds"),
        (without_tables, "is not a log of this framework: it is a database without tables"),
        (of_a_program, "is not a log of this framework: it is a database that holds"),
        (without_its_wal, r"without tables; if it was copied, what it held stands in the file study\.sqlite-wal"),
    ],
)
def test_what_is_no_log_is_refused_and_left_alone(tmp_path: Path, made: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "study.sqlite"
    made(path)
    before = path.read_bytes() if path.is_file() else None
    for again in (lambda: Study(Random(line()), log=SQLiteLog(path)), lambda: load(path)):
        with pytest.raises(LogError, match=said) as caught:
            again()
        assert repr(str(path)) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_log_that_is_gone_is_not_begun_beside_its_write_ahead_log(tmp_path: Path) -> None:
    (tmp_path / "study.sqlite-wal").write_bytes(b"events" * 100)
    with pytest.raises(LogError, match=r"study\.sqlite' is gone, but events of it may stand in study\.sqlite-wal"):
        Study(Random(line()), log=SQLiteLog(tmp_path / "study.sqlite"))
    assert sorted(os.listdir(tmp_path)) == ["study.sqlite-wal"]


def test_a_study_that_was_refused_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        SQLiteLog(tmp_path / "study.sqlite").open({"seed": object()})
    assert os.listdir(tmp_path) == []


# -- version 1 -------------------------------------------------------------------------------------------------------

FIRST = [
    "PRAGMA journal_mode=WAL",
    "CREATE TABLE header (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL)",
    "CREATE TABLE events (\n    id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT UNIQUE, kind TEXT NOT NULL, "
    "body TEXT NOT NULL, time REAL NOT NULL)",
]


def first(path: Path, to: Path) -> History:
    """A study as version 1 wrote it, with the gaps of collisions in its ids; the history that it holds."""
    history = Study(asha(), log=SQLiteLog(path)).history

    def fill(db: sqlite3.Connection) -> None:
        header = {**history.header.to_json(), "version": 1}
        db.execute("INSERT INTO header VALUES (1, ?)", (json.dumps(header),))
        for i, event in enumerate(history.events):
            row = (3 * i + 1, event.identity, event.kind, json.dumps(event.body), event.time)
            db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", row)

    rows(to, *FIRST, also=fill)
    return history


def test_a_log_of_version_1_opens_replays_and_goes_on(path: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.sqlite"
    history = first(path, old)
    with pytest.warns(UserWarning, match=r"old\.sqlite' is of version 1: its events carry no digests") as said:
        study = Study(asha(), log=SQLiteLog(old))
    assert said[0].filename == __file__, "a line of ours"
    assert len(said) == 1 and study.history.events == history.events and study.history.digest == history.digest
    assert changed_jobs(study.history, asha) == []
    job = study.optimizer.ask()
    assert job is not None and study.optimizer.tell(job, 1.0)
    assert study.history.log.read(len(history))[0].body["job"] == job.to_json()
    with pytest.raises(Collision):
        study.history.log.append(start(job.trial, job.until))
    study.history.log.close()
    assert sorted(os.listdir(tmp_path)) == ["old.sqlite", "study.sqlite"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        again = load(old)
    assert again.history.results.keys() == {*history.results, job.key} and again.optimizer.ask() is not None


def test_a_log_of_version_1_without_its_header_is_refused(path: Path, tmp_path: Path) -> None:
    first(path, tmp_path / "old.sqlite")
    rows(tmp_path / "old.sqlite", "DELETE FROM header")
    with pytest.raises(LogError, match=r"old\.sqlite' is damaged: its header is missing, and \d+ events stand without one"):
        Study(asha(), log=SQLiteLog(tmp_path / "old.sqlite"))


def with_its_wal(path: Path, to: Path) -> None:
    """What a driver of version 1 leaves that is killed, and a copy of both files."""
    first(path, path.with_name("old.sqlite"))
    db = sqlite3.connect(path.with_name("old.sqlite"), isolation_level=None)
    db.execute("INSERT INTO events VALUES (9999, NULL, 'run', '{}', 1.0)")
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(f"old.sqlite{suffix}"), f"{to}{suffix}")
    db.close()


def with_its_journal(path: Path, to: Path) -> None:
    """What a driver of version 2 leaves that is killed in the middle of a transaction."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA cache_size=1")
    db.execute("BEGIN IMMEDIATE")
    for number in range(200):
        db.execute("INSERT INTO events VALUES (?, NULL, 'run', ?, 1.0, x'00')", (9999 + number, "{}" + " " * 3000))
    for suffix in ("", "-journal"):
        shutil.copy(f"{path}{suffix}", f"{to}{suffix}")
    db.execute("ROLLBACK")
    db.close()


def as_a_reader(act: Callable[[], str]) -> str:
    """What `act` says in a process that may write nothing of ours."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            os.write(theirs, act().encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize(("killed", "suffix"), [(with_its_wal, "-wal"), (with_its_journal, "-journal")])
def test_what_a_killed_driver_left_where_nobody_may_write_is_named(killed: Any, suffix: str, path: Path, tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own may not be entered by others
    place = folder / "log.sqlite"

    def opened(at: Path) -> str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return f"{len(load(at).history)} events"
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    try:
        killed(path, place)
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        said = as_a_reader(lambda: opened(place))
        assert said.startswith("PermissionError: the log '") and f"is in log.sqlite{suffix}," in said, said
        assert "copy both into a folder" in said and sorted(os.listdir(folder)) == ["log.sqlite", f"log.sqlite{suffix}"]
        for file in folder.iterdir():
            shutil.copyfile(file, tmp_path / file.name)
        events = len(load(path).history)
        assert opened(tmp_path / "log.sqlite") == f"{events + (suffix == '-wal')} events"
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("version", [1, 2])
def test_reading_on_costs_what_is_new(path: Path, tmp_path: Path, version: int) -> None:
    """Steps of SQLite's machine for reading behind the last event: the same behind 60 events and behind 3,000."""
    if version == 1:
        first(path, tmp_path / "old.sqlite")
        path = tmp_path / "old.sqlite"
    log = SQLiteLog(path)
    steps: list[int] = []
    found = log.header()
    assert found is not None and log._db is not None

    def cost(after: int) -> int:
        steps.clear()
        log._db.set_progress_handler(lambda: steps.append(1), 1)  # type: ignore[union-attr]
        assert len(log.read(after)) == 1
        log._db.set_progress_handler(None, 1)  # type: ignore[union-attr]
        return len(steps)

    have, costs = len(log.read(0)), []
    for trial in range(10_000, 13_000):
        log.append(start(trial))
        if trial in (10_000, 12_999):
            costs.append(cost(have))
        else:
            log.read(have)
        have += 1
    assert costs[0] == costs[1]
