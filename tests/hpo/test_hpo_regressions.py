"""What once went wrong, each in the smallest study that shows it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, PBT, Float, Grid, Hyperband, Inline, MedianStopping, Random, Result, Space, Stop, Study, Threads
from hpo.executors import Lost
from hpo.executors.checkpoints import Checkpoints
from hpo.executors.worker import Worker
from hpo.job import Job
from hpo.logs import MemoryLog
from hpo.objective import ReportRun, kind

ROOT = Path(__file__).resolve().parents[2]


def line() -> Space:
    return Space(x=Float(0.0, 1.0))


class Counter:
    """A Run that counts its units: what it knows is what it was trained for."""

    def __init__(self, config: Any, seed: int, horizon: int) -> None:
        self.config, self.units = config, 0

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        self.units = until
        return {"loss": self.config["x"] + 1 / until}, []

    def save(self, path: str) -> None:
        Path(path).write_text(str(self.units))

    def load(self, path: str) -> None:
        self.units = int(Path(path).read_text())


def test_a_study_takes_no_optimizer_that_has_a_history() -> None:
    optimizer = Random(line())
    optimizer.enqueue({"x": 0.5})
    with pytest.raises(ValueError, match="already has a history of 1 event;"):
        hpo.minimize(lambda c: c["x"], line(), optimizer, 3)
    one = Random(line())
    first, _ = Study(one), Study(one)
    with pytest.raises(ValueError, match="bound to another study since"):
        hpo.run(first, Inline(lambda c: c["x"]), Stop(2))


def test_resuming_with_a_log_finds_the_checkpoints(tmp_path: Path) -> None:
    def pbt() -> PBT:
        return PBT(Random(line()), population=4, generations=6, max_resource=60)

    log = tmp_path / "log.sqlite"
    hpo.minimize(Counter, line(), pbt(), 2, log=log, quiet=True)
    study = hpo.minimize(Counter, line(), pbt(), log=log, quiet=True)
    assert [r.error for r in study.history.results.values() if r.error] == []
    assert len(study.history.at(60)) == 4 and list((tmp_path / "log.sqlite.checkpoints").glob("*.ckpt"))


def test_a_missing_checkpoint_is_said_and_no_training_from_zero(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    worker = Worker(Counter, 30, checkpoints)
    assert isinstance(worker.execute(Job(0, {"x": 0.1}, 10)), Result)
    worker.close()
    checkpoints.keep({}, checkpoints.list_names())
    lost = worker.execute(Job(0, {"x": 0.1}, 20, (0, 10)))
    assert isinstance(lost, Lost) and lost.cause == "source"
    assert "0-10.ckpt, which the job starts from, is gone" in lost.message


@pytest.mark.parametrize("make", [lambda f: Inline(f, 9), lambda f: Threads(f, 9, workers=2)])
def test_what_is_not_continued_is_closed_while_the_study_runs(make: Callable[[Any], Any]) -> None:
    closed, peak = [], []

    def objective(config: Any, report: Any) -> None:
        try:
            for step in range(1, 10):
                report(step, config["x"])
        finally:
            closed.append(config["x"])

    study = Study(MedianStopping(Random(line()), rungs=(1, 3), max_resource=9))
    before = threading.active_count()
    hpo.run(study, make(objective), Stop(60), lambda s, key: peak.append(threading.active_count() - before))
    assert len(closed) > 20 and max(peak) < 12, "parked threads pile up"


def test_a_parked_trial_goes_on_in_whichever_thread_is_free() -> None:
    """It is parked in one worker, which is at work with another trial; in the other worker it would begin anew."""
    began, gate = list[float](), threading.Event()

    def objective(config: Any, report: Any) -> None:
        began.append(config["x"])
        if config["x"] == 2.0:
            gate.wait()
        for step in range(1, 10):
            report(step, config["x"])

    executor = Threads(objective, 9, workers=2)

    def finish(*jobs: Job) -> Any:
        for job in jobs:
            executor.submit(job)
        return executor.wait()

    assert finish(Job(0, {"x": 0.0}, 1))[0].trial == 0
    assert finish(Job(1, {"x": 1.0}, 1), Job(2, {"x": 2.0}, 1))[0].trial == 1
    (busy,) = (worker for job, worker, _ in executor._running.values() if job.trial == 2)
    assert [*busy.held] == [0], "where the third trial stands, the first is parked"
    _, result = finish(Job(0, {"x": 0.0}, 3, (0, 1)))
    assert began.count(0.0) == 1 and [step for step, _ in result.curve] == [2, 3]
    gate.set()
    executor.close()


def test_reports_coarser_than_rungs_train_no_further_than_they_must() -> None:
    steps: list[int] = []

    def objective(config: Any, report: Any) -> None:
        for step in (10, 20, 30):
            steps.append(step)
            report(step, 100.0 - step)

    run = ReportRun(objective, {})
    assert run.advance(1) == (90.0, ((10, 90.0),)) and run.advance(3) == (90.0, ()) and steps == [10]
    assert run.advance(11) == (80.0, ((20, 80.0),)) and steps == [10, 20]
    run.close()


def test_a_curve_of_mappings_is_the_objectives() -> None:
    def objective(config: Any, report: Any) -> None:
        for step in range(1, 4):
            report(step, {"accuracy": 100.0 + step, "loss": 1.0 / step})

    study = hpo.minimize(objective, line(), "random", 1, horizon=3, quiet=True)
    assert study.best.curve == ((1, 1.0), (2, 0.5), (3, 1.0 / 3.0))


def test_two_drivers_cannot_finish_a_key_twice() -> None:
    log = MemoryLog()
    one, two = (Study(Random(line()), log=log, lost_limit=1) for _ in range(2))
    job = one.optimizer.ask()
    assert job is not None
    two.history.refresh()
    one.history.lose(job)  # at the limit: an error, in memory of both
    two.history.finish(job, Result({"loss": 1.0}))
    for study in (one, two):
        study.history.refresh()
        assert list(study.history.finished_keys) == [(0, 1)] == list(study.history.at(1))
        assert study.history.results[0, 1].error == "lost 1 times" and not study.history.pending


def test_a_grid_may_be_larger_than_memory() -> None:
    grid = Grid(Space({f"x{i}": (0.0, 1.0) for i in range(40)}))
    job = grid.ask()
    assert job is not None and set(job.config.values()) == {0.0} and grid.count == 4**40
    assert "too many to count" in str(grid)


def test_min_early_stopping_rate_is_the_same_everywhere() -> None:
    whole, halved = Hyperband(Random(line())), Hyperband(Random(line()), min_early_stopping_rate=2)
    assert [halved.ladder(i) for i in range(3)] == whole.table()[2:]
    assert hpo.make("halving", line(), min_early_stopping_rate=1).ladder(0)[0] == (27, 3)  # type: ignore[attr-defined]
    assert ASHA(Random(line()), min_early_stopping_rate=1).rungs == [3, 9, 27, 81]
    with pytest.raises(ValueError, match="min_early_stopping_rate is 5; allowed is 0 to 4"):
        Hyperband(Random(line()), min_early_stopping_rate=5)


def below(config: Any, limit: float) -> bool:
    return bool(config["x"] < limit)


def test_a_lambda_has_the_same_name_in_every_process() -> None:
    """Sets among its constants are in another order in each."""
    code = ("from hpo import Float, Space; "
            "print(Space(x=Float(0, 1), constraints=[lambda c: c.get('k') in {'a', 'b', 'c', 'd', 'e'}]).describe())")
    said = {subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True,
                           text=True, check=True).stdout for seed in "0123"}
    assert len(said) == 1 and "<lambda>" in said.pop()


def test_lambdas_are_told_apart_by_what_they_do() -> None:
    def bound(limit: float) -> Any:
        return lambda config: config["x"] < limit

    def named(predicate: Any) -> Any:
        return Space(x=Float(0, 1), constraints=[predicate]).describe()

    assert named(lambda config: config["x"] < 0.5) == named(lambda config: config["x"] < 0.5)
    assert named(lambda config: config["x"] < 0.5) != named(lambda config: config["x"] < 0.6)
    assert named(lambda config: config["x"] < 0.5) != named(lambda config: config["x"] > 0.5)
    some, other = lambda c: any(v < 0.5 for v in c.values()), lambda c: any(v < 1 for v in c.values())
    assert named(some) != named(other)
    assert named(bound(0.5)) == named(bound(0.5)) != named(bound(0.6))
    assert " at 0x" not in repr(named(some))



def test_a_header_holds_no_addresses() -> None:
    space = Space(x=Float(0, 1), constraints=[functools.partial(below, limit=0.5)])
    assert " at 0x" not in str(Random(space).header())


def test_mismatched_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="over another space"):
        hpo.minimize(lambda c: 0.0, {"z": (0, 5)}, Random(line()), 3)
    with pytest.raises(ValueError, match="has the seed 0, but seed=3 came too"):
        hpo.minimize(lambda c: 0.0, line(), Random(line()), 3, seed=3)
    with pytest.raises(ValueError, match="seed is None; allowed is an integer"):
        hpo.make("random", line(), seed=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="trials is '5'"):
        hpo.minimize(lambda c: 0.0, line(), "random", "5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tell takes a job that ask returned"):
        Random(line()).tell({"x": 1}, 3)  # type: ignore[arg-type]


def test_a_constraint_that_raises_is_named() -> None:
    space = Space(o=["a", "b"], m=Float(0, 1, when={"o": "a"}), constraints=[lambda c: c["m"] < 2])
    with pytest.raises(ValueError, match="inactive parameters are absent"):
        for _ in range(20):
            Random(space).ask()


def test_report_with_a_default_is_a_report() -> None:
    def reporting(config: Any, report: Any = None) -> float:
        return 0.0

    def hidden(config: Any, *, report: Any) -> float:
        return 0.0

    assert kind(reporting) == "report"
    with pytest.raises(TypeError, match="the objective takes"):
        kind(hidden)


def test_an_unguarded_script_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import hpo\ndef f(c): return c['x']\n"
        "hpo.minimize(f, {'x': (0.0, 1.0)}, 'random', 3, executor='processes', workers=1, quiet=True)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT, timeout=900,
                          env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=False)  # fmt: skip
    assert done.returncode == 1 and 'if __name__ == "__main__"' in done.stderr.splitlines()[-1]
