"""Where a trial's weights came from: the jobs that made them, and the hyperparameters over time.

A trial that was cloned has the weights of others: PBT's winner was trained with several configurations, one after the other.
Its lineage is the chain of checkpoints from a start from nothing, its schedule what each of them was trained with.
"""

from __future__ import annotations

from typing import Any

from hpo.history import History
from hpo.job import Key
from hpo.values import format_value

Schedule = list[tuple[int, dict[str, Any]]]  # (until, configuration): from the one before, or 0, until there with this one


def key_of(history: History, trial: int | Key) -> Key:
    """A finished key; of a trial's number its last one. ValueError for any other."""
    found = trial
    if type(trial) is int:
        found = next((key for key in reversed(history.trials.get(trial, ())) if key in history.results), trial)
    if not isinstance(found, tuple) or found not in history.results:
        raise ValueError(f"{format_value(trial)} is no trial of this study with a result, and none of its keys (trial, until)")
    return found


def lineage(history: History, trial: int | Key) -> tuple[Key, ...]:
    """The keys whose jobs made a trial's weights, from the first on; the last is the trial's own.

    trial: its number, for its last result, or one of its keys
    """
    key: Key | None = key_of(history, trial)
    found: list[Key] = []
    while key is not None:
        found.append(key)
        key = history.jobs[key].source
    return tuple(reversed(found))


def schedule(history: History, trial: int | Key) -> Schedule:
    """(until, configuration) of every phase in which the hyperparameters stayed the same, in order."""
    found: Schedule = []
    for key in lineage(history, trial):
        config = dict(history.jobs[key].config)
        if found and found[-1][1] == config:
            found.pop()
        found.append((key[1], config))
    return found
