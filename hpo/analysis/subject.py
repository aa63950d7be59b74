"""What pictures and pages show of a study: its history and space, one objective, and the trials that are highlighted."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hpo.analysis.progress import finish_times, objective_value, rung_points
from hpo.history import History
from hpo.job import Key
from hpo.optimizers.finals import default_trial, furthest
from hpo.space import Space
from hpo.trial import best_key

Point = tuple[float, float]


@dataclass(frozen=True)
class Subject:
    """What is shown. Values are those that were reported; `sign` turns them into losses."""

    history: History
    space: Space
    label: str = ""  # of the objective's axis; if empty, the objective's name
    place: int = 0  # position of the objective in the header
    leader: Key | None = None  # the best key, or the one that is handed over
    leads: str = "best"  # what the leader is called
    default: int | None = None  # the trial that was enqueued first, such as the configuration used before the study

    @classmethod
    def of(cls, history: History, space: Space) -> Subject:
        """The subject with the first objective, the best and the default."""
        return cls(history, space, leader=best_key(history), default=default_trial(history))

    def select(self, objective: str | None) -> Subject:
        """The same subject with another objective. ValueError for an unknown one, which names those of the study."""
        if objective is None:
            return self
        if objective not in self.history.header.objectives:
            names = list(self.history.header.objectives)
            raise ValueError(f"{objective!r} is no objective of this study; allowed are {names}")
        return replace(self, place=list(self.history.header.objectives).index(objective), label="")

    @property
    def objective(self) -> str:
        """The objective's name."""
        return list(self.history.header.objectives)[self.place]

    @property
    def value_label(self) -> str:
        """The label of the objective's axis."""
        return self.label or self.objective

    @property
    def sign(self) -> float:
        """-1 if higher is better, else 1."""
        return -1.0 if self.history.header.objectives[self.objective] == "max" else 1.0

    @property
    def successes(self) -> list[Key]:
        """Every finished key without failure, sorted."""
        return [key for key in self.history.finished_keys if not self.history.is_failure(key)]

    @property
    def has_clones(self) -> bool:
        """Whether the weights of any finished trial came from another one."""
        return any(self.history.trials[trial][0] in self.history.results for trial in self.history.adopted)

    def value(self, key: Key) -> float:
        """The value of a success."""
        return objective_value(self.history, key, self.place)

    def rung_points(self, trial: int | None) -> list[tuple[int, float]]:
        """(budget, value) of a trial's successes; empty if `trial` is None."""
        return [] if trial is None else rung_points(self.history, trial, self.place)

    def default_end(self) -> Key | None:
        """The default's success at its highest budget."""
        return None if self.default is None else furthest(self.history, self.default)

    def finish_positions(self) -> tuple[dict[Key, float], str]:
        """When every key finished, and the name of that axis: seconds, or the number of the result if no run took time."""
        times = finish_times(self.history)
        if any(times.values()):
            return times, "seconds of search"
        return {key: float(place) for place, key in enumerate(times, 1)}, "results"
