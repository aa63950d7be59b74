"""What a search of a Trainer searches: `hp_space` as a function of a trial, as a Space, or absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo.integrations.optuna.spaces import Known, extend_by, make_distribution
from hpo.integrations.optuna.trial import OptunaTrial
from hpo.parameters import Categorical, Const, Float, Int
from hpo.rng import stream, training_seed
from hpo.space import Space

PROBES = 64  # trials that only `hp_space` sees, from whose questions the space is read


@dataclass(frozen=True)
class Source:
    """What a trial is made of: its number, its seed, its configuration and the distributions that were known for it."""

    number: int
    seed: int
    config: Mapping[str, Any]
    known: Known


@dataclass
class SearchSpace:
    """The trials of a search, and the values that each gives to the trainer.

    function   of a trial, with `suggest_*`; it returns the values by name. What it asks is found out by 64 trials drawn at
               random; what is asked later grows the space (see hpo.integrations.optuna.searching)
    space      instead of a function: a configuration is the values
    names      of the objectives
    """

    function: Callable[[OptunaTrial], Mapping[str, Any]] | None
    space: Space | None
    names: Sequence[str]
    known: Known = field(default_factory=dict)

    @classmethod
    def of(cls, hp_space: Any, names: Sequence[str], seed: int) -> SearchSpace:
        """That of a function, or of a Space or what stands for one."""
        if not callable(hp_space):
            return cls(None, Space.of(hp_space), names)
        made = cls(hp_space, None, names)
        for trial in made.probe(seed):
            made.known = extend_by(made.known, trial.distributions)
        return made

    def probe(self, seed: int) -> list[OptunaTrial]:
        """Trials drawn at random, which have been asked for their values."""
        made = []
        for number in range(PROBES):
            space, random = self.space, stream(seed, number, "probe")
            config = {} if space is None else space.decode(space.domain.random(random, 1)[0])
            made.append(self.make_trial(Source(number, training_seed(seed, number), config, {})))
            self.read_values(made[-1])
        return made

    def make_trial(self, source: Source) -> OptunaTrial:
        """The trial that `hp_space`, `model_init` and `hp_name` see."""
        known = source.known
        if self.space is not None:
            kinds = Float | Int | Categorical | Const
            specs = {name: spec for name, spec in self.space.parameters.items() if isinstance(spec, kinds)}
            known = {name: make_distribution(name, spec) for name, spec in specs.items()}
        trial = OptunaTrial(source.number, source.seed, source.config, known, self.names, None)
        if self.space is not None:  # whatever is asked for
            trial.params.update(source.config)
            trial.distributions.update({name: known[name] for name in source.config if name in known})
        return trial

    def read_values(self, trial: OptunaTrial) -> dict[str, Any]:
        """What a trial gives to the trainer, by name. TypeError where the function returns no mapping."""
        if self.function is None:
            return dict(trial.params)
        values = self.function(trial)
        if not isinstance(values, Mapping):
            raise TypeError(f"hp_space returned {values!r}; allowed is a mapping from names to values")
        return dict(values)
