"""Folds: state that depends on the path of a history (rungs, brackets, slots, generations), kept up to date at constant cost.

A fold steps once a start: first it absorbs the keys that finished since the start before, sorted, then it enters the job.
So what finished between two starts counts as one step in whatever order it came, and the state is a function of the events.
What finished since the last start is absorbed by a copy, which is what a proposal reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from hpo.job import Job, Key

History = Any  # hpo.history.History, which holds folds


class State(Protocol):
    """What an owner keeps of a path. It asks the history only about keys and jobs that it was given."""

    def copy(self) -> Self:
        """A state that may change without changing this one."""
        ...

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        """These keys finished between two starts; sorted."""
        ...

    def enter(self, history: History, job: Job) -> None:
        """This job started (a lost one starts again; an added one starts and finishes at once)."""
        ...


S = TypeVar("S", bound=State)


@dataclass
class Fold(Generic[S]):
    """A state with how many starts it has entered, and a copy that has absorbed what finished since."""

    state: S
    position: int = 0
    ahead: tuple[tuple[Key, ...], S] | None = None

    def settle(self, history: History, steps: Sequence[tuple[Job, tuple[Key, ...]]]) -> S:
        """The state behind the last start."""
        for job, keys in steps[self.position :] if self.position < len(steps) else ():
            if self.ahead is not None and self.ahead[0] == keys:
                self.state = self.ahead[1]
            else:
                self.state.absorb(history, keys)
            self.ahead = None
            self.state.enter(history, job)
            self.position += 1
        return self.state

    def read(self, history: History, steps: Sequence[tuple[Job, tuple[Key, ...]]], tail: Sequence[Key]) -> S:
        """The state with what has finished since the last start."""
        state = self.settle(history, steps)
        if not tail:
            return state
        keys = tuple(tail)
        if self.ahead is None or self.ahead[0] != keys:
            self.ahead = keys, state.copy()
            self.ahead[1].absorb(history, keys)
        return self.ahead[1]

