"""SMAC3 (Lindauer et al. 2022) by ask and tell, with the facade that its documentation names for the space.

BlackBoxFacade (a GP) where every parameter is a float, HyperparameterOptimizationFacade (a random forest) otherwise; all
their defaults. Ranges, logarithms, steps and conditions are ConfigSpace's own. What had to be decided:

Seeds       deterministic=True: one evaluation a configuration. The interface does not say that a task is noisy; with
            deterministic=False SMAC would spend evaluations on repeats of its incumbents.
Diverged    nan is StatusType.CRASHED at the worst finite cost so far (told late where all before it diverged as well):
            the facades' encoders learn from crashed runs, and their default cost of infinity cannot be learnt from.
Constraints A configuration that a constraint of ours excludes is told at once as CRASHED and the next one is asked:
            ConfigSpace has forbidden clauses, but no predicates.
Exhausted   A discrete space of at most 1,000 points is searched to its last point: SMAC advises more retries for that.
Repeatable  Only under one PYTHONHASHSEED: SMAC goes through sets of its configurations, whose order that decides.
Files       It writes some for every study; they go to a temporary directory that is deleted with the adapter.
"""

from __future__ import annotations

import logging
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
from ConfigSpace import (
    AndConjunction,
    Categorical,
    Configuration,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    Float,
    InCondition,
    Integer,
)
from smac import BlackBoxFacade, HyperparameterOptimizationFacade, Scenario
from smac.main.config_selector import ConfigurationSpaceExhaustedException
from smac.runhistory import StatusType, TrialInfo, TrialValue
from threadpoolctl import threadpool_limits

from experiments.benchmark import peers
from hpo import parameters as ours
from hpo.space import Config, Space

ENUMERATED = 1000  # discrete spaces up to this size are searched to the last point
EXCLUDED = 1000  # consecutive configurations that a constraint excludes, before a random feasible one is taken


def smac_parameter(name: str, spec: ours.Parameter) -> Any:
    """One of our parameters as one of theirs: a choice by its index, a range with steps by the number of the step."""
    if isinstance(spec, ours.Categorical):
        return Categorical(name, list(range(spec.size))) if spec.size > 1 else Constant(name, 0)
    if isinstance(spec, ours.Float):
        return Float(name, (spec.lo, spec.hi), log=spec.log)
    assert isinstance(spec, ours.Int), spec
    return Integer(name, (_in(spec, spec.lo), _in(spec, spec.lo + (spec.count - 1) * spec.step)), log=spec.log)


def _in(spec: ours.Parameter, value: Any) -> Any:
    """Our value as theirs. A logarithmic range keeps its values, for the logarithm's sake: see _out."""
    if isinstance(spec, ours.Categorical):
        return int(spec.encode(value))
    if isinstance(spec, ours.Int) and not spec.log:
        return (value - spec.lo) // spec.step
    return value


def _out(spec: ours.Parameter, value: Any) -> Any:
    """Their value as ours; a logarithmic integer with a step is rounded to its nearest step."""
    if isinstance(spec, ours.Categorical):
        return spec.choices[int(value)]
    if isinstance(spec, ours.Int):
        step = round((value - spec.lo) / spec.step) if spec.log else int(value)
        return spec.lo + step * spec.step
    return float(min(max(value, spec.lo), spec.hi))  # type: ignore[attr-defined]


def configspace(space: Space, seed: int) -> ConfigurationSpace:
    """The space with its conditions as a ConfigurationSpace."""
    made = ConfigurationSpace(seed=seed)
    for name in space.columns:
        made.add(smac_parameter(name, space.parameters[name]))
    for name in space.columns:
        conditions = [_condition(space, made, name, parent) for parent in space.parameters[name].when]
        if conditions:
            made.add(conditions[0] if len(conditions) == 1 else AndConjunction(*conditions))
    return made


def _condition(space: Space, made: ConfigurationSpace, child: str, parent: str) -> Any:
    owner = space.parameters[parent]
    if isinstance(owner, ours.Int) and owner.log and owner.step > 1:
        raise ValueError(f"parameter {child!r} depends on {parent!r}, a logarithmic Int with a step, which SMAC has not")
    values = [_in(owner, value) for value in space.parameters[child].when[parent]]
    if len(values) == 1:
        return EqualsCondition(made[child], made[parent], values[0])
    return InCondition(made[child], made[parent], values)


class SMAC:
    """One study of SMAC's, driven by ask and tell."""

    def __init__(self, space: Space, seed: int, budget: int) -> None:
        threadpool_limits(1)
        self.space, self.seed = space, seed
        self._files = tempfile.TemporaryDirectory(prefix="smac-")
        self.facade = self._facade(budget)
        self._open: TrialInfo | None = None
        self._diverged: list[TrialInfo] = []  # not told yet: no finite cost is known
        self._told: list[tuple[Config, float]] = []

    def _facade(self, budget: int) -> Any:
        floats = all(isinstance(self.space.parameters[name], ours.Float) for name in self.space.columns)
        facade = BlackBoxFacade if floats and not self.space.domain.is_conditional else HyperparameterOptimizationFacade
        scenario = Scenario(
            configspace(self.space, self.seed),
            output_directory=Path(self._files.name),
            deterministic=True,
            n_trials=budget,
            seed=self.seed,
        )
        size = self.space.domain.size
        retries = 20 * int(size) if size <= ENUMERATED else 16  # more near exhaustion; 16 is SMAC's default
        selector = facade.get_config_selector(scenario, retries=max(16, retries))
        logging.getLogger("smac").setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return facade(scenario, None, config_selector=selector, logging_level=False, overwrite=True)

    # -- ask and tell -----------------------------------------------------------------------------------------------

    def ask(self) -> Config:
        with warnings.catch_warnings(), joblib.parallel_config(backend="sequential"):  # the forest takes every core
            warnings.simplefilter("ignore")
            self._open = self._next() if self._unseen() else None
        if self._open is not None:
            return self._ours(self._open)
        if math.isfinite(self.space.domain.size):
            raise peers.Exhausted("SMAC finds no configuration that it did not propose")
        return self.space.decode(self.space.domain.random(np.random.default_rng((self.seed, len(self._told))), 1)[0])

    def _unseen(self) -> bool:
        """Whether the space has points that were not told; SMAC never answers when there is none and all diverged."""
        return len({repr(config) for config, _ in self._told}) < self.space.domain.size

    def _next(self) -> TrialInfo | None:
        """SMAC's next trial that no constraint of ours excludes."""
        for _ in range(EXCLUDED):
            try:
                trial: TrialInfo = self.facade.ask()
            except (StopIteration, ConfigurationSpaceExhaustedException):
                return None
            if self.space.is_feasible(self._ours(trial)):
                return trial
            self._crashed(trial)
        return None

    def tell(self, config: Config, value: float) -> None:
        again = any(config == known for known, _ in self._told)
        self._told.append((dict(config), float(value)))
        asked, self._open = self._open, None
        if asked is None or self._ours(asked) != config:
            if again:  # to a deterministic study a second evaluation is no news
                return
            asked = TrialInfo(self._configuration(config), seed=0)
        if not math.isfinite(value):
            return self._crashed(asked)
        self._success(asked, value)

    def best(self) -> Config:
        """SMAC's incumbent; the lowest observed when that one diverged, which ties with the worst finite cost allow."""
        incumbent = self.facade.intensifier.get_incumbent()
        if incumbent is not None:
            config = self._ours(TrialInfo(incumbent))
            if any(config == known and math.isfinite(value) for known, value in self._told):
                return config
        lowest = min(self._told, key=lambda one: one[1] if math.isfinite(one[1]) else math.inf)
        return dict(lowest[0])

    @staticmethod
    def versions() -> dict[str, str]:
        return peers.package_versions("smac", "configspace", "scikit-learn")

    # -- translation ------------------------------------------------------------------------------------------------

    def _ours(self, info: TrialInfo) -> Config:
        """The configuration of a trial; constants filled in."""
        values = {name: _out(self.space.parameters[name], value) for name, value in dict(info.config).items()}
        return self.space.decode(self.space.encode(values))

    def _configuration(self, config: Config) -> Configuration:
        values = {name: _in(self.space.parameters[name], config[name]) for name in self.space.columns if name in config}
        return Configuration(self.facade.scenario.configspace, values=values)

    def _success(self, info: TrialInfo, value: float) -> None:
        self.facade.tell(info, TrialValue(cost=float(value)), save=False)
        waiting, self._diverged = self._diverged, []
        for one in waiting:
            self._crashed(one)

    def _crashed(self, info: TrialInfo) -> None:
        finite = [value for _, value in self._told if math.isfinite(value)]
        if finite:
            self.facade.tell(info, TrialValue(cost=max(finite), status=StatusType.CRASHED), save=False)
        else:
            self._diverged.append(info)
