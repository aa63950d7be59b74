"""Population-based training (Jaderberg et al. 2017): truncation or tournament selection, perturb and resample."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.executors import Executor, Inline
from hpo.history import History
from hpo.job import Job, Key, Note
from hpo.objective import hook, kind
from hpo.objects import with_objects
from hpo.optimizer import Draft
from hpo.optimizers.exploration import FIXED, RESAMPLE, USUAL, Rule, describe_rule, read_rule, resample_value, scale
from hpo.optimizers.population import Slots
from hpo.optimizers.random import Random
from hpo.optimizers.resources import ResourceScheduler
from hpo.optimizers.shape import list_changeable, warn_of_silence
from hpo.parameters import Const, Float, Int
from hpo.rng import stream, training_seed
from hpo.space import Config, Space
from hpo.values import format_value, is_finite

TRIES = 100  # explored configurations that may break a constraint before the donor's own is kept
SELECTIONS, CHANGES = ("truncation", "tournament"), ("all", "one")
TRUNCATION = 0.25


@dataclass(eq=False)
class PBT(ResourceScheduler):
    """A population of slots that trains in generations; between them slots that fall behind copy others, and explore.

    selection    "truncation": a slot in the worst `truncation` of its generation copies a random one of the best `truncation`.
                 "tournament": every slot meets a random other one, and copies it if that is better (the paper's binary
                 tournament). A copy is a new trial from the checkpoint of its donor, with that donor's configuration, explored
    explore      what may change during training, by name; or a mapping with a rule for each (exploration.py): Factors, Steps,
                 "resample", "usual", "fixed". By the usual rule a hyperparameter is drawn afresh with probability `resample`,
                 else a number is multiplied by one of `factors`, and a choice is kept. What is left open is settled before the
                 header is written: by the objective's attribute `explore`, else by real clones, of which some cannot load
                 (shape.py). A study that is made without an objective explores all that is open, unless it is given
                 `PBT(space).adapt(objective)`
    changes      "all" of what is explored at once, or "one" of it, at random
    quorum       the share of the population that must have finished a generation before a slot goes on. At 1.0 slots wait for
                 the slowest, and any number of workers gives the same trials; below, no worker waits, and a slot is judged
                 among those that are as far
    max_resource where the last generation ends; left open, the study's horizon, else 100

    PBT(space) is PBT(Random(space)). Faithful: both selections, perturbing, resampling, and that weights and hyperparameters are
    copied together. Changed: generations are synchronous at quorum 1, while in the paper a member is ready after steps of its
    own; a factor is 0.8 or its inverse; a copy is a trial of its own, so that every trial has one configuration.

        space = {"lr": (1e-3, 1.0, "log"), "momentum": (0.0, 0.99), "layers": [1, 2, 4]}
        def loss(config, until, seed):
            return (config["lr"] - 1 / until) ** 2 + config["momentum"] / until
        rules = {"lr": hpo.Factors(0.5, 2.0), "momentum": hpo.Steps(-0.1, 0.1), "layers": "fixed"}
        study = hpo.Study(hpo.PBT(space, population=4, generations=5, explore=rules, selection="tournament"), horizon=10)
        hpo.run(study, hpo.Simulator(loss))
    """

    if TYPE_CHECKING:
        sampler: Any  # a space, too

    population: int = 8
    generations: int = 10
    max_resource: int | None = None
    truncation: float = TRUNCATION
    resample: float = 0.25
    factors: Sequence[float] = (0.8, 1.25)
    explore: Sequence[str] | Mapping[str, Any] | None = None
    quorum: float = 1.0
    selection: str = "truncation"
    changes: str = "all"
    clones = True
    is_endless = False
    usual_resource = 100

    def __post_init__(self) -> None:
        if isinstance(self.sampler, Space | Mapping):
            self.sampler = Random(Space.of(self.sampler))
        super().__post_init__()

    @property
    def _least(self) -> int:
        return self.generations if type(self.generations) is int and self.generations > 0 else 1

    @property
    def _demand(self) -> str:
        return f"trains {self.generations} generations"

    def _arrange(self, top: int) -> None:
        for name, value in (("population", self.population), ("generations", self.generations), ("max_resource", top)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}; allowed is an integer of at least 1")
        if self.generations > top:
            raise ValueError(f"{self.generations} generations do not fit into max_resource {top}")
        for name, most in (("truncation", 0.5), ("resample", 1.0), ("quorum", 1.0)):
            if not is_finite(getattr(self, name)) or not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed is 0 to {most}")
        for name, allowed in (("selection", SELECTIONS), ("changes", CHANGES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {format_value(getattr(self, name))}; allowed are {list(allowed)}")
        if self.selection != "truncation" and self.truncation != TRUNCATION:
            raise ValueError(f"truncation is {self.truncation!r}, but selection={self.selection!r} takes none")
        if not isinstance(self.factors, list | tuple):
            raise TypeError(f"factors is {self.factors!r}; allowed is a list")
        if not self.factors or any(not is_finite(factor) or factor <= 0 for factor in self.factors):
            raise ValueError(f"factors is {self.factors!r}; allowed are finite numbers above 0")
        self._read_explore()

    # -- what is explored --------------------------------------------------------------------------------------------

    def _read_explore(self) -> None:
        """Checks `explore`, writes its rules as the header does, and keeps them by name."""
        explore, every = self.explore, self.space.parameters
        if not isinstance(explore, list | tuple | Mapping | None):
            raise TypeError(f"explore is {explore!r}; allowed is a list of names, or a mapping of names to rules")
        unknown = [name for name in explore or () if name not in every]
        if unknown:
            raise ValueError(f"explore names {unknown[0]!r}, which is not one of {list(every)}")
        rules: dict[str, Rule] = dict.fromkeys(every if explore is None else explore, USUAL)
        if isinstance(explore, Mapping):
            given = {name: read_rule(name, spec, explore[name]) for name, spec in every.items() if name in explore}
            self.explore = {name: describe_rule(rule) for name, rule in given.items()}
            rules = {name: given.get(name, USUAL) for name in every}
        self.rules = {name: rule for name, rule in rules.items() if rule != FIXED and not isinstance(every[name], Const)}

    def adapt(
        self, objective: Any, described: Mapping[str, Any] | None = None, pool: Callable[[], Executor] | None = None
    ) -> PBT:
        given: Mapping[str, Any] = self.explore if isinstance(self.explore, Mapping) else {}
        left = [name for name, spec in self.space.parameters.items() if name not in given and not isinstance(spec, Const)]
        if not left or isinstance(self.explore, list | tuple):
            return self
        if described is not None and described.get("name") == type(self).__name__ and "explore" in described:
            before = described["explore"]
            if not given:
                return self._explore_by(before)
            return self._explore_by({**before, **given}) if isinstance(before, Mapping) else self
        found = self._find_open(objective, pool, left)
        if found is None:
            return self
        names = [name for name in self.space.parameters if name in found]
        usual = {name: USUAL if name in names else FIXED for name in self.space.parameters}
        return self._explore_by({**usual, **given} if given else tuple(names))

    def _find_open(self, objective: Any, pool: Callable[[], Executor] | None, names: Sequence[str]) -> Collection[str] | None:
        """Which of these may change: what the objective declares, else those whose clones load; None if nothing says."""
        declared: Collection[str] | None = hook(objective, "explore")
        if declared is not None or kind(objective) != "run" or self.generations == 1:
            return declared
        ends = [(1, 2), (self.budget(1), self.budget(2))]
        executor = pool() if pool is not None else Inline(with_objects(objective, self.space), self.horizon)
        try:
            found = list_changeable(self.space, executor, names, ends, self.seed)
        finally:
            executor.close()
        if found is None:
            warn_of_silence(type(self).__name__)
        return found

    def _explore_by(self, explore: Sequence[str] | Mapping[str, Any] | None) -> PBT:
        """This optimizer with another `explore`, and all that is open or settled elsewhere as it is."""
        made = copy(self)
        made.__dict__.pop("owner", None)  # it names the options
        made.explore = explore
        made._read_explore()
        return made

    # -- generations -------------------------------------------------------------------------------------------------

    def budget(self, generation: int) -> int:
        """Where generation 1, 2, ... ends."""
        return round(self.horizon * generation / self.generations)

    def propose(self, history: History) -> Job | None:
        slots = history.fold(self.owner, self._begin)
        if len(slots.length) < self.population:
            place = {"slot": slots.vacant, "generation": 1}
            job = self.sampler.fresh(history, self.budget(1), place)
            if job is not None:
                return job  # else the sampler has run dry, and the population is as large as it gets
        # serve the least advanced slot: one worker then walks generation by generation, as eight do
        for generation in sorted(slots.ready):
            if len(slots.finished[generation]) >= math.ceil(self.quorum * len(slots.length) - 1e-9):
                for slot in slots.ready[generation]:
                    job = self._next_job(history, slots, generation, slot)
                    if job is not None:
                        return job
        return None

    def _begin(self) -> Slots:
        return Slots(self.population, self.generations)

    def _next_job(self, history: History, slots: Slots, generation: int, slot: int) -> Job | None:
        """The slot's next generation, once enough of its population has finished this one."""
        mine = slots.keys[slot, generation]
        best, worst = slots.judge(history, generation, self.truncation)
        place = {"slot": slot, "generation": generation + 1}
        until = self.budget(generation + 1)
        if history.is_failure(mine) and not best:  # a dead slot without a donor is sampled afresh
            return self.sampler.fresh(history, until, place)
        rng = stream(self.seed, history.next_trial, "exploit")
        donor = self.choose_donor(history, mine, best, worst, rng)
        if donor is not None:
            return self._clone(history, mine, donor, until, place, rng)
        last = history.jobs[mine]
        if history.trials[last.trial][-1] != mine:  # finals took the trial to the end; its slot goes on as a copy
            trial = history.next_trial
            return Job(trial, last.config, until, mine, training_seed(self.seed, trial), Note(member=place))
        return Job(last.trial, last.config, until, last.key, last.seed, Note(member=place))

    def choose_donor(
        self, history: History, mine: Key, best: Sequence[Key], worst: Collection[Key], rng: np.random.Generator
    ) -> Key | None:
        """The donor whose checkpoint the slot of `mine` continues from, as a clone that explores; None: it continues its own.

        best, worst: the two ends of its generation, without failures in `best`. What a subclass overrides that exploits in
        another way. Random numbers come from `rng` alone.
        """
        if self.selection == "tournament":
            return self._meet_rival(history, mine)
        if best and (history.is_failure(mine) or mine in worst):
            return best[int(rng.integers(len(best)))]
        return None

    def _meet_rival(self, history: History, mine: Key) -> Key | None:
        """A random other one of the generation if it is better, else None. What has failed meets one that has not.

        The stream is the place's own, because slots that copy nothing start no trial: by the next trial's number they would
        all draw alike.
        """
        place, slots = history.jobs[mine].note.member, history.fold(self.owner, self._begin)
        ranked, dead = slots.order(history, place["generation"]), history.is_failure(mine)
        others = [key for key in ranked if key != mine and not (dead and history.is_failure(key))]
        if not others:
            return None
        rng = stream(self.seed, place["slot"], f"rival in generation {place['generation']}")
        rival = others[int(rng.integers(len(others)))]
        ahead = ranked.index(rival) < ranked.index(mine) and history.losses(rival) != history.losses(mine)
        return rival if ahead else None

    def _clone(
        self, history: History, mine: Key, donor: Key, until: int, place: Mapping[str, Any], rng: np.random.Generator
    ) -> Job:
        """A new trial from a donor's checkpoint, with the configuration that earned it, explored."""
        trial = history.next_trial
        child = self.perturb(history, mine, donor, rng)
        return Job(trial, child.config, until, donor, training_seed(self.seed, trial), Note(member=place, record=child.record))

    def perturb(self, history: History, mine: Key, donor: Key, rng: np.random.Generator) -> Draft:
        """The configuration of the clone of a donor that takes the place of `mine`, and what is to be recorded beside it: what
        a subclass overrides that explores in another way (by addition, by a model). Random numbers come from `rng` alone."""
        parent = history.jobs[donor].config
        for _ in range(TRIES):
            fresh = self.space.decode(self.space.domain.random(rng, 1)[0])
            values = {**{n: v for n, v in fresh.items() if n not in parent}, **self._change(parent, fresh, rng)}
            child = self._complete(values)
            if child is not None and self.space.is_feasible(child):
                return Draft(child)
        return Draft(dict(parent))

    def _complete(self, values: Mapping[str, Any]) -> Config | None:
        """The active part of the values; None if a newly active parameter has no value among them."""
        active = self.space.active(values)
        return {name: values[name] for name in active} if all(name in values for name in active) else None

    def _change(self, parent: Mapping[str, Any], fresh: Config, rng: np.random.Generator) -> Config:
        names = [name for name in self.rules if name in parent]
        if self.changes == "one" and names:
            names = [names[int(rng.integers(len(names)))]]
        return {**parent, **{name: self.explore_value(name, parent[name], fresh, rng) for name in names}}

    def explore_value(self, name: str, value: Any, fresh: Config, rng: np.random.Generator) -> Any:
        """What becomes of a hyperparameter's value by its rule. fresh: a random configuration."""
        spec, rule = self.space.parameters[name], self.rules[name]
        if rule == RESAMPLE:
            return resample_value(spec, rng)
        again = rng.random() < self.resample
        if isinstance(rule, str):
            if again and name in fresh:
                return fresh[name]
            if not isinstance(spec, Float | Int):
                return value
            return scale(spec, value, self.factors[int(rng.integers(len(self.factors)))])
        return resample_value(spec, rng) if again else rule.move(spec, value, rng)

    def live(self, history: History) -> Sequence[Key]:
        """Every key of a generation in which some slot has not gone on; the most advanced first."""
        slots = history.fold(self.owner, self._begin)
        keys = [key for (_, generation), key in slots.keys.items() if slots.slowest <= generation < self.generations]
        return sorted((k for k in keys if k in history.results and not history.is_failure(k)), key=lambda k: (-k[1], k[0]))

    def may_name(self, history: History, key: Key) -> bool:
        slots = history.fold(self.owner, self._begin)
        place = history.jobs[key].note.member if key in history.results and not history.is_failure(key) else {}
        if "slot" not in place or slots.keys[place["slot"], place["generation"]] != key:
            return False
        return bool(slots.slowest <= place["generation"] < self.generations)

    def released_keys(self, history: History) -> Sequence[Key] | None:
        return history.fold_at_start(self.owner, self._begin).released
