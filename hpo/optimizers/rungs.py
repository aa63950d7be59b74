"""Rungs and brackets: the budgets at which trials are judged, and who goes on; what SuccessiveHalving and Hyperband share.

A bracket is a ladder of rungs (n_i, r_i): n_0 fresh trials are trained to r_0, the best n_1 of them go on to r_1, and so
on. A rung is judged once, when all of it has finished. Membership stands in the note ({"bracket": b}), so foreign trials
are never taken for members; a bracket that waits for stragglers opens the next.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hpo.history import History
from hpo.job import Job, Key
from hpo.optimizers.resources import ResourceScheduler
from hpo.values import is_finite

Ladder = Sequence[tuple[int, int]]  # (configurations, budget) of every rung, lowest first


def check_resources(lowest: int, highest: int, factor: float) -> None:
    """Raises ValueError in one sentence if the resources do not make a ladder."""
    for name, value in (("min_resource", lowest), ("max_resource", highest)):
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}; allowed is an integer of at least 1")
    if lowest > highest:
        raise ValueError(f"min_resource {lowest} is above max_resource {highest}")
    if not is_finite(factor) or factor <= 1:
        raise ValueError(f"reduction_factor is {factor!r}; allowed is a number above 1")


def least_of(lowest: int) -> int:
    """A lowest budget; 1 where it is none, which `check_resources` refuses."""
    return max(1, lowest) if type(lowest) is int else 1


def check_rate(rate: int, deepest: int) -> None:
    """Raises ValueError in one sentence if so many of the lowest rungs cannot be left out."""
    if type(rate) is not int or not 0 <= rate <= deepest:
        raise ValueError(f"min_early_stopping_rate is {rate!r}; allowed is 0 to {deepest} between these resources")


def levels(lowest: int, highest: int, factor: float) -> int:
    """The largest k with lowest * factor^k <= highest, by counting: a logarithm of 243 to base 3 is below 5."""
    k = 0
    while lowest * factor ** (k + 1) <= highest * (1 + 1e-12):
        k += 1
    return k


def rung_budgets(lowest: int, highest: int, factor: float, skipped: int = 0) -> list[int]:
    """Budgets lowest * factor^k from k = skipped on, below the highest, and the highest: the lowest rung is exact."""
    below = {round(lowest * factor**k) for k in range(skipped, levels(lowest, highest, factor) + 1)}
    return [*sorted(r for r in below if r < highest), highest]


def asha_rungs(lowest: int, highest: int, factor: float, rate: int) -> list[int]:
    """The checked rungs of ASHA in both its variants."""
    check_resources(lowest, highest, factor)
    check_rate(rate, levels(lowest, highest, factor))
    return rung_budgets(lowest, highest, factor, rate)


def geometric(lowest: int, highest: int, factor: float) -> list[int]:
    """Budgets highest / factor^k down to at least `lowest`, lowest first: the top rung is always the highest budget."""
    count = levels(lowest, highest, factor)
    return sorted({max(lowest, round(highest / factor**k)) for k in range(count + 1)})


@dataclass(eq=False)
class Brackets(ResourceScheduler):
    """A scheduler over numbered brackets, each with a ladder."""

    @property
    def is_endless(self) -> bool:  # type: ignore[override]
        return self.ladder(10**9) is not None and self.sampler.is_endless

    @abstractmethod
    def ladder(self, bracket: int) -> Ladder | None:
        """The rungs of bracket number 0, 1, ...; None behind the last."""

    def propose(self, history: History) -> Job | None:
        state = history.fold(self.owner, self._begin)
        for number in [*sorted(state.open), state.following]:
            ladder = self.ladder(number)
            if ladder is None:
                return None
            bracket = state.open.get(number)
            if bracket is None or not bracket.is_full:
                job = self.sampler.fresh(history, ladder[0][1], {"bracket": number})
                if job is not None or bracket is None:
                    return job
            # full, or the sampler has run dry and the bracket is judged as it is
            chosen = bracket.find_promotable(history)
            if chosen is not None:
                return self.resume(history, *chosen)
        return None

    def _begin(self) -> Open:
        return Open(self.ladder)

    def live(self, history: History) -> Sequence[Key]:
        """What may still be promoted: the chosen of complete rungs, then everything in rungs not yet judged."""
        chosen: list[Key] = []
        waiting: list[Key] = []
        for _, bracket in sorted(history.fold(self.owner, self._begin).open.items()):
            chosen += [(trial, bracket.budgets[rung - 1]) for trial, rung in bracket.promotions(history)]
            waiting += bracket.live_keys(history)
        return list(dict.fromkeys(chosen + history.rank(waiting)))

    def may_name(self, history: History, key: Key) -> bool:
        number = history.jobs[key].note.member.get("bracket") if key in history.jobs else None
        bracket = history.fold(self.owner, self._begin).open.get(number) if number is not None else None
        return bracket is not None and bracket.may_name(history, key)

    def released_keys(self, history: History) -> Sequence[Key] | None:
        return history.fold_at_start(self.owner, self._begin).released


@dataclass
class Open:
    """The fold of brackets: those in which something may still happen, by number; and what has been given up."""

    ladder: Callable[[int], Ladder | None]
    open: dict[int, Bracket] = field(default_factory=dict)
    following: int = 0  # the number of the first bracket without a trial
    released: list[Key] = field(default_factory=list)

    def copy(self) -> Open:
        brackets = {number: bracket.copy() for number, bracket in self.open.items()}
        return Open(self.ladder, brackets, self.following, self.released.copy())

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        touched = set()
        for key in keys:
            number = history.jobs[key].note.member.get("bracket")
            if number in self.open:
                self.open[number].absorb(history, key)
                touched.add(number)
        for number in sorted(touched):
            self._close(history, number)

    def enter(self, history: History, job: Job) -> None:
        number = job.note.member.get("bracket")
        if number is None:  # a foreign trial, or finals
            self._leave(history, job)
            return
        if number >= self.following:
            ladder = self.ladder(number)
            assert ladder is not None
            self.open[number] = Bracket(ladder)
            self.following = number + 1
        if number in self.open:
            self.open[number].enter(job)
            self._close(history, number)

    def _leave(self, history: History, job: Job) -> None:
        """A trial that the finals trained to the end: the rungs between do not wait for it."""
        number = history.jobs[job.source].note.member.get("bracket") if job.source in history.jobs else None
        if number in self.open and job.source is not None:
            self.open[number].leave(job.source)
            self._close(history, number)

    def _close(self, history: History, number: int) -> None:
        """Gives up the trials that a full bracket did not promote, and the bracket when nothing is left to promote."""
        bracket = self.open[number]
        if bracket.is_full:
            self.released += bracket.passed_over(history)
            if bracket.is_over(history):
                del self.open[number]


class Bracket:
    """One bracket: the trials that finished each rung, and those promoted from it.

    `entered` holds who a rung is judged by, as far as the rungs below are complete; it is computed where it is read, and
    anew when a trial joins. A bracket that is not full may be judged as it is, and again when it has filled up.
    """

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.budgets = [until for _, until in ladder]
        self.finished: list[dict[int, bool]] = [{} for _ in ladder]  # by rung: trial -> whether it succeeded
        self.started: list[set[int]] = [set() for _ in ladder]  # by rung: who has gone on from it
        self.entered: list[list[int]] = [[]]
        self.missing = [0]  # of those who entered a rung, how many have not finished it
        self.judged = 0  # rungs whose losers have been given up
        self.left: set[int] = set()  # who was taken to the end by finals

    def copy(self) -> Bracket:
        copy = Bracket(self.ladder)
        copy.finished = [trials.copy() for trials in self.finished]
        copy.started = [trials.copy() for trials in self.started]
        copy.entered = [trials.copy() for trials in self.entered]
        copy.missing, copy.judged, copy.left = self.missing.copy(), self.judged, self.left.copy()
        return copy

    @property
    def is_full(self) -> bool:
        return len(self.entered[0]) >= self.ladder[0][0]

    def enter(self, job: Job) -> None:
        for rung in self._rungs(job.until):
            if rung:
                self.started[rung - 1].add(job.trial)
            elif not self._is_inside(job.trial):  # else it was lost and starts again
                del self.entered[1:], self.missing[1:]
                insort(self.entered[0], job.trial)
                self.missing[0] += 1

    def leave(self, key: Key) -> None:
        """The trial goes on from here, past every rung."""
        if key[0] in self.left:  # it was lost and starts again
            return
        self.left.add(key[0])
        above = self._rungs(key[1])[-1]
        for rung in range(above, len(self.ladder)):
            self.started[rung].add(key[0])
        for rung in range(above + 1, len(self.entered)):
            self.missing[rung] -= key[0] in self.entered[rung]

    def absorb(self, history: History, key: Key) -> None:
        for rung in self._rungs(key[1]):
            self.finished[rung][key[0]] = not history.is_failure(key)
            if rung == 0 or (rung < len(self.entered) and key[0] in self.entered[rung]):
                self.missing[rung] -= 1

    def _rungs(self, until: int) -> list[int]:
        """The rungs at a budget: with a small factor rounding makes one of two."""
        return [rung for rung, budget in enumerate(self.budgets) if budget == until]

    def _is_inside(self, trial: int) -> bool:
        at = bisect_left(self.entered[0], trial)
        return at < len(self.entered[0]) and self.entered[0][at] == trial

    def judge(self, history: History) -> list[list[int]]:
        """The trials that entered each rung, as far as the rungs below are complete: of each the best go on, in their order."""
        while not self.missing[-1] and len(self.entered) < len(self.ladder):
            rung = len(self.entered)
            done = [(trial, self.budgets[rung - 1]) for trial in self.entered[-1] if self.finished[rung - 1].get(trial)]
            chosen = [key[0] for key in history.rank(done)[: self.ladder[rung][0]]]
            self.entered.append(chosen)
            self.missing.append(sum(trial not in self.finished[rung] and trial not in self.left for trial in chosen))
        return self.entered

    def promotions(self, history: History) -> Iterator[tuple[int, int]]:
        """(trial, rung) of every trial that was chosen for a rung and has not started it, the lowest rung first."""
        for rung, chosen in enumerate(self.judge(history)[1:], start=1):
            yield from ((trial, rung) for trial in chosen if trial not in self.started[rung - 1])

    def find_promotable(self, history: History) -> tuple[int, int] | None:
        """The trial to promote next, and its budget."""
        trial, rung = next(self.promotions(history), (0, 0))
        return (trial, self.budgets[rung]) if rung else None

    def is_over(self, history: History) -> bool:
        """Whether every rung is judged and every chosen trial was promoted."""
        return len(self.judge(history)) == len(self.ladder) and next(self.promotions(history), None) is None

    def passed_over(self, history: History) -> list[Key]:
        """Keys of rungs judged since the last call that were not chosen."""
        entered, lost = self.judge(history), []
        while self.judged < len(entered) - 1:
            chosen = set(entered[self.judged + 1])
            lost += [(t, self.budgets[self.judged]) for t in sorted(self.finished[self.judged]) if t not in chosen]
            self.judged += 1
        return lost

    def may_name(self, history: History, key: Key) -> bool:
        """Whether a trial may still go on from a key."""
        trial, rung = key[0], self._rungs(key[1])[-1]
        if rung == len(self.ladder) - 1 or not self.finished[rung].get(trial) or trial in self.started[rung]:
            return False
        entered = self.judge(history)
        if not self.is_full or rung >= len(entered):  # it may be judged again, with more trials
            return True
        return trial in entered[min(rung + 1, len(entered) - 1)]

    def live_keys(self, history: History) -> list[Key]:
        """Every key that a trial may still go on from."""
        keys = [(trial, self.budgets[rung]) for rung, trials in enumerate(self.finished) for trial in trials]
        return [key for key in keys if self.may_name(history, key)]
