"""Jobs of a batch system, Slurm or another: each job of a study is one job there, and hands over through files.

The files stand beside the checkpoints (else in the current folder), where the driver and all nodes must see them. A job begins at
its checkpoint, since its process holds nothing from before; one that the system loses is given out again, and goes on from what
it saved inside.
"""

from __future__ import annotations

import os
import pickle
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from hpo.executors.base import Lost
from hpo.executors.batch_job import write
from hpo.executors.batch_system import SLURM, BatchSystem, BatchSystemError
from hpo.executors.devices import WorkerResources, read_resources
from hpo.executors.distant import STARTS, Distant
from hpo.executors.host import read_answer
from hpo.executors.interim import read_interval
from hpo.executors.slot import is_unreachable, preparation
from hpo.job import Job, Result
from hpo.objective import Objective, kind
from hpo.processes import is_gone, this_process
from hpo.values import duration, format_value

MAIN = Path(__file__).with_name("batch_job.py")
PLACE = ".jobs-"  # in the names of folders through which jobs hand over, behind that of the checkpoints' folder beside them
POLL = 10.0  # seconds between two questions to a batch system, whose administrators mind more
LONGEST_REST = 60.0  # seconds before a failed submission is tried again, which are doubled from one
PATIENT_STARTS = 12  # failed submissions in a row after which a system that has worked is given up


@dataclass
class Submission:
    """A job of a study as a job of the system."""

    job: Job
    number: str  # which the system gave it
    since: float | None = None  # when it was first seen to have begun, by this machine's clock
    process: int = 0  # its number on its node
    absences: int = 0  # looks in a row at which the system did not list it as waiting or running


class Batch(Distant[Any]):
    """At most `workers` jobs at once in a batch system, waiting or running.

    A job that runs for more than `timeout` seconds is cancelled, and is an error; waiting does not count. So is one that the
    system ends because its memory is used up, or its time, unless it has saved itself inside (Run.advance): then it goes on from
    there. Whatever else ends a job without a result is the machine's fault.

    system      the batch system's commands
    options     further words where `submit` has {options}
    setup       lines of shell that run first: ["module load cuda", ". env/bin/activate"]
    poll        seconds between two questions for the jobs' states
    checkpoint_every   seconds between two saves inside a job, of Runs that allow it (Run.advance); default 300, infinity is never

    The objective must be picklable, as for processes. f(config, report) is called anew at every rung, from its beginning.
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        workers: int = 2,
        timeout: float | None = None,
        *,
        system: BatchSystem | None = None,
        options: Sequence[str] = (),
        setup: Sequence[str] = (),
        poll: float = POLL,
        checkpoint_every: float | None = None,
    ) -> None:
        if not isinstance(system, BatchSystem):
            raise ValueError(f"system is {format_value(system)}; allowed is BatchSystem(submit=..., cancel=..., status=...)")
        self._system, self._share = system, WorkerResources(1, 0.0, None)
        self._open(objective, horizon, folder, workers, timeout, _lines("options", options), _lines("setup", setup), poll,
                   checkpoint_every)  # fmt: skip

    def _open(
        self, objective: Objective, horizon: int, folder: str | Path | None, workers: int, timeout: float | None,
        options: list[str], setup: list[str], poll: float, checkpoint_every: float | None,
    ) -> None:
        if (missing := self._system.find_missing()) is not None:
            raise ValueError(f"{missing}, a command of the batch system, is no program on this machine's PATH")
        read_interval(checkpoint_every, kind(objective))
        if folder is None and kind(objective) == "run":
            raise ValueError("folder is None, but checkpoints of jobs on other machines need one; give one that all nodes see")
        self._options, self._setup, self._poll_every = options, setup, duration("poll", poll, zero=False) or POLL
        super().__init__(objective, horizon, folder, workers, timeout, checkpoint_every)
        try:
            arguments = self._pack(pickle.dumps)
            if is_unreachable(pickle.dumps(objective)):
                raise TypeError("the objective cannot be sent to another process: it was typed in a shell or a notebook, or came "
                                "by -c or standard input, where a job cannot import it; define it in a module")  # fmt: skip
            beside = Path("hpo") if folder is None or "://" in str(folder) else self._checkpoints.folder
            beside = beside.resolve()
            self._clear_dead(beside)
            self._place = beside.with_name(f"{beside.name}{PLACE}{secrets.token_hex(4)}")
            self._place.mkdir()
        except BaseException:
            self._checkpoints.close()
            raise
        write(self._place / "driver", this_process().encode())
        write(self._place / "worker", pickle.dumps((preparation(), arguments, (self._share.cpu, self._share.gpu))))
        self._running: dict[str, Submission] = {}
        self._count = 0
        self._asked = time.monotonic()  # when the system was last asked for states
        self._refused = 0  # submissions that failed in a row
        self._rest = 0.0  # until when nothing is submitted, after that has failed

    def _clear_dead(self, beside: Path) -> None:
        """Cancels and deletes what drivers have left that were killed on this machine."""
        for place in beside.parent.glob(f"{escape(beside.name)}{PLACE}*"):
            with suppress(OSError, BatchSystemError):
                if is_gone((place / "driver").read_text(encoding="utf-8")):
                    self._system.end_jobs(path.read_text(encoding="utf-8") for path in place.glob("*.number"))
                    shutil.rmtree(place, ignore_errors=True)

    # -- submitting ----------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        while self._backlog and len(self._running) < self.workers and time.monotonic() >= self._rest:
            job = self._backlog[0]
            name = f"{self._count}-trial-{job.trial}"
            script, log = self._place / f"{name}.sh", self._place / f"{name}.log"
            write(self._place / f"{name}.job", pickle.dumps((job, self._attempts[job.key], time.time())))
            script.write_text(self._script(name), encoding="utf-8")
            try:
                number = self._system.hand_in(str(script), str(log), f"hpo-{name}", self._options)
            except BatchSystemError as error:
                self._refuse(error)
                return
            self._refused = 0
            write(self._place / f"{name}.number", number.encode())
            self._count += 1
            self._running[name] = Submission(job, number)
            self._backlog.pop(0)

    def _refuse(self, error: BatchSystemError) -> None:
        """The system took no job: it is asked again later, for minutes where it has worked: it may be started anew."""
        self._refused += 1
        self._rest = time.monotonic() + min(LONGEST_REST, 2.0 ** (self._refused - 1))
        if self._refused >= (PATIENT_STARTS if self._worked else STARTS):
            many = f"{self._refused} jobs in a row could not be submitted"
            self._broken = RuntimeError(f"{many}, the last because {error}")
            raise self._broken from None

    def _script(self, name: str) -> str:
        variables = self._share.environment(True)
        call = [sys.executable, str(MAIN), str(self._place), name]
        return "\n".join([
            "#!/bin/sh", *self._system.header, f"cd {shlex.quote(os.getcwd())} || exit 1",
            *(f"export {key}={shlex.quote(value)}" for key, value in variables.items()), *self._setup,
            f"exec {' '.join(map(shlex.quote, call))}", "",
        ])  # fmt: skip

    # -- hearing -------------------------------------------------------------------------------------------------------

    def _poll(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self._look()
            if time.monotonic() >= self._asked + self._poll_every:
                self._ask()
            left = end - time.monotonic()
            if self._done or left <= 0:
                return
            time.sleep(min(left, self._poll_every / 5, 0.5))

    def _look(self) -> None:
        """What the jobs have written."""
        names = set(os.listdir(self._place))
        now = time.monotonic()
        for name, one in list(self._running.items()):
            if f"{name}.done" in names:
                self._finish(name)
            elif one.since is None and f"{name}.begun" in names:
                one.since = now
            elif self.timeout is not None and one.since is not None and now - one.since >= self.timeout:
                self._cancel([one])
                self._drop_half(name, one)
                self._tell_late(self._forget_job(name), now - one.since)

    def _forget_job(self, name: str) -> Job:
        (self._place / f"{name}.number").unlink(missing_ok=True)
        return self._running.pop(name).job

    def _finish(self, name: str) -> None:
        what, said = pickle.loads((self._place / f"{name}.done").read_bytes())
        where, _ = self._read_begun(name)
        job = self._forget_job(name)
        if what == "done":
            self._count_start()
            self._tell(job, read_answer(said)[0], where)
        elif what == "again":
            self._done.append((job, Lost("worker", "the batch system started the job a second time")))
        else:
            self._count_failure(said)
            self._done.append((job, Lost("worker", said[1])))

    def _read_begun(self, name: str) -> tuple[str, int]:
        """The node of a job and the number of its process there."""
        try:
            node, process = (self._place / f"{name}.begun").read_text(encoding="utf-8").split()
        except (OSError, ValueError):  # it died while it wrote this
            return "", 0
        return node, int(process)

    def _ask(self) -> None:
        """Which jobs the system has ended without a result. One is believed to be gone at the second look, since its files may
        come later than the news."""
        try:
            states = self._system.read_states()
        except BatchSystemError:  # it does not answer now; jobs run all the same
            self._asked = time.monotonic()
            return
        self._asked = time.monotonic()
        for name, one in list(self._running.items()):
            state = states.get(one.number)
            one.absences = one.absences + 1 if state is None or state in self._system.ended else 0
            if one.absences >= 2 and not (self._place / f"{name}.done").exists():
                self._mourn(name, one, state)

    def _mourn(self, name: str, one: Submission, state: str | None) -> None:
        """A job has ended without a result."""
        job, meaning = one.job, self._system.ended.get(state or "", "lost")
        how = f"job {one.number} of the batch system {f'ended as {state}' if state else 'is gone'}"
        said = self._read_log(name)
        self._drop_half(name, one)
        self._forget_job(name)
        if meaning == "memory":
            self._done.append((job, Result(error=f"out of memory: {how}")))
        elif meaning == "timeout" and not self._checkpoints.has(self._checkpoints.interim_path(job.key, self._attempt(job))):
            self._done.append((job, Result(error=f"timeout: {how}")))
        elif one.since is not None or self._worked or meaning == "timeout":
            self._done.append((job, Lost("worker", f"{how}{said}")))
        else:  # it never began: nothing is lost yet
            self._backlog.insert(0, job)
            self._count_failure((False, f"{how}{said}", ""))

    def _drop_half(self, name: str, one: Submission) -> None:
        self._checkpoints.discard(one.job.key, self._attempt(one.job), self._read_begun(name)[1])

    def _read_log(self, name: str) -> str:
        """The last line that a job printed, for a sentence."""
        with suppress(OSError):
            lines = (self._place / f"{name}.log").read_text(encoding="utf-8", errors="replace").split("\n")
            if last := next((line.strip() for line in reversed(lines) if line.strip()), ""):
                return f"; the last line that it printed: {last[:200]}"
        return ""

    def _cancel(self, submissions: Sequence[Submission]) -> None:
        with suppress(BatchSystemError):  # gone already, or out of reach: then it has no folder to hand over to
            self._system.end_jobs(one.number for one in submissions)

    def close(self) -> None:
        self._cancel(list(self._running.values()))
        self._running.clear()
        shutil.rmtree(self._place, ignore_errors=True)
        self._checkpoints.close()


class Slurm(Batch):
    """Jobs of Slurm, by sbatch, squeue and scancel.

    resources   what one trial needs: {"cpu": 4, "gpu": 1}, asked for as --cpus-per-task and --gres=gpu:1
    options     further words of sbatch: ["--partition=gpu", "--time=4:00:00", "--mem=32G"]
    The others are those of Batch.
    """

    def __init__(
        self,
        objective: Objective,
        horizon: int = 1,
        folder: str | Path | None = None,
        workers: int = 2,
        timeout: float | None = None,
        *,
        resources: Mapping[str, float] | None = None,
        options: Sequence[str] = (),
        setup: Sequence[str] = (),
        poll: float = POLL,
        checkpoint_every: float | None = None,
    ) -> None:
        needs = read_resources(resources)
        for name, amount in needs.items():
            if amount != int(amount) or (name == "cpu" and amount < 1):
                raise ValueError(f"resources has {amount:g} of {name!r}; Slurm gives whole ones")
        cpu, gpu = int(needs.get("cpu", 1)), int(needs.get("gpu", 0))
        words = [f"--cpus-per-task={cpu}"] if "cpu" in needs else []
        words += [f"--gres=gpu:{gpu}"] if gpu else []
        self._system, self._share = SLURM, WorkerResources(cpu, float(gpu), None)
        self._open(objective, horizon, folder, workers, timeout, [*words, *_lines("options", options)], _lines("setup", setup),
                   poll, checkpoint_every)  # fmt: skip


def _lines(name: str, value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} is {format_value(value)}; allowed is a list of texts")
    return list(value)
