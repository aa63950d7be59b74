"""What killed workers and drivers leave behind and what clears it; large results, objectives that no worker can import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hpo import Job, Processes, Result
from hpo.executors import Lost
from hpo.executors.checkpoints import TEMPORARY, Checkpoints
from tests.hpo.test_hpo_executors import outcome, until

ROOT = Path(__file__).resolve().parents[2]


def test_the_half_written_goes_at_the_next_start_unless_somebody_lives(tmp_path: Path) -> None:
    litter = ["0-3.ckpt.17.half", "1-3.ckpt.17.half.0a1b2c3d.tmp", "2-3.ckpt.0a1b2c3d.tmp"]
    mine = ["3-3.ckpt", "notes.half", "default.ckpt.half"]
    for name in [*litter, *mine]:
        (tmp_path / name).write_text("x")
    (tmp_path / "4-3.ckpt.17.half").mkdir()
    first = Checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(mine)
    (tmp_path / litter[0]).write_text("a living process is at it")
    second = Checkpoints(tmp_path)
    assert (tmp_path / litter[0]).exists()
    first.close()
    second.close()
    Checkpoints(tmp_path).close()
    assert not (tmp_path / litter[0]).exists()


def test_what_an_objective_forked_holds_no_folder(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path)
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    try:
        first.close()
        (tmp_path / "0-3.ckpt.17.half").write_text("x")
        until(lambda: not any(Checkpoints(tmp_path).folder.iterdir()))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_temporary_folders_of_the_dead_go_and_those_of_the_living_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = Checkpoints(None)
    for name, file in (("left", "0-3.ckpt"), ("half", "0-3.ckpt.17.half"), ("empty", ""), ("foreign", "thesis.tex")):
        (tmp_path / f"{TEMPORARY}{name}").mkdir()
        if file:
            (tmp_path / f"{TEMPORARY}{name}" / file).write_text("x")
    (tmp_path / "hpo-results").mkdir()
    code = ("import time; from hpo.executors.checkpoints import Checkpoints; made = Checkpoints(None); "
            "print(made.folder, flush=True); time.sleep(600)")  # fmt: skip
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert other.stdout is not None
    theirs = Path(other.stdout.readline().strip())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {mine.folder.name, theirs.name, f"{TEMPORARY}foreign", "hpo-results"}
    other.kill()
    other.wait()
    third = Checkpoints(None)
    assert not theirs.exists() and mine.folder.exists()
    third.close()
    mine.close()
    assert {path.name for path in tmp_path.iterdir()} == {f"{TEMPORARY}foreign", "hpo-results"}


def test_temporary_folders_that_are_made_at_once_all_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its making and its lock a folder looks left to others that start in that moment."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made: list[Checkpoints] = []

    def make() -> None:
        made.extend(Checkpoints(None) for _ in range(20))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 80 and all(checkpoints.folder.is_dir() for checkpoints in made)
    for checkpoints in made:
        checkpoints.close()


def test_a_worker_that_is_killed_while_saving_leaves_nothing(tmp_path: Path) -> None:
    executor = Processes(Saves(), 9, tmp_path / "c", workers=1)
    try:
        executor.submit(Job(0, {"x": 0.5}, 3))
        until(lambda: bool(list((tmp_path / "c").glob("*.half"))))
        os.kill(executor.pids[0], signal.SIGKILL)
        found = executor.wait(900.0)
        assert found is not None and isinstance(found[1], Lost) and found[1].cause == "worker"
        assert not list((tmp_path / "c").iterdir())
    finally:
        executor.close()


class Saves:
    """A Run that never ends to save."""

    def __call__(self, config: Any, seed: int, horizon: int) -> Saves:
        return Saves()

    def advance(self, until: int) -> Any:
        return 1.0, []

    def save(self, path: str) -> None:
        Path(path).write_text("half of it")
        time.sleep(600)

    def load(self, path: str) -> None:
        raise AssertionError("there is nothing to load")


def test_a_large_result_and_a_large_objective_arrive() -> None:
    executor = Processes(Large(b"x" * 5_000_000), workers=2)
    try:
        found = outcome(executor, Job(0, {"x": 1.0}, 1))
        assert isinstance(found, Result) and len(found.metrics) == 100_000
    finally:
        executor.close()


class Large:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, config: dict[str, Any]) -> dict[str, float]:
        return {f"metric {i}": float(i) for i in range(100_000)}


TYPED = """
import hpo
def f(config): return config["x"]
class G:
    def __call__(self, config): return config["x"]
for objective in (f, G()):
    try:
        hpo.minimize(objective, {"x": (0.0, 1.0)}, "random", 3, executor="processes", quiet=True)
    except TypeError as error:
        print(error)
from tests.hpo.objectives import square
print(len(hpo.minimize(square, {"x": (0.0, 1.0)}, "random", 3, executor="processes", quiet=True).successes()))
"""


@pytest.mark.parametrize("way", ["-c", "standard input"])
def test_an_objective_that_no_worker_can_import_is_refused_in_one_sentence(way: str, tmp_path: Path) -> None:
    command = [sys.executable, *(["-c", TYPED] if way == "-c" else ["-"])]
    done = subprocess.run(command, input=None if way == "-c" else TYPED, cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    said = done.stdout.splitlines()
    assert all("a worker cannot import it; define it in a module" in line for line in said[:2]) and said[2:] == ["3"]
