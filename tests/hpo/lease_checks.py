"""What must hold of a study that drivers shared, by its log and by the journal that they wrote (lessees.py).

A lease is valid from a beat on for as many seconds as it has, unless its driver has ended. Whatever was in flight with a driver
whose lease ran out may be given out again, by an event; a beat that comes later does not bring it back.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.logs import Event
from tests.hpo.lessees import LEASE

CLOCKS = 0.005  # seconds in an hour's run by which a server's clock and this machine's may go apart within a lease


@dataclass
class Execution:
    """A job in a driver's hands, from its beginning to its end."""

    driver: int
    job: str
    attempt: int
    begun: float
    again: bool  # it had a result: it is trained again for its checkpoint, which was gone
    ended: float | None = None
    mark: int | None = None
    lost: bool = False


class Story:
    """The events of a log, and what every driver wrote of itself.

    deaths   when a driver was killed, by driver
    """

    def __init__(self, events: Sequence[Event], journal: Path, deaths: Mapping[int, float]) -> None:
        self.events, self.deaths = events, deaths
        self.lines: dict[str, list[list[Any]]] = defaultdict(list)
        self.executions: list[Execution] = []
        for text in journal.read_text(encoding="utf-8").splitlines():
            what, *more = json.loads(text)
            self.lines[what].append(more)
            if what == "begin":
                self.executions.append(Execution(*more))
            elif what == "end":
                self._end_execution(*more)
        self.drivers = {number: driver for driver, number in self.lines["run"]}
        self.beats: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for driver, begun, ended in self.lines["beat"]:
            self.beats[driver].append((begun, ended))
        self.starts: dict[tuple[str, int], int] = {}  # whose an attempt is
        self.losses: dict[tuple[str, int], int] = {}  # positions
        self.finishes: dict[str, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
        self.faults: Counter[str] = Counter()
        for position, event in enumerate(events):
            self._read(position, event.kind, event.body)

    def _end_execution(self, driver: int, job: str, attempt: int, time: float, mark: int, lost: bool) -> None:
        whose = driver, job, attempt
        execution = next(one for one in self.executions if (one.driver, one.job, one.attempt) == whose and one.ended is None)
        execution.ended, execution.mark, execution.lost = time, mark, lost

    def _read(self, position: int, kind: str, body: Mapping[str, Any]) -> None:
        if kind == "start":
            job, attempt = f"{body['job']['trial']}-{body['job']['until']}", body["attempt"]
            self.faults["an attempt started twice"] += (job, attempt) in self.starts
            self.faults["a job in flight twice"] += attempt > 0 and (job, attempt - 1) not in self.losses
            self.starts[job, attempt] = self.drivers.get(body["driver"], -1)
        elif kind in ("lost", "finish"):
            job = f"{body['trial']}-{body['until']}"
            if kind == "finish":
                self.finishes[job].append((position, body))
            elif (job, body["attempt"]) in self.starts:
                self.losses[job, body["attempt"]] = position
            else:
                self.faults["lost before it started"] += 1

    def check(self) -> Counter[str]:
        """Every fault by name."""
        self._check_takeovers()
        self._check_executions()
        self._check_results()
        return +self.faults

    def _check_takeovers(self) -> None:
        """Nobody took anything from a driver whose lease was valid when he last looked."""
        looks = defaultdict(list)
        for driver, begun, ended in self.lines["look"]:
            looks[driver].append((begun, ended))
        left = dict(self.lines["leaving"])
        for driver, job, attempt, time in self.lines["losing"]:
            holder = self.starts[job, attempt]
            seen = [look for look in looks[driver] if look[1] <= time]
            if holder == driver or not seen:
                self.faults["taken over without a look"] += 1
                continue
            begun, ended = seen[-1]
            dead = min(self.deaths.get(holder, float("inf")), left.get(holder, float("inf"))) <= ended
            last = max((beat for beat, written in self.beats[holder] if written <= begun), default=-float("inf"))
            self.faults["taken over under a valid lease"] += not dead and ended - last <= LEASE - CLOCKS

    def _check_executions(self) -> None:
        """Every attempt was executed once, by the driver whose it was, after its start. One that was lost, since the checkpoint
        that it starts from was gone, is executed again; one that began under no lease is none of two under one."""
        found = [one for one in self.executions if not (one.again or one.lost)]
        self.faults["an attempt executed twice"] += len(found) - len({(one.job, one.attempt) for one in found})
        spans = defaultdict(list)
        for one in found:
            self.faults["executed by another driver"] += self.starts.get((one.job, one.attempt), -1) != one.driver
            spans[one.job].append((one.begun, min(self._find_end(one), self._find_expiry(one.driver, one.begun))))
        for parts in spans.values():
            furthest = -float("inf")
            for begin, end in sorted((begin, end) for begin, end in parts if begin < end):
                self.faults["run under two valid leases"] += begin < furthest
                furthest = max(furthest, end)

    def _find_end(self, execution: Execution) -> float:
        return execution.ended if execution.ended is not None else self.deaths.get(execution.driver, float("inf"))

    def _find_expiry(self, driver: int, time: float) -> float:
        """Until when a lease that is valid at a time was surely renewed before it ran out."""
        until = -float("inf")
        for begun, ended in self.beats[driver]:
            if ended > max(time, until):
                break
            until = begun + LEASE - CLOCKS
        return until

    def _check_results(self) -> None:
        """Every job has one result; whatever was executed to its end was accepted or refused, once, and that is what stands."""
        self.faults["finished twice"] += sum(len(found) - 1 for found in self.finishes.values())
        self.faults["never finished"] += len({job for job, _ in self.starts} - set(self.finishes))
        answers: dict[int, list[bool]] = defaultdict(list)
        for _, _, _, mark, accepted in self.lines["told"]:
            answers[mark].append(accepted)
        stands = [body for found in self.finishes.values() for _, body in found]
        standing = {body["result"]["metrics"].get("mark"): body.get("attempt", 0) for body in stands}
        for one in self.executions:
            if one.again or one.lost or one.mark is None:
                continue
            heard = answers.pop(one.mark, [])
            if not heard:
                self.faults["neither accepted nor refused"] += one.driver not in self.deaths
            self.faults["answered twice"] += len(heard) > 1
            self.faults["accepted, and does not stand"] += any(heard) and standing.get(one.mark) != one.attempt
            self.faults["refused, and stands"] += heard == [False] and one.mark in standing
            standing.pop(one.mark, None)
        self.faults["a result of nobody"] += len(standing)
        self.faults["told without an execution"] += len(answers)

    def count(self) -> dict[str, int]:
        """How often what the campaign is about has happened."""
        late = [(job, attempt, accepted) for _, job, attempt, _, accepted in self.lines["told"] if (job, attempt) in self.losses]
        return {
            "results": len(self.finishes), "taken over": len(self.losses), "late accepted": sum(late[2] for late in late),
            "late refused": sum(not late[2] for late in late), "both at work": self._count_double(),
        }  # fmt: skip

    def _count_double(self) -> int:
        """Attempts that began while an earlier one, which had been lost, was still being executed."""
        spans = defaultdict(list)
        for one in self.executions:
            spans[one.job].append((one.begun, self._find_end(one)))
        found = 0
        for parts in spans.values():
            parts.sort()
            found += sum(bisect_right([begin for begin, _ in parts[i + 1 :]], end) for i, (_, end) in enumerate(parts))
        return found
