"""Optuna (Akiba et al. 2019): its TPE, CMA-ES and Gaussian process samplers, with their defaults.

The space is walked define-by-run, parents first, so conditional parameters are conditional to Optuna too. A run that
diverged is told as TrialState.FAIL, which its documentation names for this; the three samplers then ignore it. Optuna
has no logarithmic integer with a step: such a parameter is a logarithmic float whose value is rounded to the nearest step.
What it recommends is `Study.best_trial`, the lowest observed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from experiments.benchmark import peers
from hpo.parameters import Categorical, Float, Int, Parameter
from hpo.space import Config, Space


def distribution(spec: Parameter) -> BaseDistribution:
    """One of our parameters as one of theirs."""
    if isinstance(spec, Categorical):
        return CategoricalDistribution(spec.choices)
    if isinstance(spec, Float):
        return FloatDistribution(spec.lo, spec.hi, log=spec.log)
    assert isinstance(spec, Int), spec
    if spec.log and spec.step > 1:
        return FloatDistribution(spec.lo, spec.hi, log=True)
    return IntDistribution(spec.lo, spec.lo + (spec.count - 1) * spec.step, log=spec.log, step=spec.step)


def from_suggestion(spec: Parameter, suggested: Any) -> Any:
    """Their value as ours."""
    if isinstance(spec, Int) and spec.log and spec.step > 1:
        index = min(max(round((suggested - spec.lo) / spec.step), 0), spec.count - 1)
        return spec.lo + index * spec.step
    return suggested


def suggest(trial: Trial, name: str, spec: Parameter) -> Any:
    """Their value for one parameter."""
    d = distribution(spec)
    if isinstance(d, CategoricalDistribution):
        return trial.suggest_categorical(name, d.choices)
    if isinstance(d, IntDistribution):
        return trial.suggest_int(name, d.low, d.high, log=d.log, step=d.step)
    assert isinstance(d, FloatDistribution), d
    return trial.suggest_float(name, d.low, d.high, log=d.log)


class Optuna:
    """One study of Optuna's in memory, driven by ask and tell."""

    def __init__(self, space: Space, sampler: BaseSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it announces every trial and every fallback otherwise
        self.space = space
        self.study = optuna.create_study(sampler=sampler, direction="minimize")
        self._trial: Trial | None = None
        self._configs: dict[int, Config] = {}

    def ask(self) -> Config:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self.study.ask()
            values: Config = {}
            for name in self.space.columns:
                if name in self.space.active(values):
                    spec = self.space.parameters[name]
                    values[name] = from_suggestion(spec, suggest(trial, name, spec))
        self._trial = trial
        self._configs[trial.number] = peers.plain(self.space, values)
        return dict(self._configs[trial.number])

    def tell(self, config: Config, value: float) -> None:
        trial, self._trial = self._trial, None
        if trial is None:  # a configuration that was not asked
            self.add([config], [value])
        elif math.isnan(value):
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, value)

    def add(self, configs: Sequence[Config], values: Sequence[float]) -> None:
        """Results that were not asked, in one go."""
        first = len(self.study.get_trials(deepcopy=False))
        self.study.add_trials([self._created(c, v) for c, v in zip(configs, values, strict=True)])
        self._configs |= {first + i: dict(config) for i, config in enumerate(configs)}

    def _created(self, config: Config, value: float) -> FrozenTrial:
        names = [name for name in self.space.columns if name in config]
        params = {name: config[name] for name in names}
        distributions = {name: distribution(self.space.parameters[name]) for name in names}
        if math.isnan(value):
            return optuna.create_trial(state=TrialState.FAIL, params=params, distributions=distributions)
        return optuna.create_trial(value=value, params=params, distributions=distributions)

    def best(self) -> Config:
        return dict(self._configs[self.study.best_trial.number])

    @staticmethod
    def versions() -> dict[str, str]:
        return peers.package_versions("optuna", "cmaes")


def build_sampler(sampler: type[BaseSampler], seed: int) -> Any:
    """A sampler with its defaults, without the warning that it is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sampler(seed=seed)  # type: ignore[call-arg]


def tpe(space: Space, seed: int, budget: int) -> Optuna:
    """The tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's default."""
    return Optuna(space, build_sampler(TPESampler, seed))


def cmaes(space: Space, seed: int, budget: int) -> Optuna:
    """CMA-ES (Hansen 2016); choices and conditional parameters are drawn at random by Optuna."""
    return Optuna(space, build_sampler(CmaEsSampler, seed))


def gaussian_process(space: Space, seed: int, budget: int) -> Optuna:
    """Optuna's own Gaussian process."""
    return Optuna(space, build_sampler(GPSampler, seed))
