"""Who works on a study: its drivers, which of them live, and what each has in flight."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

from hpo.history import History
from hpo.job import Key
from hpo.leases import Heartbeats
from hpo.processes import describe_process

LEFT, BY_HAND = "has ended", "asked for by hand"


@dataclass(frozen=True)
class DriverState:
    """A driver of a study, or whoever left jobs in flight.

    number     of its run; None for jobs that were asked for by hand
    who        its process and machine in words; for one without a row, why it has none
    silence    seconds since its last heartbeat; None where that is not known (yet)
    lease      seconds of silence after which others take over what it has in flight
    """

    number: int | None
    who: str
    is_alive: bool
    in_flight: tuple[Key, ...] = ()
    silence: float | None = None
    lease: float | None = None


def list_drivers(history: History, heartbeats: Heartbeats) -> list[DriverState]:
    """Every driver that lives, the first first; then those that do not and have left jobs in flight."""
    held: dict[int | None, list[Key]] = defaultdict(list)
    for key in history.pending:
        held[history.attempts.holders.get(key)].append(key)
    found, asked = [], time.monotonic()
    for row, age in history.log.drivers():
        alive, silence = heartbeats.is_alive(row, age, asked), heartbeats.silence(row, age, asked)
        jobs = tuple(held.pop(row.number, ()))
        if alive or jobs:
            found.append(DriverState(row.number, describe_process(row.process), alive, jobs, silence, row.lease))
    found += [DriverState(number, BY_HAND if number is None else LEFT, False, tuple(jobs)) for number, jobs in held.items()]
    return sorted(found, key=lambda one: (not one.is_alive, one.number is None, one.number or 0))
