"""The machine's fault is not the configuration's, and neither is the objective's own mistake."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, PBT, Inline, MemoryLog, Random, Result, Simulator, SQLiteLog, Stop, Study, Threads, run
from hpo.executors import Lost, standing_name
from hpo.executors.checkpoints import Checkpoints
from hpo.executors.worker import Worker
from hpo.job import Job
from tests.hpo.objectives import Trace, Traces, line

ROOT = Path(__file__).resolve().parents[2]


# -- the disk ----------------------------------------------------------------------------------------------------------


class Refused(Trace):
    """A Run whose save or load the system refuses at the calls whose number stands in `refused` ("save 3")."""

    def __init__(self, config: Any, seed: int, journal: Path, refused: dict[str, BaseException], calls: Any) -> None:
        super().__init__(config, seed, journal, 0.0)
        self.refused, self.calls = refused, calls

    def _refuse(self, what: str) -> None:
        self.calls[what] += 1
        error = self.refused.get(f"{what} {self.calls[what]}", self.refused.get(what))
        if error is not None:
            raise error

    def save(self, path: str) -> None:
        Path(path).write_text("half of it")
        self._refuse("save")
        super().save(path)

    def load(self, path: str) -> None:
        self._refuse("load")
        super().load(path)


class Forgetting(Inline):
    """Holds no Run in memory, so that every job with a source loads it."""

    def submit(self, job: Job, attempts: Any = None) -> None:
        self._worker.close()
        super().submit(job, attempts)


class Refusing:
    def __init__(self, journal: Path, refused: dict[str, BaseException]) -> None:
        self.journal, self.refused, self.calls = journal, refused, Counter[str]()

    def __call__(self, config: Any, seed: int, horizon: int) -> Refused:
        return Refused(config, seed, self.journal, self.refused, self.calls)


FULL = OSError(28, "No space left on device")


def asha() -> ASHA:
    return ASHA(Random(line(), seed=3), max_resource=9)


def losses(study: Study) -> dict[Any, Any]:
    return {key: (result.metrics.get("loss"), result.error) for key, result in study.history.results.items()}


def whole(tmp_path: Path, optimizer: Any, stop: Stop) -> dict[Any, Any]:
    study = Study(optimizer)
    run(study, Inline(Traces(tmp_path / "whole"), 9), stop)
    return losses(study)


def other(text: str, cause: BaseException | None = None) -> BaseException:
    error = RuntimeError(text)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [FULL, PermissionError("no"), other("Error while serializing: I/O error: No space left on device (os error 28)"),
     other("it could not be written", FULL)],
    ids=["full", "permission", "a library's words", "its cause"],
)  # fmt: skip
@pytest.mark.parametrize("call", ["save", "load"])
def test_what_the_system_refuses_is_lost_and_comes_again(call: str, error: BaseException, tmp_path: Path) -> None:
    """More often than lost_limit, never three times in a row: every result is as if nothing had been."""
    refused = {f"{call} {n}": error for n in (1, 2, 4, 5, 7, 8)}
    study = Study(asha(), lost_limit=1)
    history = run(study, Forgetting(Refusing(tmp_path / "journal", refused), 9, tmp_path / "c"), Stop(trials=9))
    lost = [event.body for event in history.events if event.kind == "lost"]
    assert len(lost) >= 4 and {body["cause"] for body in lost} == {"disk"}
    assert losses(study) == whole(tmp_path, asha(), Stop(trials=9))
    assert not history.pending and not history.retries
    assert {path.name for path in (tmp_path / "c").iterdir()} == {standing_name(study.history, key) for key in study.keep()}


def test_loads_that_are_refused_are_lost(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    first = Worker(Traces(tmp_path / "j"), 9, checkpoints)
    assert isinstance(first.execute(Job(0, {"x": 0.5}, 3)), Result)
    second = Worker(Refusing(tmp_path / "j", {"load 1": FULL}), 9, checkpoints)
    lost = second.execute(Job(0, {"x": 0.5}, 9, (0, 3)))
    assert isinstance(lost, Lost) and lost.cause == "disk" and "0-3.ckpt" in lost.message and "No space" in lost.message
    assert isinstance(second.execute(Job(0, {"x": 0.5}, 9, (0, 3))), Result)
    checkpoints.close()


def test_three_in_a_row_end_the_run_with_the_jobs_pending(tmp_path: Path) -> None:
    log = SQLiteLog(tmp_path / "log.db")
    study = Study(asha(), log=log)
    full = Refusing(tmp_path / "j", {f"save {n}": FULL for n in (5, 6, 7)})
    with pytest.raises(RuntimeError, match=r"3 jobs in a row were lost.*saving \d-\d.2.ckpt.*No space left.*pending"):
        run(study, Inline(full, 9, tmp_path / "c"), Stop(trials=9))
    assert len(study.history.results) == 4 and all(result.error is None for result in study.history.results.values())
    assert len(study.history.pending) + len(study.history.retries) == 1
    assert not list((tmp_path / "c").glob("*.half"))
    again = Study(asha(), log=SQLiteLog(tmp_path / "log.db"))
    run(again, Inline(Traces(tmp_path / "j"), 9, tmp_path / "c"), Stop(trials=9))
    assert losses(again) == whole(tmp_path, asha(), Stop(trials=9))


def test_anything_else_there_is_an_error_with_its_traceback(tmp_path: Path) -> None:
    """A clone whose shapes do not fit, an answer to a missing file that makes no sense: the configuration's."""
    for call in ("save", "load"):
        wrong = ValueError("layers is 3 in the file and 4 in the model")
        wrong.__context__ = FileNotFoundError("another file")
        checkpoints = Checkpoints(tmp_path / call)
        Worker(Traces(tmp_path / "j"), 9, checkpoints).execute(Job(0, {"x": 0.5}, 3))
        found = Worker(Refusing(tmp_path / "j", {call: wrong}), 9, checkpoints).execute(Job(1, {"x": 0.5}, 9, (0, 3)))
        assert isinstance(found, Result) and found.error == f"ValueError: {wrong}"
        assert "in _refuse" in (found.traceback or "") and "hpo/executors/worker.py" not in (found.traceback or "")
        checkpoints.close()


# -- sources that are gone -----------------------------------------------------------------------------------------------


class Losing(Inline):
    """Loses every checkpoint in the folder, and whatever is in memory, once: before the `at`-th job that has a source."""

    def __init__(self, at: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.at = at

    def submit(self, job: Job, attempts: Any = None) -> None:
        self.at -= job.source is not None
        if self.at == 0 and job.source is not None:
            self._checkpoints.keep({}, self._checkpoints.list_names())
            self._worker.close()
        super().submit(job, attempts)


def pbt() -> PBT:
    return PBT(Random(line(), seed=1), population=4, generations=3, max_resource=9, truncation=0.4)


@pytest.mark.parametrize("make", [asha, pbt])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_missing_source_is_trained_again(make: Any, at: int, tmp_path: Path) -> None:
    """From the nearest that stands; here nothing does, so from the start, clones and their donors included."""
    stop = Stop(trials=9) if make is asha else Stop()
    study = Study(make())
    history = run(study, Losing(at, Traces(tmp_path / "journal"), 9, tmp_path / "c"), stop)
    assert losses(study) == whole(tmp_path, make(), stop) and not history.pending and not history.retries
    assert [event.kind for event in history.events].count("lost") == 0
    begun = Counter(tuple(line[:3]) for line in Traces(tmp_path / "journal").lines())
    assert any(count > 1 for count in begun.values()), "nothing had to be trained again"


def test_a_source_that_cannot_be_trained_again_is_named(tmp_path: Path) -> None:
    study = Study(pbt())
    history = study.history
    added = study.optimizer.add({"x": 0.5}, 1.0, until=3)
    clone = Job(1, {"x": 0.25}, 6, added.key)
    history.start(clone, len(history))
    executor = Inline(Traces(tmp_path / "journal"), 9, tmp_path / "c")
    run(study, executor, Stop(when=lambda h: clone.key in h.results))
    error = history.results[clone.key].error or ""
    assert error.startswith("the checkpoint of trial 0 at 3, which the job starts from, is gone") and "added" in error


class Adopting(Trace):
    adopted: list[str] = []

    def adopt(self, path: str) -> None:
        self.adopted.append(Path(path).name)
        self.load(path)


def test_clones_adopt_and_resumes_load(tmp_path: Path) -> None:
    Adopting.adopted.clear()
    checkpoints = Checkpoints(tmp_path / "c")
    own = [Job(0, {"x": 0.5}, 3), Job(0, {"x": 0.5}, 6, (0, 3))]
    for job in [*own, Job(1, {"x": 0.25}, 6, (0, 3)), Job(1, {"x": 0.25}, 9, (1, 6))]:
        worker = Worker(lambda c, seed, horizon: Adopting(c, seed, tmp_path / "j", 0.0), 9, checkpoints)
        assert isinstance(worker.execute(job), Result)
    assert Adopting.adopted == ["0-3.ckpt"]
    checkpoints.close()


# -- the objective's own mistakes ------------------------------------------------------------------------------------------


def mistaken(config: dict[str, Any]) -> float:
    return float(config["learning_rate"])


def unlucky(config: dict[str, Any]) -> float:
    if config["x"] > 0.5:
        raise KeyError("here")
    raise KeyError("there")


class Spared(Exception):
    pass


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_the_same_mistake_three_times_ends_a_study(executor: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    with pytest.raises(RuntimeError, match=r"first 3 trials.*same exception.*test_hpo_failures.py:\d+.*KeyError") as caught:
        hpo.minimize(mistaken, line(), "random", 50, executor=executor, quiet=True, log=log)
    assert "in mistaken" in str(caught.value.__cause__)
    shown = capfd.readouterr().err
    assert shown.count("Traceback") == 1 and 'config["learning_rate"]' in shown
    study = Study(Random(line()), log=SQLiteLog(log))
    assert len(study.history.results) == 3
    for result in study.history.results.values():
        assert result.error == "KeyError: 'learning_rate'"
        assert "in mistaken" in (result.traceback or "") and "hpo/executors" not in (result.traceback or "")


@pytest.mark.parametrize("catch", [KeyError, (ValueError, LookupError), Exception])
def test_catch_goes_on(catch: Any) -> None:
    study = hpo.minimize(mistaken, line(), "random", 7, quiet=True, catch=catch)
    assert len(study.history.results) == 7 and all(r.traceback for r in study.history.results.values())
    with pytest.raises(RuntimeError, match="first 3 trials"):
        hpo.minimize(mistaken, line(), "random", 7, quiet=True, catch=(ValueError, OSError))
    with pytest.raises(TypeError, match="catch is an exception class or a tuple of them, but 'KeyError' came"):
        hpo.minimize(mistaken, line(), "random", 7, quiet=True, catch="KeyError")  # type: ignore[arg-type]


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OutOfMemoryError("CUDA"), RuntimeError("CUDA error: out of memory"), FloatingPointError("x"),
     OverflowError("math range error"), ZeroDivisionError("division by zero"), ValueError("loss is nan at step 3"),
     RuntimeError("training diverged")],
    ids=repr,
)  # fmt: skip
def test_what_belongs_to_configurations_never_ends_a_study(error: Exception) -> None:
    def raises(config: dict[str, Any]) -> float:
        raise error

    study = hpo.minimize(raises, line(), "random", 6, quiet=True)
    assert len(study.history.results) == 6 and all(r.error for r in study.history.results.values())


def test_values_that_fail_never_end_a_study() -> None:
    for value in (float("nan"), float("inf"), {"loss": float("nan")}, Result(error="no")):
        study = hpo.minimize(lambda config, value=value: value, line(), "random", 6, quiet=True)  # type: ignore[misc]
        assert len(study.history.results) == 6


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "None"), ("low", "'loss' is 'low'; allowed is a number"),
     ({}, "lacks the objective 'loss'"), ({"acc": 1.0}, "lacks the objective"),
     ((1.0, 2.0), r"but \(1.0, 2.0\) came"), ({"loss": None}, "loss")],
    ids=repr,
)  # fmt: skip
def test_results_that_are_malformed_in_the_same_way_end_a_study(
    value: Any, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, by every kind of objective that returns; what was told stays told."""
    kinds: list[Any] = [lambda config: value, lambda config, report: value]
    for objective in kinds:
        log = MemoryLog()
        with pytest.raises(RuntimeError, match=f"what the first 3 trials of this run returned is no result: .*{said}") as caught:
            hpo.minimize(objective, line(), "random", 50, quiet=True, log=log)
        assert "\n" not in str(caught.value) and caught.value.__cause__ is None and capfd.readouterr().err == ""
        assert [event.kind for event in log.read(0)].count("finish") == 3


def test_results_that_are_malformed_here_and_there_are_failed_results() -> None:
    values = iter([None, "low", None, *[None] * 3, 1.0, *["0.5"] * 9])
    study = hpo.minimize(lambda config: next(values), line(), "random", 12, quiet=True)
    assert len(study.history.results) == 12 and len(study.successes()) == 1


def test_timeouts_never_end_a_study() -> None:
    executor = Threads(lambda config: time.sleep(60), workers=6, timeout=0.05)
    study = Study(Random(line()))
    run(study, executor, Stop(trials=6))
    assert len(study.history.results) == 6


def test_other_lines_other_exceptions_and_successes_go_on() -> None:
    def later(config: dict[str, Any]) -> float:
        seen.append(config)
        if len(seen) != 2:
            raise KeyError("x")
        return 1.0

    seen: list[Any] = []
    assert len(hpo.minimize(later, line(), "random", 9, quiet=True).history.results) == 9
    study = Study(Random(line(), seed=2))
    assert len({c["x"] > 0.5 for c in [Random(line(), seed=2).sample(study.history, n) for n in range(3)] if c}) == 2
    run(study, Inline(unlucky), Stop(trials=9))
    assert len(study.history.results) == 9


def test_one_trial_that_fails_at_every_rung_is_one(tmp_path: Path) -> None:
    """The first three trials are meant, not the first three results; results told stay told."""
    executor = Simulator(lambda config, until, seed: mistaken(config), workers=2)
    study = Study(asha())
    with pytest.raises(RuntimeError, match="first 3 trials"):
        run(study, executor, Stop(trials=9))
    assert len({trial for trial, _ in study.history.results}) == 3


def test_a_traceback_is_bounded_and_survives_what_cannot_be_said() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def deep(config: dict[str, Any]) -> float:
        return deep(config) if len(str(config)) > 10**9 else one(config, 900)

    def one(config: Any, left: int) -> float:
        return two(config, left - 1)

    def two(config: Any, left: int) -> float:
        if left < 0:
            raise Mute
        return one(config, left - 1)

    study = hpo.minimize(deep, line(), "random", 1, quiet=True)
    result = study.history.results[0, 1]
    assert result.error == "Mute" and len((result.traceback or "").splitlines()) < 100
