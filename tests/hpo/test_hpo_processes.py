"""Worker processes: how they start, what they fork, when they are renewed, what the dead leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpo import Float, Job, Processes, Random, Space, Stop, Study, run
from hpo.executors import Lost
from tests.hpo.objectives import Forks, square
from tests.hpo.test_hpo_executors import alive, outcome, until

ROOT = Path(__file__).resolve().parents[2]


class Starts:
    """An objective whose warm() counts the starts in a folder, and does with the n-th what `fate` says."""

    def __init__(self, folder: Path, fate: dict[int, str], otherwise: str = "well") -> None:
        self.folder, self.fate, self.otherwise = str(folder), fate, otherwise

    def warm(self) -> None:
        number = 0
        while True:  # the first free number; several start at once
            try:
                os.close(os.open(f"{self.folder}/start-{number}", os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                number += 1
        fate = self.fate.get(number, self.otherwise)
        if fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fate == "raises":
            raise ValueError("the text cannot be loaded")

    def __call__(self, config: dict[str, Any]) -> float:
        if config["x"] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(config["x"])


@pytest.mark.parametrize("fate", [{0: "killed"}, {0: "killed", 1: "killed"}, {1: "raises"}, {0: "raises", 2: "killed"}])
def test_a_worker_that_dies_while_it_starts_ends_nothing(fate: dict[int, str], tmp_path: Path) -> None:
    study = Study(Random(Space(x=Float(0.0, 1.0))))
    history = run(study, Processes(Starts(tmp_path, fate), workers=2), Stop(trials=6))
    assert len(history.results) == 6 and all(result.error is None for result in history.results.values())
    assert not [event for event in history.events if event.kind == "lost"], "no job was with it"


def test_a_replacement_that_dies_while_it_starts_ends_nothing(tmp_path: Path) -> None:
    """After good results: the worker dies in a job, and those that are started in its place die, too."""
    executor = Processes(Starts(tmp_path, {1: "killed", 2: "raises", 3: "killed"}), workers=1)
    try:
        assert outcome(executor, Job(0, {"x": 0.5}, 1)).error is None
        executor.submit(Job(1, {"x": -1.0}, 1))
        found = executor.wait(900.0)
        assert found is not None and isinstance(found[1], Lost) and found[1].cause == "worker"
        assert outcome(executor, Job(2, {"x": 0.5}, 1)).error is None
        assert len(list(tmp_path.iterdir())) == 5
    finally:
        executor.close()


@pytest.mark.parametrize(("fate", "sentence"), [
    ("raises", r"2 workers in a row could not start, the last because warm\(\) raised ValueError: the text cannot be loaded"),
    ("killed", r"3 workers in a row could not start, the last because it was killed by signal 9"),
])  # fmt: skip
def test_a_pool_in_which_no_worker_was_ever_ready_ends(fate: str, sentence: str, tmp_path: Path) -> None:
    study = Study(Random(Space(x=Float(0.0, 1.0))))
    with pytest.raises(RuntimeError, match=sentence) as caught:
        run(study, Processes(Starts(tmp_path, {}, fate), workers=2), Stop(trials=6))
    assert fate == "killed" or "in warm" in str(caught.value.__cause__)
    assert len(study.history.pending) == 2 and not study.history.results


def test_an_unguarded_script_gets_one_sentence(tmp_path: Path) -> None:
    """With several workers, and after output and imports of its own: nothing else on stderr, no process left."""
    (tmp_path / "script.py").write_text(
        "import hpo, json, sys\ndef f(c): return c['x']\n"
        "hpo.minimize(f, {'x': (0.0, 1.0)}, 'random', 3, executor='processes', workers=3, log='a.sqlite', quiet=True)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, cwd=tmp_path, timeout=900,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)  # fmt: skip
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == 1 and 'if __name__ == "__main__"' in lines[0], done.stderr


@pytest.mark.parametrize("broken", ["import nothing_of_this_name", "raise OSError('no such corpus')"])
def test_a_main_module_that_cannot_be_imported_is_said_once(broken: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        f"import hpo\nif __name__ != '__main__':\n    {broken}\ndef f(c): return c['x']\nif __name__ == '__main__':\n"
        "    hpo.minimize(f, {'x': (0.0, 1.0)}, 'random', 3, executor='processes', workers=1, quiet=True)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, cwd=tmp_path, timeout=900,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)  # fmt: skip
    assert done.returncode == 1 and "importing the main module raised" in done.stderr.splitlines()[-1]
    assert "in the worker:" in done.stderr


# -- what an objective forks -----------------------------------------------------------------------------------------------


def forked(folder: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in folder.glob("forked-*")]


@pytest.mark.parametrize("x", [2.0, -1.0])
def test_what_was_forked_stalls_nothing_and_goes_with_its_worker(x: float, tmp_path: Path) -> None:
    """A timeout, and a death: both are noticed while what was forked still holds every pipe of the worker."""
    executor = Processes(Forks(tmp_path), workers=1, timeout=1.0 if x > 0 else None)
    try:
        executor.submit(Job(0, {"x": x}, 1))
        found = executor.wait(900.0)
        assert found is not None and (isinstance(found[1], Lost) or "timeout" in (found[1].error or ""))
        assert isinstance(found[1], Lost) == (x < 0)
        assert outcome(executor, Job(1, {"x": 0.5}, 1)).error is None, "the pool goes on"
        dead, living = forked(tmp_path)[0], forked(tmp_path)[1:]
        assert len(forked(tmp_path)) == 2
        until(lambda: sum(alive(pid) for pid in [dead, *living]) == 1)
    finally:
        executor.close()
    until(lambda: not any(alive(pid) for pid in forked(tmp_path)))


DRIVER = """
import sys, time
from pathlib import Path
from hpo import Job, Processes
from tests.hpo.objectives import Forks
from tests.hpo.test_hpo_processes import Imports
if __name__ == "__main__":
    objective = Forks(Path(sys.argv[1])) if sys.argv[2] == "job" else Imports(sys.argv[1])
    executor = Processes(objective, workers=2)
    for trial in range(2):
        executor.submit(Job(trial, {"x": 2.0}, 1))
    time.sleep(600)
"""


class Imports:
    """An objective that takes long to arrive: its worker is within the imports of an unpickling."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, config: dict[str, Any]) -> float:
        return 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["folder"], f"forked-{os.getpid()}").touch()
        time.sleep(600)


@pytest.mark.parametrize("moment", ["job", "start"])
@pytest.mark.parametrize("both", [False, True])
def test_nothing_outlives_a_killed_driver(moment: str, both: bool, tmp_path: Path) -> None:
    """Neither workers, wherever they are, nor what they forked; nor if a worker is killed in the same moment."""
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, "driver.py", str(tmp_path), moment], cwd=tmp_path,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    until(lambda: len(forked(tmp_path)) == 2)
    family = [*forked(tmp_path), *children(driver.pid)]
    assert len(family) >= 5 if moment == "job" else len(family) >= 3
    os.kill(driver.pid, signal.SIGKILL)
    if both:
        for pid in children_of_dead(family, driver.pid)[:1]:
            os.kill(pid, signal.SIGKILL)
    driver.wait()
    until(lambda: not any(alive(pid) for pid in family))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def children_of_dead(family: list[int], driver: int) -> list[int]:
    """Workers among the family: those that run spawned.py."""
    found = []
    for pid in family:
        try:
            if b"spawned.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


# -- renewal -----------------------------------------------------------------------------------------------------------------

_leak: list[bytes] = []


def leaks(config: dict[str, Any]) -> dict[str, float]:
    _leak.append(os.urandom(1) * 60_000_000)
    return {"loss": config["x"], "pid": float(os.getpid()), "leaked": float(len(_leak))}


@pytest.mark.parametrize(("options", "most"), [
    ({"renew_after_jobs": 2}, 2), ({"renew_after_bytes": 300_000_000}, 5), ({}, 6),
])  # fmt: skip
def test_workers_are_renewed(options: dict[str, int], most: int) -> None:
    study = Study(Random(Space(x=Float(0.0, 1.0))))
    history = run(study, Processes(leaks, workers=1, **options), Stop(trials=6))  # type: ignore[arg-type]
    assert not [event for event in history.events if event.kind == "lost"]
    leaked = [result.metrics["leaked"] for result in history.results.values()]
    assert len(leaked) == 6 and max(leaked) <= most
    assert len({result.metrics["pid"] for result in history.results.values()}) == leaked.count(1.0)
    assert (leaked.count(1.0) > 1) == bool(options)


def test_a_limit_that_no_worker_keeps_is_refused() -> None:
    executor = Processes(square, workers=1, renew_after_bytes=1_000_000)
    executor.submit(Job(0, {"x": 1.0}, 1))
    try:
        with pytest.raises(ValueError, match=r"renew_after_bytes is 1000000, but a worker holds \d+ bytes before its first"):
            executor.wait(900.0)
    finally:
        executor.close()
    for name in ("renew_after_jobs", "renew_after_bytes"):
        with pytest.raises(ValueError, match=f"{name} is 0; allowed is an integer of at least 1"):
            Processes(square, **{name: 0})  # type: ignore[arg-type]
