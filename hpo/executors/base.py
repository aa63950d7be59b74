"""The protocol of executors, and the outcomes of jobs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from hpo.job import Job, Key, Result


@dataclass(frozen=True)
class Lost:
    """The machine lost a job. Its configuration is not to blame, and the job is given out again.

    cause     "worker": the worker died during the job
              "disk": a checkpoint could not be saved, loaded or published
              "source": the checkpoint that the job starts from is not there
    message   what happened, in words; empty where there is nothing to say
    """

    cause: str
    message: str


@dataclass(frozen=True)
class Raised(Result):
    """A result whose error is an exception of the objective.

    types   full names of the exception's class and of the classes it is derived from, most derived first
    line    where in the objective's own file it came from: "path:number"; empty if it came from elsewhere
    is_foreign   whether it speaks for something that is no code of the objective's, such as a command (`own_traceback`); then its
                 line is its sentence without the numbers in it, which is what tells one mistake from another there
    """

    types: tuple[str, ...] = ()
    line: str = ""
    is_foreign: bool = False


Outcome = tuple[Job, Result | Lost]
Kept = Mapping[Key, int | None]  # keys whose checkpoint stays, and of which attempt; None: of all
Stamp = tuple[Key, int]  # what tells a checkpoint from all others: its key and the attempt that made it
Choose = Callable[[Mapping[Stamp, int]], Collection[Stamp]]  # of the checkpoints that stand, by their bytes: what goes


class Executor(Protocol):
    """Runs jobs. A checkpoint is durable before its job comes out of `wait`."""

    kind: str  # of its objective: "function", "report" or "run" (see hpo.objective)

    @property
    def free(self) -> int:
        """How many jobs it takes now."""
        ...

    def submit(self, job: Job, attempts: Mapping[Key, int] | None = None) -> None:
        """Takes a job; never waits for it.

        attempts: which attempt the job is, and which made the checkpoint that it starts from, by key; 0 for what is not named
        """
        ...

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """A finished or lost job; None if `timeout` seconds pass without one."""
        ...

    def drop(self, keys: Collection[Key]) -> None:
        """Gives up these checkpoints (of first attempts; `refuse` those of others) and held Runs, those of jobs in flight
        excepted. Costs what `keys` are, however long the study: called after a finish, with what no later job will name."""
        ...

    def drop_interim(self, key: Key, attempt: int) -> None:
        """Gives up what this attempt at a job and earlier ones saved inside it. Called once its result is recorded."""
        ...

    def refuse(self, key: Key, attempt: int) -> None:
        """Gives up the checkpoint and the held Run that one attempt at a key made."""
        ...

    def keep(self, read: Callable[[], Kept | None]) -> None:
        """Deletes every checkpoint but those that `read` names and those of jobs in flight. Looks through the whole folder:
        called at the start of a run, for what an earlier one left, and at its end.

        read: asked after the folder was looked through, so that what another driver publishes meanwhile stays. None: all stays.
        """
        ...

    def close(self) -> None:
        """Stops at once; what is in flight is dropped."""
        ...


@runtime_checkable
class Measuring(Protocol):
    """What an executor also does whose checkpoints take space."""

    def trim(self, choose: Choose) -> None:
        """Deletes the checkpoints that `choose` names, those of jobs in flight excepted; held Runs stay. Measures only what it
        has not seen yet: called after a finish."""
        ...
