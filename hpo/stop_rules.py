"""Rules by which a study stops itself: what was reached, what no longer improves, what a model says is left to gain.

A rule is a pure function of the history, evaluated before the first job of a run and after every finish. Its verdict is an
event (`History.limit` with the rule "stop", what rule it was as the value, and the figures with a sentence as the detail), and
drivers obey the event: a study that is reopened with the same rule stays stopped, and one that is reopened without it, or with
another, goes on. Under `Finals` the search ends and the finals begin.

    study = hpo.minimize(f, space, trials=200, stop=[hpo.Target(0.01), hpo.NoImprovement(patience=30)])
    print(study.stop_reason)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import mean
from typing import Any

import numpy as np

from hpo.bounds import feasible
from hpo.history import History
from hpo.job import Header, Key
from hpo.logs.base import canonical
from hpo.metrics import metric_column
from hpo.optimizer import Optimizer
from hpo.optimizers.finals import FINALS, Finals
from hpo.optimizers.gp.observations import AtHorizon, Observations
from hpo.optimizers.gp.sampler import GP
from hpo.rng import stream
from hpo.stopping import STOP, Verdict, is_over
from hpo.values import format_value, is_finite, whole
from surrogates import UCB, Context, GaussianProcess, LogEI, maximize, score_of, standardise


@dataclass(frozen=True)
class StopRule(ABC):
    """When a search is over. Its fields are its options; together with the class's name they stand in the event."""

    @abstractmethod
    def measure(self, history: History, optimizer: Optimizer) -> dict[str, Any] | None:
        """The figures that end the search, with a sentence under "reason"; None while it goes on. PURE."""

    def refuse(self, header: Header, optimizer: Optimizer) -> None:
        """ValueError in one sentence where the rule cannot judge such a study."""
        if len(header.objectives) > 1:
            raise ValueError(f"{type(self).__name__} reads one objective, but {list(header.objectives)} came")

    def describe(self) -> dict[str, Any]:
        """Name and options as JSON values."""
        return {"name": type(self).__name__, **{f.name: getattr(self, f.name) for f in fields(self)}}

    def verdict(self, history: History, optimizer: Optimizer) -> Verdict | None:
        """What is to be recorded now, if anything is."""
        found = self.measure(history, optimizer) if history.results else None
        phase = FINALS if isinstance(optimizer, Finals) else "search"
        return None if found is None else Verdict(STOP, self.describe(), phase, found)


def obey_rules(rules: Sequence[StopRule], history: History, optimizer: Optimizer) -> None:
    """Records the verdict of the first rule that has one, if the search goes on."""
    if is_over(history) or history.phase == FINALS:
        return
    for rule in rules:
        verdict = rule.verdict(history, optimizer)
        if verdict is not None:
            return history.limit(*verdict)


# -- by the results ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target(StopRule):
    """A result within the optimizer's bounds, at any budget, is as good as `value`, in the objective's own unit.

    The direction is the objective's: a loss is at most as high, what is maximised at least.

        study = hpo.minimize(lambda c: c["x"] ** 2, {"x": (-1.0, 1.0)}, "random", 500, stop=hpo.Target(0.01))
    """

    value: float

    def __post_init__(self) -> None:
        check_number("value", self.value, None)

    def measure(self, history: History, optimizer: Optimizer) -> dict[str, Any] | None:
        name, direction = next(iter(history.header.objectives.items()))
        goal = self.value if direction == "min" else -self.value
        kept = feasible(history)
        for until in kept.budgets:
            best = next(kept.order(until))
            if history.losses(best)[0] <= goal:
                found = history.results[best].metrics[name]
                said = f"{name} {found:.6g} of trial {best[0]} at {best[1]} has reached the target {self.value:g}"
                return {"trial": best[0], "until": best[1], "reached": found, "reason": said}
        return None


@dataclass(frozen=True)
class NoImprovement(StopRule):
    """The last `patience` new trials have not lowered the best loss by more than `min_delta`.

    The best is that at the highest budget that has a success within the optimizer's bounds; that a higher budget is reached for
    the first time counts as a gain. A trial counts with its first result, a failure included; foreign results may gain, and do
    not count. Gains are measured from the best at the last one, so many small ones add up. What was read is kept, so that a
    finish costs a constant.
    A lucky draw of a noisy loss is not beaten for long, and a sampler that looks elsewhere for ten trials may find something:
    a patience of 10 was measured to lose more than a fixed number of trials (experiments/stopping.py); take 30 where noise is.

        study = hpo.minimize(lambda c: c["x"] ** 2, {"x": (-1.0, 1.0)}, "random", 500, stop=hpo.NoImprovement(patience=20))
    """

    patience: int
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "patience", whole("patience", self.patience, 1))
        check_number("min_delta", self.min_delta, 0.0)

    def measure(self, history: History, optimizer: Optimizer) -> dict[str, Any] | None:
        read: Progress = history.memo.setdefault(("stop rule", canonical(self.describe())), Progress(self.min_delta))
        read.read(history)
        if read.stale < self.patience or read.best is None:
            return None
        said = f"{read.stale} trials have brought no gain of more than {self.min_delta:g} over the loss {read.best:.6g}"
        return {"trials": read.stale, "best": read.best, "reason": said}


@dataclass
class Progress:
    """How many trials have had their first result since the last gain, of the events read so far."""

    min_delta: float
    position: int = 0  # events read
    top: int = 0  # the highest budget with a success
    best: float | None = None  # the loss of the last gain
    stale: int = 0

    def read(self, history: History) -> None:
        """The events since the last call."""
        for event in history.events[self.position :]:
            if event.kind == "finish":
                self._count(history, (event.body["trial"], event.body["until"]), first=True)
            elif event.kind == "add":
                self._count(history, (event.body["job"]["trial"], event.body["job"]["until"]), first=False)
        self.position = len(history.events)

    def _count(self, history: History, key: Key, first: bool) -> None:
        loss, success = history.losses(key)[0], key in feasible(history)
        gains = self.best is None or loss < self.best - self.min_delta
        if success and (key[1] > self.top or (key[1] == self.top and gains)):
            self.top, self.best, self.stale = key[1], loss, 0
        elif first and history.trials[key[0]][0] == key:
            self.stale += 1


# -- by the model ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ModelRule(StopRule):
    """A rule that asks the optimizer's own Gaussian process. It costs as much as an ask at every finish."""

    def refuse(self, header: Header, optimizer: Optimizer) -> None:
        super().refuse(header, optimizer)
        if not isinstance(optimizer.chooser, GP):
            name, chooser = type(self).__name__, type(optimizer.chooser).__name__
            raise ValueError(f"{name} asks a GP's model, but {chooser} chooses the configurations; give GP(space)")
        if not optimizer.space.columns:
            raise ValueError(f"{type(self).__name__} asks a model, but the space has no parameter that varies")


@dataclass(frozen=True)
class RegretBound(_ModelRule):
    """The bound on the regret of the best is below a threshold (Makarova et al. 2022, "Automatic termination for
    hyperparameter optimization", eq. 3): the least upper confidence bound of what was tried, less the least lower
    confidence bound of all of the space, both mean +- sqrt(beta) sd of the GP at the horizon.

    threshold   in the objective's unit; None: the standard deviation of the noise that the GP has learned (the paper takes
                that of cross-validation, which a study does not know). That takes long: the bound comes down to the noise
                last, and where there is none the GP learns next to none. In experiments/stopping.py no search of 60 evaluations
                was stopped without a threshold; one of 1 % of the median regret cost next to nothing
    delta       beta = 2 log(d t^2 pi^2 / (6 delta)) / 5 for d columns and t results, as in the paper's experiments
    warmup      results before which it is silent

        study = hpo.minimize(lambda c: c["x"] ** 2, {"x": (-1.0, 1.0)}, "gp", 100, stop=hpo.RegretBound(0.01))
    """

    threshold: float | None = None
    delta: float = 0.1
    warmup: int = 10

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_number("threshold", self.threshold, 0.0)
        if not is_finite(self.delta) or not 0 < self.delta < 1:
            raise ValueError(f"delta is {format_value(self.delta)}; allowed is a number between 0 and 1")
        object.__setattr__(self, "warmup", whole("warmup", self.warmup, 2))

    def measure(self, history: History, optimizer: Optimizer) -> dict[str, Any] | None:
        model = Model.of(history, optimizer, self.warmup)
        if model is None:
            return None
        bound = model.scale * model.regret(self.beta(model.read.space.domain.d, len(model.read.keys)))
        noise = model.scale * math.exp(0.5 * model.gp.theta.log_noise)
        limit = noise if self.threshold is None else self.threshold
        if not bound <= limit:
            return None
        than = "the noise" if self.threshold is None else "the threshold"
        said = f"the best is within {bound:.4g} of the least that the model thinks possible, which is below {than} {limit:.4g}"
        return {"bound": bound, "limit": limit, "reason": said}

    def beta(self, d: int, t: int) -> float:
        """The square of how many standard deviations the bounds are wide."""
        return 2.0 * math.log(d * t**2 * math.pi**2 / (6.0 * self.delta)) / 5.0


@dataclass(frozen=True)
class ExpectedImprovementPerCost(_ModelRule):
    """The greatest expected improvement of the space, per cost of a training to the highest budget, is below a threshold.

    threshold   in the objective's unit, over the cost's
    cost        a metric that results report, or of what the framework measured ("seconds"); None: one a training. Over all
                jobs of a trial, and averaged over the trials that were trained to the highest budget
    warmup      results before which it is silent

        study = hpo.minimize(lambda c: c["x"] ** 2, {"x": (-1.0, 1.0)}, "gp", 100, stop=hpo.ExpectedImprovementPerCost(1e-4))
    """

    threshold: float
    cost: str | None = None
    warmup: int = 10

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, 0.0)
        if not isinstance(self.cost, str | None) or self.cost == "":
            raise TypeError(f"cost is {format_value(self.cost)}; allowed are the name of a metric and None")
        object.__setattr__(self, "warmup", whole("warmup", self.warmup, 2))

    def measure(self, history: History, optimizer: Optimizer) -> dict[str, Any] | None:
        model = Model.of(history, optimizer, self.warmup)
        cost = None if model is None else self.mean_cost(history)
        if model is None or cost is None:
            return None
        gain = model.scale * model.expected_improvement()
        if not gain < self.threshold * cost:
            return None
        per = "a training" if self.cost is None else f"{self.cost}, of which a training takes {cost:.4g}"
        said = f"the next training is expected to gain {gain / cost:.4g} per {per}, which is below {self.threshold:g}"
        return {"gain": gain, "cost": cost, "reason": said}

    def mean_cost(self, history: History) -> float | None:
        """Of a training to the highest budget; None where no result says."""
        if self.cost is None:
            return 1.0
        top = history.highest_budget
        keys = [] if top is None else [key for key in history.at(top) if not history.is_failure(key)]
        done = [[key for key in history.trials[trial] if key in history.results] for trial, _ in keys]
        spent = [metric_column(history, jobs, self.cost) for jobs in done]
        known = [float(np.nansum(values)) for values in spent if not np.isnan(values).all()]
        return mean(known) if known and mean(known) > 0 else None


@dataclass(frozen=True, eq=False)
class Model:
    """The posterior of a GP's losses at the horizon, and what was tried there."""

    gp: GaussianProcess
    read: Observations
    tried: np.ndarray  # (n, d) rows of successes, at the horizon
    scale: float  # of the objective's unit in standardised ones
    seed: int

    @classmethod
    def of(cls, history: History, optimizer: Optimizer, warmup: int) -> Model | None:
        """That of the optimizer's GP; None with fewer successes than `warmup`."""
        sampler = optimizer.chooser
        assert isinstance(sampler, GP)
        read = sampler.observe(history)
        good = np.array([not history.is_failure(key) for key in read.keys], dtype=bool)
        if good.sum() < warmup:
            return None
        scale = standardise(read.losses[:, 0]).scale
        seed = int(stream(sampler.seed, history.next_trial, "stop rule").integers(2**31))
        return cls(sampler.posterior(history), read, read.lift(read.configs[good]), scale, seed)

    def regret(self, beta: float) -> float:
        """The least upper bound of what was tried, less the least lower bound of the space."""
        mean, variance = self.gp.moments(self.tried)
        width = np.sqrt(beta * variance)
        lower = min(float((mean - width).min()), -self._maximum(UCB(beta), float(mean.min())))
        return float((mean + width).min()) - lower

    def expected_improvement(self) -> float:
        """The greatest of the space, on the least posterior mean of what was tried."""
        return math.exp(self._maximum(LogEI(), float(self.gp.mean(self.tried).min())))

    def _maximum(self, acquisition: UCB | LogEI, incumbent: float) -> float:
        nothing = np.zeros((0, self.gp.domain.d))
        score = AtHorizon(score_of(acquisition, Context((self.gp,), self.tried, nothing, incumbent, self.seed)), self.read)
        d = self.read.space.domain.d
        best = self.tried[np.argsort(self.gp.mean(self.tried), kind="stable"), :d]
        row = maximize(score, self.read.space.domain, self.seed, best_rows=best)
        return -math.inf if row is None else float(score(row[None])[0])


def check_number(name: str, value: Any, least: float | None) -> None:
    """ValueError in one sentence unless it is a finite number, of at least so much."""
    if not is_finite(value) or (least is not None and value < least):
        said = "" if least is None else f" of at least {least:g}"
        raise ValueError(f"{name} is {format_value(value)}; allowed is a finite number{said}")
