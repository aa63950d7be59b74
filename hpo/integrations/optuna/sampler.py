"""Sampler: any sampler of ours as one of Optuna's."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

import hpo
from hpo.integrations.optuna.replica import (
    CONSTRAINTS,
    Budgets,
    Replica,
    count_constraints,
    name_objectives,
    record_proposal,
)
from hpo.integrations.optuna.spaces import draw_value, list_distributions, list_params, read_distributions
from hpo.job import Note
from hpo.optimizers import OPTIMIZERS
from hpo.space import Space
from hpo.values import format_value, whole

Make = Callable[[Space, int], hpo.Sampler]  # (space, seed) -> a sampler


class Sampler(BaseSampler):
    """One of our samplers in the place of Optuna's.

    sampler           a name ("gp", "tpe", "cmaes", "random", "genetic" ...), or a function of (space, seed) that makes one
    seed              of everything that is drawn; by default another one each time
    space             a Space or what stands for one, searched from the first trial on. By default the space is what all
                      finished trials have in common, and the values of other parameters are drawn at random, as Optuna has it
    constraints_func  of a finished trial, the values of its constraints: at most 0 is feasible. For samplers with
                      `constraints` (GP, TPE, NSGA-II)
    options           of the sampler that is named

    A proposal is a function of the seed, the trial's number and what the study holds; so it does not matter which of several
    processes makes it. TypeError for a scheduler, which is a `Pruner` here.

        import optuna
        from hpo.integrations.optuna import Sampler
        study = optuna.create_study(sampler=Sampler("gp", seed=0))
        study.optimize(lambda trial: (trial.suggest_float("x", -5, 5) - 2) ** 2, n_trials=20)
    """

    def __init__(
        self,
        sampler: str | Make = "gp",
        *,
        seed: int | None = None,
        space: Any = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        **options: Any,
    ) -> None:
        if isinstance(sampler, str):
            check_sampler(sampler)
        elif not callable(sampler) or options:
            raise TypeError(f"sampler is {format_value(sampler)}; allowed are the name of a sampler, with its options, and a "
                            f"function of (space, seed), without")  # fmt: skip
        self.sampler, self.options = sampler, options
        self.seed = int.from_bytes(os.urandom(6)) if seed is None else whole("seed", seed, 0)
        self.distributions = None if space is None else list_distributions(space)
        self.constraints_func = constraints_func
        self._common = IntersectionSearchSpace()
        self._replicas: dict[int, Replica] = {}
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_replicas", "_common")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._common, self._replicas, self._lock = IntersectionSearchSpace(), {}, threading.RLock()

    def reseed_rng(self) -> None:
        """Nothing: what is drawn for a trial hangs on its number, so parallel workers never draw the same."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        with self._lock:
            found = self._common.calculate(study) if self.distributions is None else self.distributions
        return {name: one for name, one in found.items() if not one.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        with self._lock:
            trials = study.get_trials(deepcopy=False)  # not those that Optuna kept at the ask, since when others may have begun
            replica = self._read_replica(study, trials, trial.number, search_space)
            draft = replica.sampler.draft(replica.history, trial.number, replica.budgets.horizon)
            if draft is None:  # a grid has come to its end
                study.stop()
                return {}
            params = list_params(draft.config, search_space)
            record_proposal(study, trial, replica, params, Note(record=draft.record))
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return draw_value(self.seed, trial.number, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        if self.constraints_func is not None and state in (TrialState.COMPLETE, TrialState.PRUNED):
            excess = [float(value) for value in self.constraints_func(trial)]
            study._storage.set_trial_system_attr(trial._trial_id, CONSTRAINTS, excess)

    # -- what is read ------------------------------------------------------------------------------------------------

    def _read_replica(
        self, study: Study, trials: Sequence[FrozenTrial], current: int, search_space: Mapping[str, BaseDistribution]
    ) -> Replica:
        """The history of a study over a space: the one that is kept, read on; or a new one where that does not fit any more."""
        budgets, bounds = Budgets.of(trials), count_constraints(trials)
        kept = self._replicas.get(study._study_id)
        known = None if kept is None else (kept.budgets, kept.bounds, kept.distributions)
        if kept is not None and known == (budgets, bounds, search_space) and kept.read(trials, current):
            return kept
        sampler = self._make(read_distributions(search_space), bounds)
        made = Replica(sampler, dict(search_space), name_objectives(study.directions), budgets, bounds)
        made.read(trials, current)
        self._replicas[study._study_id] = made
        return made

    def _make(self, space: Space, bounds: int) -> hpo.Sampler:
        if not isinstance(self.sampler, str):
            made = self.sampler(space, self.seed)
            if not isinstance(made, hpo.Sampler):
                raise TypeError(f"the function of (space, seed) gave {made!r}; allowed is a sampler such as hpo.GP(space)")
            return made
        limits = {"constraints": {f"constraint{i}": 0.0 for i in range(bounds)}} if bounds else {}
        found = hpo.make(self.sampler, space, self.seed, **limits, **self.options)
        assert isinstance(found, hpo.Sampler)
        return found


def check_sampler(name: str) -> None:
    """ValueError for a name that is none of ours, TypeError for a scheduler's."""
    samplers = [one for one, cls in OPTIMIZERS.items() if issubclass(cls, hpo.Sampler)]
    if name in OPTIMIZERS and name not in samplers:
        raise TypeError(f"{name!r} is a scheduler, which decides how long to train; as a sampler allowed are {samplers}")
    if name not in samplers:
        raise ValueError(f"sampler is {name!r}; allowed are {samplers}")
