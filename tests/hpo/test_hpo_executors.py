"""Executors: every one that is listed under the laws; death, hangs and races of the pools."""

import asyncio
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hpo import ASHA, EXECUTORS, Executor, Float, Job, Manual, Random, Result, Space, Stop, Study, run
from hpo.executors import Lost, executor_options, make_executor, standing_name
from tests.hpo.clusters import FORGETFUL, needs
from tests.hpo.objectives import ODD, Reports, Suicidal, Traces, odd, sleeps, square


def make(name: str, objective: Any, horizon: int = 1, folder: Path | None = None, **options: Any) -> Any:
    return make_executor(name, objective, horizon, folder, {"workers": 1, **needs(name), **options})


def outcome(executor: Executor, job: Job) -> Result:
    executor.submit(job)
    found = executor.wait(900.0)
    assert found is not None and found[0] == job and isinstance(found[1], Result)
    return found[1]


class ExecutorLaws:
    """What every executor keeps."""

    name: str

    def test_a_function(self) -> None:
        executor = make(self.name, square)
        try:
            assert executor.kind == "function" and executor.free == 1 and executor.wait(0.0) is None
            executor.submit(Job(0, {"x": 3.0}, 1))
            assert executor.free == 0
            found = executor.wait(900.0)
            assert found is not None and isinstance(found[1], Result) and found[1].metrics[""] == 9.0
            assert found[1].error is None and found[1].system["seconds"] >= 0 and executor.free == 1
            assert executor.wait(0.0) is None
        finally:
            executor.close()

    def test_odd_answers_are_errors(self, tmp_path: Path) -> None:
        """Through the whole loop: whatever an objective does, the study goes on and the failure is a result."""
        space = Space(what=ODD)
        configs = [{"what": what} for what in ODD] + [{"what": "raise"}]
        study = Study(Manual(space, configs=configs))
        done: list[Any] = []
        executor = make(self.name, odd)  # here, since Ray starts in no other thread
        thread = threading.Thread(target=lambda: done.append(run(study, executor)), daemon=True)
        thread.start()
        thread.join(900)
        assert not thread.is_alive(), f"hangs at {[job.config for job in study.history.pending.values()]}"
        assert done and len(study.history.results) == len(configs), study.rows()[-1:]
        assert all(study.history.is_failure(key) for key in study.history.results)
        errors = [result.error or "" for result in study.history.results.values()]
        assert "boom" in errors[0] and all(errors)

    def test_pause_resume_and_clone(self, tmp_path: Path) -> None:
        traces = Traces(tmp_path / "journal")
        executor = make(self.name, traces, 9, tmp_path / "checkpoints")
        try:
            first = outcome(executor, Job(0, {"x": 0.3}, 3, seed=5))
            assert (tmp_path / "checkpoints/0-3.ckpt").exists(), "a checkpoint is durable before its job comes out"
            assert len(first.curve) == 3
            onwards = outcome(executor, Job(0, {"x": 0.3}, 9, (0, 3), seed=5))
            assert [step for step, _ in onwards.curve] == [4, 5, 6, 7, 8, 9]
            clone = outcome(executor, Job(1, {"x": 0.7}, 6, (0, 3), seed=6))
            assert [step for step, _ in clone.curve] == [4, 5, 6]
            whole = outcome(executor, Job(2, {"x": 0.3}, 9, seed=5))
            assert whole.metrics[""] if "" in whole.metrics else whole.metrics["loss"] == onwards.metrics["loss"]
            executor.submit(Job(3, {"x": 0.7}, 6, (8, 3), seed=6))
            gone = executor.wait(900.0)
            assert gone is not None and isinstance(gone[1], Lost) and gone[1].cause == "source"
            assert "8-3.ckpt" in gone[1].message
            assert executor.free == 1
        finally:
            executor.close()
        assert [line[:3] for line in traces.lines()] == [[5, 0, 3], [5, 3, 9], [6, 3, 6], [5, 0, 9]]

    def test_keep_deletes_the_others(self, tmp_path: Path) -> None:
        for folders in (False, True):
            folder = tmp_path / f"checkpoints{folders}"
            executor = make(self.name, Traces(tmp_path / "journal", folders=folders), 9, folder)
            try:
                for trial in range(4):
                    outcome(executor, Job(trial, {"x": 0.3}, 3))
                    outcome(executor, Job(trial, {"x": 0.3}, 3)) if trial == 1 else None  # given out again: replaced
                (folder / "notes.txt").write_text("not ours")
                for litter in ("0-3.ckpt.17.half", "0-3.ckpt.17.half.0a1b2c3d.tmp", "3-3.ckpt.0a1b2c3d.tmp"):
                    (folder / litter).write_text("of a process that died")
                executor.keep(lambda: dict.fromkeys([(1, 3), (2, 3), (7, 3)]))
                assert sorted(p.name for p in folder.iterdir()) == ["1-3.ckpt", "2-3.ckpt", "notes.txt"]
            finally:
                executor.close()
            assert (folder / "1-3.ckpt").exists(), "a folder that was given stays"

    def test_drop_gives_up_these_and_no_others(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is dropped is gone from the folder and from memory, what is not stays, and nothing looks through folders."""
        traces = Traces(tmp_path / "journal")
        executor = make(self.name, traces, 9, tmp_path / "c")
        try:
            for trial in range(3):
                outcome(executor, Job(trial, {"x": 0.3}, 3, seed=trial))
            (tmp_path / "c" / "9-3.ckpt").write_text("of another driver")
            with monkeypatch.context() as patch:
                patch.setattr(os, "scandir", None)
                executor.drop([(0, 3), (1, 6), (7, 3)])  # one that stands, and two that never were
            assert sorted(p.name for p in (tmp_path / "c").glob("*.ckpt")) == ["1-3.ckpt", "2-3.ckpt", "9-3.ckpt"]
            if self.name not in FORGETFUL:
                (tmp_path / "c" / "1-3.ckpt").unlink()  # in memory still: not dropped
            outcome(executor, Job(1, {"x": 0.3}, 9, (1, 3), seed=1))
            executor.submit(Job(0, {"x": 0.3}, 9, (0, 3), seed=0))
            gone = executor.wait(900.0)
            assert gone is not None and isinstance(gone[1], Lost), "dropped, but still in memory"
        finally:
            executor.close()
        assert [line[:3] for line in traces.lines()] == [[0, 0, 3], [1, 0, 3], [2, 0, 3], [1, 3, 9]]

    def test_drop_closes_parked_trials(self, tmp_path: Path) -> None:
        journal = tmp_path / "journal"
        executor = make(self.name, Reports(journal), 9)
        try:
            outcome(executor, Job(0, {"x": 0.5}, 3))
            executor.drop([(0, 3)])
            outcome(executor, Job(1, {"x": 0.25}, 3))  # a worker hears with its next job
            until(lambda: "end 0.5" in journal.read_text().splitlines())
        finally:
            executor.close()

    def test_drop_spares_what_has_not_come_out(self, tmp_path: Path) -> None:
        executor = make(self.name, Traces(tmp_path / "journal"), 9, tmp_path / "c")
        try:
            assert getattr(executor, "pids", True), "its workers are ready"
            executor.submit(Job(0, {"x": 0.3}, 3))
            if "workers" in executor_options(self.name):  # else it runs inside `wait`
                until(lambda: bool(list((tmp_path / "c").glob("*.ckpt"))))
            executor.drop([(0, 3)])
            assert executor.wait(900.0) is not None and (tmp_path / "c/0-3.ckpt").exists()
        finally:
            executor.close()

    def test_keep_spares_what_has_not_come_out(self, tmp_path: Path) -> None:
        """A job that has finished but not been waited for is in flight: its checkpoint must stay."""
        if "workers" not in executor_options(self.name):
            pytest.skip("runs a job inside wait")
        executor = make(self.name, Traces(tmp_path / "journal"), 9, tmp_path / "c", workers=2)
        try:
            assert getattr(executor, "pids", True), "its workers are ready"
            executor.submit(Job(0, {"x": 0.3}, 3))
            executor.submit(Job(1, {"x": 0.4}, 3))
            assert executor.wait(900.0) is not None
            until(lambda: len(list((tmp_path / "c").glob("*.ckpt"))) == 2)
            time.sleep(0.3)
            executor.keep(dict)
            found = executor.wait(900.0)
            assert found is not None and (tmp_path / f"c/{found[0].trial}-3.ckpt").exists()
        finally:
            executor.close()

    def test_a_temporary_folder_goes(self) -> None:
        executor = make(self.name, square)
        folder = executor._checkpoints.folder
        assert folder.is_dir()
        executor.close()
        assert not folder.exists()

    def test_reports_are_parked_and_resumed(self, tmp_path: Path) -> None:
        journal = tmp_path / "journal"
        executor = make(self.name, Reports(journal), 9)
        try:
            assert executor.kind == "report"
            first = outcome(executor, Job(0, {"x": 0.5}, 3))
            assert [step for step, _ in first.curve] == [1, 2, 3] and first.metrics[""] == 0.25 + 1 / 3
            outcome(executor, Job(1, {"x": 0.25}, 3))
            second = outcome(executor, Job(0, {"x": 0.5}, 5, (0, 3)))
            assert [step for step, _ in second.curve] == [4, 5]
            lines = journal.read_text().splitlines()
            if self.name in FORGETFUL:
                assert lines.count("begin 0.5") == 2, "from its beginning"
            else:
                assert lines.count("begin 0.5") == 1 and not any(line.startswith("end") for line in lines)
            clone = outcome(executor, Job(2, {"x": 0.5}, 5, (0, 3)))
            assert clone.error is not None and "cannot be cloned" in clone.error
            last = outcome(executor, Job(0, {"x": 0.5}, 9, (0, 5)))
            assert [step for step, _ in last.curve] == [6, 7, 8, 9] and last.metrics[""] == 0.25 + 1 / 9
        finally:
            executor.close()
        if self.name not in ("processes", "ray"):  # a process is killed: nothing runs in it afterwards
            calls = 4 if self.name in FORGETFUL else 2
            until(lambda: journal.read_text().count("end ") == calls)
            assert journal.read_text().count("raised Closed") == calls

    def test_a_study_gives_the_same_everywhere(self, tmp_path: Path) -> None:
        space = Space(x=Float(0.0, 1.0))
        study = Study(ASHA(Random(space, seed=3), max_resource=9))
        traces = Traces(tmp_path / "journal")
        run(study, make(self.name, traces, 9, tmp_path / "c"), Stop(trials=9))
        found = {key: result.metrics["loss"] for key, result in study.history.results.items()}
        again = Study(ASHA(Random(space, seed=3), max_resource=9))
        run(again, make("inline", Traces(tmp_path / "other"), 9), Stop(trials=9))
        assert found == {key: result.metrics["loss"] for key, result in again.history.results.items()}
        assert max(until for _, until in found) == 9
        best = standing_name(study.history, study.best.key)
        left = {path.name for path in (tmp_path / "c").iterdir()}
        assert best in left and left == {standing_name(study.history, key) for key in study.keep()}


def test_an_option_that_an_executor_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no option 'lookahead'; those that have it are \['processes'\]"):
        make_executor("threads", square, options={"lookahead": 1})
    with pytest.raises(ValueError, match=r"unknown executor 'fibres'; allowed are \['inline', "):
        make_executor("fibres", square)
    make_executor("inline", square, options={"workers": 1, "timeout": None}).close()


for _name in EXECUTORS:
    _more = {"pytestmark": pytest.mark.slow} if _name == "batch" else {}  # what Slurm's is made of
    globals()[f"Test{_name.capitalize()}"] = type(f"Test{_name.capitalize()}", (ExecutorLaws,), {"name": _name, **_more})


def until(condition: Any, seconds: float = 900.0) -> None:
    """Waits for what comes soon; the seconds only end a test that would hang, and are far beyond what a busy machine takes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_a_hang_is_an_error_and_the_pool_goes_on(name: str) -> None:
    executor = make(name, sleeps, workers=2, timeout=3.0)
    try:
        if name == "processes":
            assert len(executor.pids) == 2
        executor.submit(Job(0, {"x": 100.0}, 1))
        executor.submit(Job(1, {"x": 0.01}, 1))
        first = executor.wait(900.0)
        assert first is not None and first[0].trial == 1 and isinstance(first[1], Result) and first[1].error is None
        second = executor.wait(900.0)  # the job itself sleeps for longer
        assert second is not None and second[0].trial == 0 and isinstance(second[1], Result)
        assert "timeout" in (second[1].error or "")
        for trial in (2, 3):
            executor.submit(Job(trial, {"x": 0.01}, 1))
        for _ in range(2):
            found = executor.wait(900.0)
            assert found is not None and isinstance(found[1], Result) and found[1].error is None
    finally:
        executor.close()


def test_wait_gives_up_after_its_timeout() -> None:
    given_up = threading.Event()

    def waiting(config: dict[str, Any]) -> float:
        return float(given_up.wait(900.0))

    executor = make("threads", waiting)
    executor.submit(Job(0, {"x": 1.0}, 1))
    assert executor.wait(0.1) is None
    given_up.set()
    found = executor.wait()
    assert found is not None and isinstance(found[1], Result) and found[1].metrics[""] == 1.0, "it waited for the job"
    executor.close()


def test_coroutines_wait_together() -> None:
    study = Study(Random(Space(x=Float(0.0, 1.0))))
    arrived: list[float] = []

    async def meet(config: dict[str, Any]) -> float:
        arrived.append(config["x"])
        for _ in range(3000):
            if len(arrived) == 8:
                return config["x"]
            await asyncio.sleep(0.02)
        raise TimeoutError(f"only {len(arrived)} of 8 have come")

    run(study, make("threads", meet, workers=8), Stop(trials=8))
    assert len(study.successes()) == 8


def test_a_killed_worker_loses_its_job_and_it_is_finished_elsewhere(tmp_path: Path) -> None:
    """SIGKILL in the middle of a later rung: lost, given out again, resumed from the last checkpoint."""
    traces = Traces(tmp_path / "journal", slow=0.03)
    executor = make("processes", traces, 27, tmp_path / "c", workers=2)
    study = Study(ASHA(Random(Space(x=Float(0.0, 1.0))), min_resource=9, max_resource=27), unit="steps")
    killed: list[int] = []

    def kill() -> None:
        until(lambda: traces.journal.exists() and any(line[1] == 9 for line in traces.lines()))
        killed.append(next(line[3] for line in traces.lines() if line[1] == 9))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    history = run(study, executor, Stop(trials=6))
    killer.join()
    lost = [event for event in history.events if event.kind == "lost"]
    assert len(lost) >= 1 and not history.pending and not history.retries
    assert all(result.error is None for result in history.results.values())
    trained = [line for line in traces.lines() if line[2] == 27]
    assert trained[0][1] == 9 and all(line[1] == 9 for line in trained), "resumed from the checkpoint, never retrained"
    again = [line for line in trained if line[0] == trained[0][0]]
    assert len(again) == 2 and again[0][3] == killed[0] != again[1][3]


@pytest.mark.parametrize(
    ("how", "said"),
    [(9, "was killed by signal 9 (SIGKILL)"), (11, "was killed by signal 11 (SIGSEGV)"), (0, "ended with status 3")],
)
def test_a_worker_that_always_dies_is_an_error_at_the_limit_and_is_heard_of(
    how: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Three jobs die twice each: one line a run says how, and every error says it."""
    study = Study(Random(Space(x=Float(0.0, 1.0))), lost_limit=2)
    run(study, make("processes", Suicidal(how)), Stop(trials=2))
    assert [result.error for result in study.history.results.values()] == [f"lost 2 times: the worker {said}"] * 2
    with pytest.raises(ValueError, match="no trial has succeeded among 2 results; the last error was: lost 2 times: the worker"):
        _ = study.best
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "lost" in line]
    assert re.match(rf"trial [01] was lost: the worker {re.escape(said)}", line) and ("memory" in line) is (how == 9)


def test_an_idle_worker_that_dies_costs_nothing(tmp_path: Path) -> None:
    executor = make("processes", square)
    try:
        assert outcome(executor, Job(0, {"x": 1.0}, 1)).error is None
        os.kill(executor.pids[0], signal.SIGKILL)
        time.sleep(0.5)
        assert outcome(executor, Job(1, {"x": 1.0}, 1)).error is None
    finally:
        executor.close()


def test_closing_kills_the_workers(tmp_path: Path) -> None:
    executor = make("processes", sleeps, workers=2)
    pids = executor.pids
    executor.submit(Job(0, {"x": 100.0}, 1))
    executor.close()
    until(lambda: not any(alive(pid) for pid in pids))


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(TypeError, match="the objective cannot be sent to another process"):
        make("processes", lambda config: 1.0)
    for name in ("threads", "processes"):
        with pytest.raises(ValueError, match="workers is 0; allowed is an integer of at least 1"):
            make(name, square, workers=0)
