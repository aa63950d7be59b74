"""Folds: state that depends on the path of a history (rungs, brackets, slots, generations), kept up to date at constant cost.

A fold takes one step at every start: first it absorbs the keys that have finished since the previous start, sorted, then it
enters the job that starts. So the order of results between two starts does not matter, and the state is a function of the
events. What has finished since the last start is absorbed by a copy of the state; proposals read this copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from hpo.job import Job, Key

History = Any  # hpo.history.History, which holds folds


class State(Protocol):
    """The state that an owner keeps. It asks the history only about keys and jobs that it was given."""

    def copy(self) -> Self:
        """A copy that can change without changing this state."""
        ...

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        """Takes in the keys that finished between two starts, sorted."""
        ...

    def enter(self, history: History, job: Job) -> None:
        """Takes in the job that starts. A lost job starts again; an added result starts and finishes at once."""
        ...


S = TypeVar("S", bound=State)


@dataclass
class Fold(Generic[S]):
    """A state, the number of starts that it has entered, and a copy that has absorbed what finished since the last one."""

    state: S
    position: int = 0
    ahead: tuple[tuple[Key, ...], S] | None = None

    def settle(self, history: History, steps: Sequence[tuple[Job, tuple[Key, ...]]]) -> S:
        """The state right after the last start."""
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
        """The state that includes what has finished since the last start."""
        state = self.settle(history, steps)
        if not tail:
            return state
        keys = tuple(tail)
        if self.ahead is None or self.ahead[0] != keys:
            self.ahead = keys, state.copy()
            self.ahead[1].absorb(history, keys)
        return self.ahead[1]

