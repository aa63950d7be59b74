"""Replay: a schedule of hyperparameters, such as a PBT's winner had, trained again from scratch (Jaderberg et al. 2017,
section 4.4: what population-based training finds is a schedule, which is worth something by itself)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from hpo.history import History
from hpo.job import Job, Key, Note
from hpo.optimizer import Optimizer
from hpo.rng import training_seed
from hpo.space import Space
from hpo.values import format_value, whole


@dataclass(eq=False)
class Replay(Optimizer):
    """Trains a schedule from nothing, `rounds` times with different seeds, and ends.

    schedule   (until, configuration) in rising order, as `study.schedule(trial)` gives it: the configuration is trained from the
               phase before until there. It stands in the header as it is. Phases are trials; each but the first is a clone of
               the one before, so the objective must be a Run. Where configurations do not differ the trial goes on

    The study's horizon is the last phase's end, unless it is given another. Nothing can be enqueued.

        space = {"lr": (1e-3, 1.0, "log")}
        def loss(config, until, seed):
            return (config["lr"] - 1 / until) ** 2
        study = hpo.Study(hpo.PBT(hpo.Random(space), population=4, generations=5, max_resource=10))
        hpo.run(study, hpo.Simulator(loss))
        again = hpo.Study(hpo.Replay(space, study.schedule(study.best.number), rounds=3))
        hpo.run(again, hpo.Simulator(loss))
    """

    space: Space
    schedule: Sequence[tuple[int, Mapping[str, Any]]]
    rounds: int = 1
    _: KW_ONLY
    seed: int = 0
    clones = True
    is_endless = False

    def __post_init__(self) -> None:
        self.space, self.seed = Space.of(self.space), whole("seed", self.seed, 0)
        self.rounds = whole("rounds", self.rounds, 1)
        self.schedule = tuple(self._phase(phase) for phase in self._phases())
        ends = [until for until, _ in self.schedule]
        if ends != sorted(set(ends)):
            raise ValueError(f"the schedule's phases end at {ends}; allowed are budgets in rising order")

    def _phases(self) -> Sequence[Any]:
        if not isinstance(self.schedule, list | tuple) or not self.schedule:
            raise TypeError(f"schedule is {format_value(self.schedule)}; allowed is a list of (until, configuration), such as "
                            f"study.schedule(trial) gives")  # fmt: skip
        return self.schedule

    def _phase(self, phase: Any) -> tuple[int, Mapping[str, Any]]:
        if not isinstance(phase, list | tuple) or len(phase) != 2:
            raise TypeError(f"a phase of the schedule is {format_value(phase)}; allowed is (until, configuration)")
        return whole("the end of a phase", phase[0], 1), self.space.check(phase[1])

    @property
    def horizon(self) -> int:
        return self.schedule[-1][0]

    def enqueue(self, config: Mapping[str, Any]) -> None:
        """Refused: what is trained stands in the schedule."""
        raise ValueError("Replay trains its schedule, and no configuration that is enqueued; put it into the schedule")

    def propose(self, history: History) -> Job | None:
        rounds = history.fold(self.owner, Rounds)
        for number in sorted(rounds.ready):
            phase, key = rounds.ready[number]
            if phase + 1 < len(self.schedule):
                return self._next_job(history, number, phase + 1, key)
        if len(rounds.started) < self.rounds and not history.limited:
            return self._next_job(history, len(rounds.started), 0, None)
        return None

    def _next_job(self, history: History, number: int, phase: int, source: Key | None) -> Job:
        until, config = self.schedule[phase]
        note = Note(member={"round": number, "phase": phase})
        if source is not None and self.schedule[phase - 1][1] == config:
            return Job(source[0], config, until, source, history.jobs[source].seed, note)
        trial = history.next_trial
        return Job(trial, config, until, source, training_seed(self.seed, trial), note)

    def live(self, history: History) -> Sequence[Key]:
        """The last checkpoint of every round that goes on."""
        ready = history.fold(self.owner, Rounds).ready
        return [key for _, (phase, key) in sorted(ready.items()) if phase + 1 < len(self.schedule)]


@dataclass
class Rounds:
    """The fold of a replay: the rounds that have started, and of those that wait the phase that is finished and its key."""

    started: set[int] = field(default_factory=set)
    ready: dict[int, tuple[int, Key]] = field(default_factory=dict)

    def copy(self) -> Rounds:
        return Rounds(self.started.copy(), self.ready.copy())

    def absorb(self, history: History, keys: Sequence[Key]) -> None:
        for key in keys:
            place = history.jobs[key].note.member
            if "round" in place and not history.is_failure(key):
                self.ready[place["round"]] = place["phase"], key

    def enter(self, history: History, job: Job) -> None:
        place = job.note.member
        if "round" in place:
            self.started.add(place["round"])
            if place["round"] in self.ready and self.ready[place["round"]][0] < place["phase"]:
                del self.ready[place["round"]]
