"""Which checkpoints must stay. All are checked when a study starts; after a finish, only those that may have become useless."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from hpo.bounds import feasible
from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Optimizer
from hpo.trial import best_front


class Retention:
    """A checkpoint stays while a later job may start from it, while a running job has started from it, and while it may be
    recommended.

    It becomes useless in three ways: a job that started from it has finished, it is no longer among the best, or the optimizer
    gives it up (`Optimizer.released_keys`). So nothing else needs to be looked at after a finish.

    keep   "live": only these. A number: also those of the best so many trials (`BestTrials`). "all": every checkpoint
    """

    def __init__(self, optimizer: Optimizer, history: History, keep: str | int = "live") -> None:
        self.optimizer, self.history, self.keep = optimizer, history, keep
        self._best_trials = BestTrials(history, keep) if isinstance(keep, int) else None
        self._events = len(history)  # how many events have been looked at
        self._given_up = 0  # how many of `released_keys` have been looked at
        self._best: set[Key] = set()
        self._kept: set[Key] = set()  # checkpoints kept so far, for an optimizer that does not say what it gives up

    def list_keys(self) -> list[Key]:
        """Every key whose checkpoint must not go."""
        history = self.history
        if self.keep == "all":
            return list(history.jobs)
        waiting = [*history.pending.values(), *history.retries.values()]
        sources = [key for job in waiting for key in (job.source, job.key) if key is not None]
        best = self._recommendable()
        self._best.update(best)
        kept = list(dict.fromkeys([*self.optimizer.live(history), *sources, *best]))
        self._kept.update(kept)
        return kept

    def release(self) -> list[Key]:
        """Keys whose checkpoints may be deleted now, and could not at the last call. Some may have been deleted before."""
        history, best = self.history, self._recommendable()
        finished = self._finished_keys()
        given_up = self.optimizer.released_keys(history)
        if given_up is None:  # the optimizer does not tell what it gives up: check everything, every time
            before, kept = self._kept.union(finished), self.list_keys()
            self._kept = set(kept)
            return sorted(before.difference(kept))
        sources = [job.source for job in (history.jobs[key] for key in finished) if job.source is not None]
        suspects = {*finished, *sources, *self._best.difference(best), *given_up[self._given_up :]}
        self._best, self._given_up = set(best), len(given_up)
        return sorted(key for key in suspects if self.is_dead(key))

    def is_dead(self, key: Key) -> bool:
        """Whether nothing names a key's checkpoint now: not a job, not the optimizer, and it is not among the best."""
        history = self.history
        if key in self._best or self.keep == "all":
            return False
        waits = key in history.pending or key in history.retries or key in history.sources
        return not waits and not self.optimizer.may_name(history, key)

    def list_needed(self) -> set[Key]:
        """Keys whose checkpoints must stay whatever later jobs may name: those of jobs that have begun, and the best."""
        history = self.history
        return {*history.pending, *history.retries, *history.sources, *self._best, *self._recommendable()}

    def _recommendable(self) -> list[Key]:
        """The keys that may be recommended (the Pareto front, or the few best), and those of the best trials."""
        front = best_front(self.history) if len(self.history.header.objectives) > 1 else ()
        more = self._best_trials.list_keys() if self._best_trials is not None else ()
        return [*front, *self.optimizer.candidates(self.history), *more]

    def _finished_keys(self) -> list[Key]:
        """Keys that finished since the last call, in this driver or another."""
        events, self._events = self.history.events[self._events :], len(self.history)
        found = []
        for event in events:
            if event.kind in ("finish", "lost"):
                found.append((event.body["trial"], event.body["until"]))
            elif event.kind == "add":
                found.append((event.body["job"]["trial"], event.body["job"]["until"]))
        return [key for key in found if key in self.history.results]


class BestTrials:
    """The best so many trials, each by its last finished key: those at the highest budget first, then those below it, at each as
    the history ranks them. Only successes that keep the optimizer's bounds count.

    A result is compared with those that were among the best before it, so that a finish costs the same in a long study.
    """

    def __init__(self, history: History, count: int) -> None:
        self.history, self.count = history, count
        self._keys: list[Key] = []
        self._read = 0  # how many results have been looked at

    def list_keys(self) -> Sequence[Key]:
        """Their keys, best first."""
        history = self.history
        since = islice(history.results, self._read, None)
        trials = dict.fromkeys(key[0] for key in (*self._keys, *since))
        self._read = len(history.results)
        good, budgets = feasible(history), dict[int, list[Key]]()
        for trial in trials:
            key = next((key for key in reversed(history.trials[trial]) if key in history.results), None)
            if key is not None and key in good:
                budgets.setdefault(key[1], []).append(key)
        self._keys = []
        for until in sorted(budgets, reverse=True):
            if len(self._keys) < self.count:
                self._keys += history.rank(budgets[until])[: self.count - len(self._keys)]
        return self._keys
