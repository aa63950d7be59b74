"""minimize: an objective that was written for Optuna, unchanged, searched by any optimizer of ours.

Optuna's objectives say what they search while they run, and our studies know their space before. So a search is a chain of
studies. The first has an empty space: whatever is asked for is drawn at random from the trial's seed and the name, and comes back
among the trial's metrics. A trial that has met a new name, or a range that is not within the space's, ends its study, and the
next one has a space that holds it, with the old results added under their numbers. Of a parameter that an old trial never asked
for any value is right, since its result does not hang on it: it gets the one that its seed draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

from optuna import TrialPruned
from optuna.distributions import BaseDistribution

import hpo
from hpo.executors import make_executor
from hpo.failures import Caught
from hpo.history import History
from hpo.integrations.optuna.spaces import (
    Known,
    draw_value,
    extend_by,
    list_distributions,
    list_params,
    read_distributions,
    read_params,
)
from hpo.integrations.optuna.trial import MET, OptunaTrial, read_met
from hpo.job import Header, Job, Result
from hpo.optimizer import Optimizer
from hpo.parameters import Const
from hpo.space import Space
from hpo.stop_rules import StopRule
from hpo.stopping import STOP
from hpo.values import format_value

Make = Callable[[Space, int], Any]  # (space, seed) -> an optimizer
MakeObjective = Callable[[Known, hpo.Study], Any]  # what an executor runs for a study over known distributions
UNKNOWN = "unknown"  # the only parameter of the first space
MOST = 1000  # studies in a chain; an objective that asks for new names for ever is ended there


def minimize(
    objective: Callable[[Any], Any],
    optimizer: str | Make = "gp",
    trials: int | None = None,
    *,
    directions: Sequence[str] | None = None,
    space: Any = None,
    seed: int = 0,
    seconds: float | None = None,
    reports: bool | None = None,
    executor: str = "inline",
    workers: int | None = None,
    log: str | Path | None = None,
    catch: Caught = (),
) -> hpo.Study:
    """Searches for the values with which `objective(trial)` is lowest; the last study of the chain.

    optimizer    a name of hpo.OPTIMIZERS, or a function of (space, seed), such as
                 lambda space, seed: hpo.ASHA(hpo.GP(space, seed=seed), max_resource=27)
    trials, seconds   when to stop, as in hpo.minimize; 50 trials if neither
    directions   "minimize" or "maximize" of every objective; by default one that is minimised
    space        what is known of the space from the beginning; None: nothing
    reports      whether the objective calls `trial.report`, so that schedulers may pause it; by default it is so for schedulers
    log          the path of the first study's file; those that follow are beside it. The same call again goes on
    catch        exceptions that do not end the search even if its first three trials raise them, as in hpo.minimize

    The objectives are called value, or value0, value1, ... A trial that raises TrialPruned has failed; exceptions fail a trial
    as in hpo.minimize. Attributes that are numbers are metrics.

        def objective(trial):
            x = trial.suggest_float("x", -5, 5)
            return x**2 + (trial.suggest_int("k", 1, 4) if x > 0 else 5)
        study = hpo.integrations.optuna.minimize(objective, "tpe", 30)
        print(study.best.value, study.best.config)
    """
    objectives = read_directions("value", ["minimize"] if directions is None else directions)

    def make(known: Known, study: hpo.Study) -> Any:
        pauses = isinstance(study.optimizer, hpo.Scheduler | hpo.Finals) if reports is None else reports
        return (ReportAdapter if pauses else Adapter)(objective, known, list(objectives))

    chain = Chain(make, optimizer, objectives, seed=seed, executor=executor, workers=workers, log=log,
                  catch=catch)  # fmt: skip
    return chain.run(list_distributions(space) if space is not None else {}, trials, seconds)


def read_directions(name: str, directions: Sequence[str]) -> dict[str, str]:
    """Objectives with their directions: the name itself, or name0, name1, ... of several."""
    known = {"minimize": "min", "min": "min", "maximize": "max", "max": "max"}
    said = list(directions)
    if not said or any(direction not in known for direction in said):
        raise ValueError(f"directions is {format_value(directions)}; allowed are minimize and maximize, one an objective")
    return {(name if len(said) == 1 else f"{name}{i}"): known[direction] for i, direction in enumerate(said)}


@dataclass(frozen=True)
class NewParameter(StopRule):
    """The last result has met a parameter, or values of one, that the space does not hold."""

    def measure(self, history: History, optimizer: Optimizer) -> dict[str, Any] | None:
        last = next(reversed(history.results))
        met = read_met(history.results[last])
        if not met or last[0] in history.added:
            return None
        return {"trial": last[0], "names": list(met), "reason": f"trial {last[0]} has met {', '.join(map(repr, met))}"}

    def refuse(self, header: Header, optimizer: Optimizer) -> None:
        """Judges every study."""


@dataclass
class Chain:
    """Studies one after the other, each over what those before have met."""

    make_objective: MakeObjective
    optimizer: str | Make
    objectives: Mapping[str, str]
    _: KW_ONLY
    seed: int = 0
    horizon: int | None = None
    unit: str = "evaluations"
    executor: str = "inline"
    workers: int | None = None
    log: str | Path | None = None
    first: Sequence[Mapping[str, Any]] = ()  # what is tried first, over the distributions that are known from the beginning
    catch: Caught = ()

    def run(self, known: Known, trials: int | None, seconds: float | None) -> hpo.Study:
        """The last study of the chain, which begins with what is known."""
        if trials is None and seconds is None:
            trials = 50
        before: hpo.Study | None = None
        old = known
        for place in range(MOST):
            study = self._open(known, place)
            if not place and not len(study.history):
                enqueue_first(study, self.first, known)
            if before is not None:
                _take_over(study, before, old, known)
            asked = 0 if before is None else before.history.next_trial
            self._run(study, known, place, None if trials is None else max(trials - asked, 0), seconds)
            limit = study.history.last_limit
            if limit.get("rule") != STOP or limit["value"]["name"] != NewParameter.__name__:
                return study
            known, old, before = extend(known, study.history), known, study
            if seconds is not None:
                seconds = max(seconds - study.history.elapsed_seconds(), 0.0)
        raise RuntimeError(f"the objective asked for new names or ranges in {MOST} studies one after another")

    def _open(self, known: Known, place: int) -> hpo.Study:
        space = read_distributions(known) if known else Space({UNKNOWN: Const(0)})  # a space has a parameter
        chosen: Any = take_optimizer(self.optimizer, space, self.seed) if known else hpo.Random(space, seed=self.seed)
        log = self._find_log(place)
        return hpo.Study(chosen, objectives=self.objectives, horizon=self.horizon, unit=self.unit, log=log)

    def _find_log(self, place: int) -> Path | None:
        if self.log is None:
            return None
        path = Path(self.log)
        return path.with_name(f"{path.stem}-{place + 1}{path.suffix}") if place else path

    def _run(self, study: hpo.Study, known: Known, place: int, trials: int | None, seconds: float | None) -> None:
        made, log = self.make_objective(known, study), self._find_log(place)
        folder = None if log is None else f"{log}.checkpoints"
        pool = make_executor(self.executor, made, study.header.horizon, folder, {"workers": self.workers})
        hpo.run(study, pool, hpo.Stop(trials, seconds, rules=[NewParameter()]), catch=self.catch)


def enqueue_first(study: hpo.Study, first: Sequence[Mapping[str, Any]], known: Known) -> None:
    """Has a study try these values first. ValueError where one is missing or is not in its range."""
    for params in first:
        config = read_params(params, known, study.space)
        if config is None:
            raise ValueError(f"first has {format_value(dict(params))}; allowed are values of {list(known)}, in their ranges")
        study.optimizer.enqueue(config)


def take_optimizer(optimizer: str | Make, space: Space, seed: int) -> Any:
    """An optimizer over a space, by its name or by a function of (space, seed). TypeError for anything else."""
    if isinstance(optimizer, str):
        return hpo.make(optimizer, space, seed)
    if not callable(optimizer):
        raise TypeError(f"the optimizer is {optimizer!r}; allowed are a name of hpo.OPTIMIZERS and a function of (space, seed)")
    return optimizer(space, seed)


class Adapter:
    """An objective of Optuna's as f(config); picklable where the objective is."""

    def __init__(self, objective: Callable[[Any], Any], known: Known, names: Sequence[str]) -> None:
        self.objective, self.known, self.names = objective, known, list(names)
        self.number, self.seed = 0, 0

    def bind_trial(self, number: int, seed: int) -> Adapter:
        """The objective of one trial."""
        bound = type(self)(self.objective, self.known, self.names)
        bound.number, bound.seed = number, seed
        return bound

    def __call__(self, config: Mapping[str, Any]) -> Result:
        return self._evaluate(config, None)

    def _evaluate(self, config: Mapping[str, Any], report: Callable[[int, Any], None] | None) -> Result:
        trial = OptunaTrial(self.number, self.seed, config, self.known, self.names, report)
        try:
            return trial.result(self.objective(trial))
        except TrialPruned:
            return trial.pruned_result()


class ReportAdapter(Adapter):
    """An objective of Optuna's as f(config, report)."""

    def __call__(self, config: Mapping[str, Any], report: Callable[[int, Any], None]) -> Result:  # type: ignore[override]
        return self._evaluate(config, report)


# -- from one study to the next ----------------------------------------------------------------------------------------


def extend(known: Mapping[str, BaseDistribution], history: History) -> Known:
    """The distributions of a study and all that its trials met besides; of two ranges of a name what holds both."""
    found = dict(known)
    for result in history.results.values():
        found = extend_by(found, {name: asked for name, (asked, _) in read_met(result).items()})
    return found


def _take_over(study: hpo.Study, before: hpo.Study, old: Known, known: Known) -> None:
    """Adds the results of the study before, over the old distributions, as far as they are not there: each trial's at its
    highest budget, under its number."""
    history = study.history
    for number in range(history.next_trial, before.history.next_trial):
        keys = [key for key in before.history.trials[number] if key in before.history.results]
        if not keys:
            raise ValueError(f"trial {number} of the study before has no result yet; run it to its end")
        job, result = before.history.jobs[keys[-1]], before.history.results[keys[-1]]
        params = _params_of(job, result, old, known)
        config = read_params(params, known, study.optimizer.space)
        assert config is not None
        metrics = {name: value for name, value in result.metrics.items() if not name.startswith(MET)}  # in config by now
        horizon = history.header.horizon
        until = horizon if job.until == before.history.header.horizon else min(job.until, horizon)  # a whole trial stays whole
        study.optimizer.add(config, replace(result, metrics=metrics), until, job.seed)


def _params_of(job: Job, result: Result, old: Known, known: Known) -> dict[str, Any]:
    """The values of a trial for every known name: what it was given, what was drawn in it, and what its seed draws."""
    drawn = {name: value for name, (_, value) in read_met(result).items()}
    given = list_params(job.config, {name: old[name] for name in job.config if name in old})
    return {name: drawn.get(name, given.get(name, draw_value(job.seed, 0, name, found))) for name, found in known.items()}
