"""Manual search: configurations that were written by hand, and the base of samplers that go through a list."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.history import History
from hpo.optimizer import Draft, Sampler
from hpo.space import Config
from hpo.values import format_value


@dataclass(eq=False)
class Listed(Sampler):
    """A sampler that goes through a list; its position is recorded in the note. None after the last."""

    is_endless = False

    @property
    @abstractmethod
    def count(self) -> int:
        """How many places the list has."""

    @abstractmethod
    def at(self, index: int) -> Config | None:
        """The configuration at a place; None where there is none (infeasible, or the same as an earlier one)."""

    def sample(self, history: History, trial: int) -> Config | None:
        draft = self.suggest(history, trial)
        return None if draft is None else draft.config

    def suggest(self, history: History, trial: int) -> Draft | None:
        first = 1 + history.highest.get("listed", -1)
        for index in range(first, self.count):
            config = self.at(index)
            if config is not None:
                return Draft(config, {"listed": index})
        return None


@dataclass(eq=False)
class Manual(Listed):
    """Configurations written by hand, in their order; the middle of the space if none are given."""

    configs: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.configs, list | tuple):
            raise TypeError(f"configs is {format_value(self.configs)}; allowed is a list of configurations")
        self.configs = tuple(self.space.check(config) for config in self.configs)

    @property
    def count(self) -> int:
        return max(1, len(self.configs))

    def at(self, index: int) -> Config | None:
        return dict(self.configs[index]) if self.configs else self.space.midpoint()
