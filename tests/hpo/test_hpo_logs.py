"""Logs: every one that is listed under the laws, and what only a file can get wrong."""

import json
import math
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo import Job, MemoryLog, Random, Result, SQLiteLog, Study
from hpo.logs import Collision, Event, Log, turns
from hpo.testing import Drive, started_jobs
from tests.hpo.cases import ROOT, build, build_over
from tests.hpo.objectives import line
from tests.hpo.servers import NAMES, SHARED, at, home, url

HEADER = {"space": {}, "seed": 0, "horizon": 1}
RESULT = Result({"loss": 1.0}).to_json()


def start(trial: int, until: int = 1, attempt: int = 0) -> Event:
    return Event("start", {"job": Job(trial, {"x": 0.1}, until).to_json(), "seen": 0, "attempt": attempt}, 1.5)


def changed(event: Event, *path: str, to: Any) -> Event:
    """The event with another value at a place of its body."""
    body = json.loads(json.dumps(event.body))
    place = body
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return Event(event.kind, body, event.time)


FINISH = Event("finish", {"trial": 0, "until": 1, "result": RESULT}, 3.0)
LOST = Event("lost", {"trial": 0, "until": 1, "attempt": 0}, 3.0)
# what no reader takes -> a piece of the sentence that refuses it
WRONG: dict[str, tuple[Event, str]] = {
    "a path as trial": (changed(start(1), "job", "trial", to="../../pwned"), r"its trial is '\.\./\.\./pwned'; allowed is"),
    "a path as the trial of a finish": (changed(FINISH, "trial", to="../../pwned"), "its trial is"),
    "a float as trial": (changed(start(1), "job", "trial", to=1.0), r"its trial is 1\.0"),
    "a boolean as trial": (changed(start(1), "job", "trial", to=True), "its trial is True"),
    "a negative trial": (changed(start(1), "job", "trial", to=-1), "its trial is -1"),
    "no budget": (changed(start(1), "job", "until", to=0), "its until is 0; allowed is an integer of at least 1"),
    "a path as source": (changed(start(1), "job", "source", to=["../x", 1]), "its trial is '../x'"),
    "half a source": (changed(start(1), "job", "source", to=[1]), r"its source is \[1\]"),
    "a seed of text": (changed(start(1), "job", "seed", to="0"), "its seed is '0'"),
    "no configuration": (changed(start(1), "job", "config", to=[1]), "its configuration is"),
    "no note": (changed(start(1), "job", "note", to=None), "its note is None"),
    "no job": (changed(start(1), "job", to=3), "its job is 3"),
    "seen as text": (changed(start(1), "seen", to="all"), "its seen is 'all'"),
    "an attempt of text": (changed(LOST, "attempt", to="x"), "its attempt is 'x'"),
    "a metric of text": (changed(FINISH, "result", "metrics", to={"loss": "low"}), "its metric 'loss' is 'low'"),
    "a measurement of text": (changed(FINISH, "result", "system", to={"seconds": "3"}), "its measurement 'seconds' is '3'"),
    "a curve of numbers": (changed(FINISH, "result", "curve", to=[1, 2]), "its curve holds 1"),
    "a curve in halves": (changed(FINISH, "result", "curve", to=[[0.5, 2.0]]), "its step of the curve is 0.5"),
    "an error of numbers": (changed(FINISH, "result", "error", to=3), "its error is 3"),
    "no result": (Event("finish", {"trial": 0, "until": 1}, 0.0), "it is a finish without 'result'"),
    "an unknown kind": (Event("pwn", {}, 0.0), "its kind is 'pwn'; this version of the framework knows"),
    "a run of text": (Event("run", {"trials": "many"}, 0.0), "its limit of trials is 'many'; allowed is a number"),
    "a limit by a number": (Event("limit", {"rule": 3, "value": 3}, 0.0), "its rule is 3; allowed is a text"),
    "a limit with a list": (Event("limit", {"rule": "dry", "detail": [1]}, 0.0), r"its detail is \[1\]; allowed is a mapping"),
    "a time of text": (Event("run", {}, "now"), "its time is 'now'"),  # type: ignore[arg-type]
    "no time": (Event("run", {}, math.nan), "its time is nan"),
    "a body of text": (Event("run", "{}", 0.0), "its body is '{}'"),  # type: ignore[arg-type]
}


class LogLaws:
    """What every log keeps."""

    name: str

    @pytest.fixture(autouse=True)
    def house(self, tmp_path: Path) -> Iterator[None]:
        with home(self.name, tmp_path):
            yield

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        log = at(self.name, tmp_path)
        yield log
        log.close()

    def test_the_first_header_stands(self, log: Log) -> None:
        assert log.open(HEADER) == HEADER
        assert log.open({"other": 1}) == HEADER

    def test_reads_what_was_appended_in_order(self, log: Log) -> None:
        log.open(HEADER)
        assert list(log.read(0)) == []
        events = [start(0), Event("run", {}, 2.0), Event("finish", {"trial": 0, "until": 1, "result": RESULT}, 3.0)]
        for event in events:
            log.append(event)
        assert list(log.read(0)) == events and list(log.read(2)) == events[2:] and list(log.read(3)) == []

    def test_odd_values_survive(self, log: Log) -> None:
        log.open(HEADER)
        values = [math.inf, -math.inf, 5e-324, 0.1 + 0.2, -0.0, 2**70, "ä\n'\"\u2028", "\0", "\ud800", None, True, [], {}]
        log.append(Event("enqueue", {"config": {"x": values}}, 1e9 + 1 / 3))
        (event,) = log.read(0)
        assert event.body["config"]["x"] == values and event.time == 1e9 + 1 / 3
        assert [type(v) for v in event.body["config"]["x"]] == [type(v) for v in values]
        log.append(Event("enqueue", {"config": {"x": math.nan}}, 0))
        assert math.isnan(log.read(1)[0].body["config"]["x"])

    def test_a_collision_changes_nothing(self, log: Log) -> None:
        log.open(HEADER)
        log.append(start(0))
        with pytest.raises(Collision):
            log.append(start(0))
        with pytest.raises(Collision):  # an addition takes the number of a trial
            log.append(Event("add", {"job": Job(0, {}, 1).to_json(), "result": RESULT}, 0.0))
        log.append(start(0, attempt=1))
        log.append(start(0, until=2))
        log.append(Event("run", {}, 0.0))
        log.append(Event("run", {}, 0.0))
        assert len(log.read(0)) == 5 and len(log.read(1)) == 4

    def test_events_are_counted_without_gaps(self, log: Log) -> None:
        """A collision takes no position: what stands behind the first n events are all the others, for every n."""
        log.open(HEADER)
        written = []
        for i in range(12):
            event = start(i // 2)
            try:
                log.append(event)
                written.append(event)
            except Collision:
                assert i % 2
            for after in range(len(written) + 2):
                assert list(log.read(after)) == written[after:]
        assert len(written) == 6

    @pytest.mark.parametrize("change", sorted(WRONG))
    def test_what_no_reader_would_take_is_refused(self, log: Log, change: str) -> None:
        """By name and unchanged: with another type in a place on which files' names or proposals rely."""
        log.open(HEADER)
        log.append(start(0))
        event, said = WRONG[change]
        with pytest.raises(ValueError, match=said):
            log.append(event)
        log.append(start(1))
        assert [event.body["job"]["trial"] for event in log.read(0)] == [0, 1]

    def test_a_proposal_that_has_seen_what_is_not_there_is_refused(self, log: Log) -> None:
        """It would stand there for ever, and nobody could open the log any more."""
        log.open(HEADER)
        log.append(start(0))
        with pytest.raises(ValueError, match="its proposal had seen 3 events, but 1 stand before it"):
            log.append(changed(start(1), "seen", to=3))
        log.append(changed(start(1), "seen", to=1))
        assert len(log.read(0)) == 2

    def test_threads_share_one_study(self, log: Log) -> None:
        study, failed = Study(Random(line()), log=log), []

        def work() -> None:
            try:
                for _ in range(10):
                    job = study.optimizer.ask()
                    assert job is not None
                    study.optimizer.tell(job, 1.0)
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed and sorted(study.history.results) == [(trial, 1) for trial in range(40)]
        assert study.history.events == list(log.read(0))

    def test_further_fields_are_kept(self, log: Log) -> None:
        """Later versions say more in a body than this one asks for."""
        log.open(HEADER)
        bodies: list[dict[str, Any]] = [{"rule": "trials", "value": 3, "phase": "finals"}, {"driver": {"pid": 1}}]
        log.append(Event("limit", bodies[0], 0.5))
        log.append(Event("run", bodies[1], 0.5))
        assert [event.body for event in log.read(0)] == bodies

    def test_nothing_is_told_to_a_closed_log(self, log: Log) -> None:
        log.open(HEADER)
        log.append(start(0))
        log.close()
        with pytest.raises(ValueError, match="is closed"):
            log.append(start(1))
        log.close()

    def test_threads_append_without_loss(self, log: Log) -> None:
        log.open(HEADER)
        collisions = []

        def append(offset: int) -> None:
            for i in range(20):
                try:
                    log.append(start(i))
                except Collision:
                    collisions.append(i)
                log.append(start(1000 + offset * 100 + i))

        threads = [threading.Thread(target=append, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(log.read(0)) == 100 and len(collisions) == 60

    def test_the_same_study_as_in_memory(self, log: Log) -> None:
        a = Drive(build_over("asha", "mixed", 0), log=log).run(20, lost=0.1, foreign=0.1)
        b = Drive(build_over("asha", "mixed", 0), log=MemoryLog()).run(20, lost=0.1, foreign=0.1)
        assert a.digest == b.digest and started_jobs(a) == started_jobs(b)

    def test_two_histories_on_one_log_share_it(self, log: Log) -> None:
        one, two = Study(build_over("asha", "mixed", 0), log=log), Study(build_over("asha", "mixed", 0), log=log)
        keys = set()
        for i in range(20):
            study = (one, two)[i % 2]
            job = study.optimizer.ask()
            assert job is not None and job.key not in keys
            keys.add(job.key)
            if i % 3:
                study.optimizer.tell(job, float(i))
        one.history.refresh(), two.history.refresh()
        assert one.history.digest == two.history.digest and one.history.results == two.history.results

    def test_a_late_reader_proposes_again(self, log: Log) -> None:
        """Between a driver's reading and its appending, another one appends: the loser reads on."""
        one, two = Study(Random(line()), log=log), Study(Random(line()), log=log)
        real, interfered = one.history.start, []

        def start(job: Job, seen: int) -> None:
            if not interfered:
                interfered.append(two.optimizer.ask())
            real(job, seen)

        one.history.start = start  # type: ignore[method-assign]
        job = one.optimizer.ask()
        assert interfered[0].key == (0, 1) and job is not None and job.key == (1, 1)
        assert interfered[0].config != job.config and interfered[0].seed != job.seed
        one.history.start = real  # type: ignore[method-assign]
        assert not two.optimizer.tell(interfered[0], 1.0) or not one.optimizer.tell(interfered[0], 2.0)
        one.history.refresh()
        assert one.history.results[0, 1].metrics == {"loss": 1.0}


APPENDER = """
import sys
from hpo import Job
from hpo.logs import Collision, Event, open_log
log = open_log(sys.argv[1])
log.open({"space": {}, "seed": 0, "horizon": 1})
mine, read = [], 0
for i in range(40):
    for trial in (i, 1000 + 100 * int(sys.argv[2]) + i):  # one that all want, and one that nobody else does
        try:
            log.append(Event("start", {"job": Job(trial, {"x": 0.1}, 1).to_json(), "seen": 0, "attempt": 0}, float(sys.argv[2])))
            mine.append(trial)
        except Collision:
            pass
    read += len(log.read(read))
print(mine)
"""


class SharedLogLaws(LogLaws):
    """What every log keeps that several processes can open."""

    def another(self, tmp_path: Path) -> Log:
        return at(self.name, tmp_path)

    def test_processes_append_without_loss(self, tmp_path: Path) -> None:
        """Four processes open a new log at once; every append that did not collide stands there, once, by whom it was."""
        command = [sys.executable, "-c", APPENDER, url(self.name, tmp_path)]
        processes = [
            subprocess.Popen([*command, str(k)], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for k in range(4)
        ]
        told: dict[int, float] = {}
        for k, process in enumerate(processes):
            out, err = process.communicate(timeout=900)
            assert process.returncode == 0, err
            mine = json.loads(out)
            assert not set(mine) & set(told) and len(mine) >= 40
            told |= dict.fromkeys(mine, float(k))
        log = self.another(tmp_path)
        log.open(HEADER)
        assert {event.body["job"]["trial"]: event.time for event in log.read(0)} == told and len(log.read(0)) == 200

    def test_whoever_has_lost_is_next(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another driver that appends meanwhile waits for its next append, but not for one that never comes."""
        monkeypatch.setattr(turns, "LIMIT", 30.0)
        one, two = self.another(tmp_path), self.another(tmp_path)
        one.open(HEADER), two.open(HEADER)
        one.append(start(0))
        for i, lost in enumerate([start(0), FINISH, start(0), FINISH]):
            with pytest.raises(Collision):
                two.append(start(0))
            late = threading.Thread(target=one.append, args=(start(10 + i),))
            late.start()
            late.join(0.3)
            assert late.is_alive() and len(two.read(0)) == 1 + 2 * i
            two.append(start(20 + i) if lost.kind == "start" else Event("run", {}, 1.0))
            late.join(900)
            assert len(two.read(0)) == len(one.read(0)) == 3 + 2 * i
        for i in range(3):
            monkeypatch.setattr(turns, "LIMIT", 0.1)
            with pytest.raises(Collision):
                two.append(start(0))
            one.append(start(30 + i))
            two.append(start(40 + i))
        with pytest.raises(Collision):
            two.append(start(0))
        two.close()
        one.append(start(50))
        assert len(one.read(0)) == 16
        one.close()

    def test_reopened_it_is_the_same(self, tmp_path: Path) -> None:
        events = [start(0), FINISH, start(1), Event("run", {}, 1e9 + 1 / 3)]
        log = self.another(tmp_path)
        assert log.open(HEADER) == HEADER
        for event in events[:3]:
            log.append(event)
        log.close()
        again = self.another(tmp_path)
        assert again.open({"other": 1}) == HEADER and list(again.read(0)) == events[:3]
        again.append(events[3])
        with pytest.raises(Collision):
            again.append(start(0))
        assert list(again.read(1)) == events[1:]


for _name in NAMES:
    _laws = SharedLogLaws if _name in SHARED else LogLaws
    globals()[f"Test{_name.capitalize()}"] = type(f"Test{_name.capitalize()}", (_laws,), {"name": _name})


def test_sqlite_reopens(tmp_path: Path) -> None:
    first = Drive(build_over("hyperband", "mixed", 0), log=SQLiteLog(tmp_path / "log.db")).run(10)
    log = SQLiteLog(tmp_path / "log.db")
    again = Study(build_over("hyperband", "mixed", 0), log=log).history
    assert again.digest == first.digest and again.losses((0, 1)) == first.losses((0, 1))
    log.close()
    with pytest.raises(ValueError, match="is closed"):
        log.append(start(99))
    with pytest.raises(ValueError, match="is closed"):
        log.read(0)


def test_header_mismatch_names_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    Study(build_over("asha", "mixed", 0), log=SQLiteLog(path))
    for make, sentence in [
        (lambda: Study(build_over("asha", "mixed", 1), log=SQLiteLog(path)), "seed was 0 and is now 1"),
        (lambda: Study(build("asha", line(), 0), log=SQLiteLog(path)), " and is now None and 9 more"),
        (lambda: Study(build_over("asha", "mixed", 0), unit="steps", log=SQLiteLog(path)),
         "unit was 'evaluations' and is now 'steps'"),
        (lambda: Study(build_over("asha", "mixed", 0), horizon=10, log=SQLiteLog(path)), "horizon was 9 and is now 10"),
        (lambda: Study(build_over("asha", "mixed", 0), objectives={"loss": "max"}, log=SQLiteLog(path)), "objectives was"),
        (lambda: Study(build_over("asha(gp)", "mixed", 0), log=SQLiteLog(path)),
         "optimizer.sampler.name was 'Random' and is now 'GP'"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="the log belongs to another study") as caught:
            make()
        assert sentence in str(caught.value)
    Study(build_over("asha", "mixed", 0), log=SQLiteLog(path))


def test_not_a_log(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be looked at " * 10)
    with pytest.raises(ValueError, match=r"text\.db.*is not a log of this framework"):
        SQLiteLog(tmp_path / "text.db")
    with pytest.raises(FileNotFoundError, match="no/such"):
        SQLiteLog(tmp_path / "no/such/log.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE events (a)")
    other.commit()
    with pytest.raises(ValueError, match="is not a log"):
        SQLiteLog(tmp_path / "other.db")
