"""The law of folds: a state is a function of the events, whoever reads it when, however finishes between starts are ordered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from hpo import Float, Random, Result, Space, Study
from hpo.history import History
from hpo.job import Job, Key

SPACE = Space({"x": Float(0.0, 1.0)})


@dataclass
class Path:
    """A state that writes down all that it is told: two of them are equal only if everything came in the same order."""

    steps: list[Any] = field(default_factory=list)

    def copy(self) -> Path:
        return Path(self.steps.copy())

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        self.steps.append(("absorb", tuple(keys), tuple(history.losses(key) for key in keys)))

    def enter(self, history: History, job: Job) -> None:
        self.steps.append(("enter", job.key))


def read(history: History) -> list[Any]:
    return history.fold("path", Path).steps


def play(script: Sequence[int], shuffle: int | None, looks: Sequence[bool]) -> tuple[list[Any], History]:
    """Starts (numbers from 0: how many) and finishes (below 0: how many of what is pending) in turn; the state at the end.

    What finishes between two starts comes in an order of `shuffle`'s; the state is read on the way where `looks` says so.
    """
    optimizer, looked = Random(SPACE, seed=1), iter([*looks, *[False] * 1000])
    history = Study(optimizer).history
    for number in script:
        if number >= 0:
            for _ in range(number):
                optimizer.ask()
        else:
            done = [history.jobs[key] for key in sorted(history.pending)][:-number]
            order = range(len(done)) if shuffle is None else np.random.default_rng(shuffle).permutation(len(done))
            for place in order:
                optimizer.tell(done[place], Result({"loss": done[place].config["x"]}))
                if next(looked):
                    read(history)
        if next(looked):
            read(history)
    return read(history).copy(), history


SCRIPTS = st.lists(st.integers(-4, 4), min_size=1, max_size=12)
LOOKS = st.lists(st.booleans(), max_size=40)


@given(script=SCRIPTS, shuffle=st.integers(0, 100), looks=LOOKS)
def test_a_state_hangs_on_the_events_alone(script: list[int], shuffle: int, looks: list[bool]) -> None:
    """Not on the order of finishes between two starts, nor on who looked at it before."""
    expected, history = play(script, None, [])
    found, other = play(script, shuffle, looks)
    assert found == expected
    assert [step for step in found if step[0] == "enter"] == [("enter", job.key) for job in other.jobs.values()]
    absorbed = [key for step in found if step[0] == "absorb" for key in step[1]]
    assert sorted(absorbed) == sorted(history.results) and len(set(absorbed)) == len(absorbed), "every result once"


@given(script=SCRIPTS, looks=LOOKS)
def test_reading_the_log_anew_gives_the_same_state(script: list[int], looks: list[bool]) -> None:
    found, history = play(script, 3, looks)
    again = History(history.header, history.log)
    assert read(again) == found


def test_owners_have_states_of_their_own_and_late_results_do_not_reach_the_last_start() -> None:
    found, history = play([2, -1, 1, -1], None, [])
    assert history.fold("another", Path) is not history.fold("path", Path)
    assert history.fold("another", Path).steps == found
    assert found[-1][0] == "absorb" and history.fold_at_start("path", Path).steps == found[:-1]


def test_a_fold_that_keeps_the_order_of_arrival_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The law fails where keys are absorbed as they come."""
    monkeypatch.setattr("hpo.history.insort", lambda keys, key: keys.append(key))
    script = [4, -4]
    assert play(script, None, [])[0] != play(script, 5, [])[0]
