"""The durability order: a driver really killed between every two steps, and what a new one makes of what is left."""

import json
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hpo import ASHA, Random, SQLiteLog, Study
from hpo.leases import Leases
from hpo.logs import database
from hpo.logs.database import Database
from tests.hpo.cases import ROOT
from tests.hpo.deaths import CASES, STEPS, suffer
from tests.hpo.killing import LOGS, OWN, WHERE, WHO, campaign, table
from tests.hpo.objectives import Traces, line
from tests.hpo.test_hpo_executors import alive, until
from tests.thinning import thin


@pytest.mark.parametrize("case", thin(["asha", "pbt", "asha(gp)"]))
def test_killed_between_every_two_steps(case: str, tmp_path: Path) -> None:
    """Every step, before and after it, at its first, seventh, ... occurrence."""
    deaths(case, 12 if case == "asha(gp)" else 6, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_occurrence_of_every_step(case: str, tmp_path: Path) -> None:
    deaths(case, 1, tmp_path)


def deaths(case: str, every: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.hpo.deaths", case, str(tmp_path / "deaths"), str(every)]
    (tmp_path / "deaths").mkdir()
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-4000:]
    said = json.loads(done.stdout)
    whole, found = said["whole"], said["found"]
    assert whole["open"] == 0 and not whole["missing"]
    assert {tuple(entry["death"][:2]) for entry in found} >= {(s, w) for s in STEPS for w in ("before", "after")}
    assert len(found) >= 8 * len(whole["results"]) // every
    for entry in found:
        end, death = entry["end"], entry["death"]
        assert end["starts"] == whole["starts"], f"{death}: another job came"
        assert end["results"] == whole["results"], death
        assert all(end["all"][key] == metrics for key, metrics in end["told"].items()), (
            f"{death}: a told result changed"
        )
        assert end["open"] == 0 and not end["missing"], death
        whole_files = [name for name in end["files"] if name.endswith(".ckpt")]
        assert whole_files == end["kept"], f"{death}: {whole_files} stand, {end['kept']} should"


@pytest.mark.parametrize("case", ["asha", "pbt"])
def test_half_written_checkpoints_do_not_pile_up(case: str, tmp_path: Path) -> None:
    """What a dead process left half-written goes with the checkpoint of its key."""
    died, end = suffer(case, tmp_path / "deaths", [("replace", "before", n) for n in (1, 2, 3)])
    assert died == 3
    assert {name.partition(".ckpt")[0] + ".ckpt" for name in end["files"]} == set(end["kept"])


DRIVER = """
import sys
from pathlib import Path
from hpo import *
from tests.hpo.objectives import Traces, line
from tests.thinning import thin
if __name__ == "__main__":
    root = Path(sys.argv[1])
    study = Study(ASHA(Random(line(), seed=1), max_resource=27), unit="steps", log=SQLiteLog(root / "log.db"))
    executor = Processes(Traces(root / "journal", slow=float(sys.argv[2])), 27, root / "checkpoints", workers=2)
    print("workers", *executor.pids, flush=True)
    run(study, executor, Stop(trials=6))
    print("done", len(study.history.results), flush=True)
"""


@pytest.fixture
def driver(tmp_path: Path) -> Any:
    """Starts a driver with two worker processes in a script of its own."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)

    def start(slow: float) -> tuple[subprocess.Popen[str], list[int]]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), str(slow)], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        return process, [int(pid) for pid in process.stdout.readline().split()[1:]]

    return start


def test_a_killed_driver_takes_its_workers_along_and_the_next_goes_on(driver: Any, tmp_path: Path) -> None:
    first, pids = driver(0.05)
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    traces = Traces(tmp_path / "journal")
    until(lambda: traces.journal.exists() and any(line[1] == 3 for line in traces.lines()))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    until(lambda: not any(alive(pid) for pid in pids))
    said = Study(ASHA(Random(line(), seed=1), max_resource=27), unit="steps", log=SQLiteLog(tmp_path / "log.db"))
    told, pending = dict(said.history.results), dict(said.history.pending)
    assert told and pending
    before = len(traces.lines())
    second, _ = driver(0.0)
    out, _ = second.communicate(timeout=900)
    assert second.returncode == 0 and "done" in out
    said.history.refresh()
    assert all(said.history.results[key] == result for key, result in told.items())
    assert not said.history.pending and all(result.error is None for result in said.history.results.values())
    sources = {(job.seed, job.until): job.source for job in said.history.jobs.values()}
    for seed, begun, upto, _ in traces.lines()[before:]:
        source = sources[seed, upto]
        assert begun == (source[1] if source else 0), "a resumed job was trained from its beginning"


def test_ctrl_c_leaves_the_jobs_pending(driver: Any, tmp_path: Path) -> None:
    first, pids = driver(0.5)  # slow enough for the study to be under way when it is interrupted
    traces = Traces(tmp_path / "journal")
    until(lambda: traces.journal.exists() and bool(traces.lines()))
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=900) != 0
    until(lambda: not any(alive(pid) for pid in pids))
    study = Study(ASHA(Random(line(), seed=1), max_resource=27), unit="steps", log=SQLiteLog(tmp_path / "log.db"))
    assert study.history.pending and all(result.error is None for result in study.history.results.values())


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")


@needs_proc
@pytest.mark.parametrize("log", thin(LOGS))
def test_four_kills_of_every_log(log: str, tmp_path: Path) -> None:
    """The campaign of killing.py in small: four kinds of kills."""
    found = campaign(tmp_path / "kills", 4, logs=[log])
    assert len({tuple(kill) for entry in found for kill in entry["kills"]}) >= 3
    assert not any(entry["faults"] for entry in found), table(found)


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("log", LOGS)
def test_one_kill_of_every_kind(log: str, tmp_path: Path) -> None:
    """Driver, worker, both and the server, inside training, saving, appending, start-up and at any moment."""
    kinds = {kill for kill in product(WHO, WHERE) if log in OWN or kill[0] != "server"}
    found = campaign(tmp_path / "kills", len(kinds) + 4, logs=[log])  # one that comes too late is made up for in the next study
    assert {tuple(kill) for entry in found for kill in entry["kills"]} == kinds
    assert not any(entry["faults"] for entry in found), table(found)


@needs_proc
@pytest.mark.slow
def test_two_hundred_kills(tmp_path: Path) -> None:
    found = campaign(tmp_path / "kills", 200, seed=1)
    assert not any(entry["faults"] for entry in found), table(found)


@needs_proc
def test_jobs_that_nobody_takes_over_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leases, "orphans", lambda self, joining=False: [])
    (found,) = campaign(tmp_path / "kills", 1, logs=["sqlite"], victims=["driver"], where=["training"])
    assert found["faults"].keys() == {"pending at the end"}


@needs_proc
@pytest.mark.slow
def test_appends_that_a_server_takes_along_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that says that an event is there although the connection broke."""
    write = Database.write

    def write_or_not(self: Database, work: Any, may_keep: bool = False) -> Any:
        monkeypatch.setattr(database, "PATIENCE", 0.0)
        try:
            return write(self, work, may_keep)
        except ConnectionError:
            return 10**6

    monkeypatch.setattr(Database, "write", write_or_not)
    found = campaign(tmp_path / "kills", 3, logs=["postgresql"], victims=["server"], where=["appending"])
    assert any(entry["faults"] for entry in found)
