"""Where a log stands: copied, left by a driver that was killed, in a folder that may not be written, on a full disk."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo import Random, SQLiteLog, Study, load
from tests.hpo.cases import ROOT
from tests.hpo.objectives import line
from tests.hpo.test_hpo_damage import FIRST, rows

KILLED = """
import os, signal, sys
from hpo import *
from tests.hpo.objectives import line
study = Study(Random(line()), log=SQLiteLog(sys.argv[1]))
for i in range(20):
    study.optimizer.tell(study.optimizer.ask(), float(i))
assert study.history.log._db.execute("PRAGMA synchronous").fetchone()[0] == 3  # what loss of power does cannot be tried
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_file_holds_all_that_was_told_to_a_driver_that_was_killed(tmp_path: Path) -> None:
    """Whoever copies that one file has the study; nothing else stands beside it."""
    (tmp_path / "there").mkdir()
    path = tmp_path / "there/study.sqlite"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert os.listdir(path.parent) == ["study.sqlite"]
    shutil.copyfile(path, tmp_path / "copy.sqlite")
    history = load(tmp_path / "copy.sqlite").history
    assert [history.results[i, 1].metrics["loss"] for i in range(20)] == [float(i) for i in range(20)]


HALF = """
import os, sys
from hpo.logs import SQLiteLog, sqlite
sqlite._name = lambda made, path: os._exit(9)
SQLiteLog(sys.argv[1]).open({"a": 1})
"""


def test_a_driver_that_was_killed_while_it_made_the_log_leaves_nothing_for_long(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    assert subprocess.run([sys.executable, "-c", HALF, str(path)], cwd=ROOT).returncode == 9
    assert len(os.listdir(tmp_path)) == 1 and not path.exists()
    log = SQLiteLog(path)
    assert log.open({"b": 2}) == {"b": 2}
    log.close()
    assert os.listdir(tmp_path) == ["study.sqlite"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        os.chmod(folder, 0o755)


READER = """
import os, sys, warnings
import hpo
# whatever is imported late: nobody may read root's Python
hpo.load, hpo.minimize(lambda config: 0.0, {"x": (0.0, 1.0)}, "random", 1, quiet=True).rows()
if os.geteuid() == 0:
    os.setuid(65534)  # root may write everywhere
warnings.simplefilter("ignore")
study = hpo.load(sys.argv[1])
print(len(study.history.results), study.best.number, study.rows()[0]["trial"])
for act in (study.optimizer.ask, lambda: study.optimizer.add({"x": 0.5}, 1.0), study.history.run):
    try:
        act()
    except OSError as error:
        print(type(error).__name__, error)
try:
    hpo.minimize(lambda config: 0.0, {"x": (0.0, 1.0)}, "random", 30, log=sys.argv[1], quiet=True)
except OSError as error:
    print(type(error).__name__, error)
try:
    hpo.minimize(lambda config: 0.0, {"x": (0.0, 1.0)}, "random", 30, log=sys.argv[1] + "2", quiet=True)
except OSError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("version", [1, 2])
def test_a_read_only_log_in_a_read_only_folder_opens_for_reading(open_folder: Path, version: int) -> None:
    path = open_folder / "study.sqlite"
    if version == 1:
        history = Study(Random({"x": (0.0, 1.0)})).history
        rows(path, *FIRST, also=lambda db: db.execute("INSERT INTO header VALUES (1, ?)", (
            json.dumps({**history.header.to_json(), "version": 1}),)))  # fmt: skip
    study = Study(Random({"x": (0.0, 1.0)}), log=SQLiteLog(path))
    for i in range(5):
        job = study.optimizer.ask()
        assert job is not None and study.optimizer.tell(job, float(5 - i))
    study.history.log.close()
    if version == 1:  # as the driver of that version left it
        rows(path, "PRAGMA journal_mode=WAL")
    before = path.read_bytes()
    os.chmod(path, 0o444)
    os.chmod(open_folder, 0o555)
    done = subprocess.run([sys.executable, "-c", READER, str(path)], cwd=ROOT, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert done.returncode == 0 and said[0] == "5 4 0", done.stdout + done.stderr
    for sentence in said[1:4]:
        assert sentence == f"PermissionError the log {str(path)!r} was opened for reading; nothing can be told to it"
    assert said[4].startswith(f"PermissionError the log {str(path)!r} or its folder may not be written")
    assert said[5].startswith(f"PermissionError the log {str(path) + '2'!r} or its folder may not be written")
    assert len(said) == 6 and path.read_bytes() == before and os.listdir(open_folder) == ["study.sqlite"]


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    study = Study(Random(line()), log=SQLiteLog(path))
    log: Any = study.history.log
    (pages,) = log._db.execute("PRAGMA page_count").fetchone()
    log._db.execute(f"PRAGMA max_page_count={pages + 2}")
    told = 0
    with pytest.raises(OSError, match=r"study\.sqlite' cannot grow, the disk is full; everything that was told before stands"):
        while True:
            job = study.optimizer.ask()
            assert job is not None and study.optimizer.tell(job, float(told))
            told += 1
    log._db.execute("PRAGMA max_page_count=1000000")  # somebody makes room, and the same driver goes on
    before = len(study.history)
    job = study.optimizer.ask()
    assert job is not None and len(study.history) == before + 1
    log.close()
    history = load(path).history
    assert sum("loss" in result.metrics for result in history.results.values()) == told


FULL = """
import resource, signal, sys
from hpo import *
from tests.hpo.objectives import line
from hpo.logs import sqlite
sqlite.SYNCHRONOUS = "OFF"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
study = Study(Random(line()), log=SQLiteLog(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
told = 0
try:
    while True:
        study.optimizer.tell(study.optimizer.ask(), float(told))
        told += 1
except OSError as error:
    print(told, error)
"""


def test_a_file_that_may_not_grow_is_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    """By the operating system, at whatever write SQLite was doing."""
    path = tmp_path / "study.sqlite"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told, sentence = done.stdout.strip().split(" ", 1)
    assert sentence.startswith(f"the log {str(path)!r} ") and sentence.endswith("everything that was told before stands")
    assert len(load(path).history.results) == int(told) > 20


def test_a_log_that_is_removed_under_its_driver_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    study = Study(Random(line()), log=SQLiteLog(path))
    path.unlink()
    with pytest.raises(OSError, match=r"study\.sqlite' or its folder may not be written, or was moved or removed"):
        study.history.run()
    with pytest.raises(FileNotFoundError, match=r"there is no log '.*study\.sqlite'"):
        load(path)
