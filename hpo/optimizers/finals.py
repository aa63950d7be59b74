"""Finals: a search that ends by training its best few to the horizon, beside the default configuration.

A search by rungs may run out of time while nothing has been trained to the end. Then its best trial has not been compared
with the default configuration. So the search ends with a phase of its own, which an event in the log begins
(`History.limit(..., phase="finals")`; hpo/stopping.py says when): the best few are trained to the horizon, and the default
configuration with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from hpo.bounds import feasible
from hpo.history import History
from hpo.job import Job, Key, Note
from hpo.optimizer import Optimizer, adapt
from hpo.rng import training_seed
from hpo.space import Space

FINALS = "finals"  # the phase, and the name in the notes of its jobs


@dataclass(eq=False)
class Finals(Optimizer):
    """Proposes what the inner optimizer proposes; in the phase "finals", the best `keep` trials and the default to the end.

    The default is the configuration that was enqueued first; where none was, there is none. The best are those that have
    come furthest, and of these those of the lowest loss. A trial goes on from its last checkpoint. A trial that fails in
    the finals keeps its place, so a trial that has left the best few never comes back, and only the checkpoints of the
    best few are kept. It reads one objective. A study that began without finals may be opened
    with them: its search proposes the same, and its header stays.
    """

    optimizer: Optimizer
    keep: int = 3

    def __post_init__(self) -> None:
        self.optimizer = adapt(self.optimizer)
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(f"Finals takes an optimizer such as ASHA(GP(space)), but {self.optimizer!r} came")
        if isinstance(self.optimizer, Finals):
            raise TypeError("Finals takes a search, but another Finals came")
        if not isinstance(self.keep, int) or isinstance(self.keep, bool) or self.keep < 1:
            raise ValueError(f"keep is {self.keep!r}; allowed is an integer of at least 1")
        self.clones = self.optimizer.clones

    @property
    def space(self) -> Space:  # type: ignore[override]
        return self.optimizer.space

    @property
    def seed(self) -> int:  # type: ignore[override]
        return self.optimizer.seed

    @property
    def is_endless(self) -> bool:  # type: ignore[override]
        return self.optimizer.is_endless

    @property
    def horizon(self) -> int:
        return self.optimizer.horizon

    def take_horizon(self, horizon: int | None, described: Mapping[str, Any] | None = None) -> None:
        inner = (described or {}).get("optimizer", described)  # a study may have begun without finals
        self.optimizer.take_horizon(horizon, inner)
        self.__dict__.pop("owner", None)

    def adapt(
        self, objective: Any, described: Mapping[str, Any] | None = None, pool: Callable[[], Any] | None = None
    ) -> Optimizer:
        inner = self.optimizer.adapt(objective, (described or {}).get("optimizer", described), pool)
        return self if inner is self.optimizer else replace(self, optimizer=inner)

    @property
    def chooser(self) -> Optimizer:
        return self.optimizer.chooser

    def propose(self, history: History) -> Job | None:
        if len(history.header.objectives) > 1:
            raise ValueError(f"Finals takes one objective, but {list(history.header.objectives)} came: those end in a front")
        if history.phase != FINALS:
            return self.optimizer.propose(history)
        for trial in finalists(history, places(history, self.keep)):
            last, end = history.trials[trial][-1], (trial, history.header.horizon)
            # another driver may have taken it to the end while one that had not read of the finals went on by a rung
            if end not in history.jobs and last in history.results and not history.is_failure(last):
                job = history.jobs[last]
                return Job(trial, job.config, history.header.horizon, last, job.seed, Note(study={FINALS: True}))
        return self._late_default(history)

    def _late_default(self, history: History) -> Job | None:
        """The default configuration, if the search never came to it."""
        if history.queue_head is None or default_trial(history) is not None:
            return None
        position, config = history.queue_head
        trial = history.next_trial
        note = Note(study={"queued": position, FINALS: True})
        return Job(trial, dict(config), history.header.horizon, seed=training_seed(self.seed, trial), note=note)

    def live(self, history: History) -> Sequence[Key]:
        """What the inner optimizer may name, and the last checkpoints of those that would go on in the finals."""
        return list(dict.fromkeys([*self.optimizer.live(history), *self._open_keys(history)]))

    def may_name(self, history: History, key: Key) -> bool:
        return self.optimizer.may_name(history, key) or key in self._open_keys(history)

    def released_keys(self, history: History) -> Sequence[Key] | None:
        """The inner optimizer's released keys: a trial that has left the best few has left the `candidates`, too."""
        return self.optimizer.released_keys(history)

    def _open_keys(self, history: History) -> list[Key]:
        """Checkpoints from which the best few and the default would go on."""
        return [
            key
            for trial in finalists(history, self.keep)
            if (key := furthest(history, trial)) is not None
            and key[1] < history.header.horizon
            and history.trials[trial][-1] == key
        ]

    def recommend(self, history: History) -> Key | None:
        return self.optimizer.recommend(history)

    def candidates(self, history: History) -> list[Key]:
        """The inner optimizer's candidates, and the last successes of the best few and the default."""
        ends = [furthest(history, trial) for trial in finalists(history, self.keep)]
        return list(dict.fromkeys([*self.optimizer.candidates(history), *(key for key in ends if key is not None)]))


def places(history: History, most: int) -> int:
    """How many trials the finals have room for beside the default: what the event that began them says, at most `most`."""
    for event in reversed(history.events):  # it is among the last
        if event.kind == "limit" and event.body.get("phase") == FINALS:
            return int(min(most, event.body.get("detail", {}).get("keep", most)))
    return most


def default_trial(history: History) -> int | None:
    """The trial that took the configuration that was enqueued first."""
    read, found = history.memo.get("finals.default", (0, None))
    if found is None and read < len(history.trials):  # a trial is looked at once
        new = islice(history.trials.items(), read, None)
        found = next((trial for trial, keys in new if "queued" in history.jobs[keys[0]].note.study), None)
        history.memo["finals.default"] = len(history.trials), found
    return found  # type: ignore[no-any-return]


def furthest(history: History, trial: int) -> Key | None:
    """A trial's last success."""
    keys = reversed(history.trials[trial])
    return next((key for key in keys if key in history.results and not history.is_failure(key)), None)


def finalists(history: History, count: int) -> list[int]:
    """The default's trial, then the best `count` others, by how far they have come and then by loss; of those that keep the
    optimizer's bounds, as long as any does."""
    default, kept = default_trial(history), feasible(history)
    good = kept if len(kept) else history.successes
    found: dict[int, None] = {}
    for until in reversed(good.budgets):
        if len(found) >= count:
            break
        for key in good.order(until):
            if len(found) >= count:
                break
            if key[0] not in history.added and key[0] != default:
                found.setdefault(key[0])
    return [*([] if default is None else [default]), *found]
