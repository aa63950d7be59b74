"""Ctrl-C and SIGTERM: one line that says how to go on, nothing left behind, and the same call goes on; coroutines and parked
trials, which are what a run may hold when it is ended."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import Float, MemoryLog, Random, Result, Space, SQLiteLog, Study
from hpo.executors.checkpoints import Checkpoints
from hpo.executors.worker import PARKED, Worker
from hpo.job import Job
from hpo.objective import _await
from tests.hpo.objectives import Reports, line

ROOT = Path(__file__).resolve().parents[2]


def test_parked_trials_are_bounded_and_the_lowest_are_closed_first(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    worker = Worker(Reports(tmp_path / "journal"), 9, checkpoints)
    jobs = [Job(trial, {"x": float(trial)}, 3 if trial % 2 else 5) for trial in range(40)]
    for job in jobs:
        worker.execute(job)
        assert len(worker.held) <= PARKED
    assert all(trial % 2 == 0 for trial in worker.held) and 38 in worker.held
    again = worker.execute(Job(1, {"x": 1.0}, 9, (1, 3)))
    assert isinstance(again, Result) and again.metrics[""] == 1.0 + 1 / 9, "run again from its beginning"
    worker.close()
    checkpoints.close()


def test_coroutines_beside_a_running_loop() -> None:
    """In a notebook every cell runs in a loop."""

    async def objective(config: dict[str, Any]) -> float:
        await asyncio.sleep(0)
        if config["x"] < 0:
            raise ValueError("too low")
        return float(config["x"])

    async def cell() -> Study:
        return hpo.minimize(objective, line(), "random", 4, quiet=True)

    study = asyncio.run(cell())
    assert len(study.successes()) == 4

    async def failing() -> None:
        with pytest.raises(ValueError, match="too low"):
            _await(objective({"x": -1.0}))

    asyncio.run(failing())


@pytest.mark.parametrize("make", [lambda folder: MemoryLog(), lambda folder: SQLiteLog(folder / "log.sqlite")])
def test_a_log_that_was_given_stays_open_for_the_same_call(
    make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a notebook the log lives on behind Ctrl-C."""
    log, calls = make(tmp_path), iter(range(99))

    def objective(config: dict[str, Any]) -> float:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return float(config["x"])

    with pytest.raises(KeyboardInterrupt):
        hpo.minimize(objective, line(), "random", 4, log=log, quiet=True)
    assert "2 results are in" in capsys.readouterr().err
    assert len(hpo.minimize(objective, line(), "random", 4, log=log, quiet=True).successes()) == 4
    log.close()


SCRIPT = """
import os, signal, sys, time
import hpo
def is_first():  # of the jobs of this start: a second Ctrl-C, as of somebody impatient, ends without a sentence
    try:
        os.mkdir("sent")
    except FileExistsError:
        return False
    return True
def f(config):
    if len(os.listdir(sys.argv[1])) >= 3:
        if is_first():
            os.kill(os.getppid() if sys.argv[2] == "processes" else os.getpid(), getattr(signal, sys.argv[3]))
        time.sleep(60)
    open(os.path.join(sys.argv[1], str(config["x"])), "w").close()
    return config["x"]
if __name__ == "__main__":
    before = signal.getsignal(signal.SIGTERM)
    try:
        hpo.minimize(f, {"x": (0.0, 1.0)}, "random", 6, executor=sys.argv[2], log="log.sqlite", quiet=True)
    finally:
        assert signal.getsignal(signal.SIGTERM) is before
    print("done")
"""


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_minimize_in_one_line_and_the_same_call_goes_on(
    executor: str, name: str, status: int, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "done").mkdir()
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}

    def start() -> subprocess.CompletedProcess[str]:
        shutil.rmtree(tmp_path / "sent", ignore_errors=True)
        command = [sys.executable, "script.py", str(tmp_path / "done"), executor, name]
        return subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=900)

    first = start()
    assert first.returncode == status, first.stderr
    assert len(first.stderr.splitlines()) == 1 and "the same call goes on from there" in first.stderr, first.stderr
    assert not list((tmp_path / "tmp").iterdir()) and not (tmp_path / "log.sqlite-wal").exists()
    with_log = Study(Random(Space(x=Float(0.0, 1.0))), log=SQLiteLog(tmp_path / "log.sqlite"))
    assert len(with_log.history.results) >= (3 if executor == "inline" else 2) and with_log.history.pending
    with_log.history.log.close()
    for path in list((tmp_path / "done").iterdir())[:1]:
        path.unlink()
    for _ in range(4):  # one more result each time
        for path in list((tmp_path / "done").iterdir()):
            path.unlink()
        last = start()
        if last.returncode == 0:
            break
    assert last.stdout == "done\n"


# -- a shell -----------------------------------------------------------------------------------------------------------


class Shell:
    """A Python shell on a terminal of its own, as somebody has it who types."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(folder)
                os.environ |= {"TERM": "dumb", "PYTHONPATH": str(ROOT), "PYTHON_BASIC_REPL": "1"}
                os.execv(sys.executable, [sys.executable, "-q", *flags])
            finally:
                os._exit(1)
        self.said = ""

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def hear(self, words: str) -> str:
        """Everything it says from the last such call up to these words and the end of their line."""
        while not re.search(f"{words}[^\n]*\n", self.said):
            assert select.select([self.terminal], [], [], 300)[0], self.said
            self.said += os.read(self.terminal, 65536).decode(errors="replace")
        end = re.search(f"{words}[^\n]*\n", self.said).end()  # type: ignore[union-attr]
        heard, self.said = self.said[:end], self.said[end:]
        return heard

    def close(self) -> int:
        """Its exit status."""
        self.type("exit(7)\n")
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("flags", [(), ("-i", "module.py")], ids=["shell", "behind a script"])
@pytest.mark.parametrize("log", ["None", "'log.sqlite'"])
def test_ctrl_c_in_a_shell_leaves_the_shell_and_what_was_told(flags: tuple[str, ...], log: str, tmp_path: Path) -> None:
    text = "import time\ndef slow(c):\n    print('job', 'begins', flush=True); time.sleep(0.1); return c['x']\n"
    (tmp_path / "module.py").write_text(text)
    shell = Shell(tmp_path, *flags)
    shell.type("import sys, hpo, module; precious = 42\n")
    shell.type(f"hpo.minimize(module.slow, {{'x': (0.0, 1.0)}}, 'random', 900, quiet=True, log={log})\n")
    for _ in range(3):
        shell.hear("job begins")
    os.write(shell.terminal, b"\x03")
    heard = shell.hear("stopped by Ctrl-C") + shell.hear("KeyboardInterrupt|Interrupted")
    assert ("the same call goes on" if "log" in log else "sys.last_value.study") in heard and "are lost" not in heard
    shell.type("study = sys.last_value.study; print('still', precious, 'with', len(study.history.results), study.best.value)\n")
    assert re.search(r"still 42 with [2-9] 0\.\d+", shell.hear("still 42 with"))
    assert shell.close() == 7


SWALLOWS = """
import os, signal, time
import hpo
def f(config):
    global calls
    calls += 1
    try:
        if calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
    except BaseException:
        return 0.0
    return 1.0
calls = 0
try:
    hpo.minimize(f, {"x": (0.0, 1.0)}, "random", 9, log="log.sqlite", quiet=True)
finally:
    print(calls, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""


def test_sigterm_that_an_objective_swallows_ends_the_run_behind_its_job(tmp_path: Path) -> None:
    """What the job returns then is nobody's result: it stays pending."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SWALLOWS], cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert done.returncode == 143 and done.stdout == "3 True\n", (done.stdout, done.stderr)
    assert "stopped by SIGTERM; 2 results are in" in done.stderr and len(done.stderr.splitlines()) == 1
    history = hpo.load(tmp_path / "log.sqlite").history
    assert len(history.results) == 2 and list(history.pending) == [(2, 1)]
