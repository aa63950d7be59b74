"""Samplers that draw a configuration together with what its job records, and those with a state for each first budget."""

from __future__ import annotations

from abc import abstractmethod

from hpo.history import History
from hpo.optimizer import Draft, Sampler
from hpo.space import Config


class DraftSampler(Sampler):
    """A sampler that is written as `suggest`, because it has something to record beside a configuration."""

    def sample(self, history: History, trial: int) -> Config | None:
        draft = self.suggest(history, trial)
        return None if draft is None else draft.config

    @abstractmethod
    def suggest(self, history: History, trial: int) -> Draft | None:
        """A configuration for the fresh trial, with entries for its job's note; None if there are no more."""


class BudgetSampler(DraftSampler):
    """A sampler that is written as `suggest_at`, because it has a state for each budget that trials are first trained to."""
    def suggest(self, history: History, trial: int) -> Draft | None:
        return self.suggest_at(history, trial, history.header.horizon)

    @abstractmethod
    def suggest_at(self, history: History, trial: int, until: int) -> Draft | None:
        """`suggest` for a trial that is first trained to `until`."""
