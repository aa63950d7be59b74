"""Logs that several processes of their own write and open at once."""

import subprocess
import sys
from pathlib import Path

from hpo import SQLiteLog, Study
from tests.hpo.cases import ROOT, build_over

DRIVER = """
import sys, random, time
from hpo import *
from tests.hpo.cases import build_over
study = Study(build_over("asha", "mixed", 0), log=SQLiteLog(sys.argv[1]))
mine = []
for i in range(25):
    job = study.optimizer.ask()
    mine.append(job.key)
    study.optimizer.tell(job, random.random())
print(mine)
"""


def test_three_drivers_in_three_processes(tmp_path: Path) -> None:
    """They open a new file at once, append without duplicates, and every proposal follows from what it had read."""
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "log.db")]
    drivers = [
        subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)
    ]
    keys = []
    for driver in drivers:
        out, err = driver.communicate(timeout=900)
        assert driver.returncode == 0, err
        keys += eval(out)
    assert len(keys) == len(set(keys)) == 75
    history = Study(build_over("asha", "mixed", 0), log=SQLiteLog(tmp_path / "log.db")).history
    assert len(history.results) == 75 and not history.pending
    for event in history.events:
        if event.kind == "start":
            job = build_over("asha", "mixed", 0).decide(history.prefix(event.body["seen"]))
            assert job is not None and job.to_json() == event.body["job"]


OPENERS = """
import sys, threading
from hpo.logs import SQLiteLog
gate, wrong = threading.Barrier(8), []
def go(path):
    gate.wait()
    try:
        SQLiteLog(path).open({"a": 1})
    except BaseException as error:
        wrong.append(repr(error))
for i in range(15):
    threads = [threading.Thread(target=go, args=(f"{sys.argv[1]}/log{i}.db",)) for _ in range(8)]
    [t.start() for t in threads]; [t.join() for t in threads]
print(wrong)
"""


def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OPENERS, str(tmp_path)], cwd=ROOT, text=True, capture_output=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
