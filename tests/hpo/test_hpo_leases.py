"""Several drivers of one study, as processes that are stopped and killed; and who counts as living."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hpo import Inline, Job, MemoryLog, Random, SQLiteLog, Stop, Study, maximize, minimize
from hpo.executors import standing_name
from hpo.failures import Failures
from hpo.files import Files
from hpo.history import History
from hpo.leases import Leases
from hpo.logs.base import Driver
from hpo.loop import Loop
from hpo.processes import is_gone, this_process
from tests.hpo.cases import ROOT
from tests.hpo.driving import make
from tests.hpo.objectives import Traces, line

PATIENCE = 900.0  # seconds for what takes one


def eventually(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """start(name, slow, lease, trials, dies) is a driver of the study in tmp_path; with `wait` it begins when there is a `go`."""
    lives = []

    def begin(
        name: str, slow: float, lease: float, trials: int | None = None, dies: int = 0, wait: bool = False
    ) -> subprocess.Popen[bytes]:
        if not wait:
            (tmp_path / "go").touch()
        given = [tmp_path, name, slow, lease, trials or 0, dies]
        lives.append(subprocess.Popen([sys.executable, "-m", "tests.hpo.driving", *map(str, given)], cwd=ROOT))
        return lives[-1]

    yield begin
    for life in lives:
        with suppress(ProcessLookupError):
            life.send_signal(signal.SIGCONT)
        life.kill()
        life.wait()


def journal(folder: Path) -> list[list[Any]]:
    path = folder / "journal"
    return [json.loads(entry) for entry in path.read_text().splitlines()] if path.exists() else []


def begun(folder: Path, life: subprocess.Popen[bytes]) -> list[list[Any]]:
    return [entry for entry in journal(folder) if entry[0] == "begin" and entry[4] == life.pid]


def study_of(folder: Path, name: str) -> Study:
    return Study(make(name), horizon=9 if name == "random" else None, log=SQLiteLog(folder / "log.db"))


def check_attempts(folder: Path, history: History) -> None:
    """No attempt was run twice, every job has one result, and a file stands for every one that is kept."""
    attempts = [tuple(entry[1:4]) for entry in journal(folder) if entry[0] == "begin"]
    assert len(attempts) == len(set(attempts))
    finished = [(event.body["trial"], event.body["until"]) for event in history.events if event.kind == "finish"]
    assert len(finished) == len(set(finished)) and not history.pending and not history.retries


# -- several at work -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random", "asha", "pbt"])
def test_drivers_share_a_study(name: str, start: Any, tmp_path: Path) -> None:
    """None runs what another has in flight, all are done when nothing is pending, and the limit of trials is kept to."""
    trials = {"random": 12, "asha": 12, "pbt": None}[name]
    lives = [start(name, 0.01, 60.0, trials, wait=True) for _ in range(3)]
    eventually(lambda: len(list(tmp_path.glob("ready-*"))) == 3)
    (tmp_path / "go").touch()
    assert [life.wait(PATIENCE) for life in lives] == [0, 0, 0]
    study = study_of(tmp_path, name)
    check_attempts(tmp_path, study.history)
    assert not [event for event in study.history.events if event.kind == "lost"]
    assert trials is None or study.history.fresh == trials
    assert len({entry[4] for entry in journal(tmp_path)}) > 1, "one did all the work"
    assert {(tmp_path / f"end-{life.pid}").read_text() for life in lives} == {f"[0, {len(study.history.results)}]"}
    left = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert left == {standing_name(study.history, key) for key in study.keep()}


def test_what_a_killed_driver_had_is_taken_over_at_once(start: Any, tmp_path: Path) -> None:
    """From its last checkpoint, once, by an event; the lease of an hour does not matter, since its process is gone."""
    first, other = start("asha", 0.05, 3600.0, 30, 4, wait=True), start("asha", 0.05, 3600.0, 30, wait=True)
    eventually(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    (tmp_path / "go").touch()
    assert other.wait(PATIENCE) == 0  # nobody has asked yet how the first has ended: what is left of it counts as gone
    assert first.wait(PATIENCE) == -signal.SIGKILL and begun(tmp_path, other)
    history = study_of(tmp_path, "asha").history
    check_attempts(tmp_path, history)
    lost = [event.body for event in history.events if event.kind == "lost"]
    assert len(lost) == 1 and lost[0]["cause"] == "driver" and lost[0]["attempt"] == 0
    again = [event.body for event in history.events if event.kind == "start" and event.body["attempt"] == 1]
    assert len(again) == 1 and history.attempts.accepted_attempt((lost[0]["trial"], lost[0]["until"])) == 1


def test_a_driver_that_was_stopped_comes_back(start: Any, tmp_path: Path) -> None:
    """Beyond its lease its job is given out again; what it tells late is recorded or refused, once, and overwrites nothing."""
    first = start("random", 0.05, 1.0, 4, -1)
    eventually(lambda: begun(tmp_path, first))
    other = start("random", 0.05, 1.0, 4)
    history = study_of(tmp_path, "random").history

    def lost() -> list[Any]:
        history.refresh()
        return [event.body for event in history.events if event.kind == "lost"]

    eventually(lost)
    first.send_signal(signal.SIGCONT)
    assert first.wait(PATIENCE) == 0 and other.wait(PATIENCE) == 0
    history.refresh()
    check_attempts(tmp_path, history)
    key = (lost()[0]["trial"], lost()[0]["until"])
    runs = [entry for entry in journal(tmp_path) if entry[0] == "end" and tuple(entry[1:3]) == key]
    assert {entry[3] for entry in runs} == {0, 1} and history.attempts.accepted_attempt(key) in (0, 1)


def test_a_killed_campaign_of_drivers(start: Any, tmp_path: Path) -> None:
    """Drivers come and are killed at any moment; the study ends as it ends alone."""
    lives: list[Any] = []

    def is_further(count: int) -> bool:
        return len(journal(tmp_path)) >= count or any(life.poll() == 0 for life in lives)

    for count in range(4):
        lives += [start("pbt", 0.02, 60.0) for _ in range(2)]
        eventually(partial(is_further, 4 * (count + 1)))
        lives[-2].kill()
    lives.append(start("pbt", 0.0, 60.0))
    assert lives[-1].wait(PATIENCE) == 0
    for life in lives[1::2]:
        assert life.wait(PATIENCE) == 0
    history = study_of(tmp_path, "pbt").history
    check_attempts(tmp_path, history)
    assert len(history.at(9)) >= 3


# -- who lives ---------------------------------------------------------------------------------------------------------------


def test_a_process_is_gone_when_it_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    machine = this_process().rsplit("/", 2)[0]
    began = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    name = f"{machine}/{child.pid}/{began}"
    assert not is_gone(name) and not is_gone(this_process())
    assert is_gone(f"{machine}/{child.pid}/{int(began) - 1}"), "another process has its number now"
    child.kill()
    eventually(lambda: is_gone(name))  # nobody has waited for it yet
    child.wait()
    assert is_gone(name)
    assert not is_gone(f"another {machine}/{child.pid}/{began}") and not is_gone("nonsense") and not is_gone("a/b/c")


class Aging(MemoryLog):
    """A log as databases are: shared, with rows of drivers and a clock of its own, which may say nothing."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, Driver] = {}
        self.ages: dict[int, float | None] = {}

    def beat(self, driver: Driver) -> None:
        self.rows[driver.number] = driver

    def drivers(self) -> list[tuple[Driver, float | None]]:
        return [(row, self.ages.get(number)) for number, row in self.rows.items()]

    def leave(self, number: int, beats: int | None = None) -> None:
        if beats in (None, self.rows[number].beats if number in self.rows else None):
            self.rows.pop(number, None)


def study_on(log: Aging) -> Study:
    study = Study(Random(line(), seed=1), log=log)
    study.history.run()
    return study


def look(leases: Leases) -> set[int]:
    leases._looked = (-1, 0.0)
    return set(leases.list_living())


def test_the_clock_of_the_database_decides() -> None:
    log = Aging()
    study = study_on(log)
    leases = Leases(study.history, study.history.run(), 60.0)
    log.rows[0] = Driver(0, "elsewhere/1/1", 3, 0, 60.0)
    for age, lives in [(0.0, True), (59.0, True), (61.0, False), (3e6, False)]:
        log.ages[0] = age
        assert look(leases) == ({0} if lives else set())
    leases.close()
    assert leases.number not in log.rows


def test_without_a_clock_only_silence_counts() -> None:
    """However the clocks of machines are set, a row that keeps changing is a living driver's."""
    log = Aging()
    study = study_on(log)
    leases = Leases(study.history, study.history.run(), 60.0)
    for beats in range(4):
        log.rows[0] = Driver(0, "elsewhere/1/1", beats, 0, 0.15)
        assert look(leases) == {0}
        time.sleep(0.1)
    time.sleep(0.2)
    assert look(leases) == set()
    log.rows[0] = Driver(0, "elsewhere/1/1", 4, 0, 0.15)
    assert look(leases) == {0}, "it was only stopped"
    leases.close()


def test_a_beat_comes_without_being_asked_for() -> None:
    log = Aging()
    study = study_on(log)
    leases = Leases(study.history, study.history.run(), 0.2)
    eventually(lambda: log.rows[leases.number].beats >= 3)
    study.optimizer.ask()
    assert log.rows[leases.number].seen == 2, "it may still be computing a proposal that has read no more"
    leases.note_seen()
    eventually(lambda: log.rows[leases.number].seen == len(study.history))
    leases.close()


def test_a_run_of_this_process_that_has_ended_is_no_driver() -> None:
    log = Aging()
    study = study_on(log)
    earlier = Leases(study.history, study.history.run())
    later = Leases(study.history, study.history.run())
    assert look(later) == {earlier.number}
    row = log.rows[earlier.number]
    earlier.close()
    log.rows[earlier.number] = row  # as if its last words were lost
    assert look(later) == set()
    later.close()


def test_orphans_are_those_of_the_dead() -> None:
    log = Aging()
    study = study_on(log)
    history, optimizer = study.history, study.optimizer
    by_hand = optimizer.ask()
    history.driver = other = history.run()
    theirs = optimizer.ask()
    leases = Leases(history, history.run())
    history.driver = leases.number
    own = optimizer.ask()
    assert by_hand and theirs and own
    log.rows[other] = Driver(other, "elsewhere/1/1", 0, 0, 60.0)
    assert leases.orphans() == [] and leases.has_others_work()
    assert [(job.key, attempt) for job, attempt in leases.orphans(joining=True)] == [(by_hand.key, 0)]
    del log.rows[other]
    leases._looked = (-1, 0.0)
    assert [(job.key, attempt) for job, attempt in leases.orphans()] == [(theirs.key, 0)] and not leases.has_others_work()
    leases.close()


def test_what_another_takes_over_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    """Two jobs of a dead driver: while this driver records the loss of the first, another takes over the second and starts it."""
    one, two = (Study(Random(line(), seed=1), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    one.history.driver = one.history.run()
    assert one.optimizer.ask() and one.optimizer.ask()
    loop = Loop(one, Inline(lambda config: 1.0), Stop(trials=2), None, Failures(), 60.0)
    lose = one.history.lose

    def lose_late(job: Job, *given: Any, **named: Any) -> bool:
        if job.key == (0, 1):
            two.history.refresh()
            two.history.driver = two.history.run()
            two.history.log.beat(Driver(two.history.driver, "elsewhere/1/1", 0, 0, 60.0))
            assert two.history.lose(two.history.jobs[1, 1], "driver")
            two.optimizer.ask()
        return lose(job, *given, **named)

    one.history.lose = lose_late  # type: ignore[method-assign]
    loop._take_over(joining=True)
    history = one.history
    assert list(history.retries) == [(0, 1)] and list(history.pending) == [(1, 1)]
    assert history.attempt((1, 1)) == 1 and history.attempts.holders[1, 1] == two.history.driver
    assert two.history.driver in {row.number for row, _ in history.log.drivers()}
    loop.leases.close()


def test_a_log_is_the_same_however_its_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in one process: each sees that the others live."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("s.db")
    studies = [Study(Random(line()), log=SQLiteLog(name)) for name in ("s.db", "./s.db", str(tmp_path / "s.db"), "link.db")]
    lives = [Leases(study.history, study.history.run()) for study in studies]
    for leases in lives:
        leases.history.refresh()
        assert look(leases) == {other.number for other in lives} - {leases.number}
    for leases in lives:
        leases.close()


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_whoever_clears_up_reads_on_first(tmp_path: Path, moment: str) -> None:
    """A driver that came and went since the last look, or comes while the folder is looked through, keeps what it published."""
    one, two = (Study(make("asha"), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    leases = Leases(one.history, one.history.run())
    executors = [Inline(Traces(tmp_path / "traces"), 9, tmp_path / "c") for _ in range(2)]
    files = Files(one, executors[0], leases)

    def work() -> None:
        job = two.optimizer.ask()
        assert job is not None
        executors[1].submit(job)
        outcome = executors[1].wait()
        assert outcome is not None
        two.optimizer.tell(*outcome)

    if moment == "before":
        work()
    else:
        refresh = one.history.refresh
        one.history.refresh = lambda: (refresh(), work())[0]  # type: ignore[method-assign]
    files.clear()
    assert (tmp_path / "c" / "0-1.ckpt").exists()
    leases.close()
    for executor in executors:
        executor.close()


def test_a_checkpoint_waits_until_every_driver_has_read_of_its_death(tmp_path: Path) -> None:
    log = Aging()
    study = Study(make("pbt"), log=log)
    number = study.history.run()
    executor = Inline(Traces(tmp_path / "traces"), 9, tmp_path / "c")
    leases = Leases(study.history, study.history.run())
    files = Files(study, executor, leases)
    log.rows[number] = Driver(number, "elsewhere/1/1", 0, 0, 60.0)
    while (job := study.optimizer.ask()) is not None and len(study.history.results) < 8:
        executor.submit(job)
        outcome = executor.wait()
        assert outcome is not None
        study.optimizer.tell(*outcome)
        files.release()
    there = {path.name for path in (tmp_path / "c").iterdir()}
    assert there == {standing_name(study.history, key) for key in study.history.results}, "one went before all had read"
    log.rows[number] = Driver(number, "elsewhere/1/1", 1, len(study.history), 60.0)
    leases._looked = (-1, 0.0)
    files.release()  # the last start has let more of them die
    left = {path.name for path in (tmp_path / "c").iterdir()}
    assert left == {standing_name(study.history, key) for key in study.keep() if key in study.history.results} and left < there
    leases.close()
    executor.close()


@pytest.mark.parametrize("search", [minimize, maximize])
def test_a_search_takes_a_lease(search: Callable[..., Study], tmp_path: Path) -> None:
    """It is what other drivers read of this one, while it works."""
    path = tmp_path / "log.db"

    def leases(config: dict[str, Any]) -> float:
        log = SQLiteLog(path, readonly=True)
        (found,) = (driver.lease for driver, _ in log.drivers())
        log.close()
        return found

    assert search(leases, line(), "random", 1, log=path, lease=7.0, quiet=True).best.value == 7.0
    with pytest.raises(ValueError, match="lease is 0; allowed is a finite number above 0, or None"):
        search(leases, line(), "random", 1, lease=0, quiet=True)
