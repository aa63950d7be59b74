"""The fold of generations, for methods whose next population is chosen from the last one and its offspring.

A member is a trial that was drawn for a place; its job records {"generation": {"number": g, "place": p}}. Places are counted at
the starts: asks beyond the population belong to the next generation. A generation closes behind the finish that completes it:
over the first `population` members, by key, of those that have finished and have not counted yet; what finishes later counts in
the next. What survives is the method's own choice of the last parents and these members. Whoever asks meanwhile draws from
the parents that there are. A lost job is pending; lost too often it is a failure, and failures rank last.

There is one line of generations a first budget: under a scheduler a trial is judged by its first finished key, and only beside
trials that were first trained as long. Results that were added or pinned have no place; those at a line's budget that are there
when its first generation closes stand as the parents before it, the best `population` of them: as any parents they survive
by the method's rule (of genetic search the best `elite`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hpo.history import History
from hpo.job import Job, Key

RECORD = "generation"  # what members' jobs record it under

# (history, parents, members) -> the next parents, best first; `members` are the finished ones of a generation
Survival = Callable[[History, Sequence[Key], Sequence[Key]], Sequence[Key]]


@dataclass(frozen=True)
class Line:
    """The generations of one first budget. Whatever changes it makes another one.

    number, place     of the next member
    closed            how many generations have closed
    waiting           members that have finished and have not counted, sorted
    parents           what survived the last generation, best first; before the first has closed, results without a place
    """

    number: int = 0
    place: int = 0
    closed: int = 0
    waiting: tuple[Key, ...] = ()
    parents: tuple[Key, ...] = ()

    def enter(self, record: Mapping[str, int], population: int) -> Line:
        """Behind the start of a member. One that was lost and starts again has taken its place before."""
        number, place = record["number"], record["place"]
        if (number, place) < (self.number, self.place):
            return self
        following = (number, place + 1) if place + 1 < population else (number + 1, 0)
        return replace(self, number=following[0], place=following[1])


@dataclass
class Generations:
    """The state: a line a first budget, and how many members have started in all."""

    population: int
    survive: Survival
    lines: dict[int, Line] = field(default_factory=dict)
    started: int = 0

    def copy(self) -> Generations:
        return replace(self, lines=self.lines.copy())

    def line(self, until: int) -> Line:
        """The line of trials that are first trained to `until`."""
        return self.lines.get(until, Line())

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            job = history.jobs[key]
            if RECORD in job.note.record:
                line = self.line(key[1])
                self.lines[key[1]] = replace(line, waiting=tuple(sorted((*line.waiting, key))))
            elif job.source is None and not history.is_failure(key):
                self._keep(history, key)
        for until in sorted({key[1] for key in keys}):
            self._close(history, until)

    def _keep(self, history: History, key: Key) -> None:
        """Keeps a result without a place for the first generation of its line."""
        line = self.line(key[1])
        if not line.closed:
            best = history.rank([*line.parents, key])[: self.population]
            self.lines[key[1]] = replace(line, parents=tuple(best))

    def _close(self, history: History, until: int) -> None:
        line = self.line(until)
        while len(line.waiting) >= self.population:
            members, left = line.waiting[: self.population], line.waiting[self.population :]
            parents = tuple(self.survive(history, line.parents, members))
            line = replace(line, closed=line.closed + 1, waiting=left, parents=parents)
        self.lines[until] = line

    def enter(self, history: History, job: Job) -> None:
        record = job.note.record.get(RECORD)
        if record is None:
            return
        line = self.line(job.until)
        moved = line.enter(record, self.population)
        self.started += moved is not line
        self.lines[job.until] = moved
