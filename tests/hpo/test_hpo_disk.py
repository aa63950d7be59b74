"""`disk=`: where checkpoints take more than they may the least useful go, and are trained again when they are named."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import (
    ASHA,
    PBT,
    FreezeThaw,
    Hyperband,
    Inline,
    Key,
    Optimizer,
    Random,
    Result,
    Simulator,
    SQLiteLog,
    Stop,
    Study,
    run,
)
from hpo.disk import DiskBudget
from hpo.executors import Lost, standing_name
from hpo.executors.base import Stamp
from hpo.executors.checkpoints import measure_bytes
from hpo.executors.worker import Worker
from hpo.files import Files
from hpo.job import Job
from hpo.leases import Leases
from hpo.lineage import Lineage
from hpo.logs.base import Driver
from hpo.testing.spaces import plane, rugged_loss
from tests.hpo.cases import ROOT
from tests.hpo.objectives import FolderTrace, Trace, Traces, line
from tests.hpo.test_hpo_failures import Forgetting, losses
from tests.hpo.test_hpo_leases import PATIENCE, Aging, eventually
from tests.hpo.test_hpo_retention import best_by_hand

SIZE = 1000  # bytes of a checkpoint


class HeavyTrace(Trace):
    def save(self, path: str) -> None:
        super().save(path)
        saved = Path(path)
        saved.write_text(saved.read_text().ljust(SIZE))


class HeavyFolder(FolderTrace):
    def save(self, path: str) -> None:
        super().save(path)
        Path(path, "padding").write_bytes(bytes(SIZE - measure_bytes(Path(path))))


class Heavy(Traces):
    """Traces whose checkpoints, files or folders, have SIZE bytes."""

    def __call__(self, config: dict[str, Any], seed: int, horizon: int) -> Trace:
        return (HeavyFolder if self.folders else HeavyTrace)(config, seed, self.journal, self.slow)

    def repeats(self) -> int:
        """How often something was trained that had been trained before."""
        counts = Counter(tuple(entry[:3]) for entry in self.lines())
        return counts.total() - len(counts)


MAKERS: dict[str, Callable[[], Optimizer]] = {
    "asha": lambda: ASHA(Random(line(), seed=3), max_resource=9),
    "hyperband": lambda: Hyperband(Random(line(), seed=3), max_resource=9, rounds=1),
    "pbt": lambda: PBT(Random(line(), seed=1), population=6, generations=4, max_resource=9, truncation=0.4),
    "freezethaw": lambda: FreezeThaw(Random(line(), seed=1), max_resource=9),
}
STOP = {"asha": Stop(trials=15), "freezethaw": Stop(when=lambda history: len(history.results) >= 25)}


def drive(name: str, traces: Heavy, folder: Path, executor: Any = Forgetting, lost_limit: int = 3, **options: Any) -> Study:
    study = Study(MAKERS[name](), lost_limit=lost_limit)
    run(study, executor(traces, 9, folder), STOP.get(name), **options)
    return study


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_a_budget_is_kept_to_and_changes_no_result(name: str, folders: bool, tmp_path: Path) -> None:
    """At every finish the checkpoints fit; what was dropped and is named is trained again, also more often than `lost_limit`."""
    heavy, usual = (Heavy(tmp_path / name, folders=folders) for name in ("heavy", "usual"))
    most = Counter[str]()

    def watch_folder(name: str) -> Any:
        def watch(study: Study, key: Key | None) -> None:
            if key is not None:
                most[name] = max(most[name], measure_bytes(tmp_path / name[0]))

        return watch

    with warnings.catch_warnings(action="error"):
        study = drive(name, heavy, tmp_path / "h", lost_limit=1, watch=watch_folder("heavy"), disk=4 * SIZE)
    whole = drive(name, usual, tmp_path / "u", watch=watch_folder("usual"))
    assert most["heavy"] == 4 * SIZE < most["usual"] and losses(study) == losses(whole)
    assert usual.repeats() == 0 and (heavy.repeats() > 2 or name == "hyperband"), "whose last ones are never named"
    assert not study.history.pending and [event.kind for event in study.history.events].count("lost") == 0
    assert (tmp_path / "h" / standing_name(study.history, study.best.key)).exists()


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_minimize_keeps_to_it_on_every_executor(executor: str, tmp_path: Path) -> None:
    """Several workers, some Runs in memory, which a budget leaves there."""
    heavy, workers = Heavy(tmp_path / "heavy"), {} if executor == "inline" else {"workers": 2}
    options: dict[str, Any] = {"executor": executor, "quiet": True, **workers}
    study = hpo.minimize(heavy, line(), MAKERS["pbt"](), folder=tmp_path / "c", disk=f"{6 * SIZE / 1000}kB", keep=2, **options)
    assert measure_bytes(tmp_path / "c") <= 6 * SIZE
    assert losses(study) == losses(drive("pbt", Heavy(tmp_path / "usual"), tmp_path / "u"))


def test_a_run_in_memory_goes_on_without_its_file(tmp_path: Path) -> None:
    heavy = Heavy(tmp_path / "heavy")
    executor = Inline(heavy, 9, tmp_path / "c")
    for job in (Job(0, {"x": 0.5}, 3), Job(0, {"x": 0.5}, 9, (0, 3))):
        executor.submit(job)
        assert executor.wait() is not None
        executor.trim(list)
        assert not list((tmp_path / "c").iterdir())
    assert [entry[1:3] for entry in heavy.lines()] == [[0, 3], [3, 9]]
    executor.close()


# -- what goes first -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_the_least_useful_go_first_and_no_more_than_must(seed: int) -> None:
    """Over studies with jobs in flight and checkpoints of random size: what nobody names, then what `live` names last; neither
    what a job needs, nor the best, nor what is in flight. Without the last one that goes it would not fit."""
    rng = random.Random(seed)
    study = Study((ASHA, FreezeThaw, Hyperband)[seed % 3](Random(plane(), seed=seed), max_resource=9))
    run(study, Simulator(rugged_loss, workers=4, straggle=0.5), Stop(when=lambda history: len(history.results) >= 40), keep=5)
    history = study.history
    while len(history.pending) < 4 and study.optimizer.ask() is not None:
        pass
    live = list(study.optimizer.live(history))
    needed = {*history.pending, *history.sources, *study.optimizer.candidates(history), *best_by_hand(study, 5)}
    sizes: dict[Stamp, int] = {(key, 0): rng.randrange(1, 100) for key in history.jobs}
    free = [key for key in history.results if key not in needed]
    free.sort(key=lambda key: live.index(key) if key in live else len(live))
    total = sum(sizes.values())
    least = total - sum(sizes[key, 0] for key in free)
    assert len(free) > 5 and any(key not in live for key in free) and (seed % 3 == 2 or any(key in live for key in free))
    for limit in [least, rng.randrange(least, total), rng.randrange(least, total), total - 1, total]:
        chosen = DiskBudget(study, Lineage(history), limit).choose(sizes)
        gone = {key for key, _ in chosen}
        assert gone.isdisjoint(needed) and total - sum(sizes[stamp] for stamp in chosen) <= limit
        kept = [key for key in free if key not in gone]
        assert {key for key in free[len(kept) :] if key in live} == {key for key in gone if key in live}
        assert not any(key in live for key in gone) or not any(key not in live for key in kept)
        assert not chosen or total - sum(sizes[stamp] for stamp in chosen[:-1]) > limit


def test_what_cannot_be_trained_again_stays() -> None:
    """A result that was added, with a checkpoint that somebody has put beside the others; and what was cloned from it."""
    study = Study(MAKERS["pbt"]())
    history = study.history
    added = study.optimizer.add({"x": 0.5}, 9.0, until=3)
    for job in (Job(1, {"x": 0.5}, 6, added.key), Job(2, {"x": 0.5}, 3), Job(3, {"x": 0.5}, 6, (2, 3))):
        history.start(job, len(history))
        history.finish(job, Result({"loss": 10.0 + job.trial}))
    for trial in (4, 5, 6):
        history.start(best := Job(trial, {"x": 0.5}, 9), len(history))
        history.finish(best, Result({"loss": 1.0}))
    sizes = {(key, 0): 10 for key in history.results}
    assert DiskBudget(study, Lineage(history), 50).choose(sizes) == [((2, 3), 0), ((3, 6), 0)]


def test_what_must_stay_and_does_not_fit_is_said_once(tmp_path: Path) -> None:
    with pytest.warns(UserWarning) as found:
        study = drive("asha", Heavy(tmp_path / "heavy"), tmp_path / "c", disk="1kB", keep=4)
    (said,) = [str(warning.message) for warning in found]
    assert said.startswith("disk allows 1,000 bytes of checkpoints, but those that must stay") and "take 2,000 bytes" in said
    assert losses(study) == losses(drive("asha", Heavy(tmp_path / "usual"), tmp_path / "u"))
    assert measure_bytes(tmp_path / "c") == 4 * SIZE, "the best four, and nothing else"


def test_an_executor_without_files_is_refused() -> None:
    with pytest.raises(TypeError, match="disk is '1GB', but checkpoints of Simulator take no space"):
        run(Study(Random(plane())), Simulator(rugged_loss), Stop(trials=2), disk="1GB")


# -- trained again ---------------------------------------------------------------------------------------------------------


class Restless(HeavyTrace):
    """A training that is not the same twice."""

    count = 0

    def advance(self, until: int) -> Any:
        Restless.count += 1
        metrics, curve = super().advance(until)
        return {"loss": metrics["loss"] + Restless.count * 1e-9}, curve


def test_a_training_that_comes_to_something_else_is_said_once(tmp_path: Path) -> None:
    def make(config: dict[str, Any], seed: int, horizon: int) -> Restless:
        return Restless(config, seed, tmp_path / "traces", 0.0)

    with pytest.warns(UserWarning) as found:
        drive("pbt", make, tmp_path / "c", disk=4 * SIZE)  # type: ignore[arg-type]
    (said,) = [str(warning.message) for warning in found]
    assert "was trained again to" in said and "training is not deterministic here" in said


def test_what_is_trained_again_stays_while_it_is_needed() -> None:
    """A job waits for (0, 3), which is trained again from (0, 1), which was trained again for that."""
    study = Study(MAKERS["asha"]())
    history = study.history
    jobs = [Job(0, {"x": 0.5}, 1), Job(0, {"x": 0.5}, 3, (0, 1)), Job(0, {"x": 0.5}, 9, (0, 3))]
    for job in [*jobs, *(Job(trial, {"x": 0.5}, 9) for trial in (1, 2, 3))]:
        history.start(job, len(history))
        if job != jobs[2]:
            history.finish(job, Result({"loss": 1.0}))
    lineage, gone = Lineage(history), Lost("source", "")
    assert lineage.settle(jobs[2], gone) == ([jobs[1]], []) and lineage.settle(jobs[1], gone) == ([jobs[0]], [])
    assert lineage.settle(jobs[0], Result({"loss": 1.0})) == ([jobs[1]], [])
    sizes = {(key, 0): 10 for key in history.jobs}
    assert DiskBudget(study, lineage, 50).choose(sizes) == []
    assert lineage.settle(jobs[1], Result({"loss": 1.0})) == ([jobs[2]], [])
    assert DiskBudget(study, lineage, 50).choose(sizes) == [((0, 1), 0)]


def test_a_source_that_goes_while_it_is_loaded_is_missing(tmp_path: Path) -> None:
    """Another driver deleted it: the job is not lost to the disk, three of which would end the run."""

    class Gone(HeavyTrace):
        def load(self, path: str) -> None:
            Path(path).unlink()
            super().load(path)

    executor = Inline(lambda config, seed, horizon: Gone(config, seed, tmp_path / "traces", 0.0), 9, tmp_path / "c")
    worker = executor._worker
    assert isinstance(worker.execute(Job(0, {"x": 0.5}, 3)), Result)
    lost = Worker(worker.objective, 9, worker.checkpoints).execute(Job(0, {"x": 0.5}, 9, (0, 3)))
    assert lost == Lost("source", "the checkpoint 0-3.ckpt, which the job starts from, is gone")
    executor.close()


def test_it_is_trained_again_under_the_attempt_that_stands(tmp_path: Path) -> None:
    """A job's loss was recorded, and then its result came nevertheless: its checkpoint is that of the first attempt."""
    study = Study(MAKERS["asha"]())
    history = study.history
    history.start(job := Job(0, {"x": 0.5}, 3), 0)
    history.lose(job, "driver")
    history.start(job, len(history))
    history.finish(job, Result({"loss": 1.0}), attempt=0)
    history.start(onwards := Job(0, {"x": 0.5}, 9, (0, 3)), len(history))
    with pytest.warns(UserWarning, match="not deterministic"):  # nothing came to the loss of 1.0
        run(study, Forgetting(Heavy(tmp_path / "heavy"), 9, tmp_path / "c"), Stop(when=lambda h: onwards.key in h.results))
    assert history.results[onwards.key].error is None


# -- several drivers, and deaths -------------------------------------------------------------------------------------------


def test_what_another_driver_trains_again_is_left_to_it(tmp_path: Path) -> None:
    """It stands again although it was deleted here, until the other has left. What is trained again here may go again."""
    study = Study(MAKERS["asha"](), log=(log := Aging()))
    other, own = study.history.run(), study.history.run()
    log.rows[other], log.ages[other] = Driver(other, "elsewhere/1/1", 0, 0, 60.0), 0.0
    leases, executor = Leases(study.history, own), Inline(Heavy(tmp_path / "heavy"), 9, tmp_path / "c")
    budget = DiskBudget(study, Lineage(study.history), 3 * SIZE)
    files, last = Files(study, executor, leases, budget), tmp_path / "c" / "3-1.ckpt"
    for job in [study.optimizer.ask() for _ in range(4)]:
        assert job is not None and study.optimizer.tell(job, 1.0 + job.trial)
        (tmp_path / "c" / f"{job.trial}-1.ckpt").write_bytes(bytes(SIZE))
    files.release()
    assert not last.exists() and (3, 1) in study.optimizer.live(study.history)
    last.write_bytes(bytes(SIZE))
    files.release()
    assert last.exists()
    budget.note_repair((3, 1))
    files.release()
    assert not last.exists()
    last.write_bytes(bytes(SIZE))
    log.leave(other)
    leases._looked = (-1, 0.0)
    files.release()
    assert not last.exists() and measure_bytes(tmp_path / "c") == 3 * SIZE
    leases.close()
    executor.close()


def test_a_budget_is_kept_to_beside_a_driver_that_has_read_nothing(tmp_path: Path) -> None:
    """What is dead is not kept for its sake where there is no room, and what is trained again here may go again."""
    study = Study(MAKERS["pbt"](), log=(log := Aging()))
    other = study.history.run()
    heavy, most = Heavy(tmp_path / "heavy"), list[int]()
    log.rows[other], log.ages[other] = Driver(other, "elsewhere/1/1", 0, 0, 60.0), 0.0

    def watch(study: Study, key: Key | None) -> None:
        if key is not None:
            most.append(measure_bytes(tmp_path / "c"))
            assert (tmp_path / "c" / standing_name(study.history, study.best.key)).exists()

    run(study, Forgetting(heavy, 9, tmp_path / "c"), watch=watch, disk=4 * SIZE)
    assert max(most) == 4 * SIZE and heavy.repeats() > 2
    assert losses(study) == losses(drive("pbt", Heavy(tmp_path / "usual"), tmp_path / "u"))


def test_a_result_of_another_driver_is_read_before_anything_goes(tmp_path: Path) -> None:
    """It may be the new best, or a job that has begun to start from what would go."""
    one, two = (Study(MAKERS["asha"](), log=SQLiteLog(tmp_path / "s.sqlite")) for _ in range(2))
    for loss in (1.0, 2.0, 3.0, 4.0, 5.0):
        one.history.start(job := Job(one.history.next_trial, {"x": 0.5}, 1), len(one.history))
        one.optimizer.tell(job, loss)
    two.history.refresh()
    two.history.start(best := Job(5, {"x": 0.5}, 1), len(two.history))
    two.optimizer.tell(best, 0.5)
    two.history.start(Job(4, {"x": 0.5}, 3, (4, 1)), len(two.history))
    sizes = {((trial, 1), 0): 10 for trial in range(6)}
    assert DiskBudget(one, Lineage(one.history), 40).choose(sizes) == [((2, 1), 0), ((3, 1), 0)], "which are given up by now"


MAIN = """
import sys
from pathlib import Path
from hpo import SQLiteLog, Stop, Study, run
from tests.hpo.test_hpo_disk import MAKERS, SIZE, STOP, Heavy
from tests.hpo.test_hpo_failures import Forgetting

name, folder, slow = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
study = Study(MAKERS[name](), log=SQLiteLog(folder / "log.db"))
run(study, Forgetting(Heavy(folder / "heavy", slow), 9, folder / "c"), STOP.get(name), keep=2, disk=4 * SIZE)
"""


def start(name: str, folder: Path, slow: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", MAIN, name, str(folder), str(slow)], cwd=ROOT)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asha", "pbt"])
def test_drivers_with_a_budget_do_not_fight(name: str, tmp_path: Path) -> None:
    """Three at once, of which one is killed and one joins late: no result fails for want of a checkpoint, and at the end the
    checkpoints fit."""
    lives = [start(name, tmp_path, 0.02) for _ in range(3)]
    eventually(lambda: (tmp_path / "heavy").exists() and len(Heavy(tmp_path / "heavy").lines()) > 8)
    lives[0].send_signal(signal.SIGKILL)
    lives.append(start(name, tmp_path, 0.0))
    assert [life.wait(PATIENCE) for life in lives[1:]] == [0, 0, 0] and lives[0].wait(PATIENCE) == -signal.SIGKILL
    study = Study(MAKERS[name](), log=SQLiteLog(tmp_path / "log.db"))
    assert not study.history.pending and all(result.error is None for result in study.history.results.values())
    assert measure_bytes(tmp_path / "c") <= 4 * SIZE and Heavy(tmp_path / "heavy").repeats() > 0
    study.retain(2)
    assert {path.name for path in (tmp_path / "c").iterdir()} <= {standing_name(study.history, key) for key in study.keep()}


@pytest.mark.parametrize("name", ["asha", pytest.param("pbt", marks=pytest.mark.slow)])
def test_after_a_death_the_folder_is_measured(name: str, tmp_path: Path) -> None:
    """Killed again and again in the middle of a training, the study ends as the undisturbed one, within its budget."""
    for _ in range(4):
        before = len(Heavy(tmp_path / "heavy").lines()) if (tmp_path / "heavy").exists() else 0
        life = start(name, tmp_path, 0.02)
        eventually(lambda: life.poll() is not None or (  # noqa: B023
            (tmp_path / "heavy").exists() and len(Heavy(tmp_path / "heavy").lines()) > before + 6))  # noqa: B023
        life.kill()
        life.wait()
    assert start(name, tmp_path, 0.0).wait(PATIENCE) == 0
    study = Study(MAKERS[name](), log=SQLiteLog(tmp_path / "log.db"))
    whole = drive(name, Heavy(tmp_path / "usual"), tmp_path / "u")
    assert losses(study) == losses(whole) and measure_bytes(tmp_path / "c") <= 4 * SIZE


def test_a_smaller_budget_holds_from_the_start(tmp_path: Path) -> None:
    study = Study(MAKERS["asha"](), log=SQLiteLog(tmp_path / "s.sqlite"))
    run(study, Inline(Heavy(tmp_path / "heavy"), 9, tmp_path / "c"), Stop(trials=9))
    assert measure_bytes(tmp_path / "c") > 4 * SIZE
    again = Study(MAKERS["asha"](), log=SQLiteLog(tmp_path / "s.sqlite"))
    run(again, Inline(Heavy(tmp_path / "heavy"), 9, tmp_path / "c"), Stop(trials=9), disk=4 * SIZE)
    assert measure_bytes(tmp_path / "c") == 4 * SIZE
    assert len(again.history.results) == len(study.history.results)
