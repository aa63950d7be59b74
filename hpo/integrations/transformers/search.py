"""register: `trainer.hyperparameter_search` on our optimizers.

Transformers' backends are a closed list, so ours takes the row of Optuna's while it is registered, and gives it back.
A search is a study whose budget counts the evaluations of a training, and whose Run is a trial of the one trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any

from transformers import Trainer, TrainingArguments
from transformers.hyperparameter_search import ALL_HYPERPARAMETER_SEARCH_BACKENDS, HyperParamSearchBackendBase
from transformers.trainer_utils import (
    BestRun,
    HPSearchBackend,
    IntervalStrategy,
    SaveStrategy,
    default_hp_space_optuna,
)

import hpo
from hpo.executors import make_executor
from hpo.failures import Caught
from hpo.integrations.optuna.searching import Chain, read_directions, take_optimizer
from hpo.integrations.optuna.spaces import Known
from hpo.integrations.optuna.trial import OptunaTrial
from hpo.integrations.transformers.hp_space import SearchSpace, Source
from hpo.integrations.transformers.shared import (
    EVALUATION,
    SharedTrainer,
    Winner,
    count_examples,
    count_steps,
    find_checkpoint,
)
from hpo.integrations.transformers.trial_run import TrialFactory
from hpo.space import Space
from hpo.values import whole

ELSEWHERE = {  # arguments of the stock backends, and what there is instead
    "timeout": "seconds",
    "storage": "log",
    "pruner": "scheduler",
    "study_name": "log",
    "load_if_exists": "log, whose study goes on",
    "directions": "direction, which may be a list",
    "gc_after_trial": "nothing: memory is freed after every part of a trial",
    "n_jobs": "nothing: one trainer trains one trial at a time",
}


class Registration:
    """What `register` gives back. `undo` gives Optuna its row again; so does the end of a `with` block."""

    def __init__(self, before: type[HyperParamSearchBackendBase]) -> None:
        self.before = before

    def undo(self) -> None:
        """Gives the row back that was replaced."""
        ALL_HYPERPARAMETER_SEARCH_BACKENDS[HPSearchBackend.OPTUNA] = self.before

    def __enter__(self) -> Registration:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.undo()


def register() -> Registration:
    """Makes `trainer.hyperparameter_search(...)` search by our optimizers, in this process, until it is undone.

        from hpo.integrations.transformers import register
        register()
        best = trainer.hyperparameter_search(n_trials=10, sampler="gp", scheduler="asha")

    Its arguments are transformers' own (`hp_space`, which may also be a Space or what stands for one, `compute_objective`,
    `n_trials`, `direction`, `hp_name`) and those of `search`.
    """
    before = ALL_HYPERPARAMETER_SEARCH_BACKENDS[HPSearchBackend.OPTUNA]
    ALL_HYPERPARAMETER_SEARCH_BACKENDS[HPSearchBackend.OPTUNA] = Backend
    return Registration(before)


class Backend(HyperParamSearchBackendBase):
    """Ours in the row of Optuna's."""

    name = "optuna"

    @staticmethod
    def is_available() -> bool:
        return True

    def run(self, trainer: Trainer, n_trials: int, direction: str | list[str], **options: Any) -> BestRun | list[BestRun]:
        for name in options:
            if name in ELSEWHERE:
                raise TypeError(f"{name} is an argument of Optuna's backend; here there is {ELSEWHERE[name]}")
        return search(trainer, n_trials, direction, **options)

    def default_hp_space(self, trial: OptunaTrial) -> dict[str, float]:
        return default_hp_space_optuna(trial)


@dataclass(frozen=True)
class Summary:
    """What is known of a best run beside its hyperparameters: `BestRun.run_summary`."""

    seed: int  # of its training
    checkpoint: str | None  # with the weights that its objective is of; None where the trainer saves none
    metrics: Mapping[str, float]  # of that evaluation
    study: hpo.Study | None  # in the first process


def search(
    trainer: Trainer,
    n_trials: int | None = 20,
    direction: str | Sequence[str] = "minimize",
    *,
    sampler: Any = "gp",
    scheduler: Any = None,
    seconds: float | None = None,
    log: str | Path | None = None,
    seed: int = 0,
    evaluations: int | None = None,
    first: Sequence[Mapping[str, Any]] = (),
    catch: Caught = (),
) -> BestRun | list[BestRun]:
    """A search of a trainer that has `hp_space`, `hp_name` and `compute_objective`: the best run, or the Pareto front.

    direction    "minimize" or "maximize", or a list of them, one a value of `compute_objective`
    sampler      a name of hpo.OPTIMIZERS, or a function of (space, seed) that makes one
    scheduler    None: every trial is trained to its end. Or a name, or a function of a sampler that makes one; its budgets count
                 the trainer's evaluations. A trial that ends before it has so many stays as it is
    seconds      when to stop, beside n_trials
    log          the path of the study's file; the same call again goes on
    seed         of the search. A training's is the trainer's, or a hyperparameter
    first        hyperparameters that are tried first, such as the default's: each a mapping from all names
    evaluations  of the longest training; by default as many as the longest one of 64 drawn at random
    catch        exceptions that do not end the search even if its first three trials raise them. Others fail a trial alone, and
                 end the search if the first three raise them at one line, unless memory ran out or the training diverged

    The objective of a trial is its last evaluation's, or its best one's where `load_best_model_at_end` is set. Afterwards the
    trainer holds the best model (of several, the first), if a checkpoint has its weights, and its own arguments.
    """
    objectives = read_directions("objective", [direction] if isinstance(direction, str) else list(direction))
    shared = SharedTrainer(trainer, SearchSpace.of(trainer.hp_space, list(objectives), seed))
    trainer.hp_search_backend = None  # what transformers would do by it for a trial is done here
    study, winners = None, []
    try:
        if trainer.args.process_index > 0:
            winners = shared.follow()
        else:
            try:
                optimizer = partial(make_optimizer, sampler, scheduler)
                horizon = find_horizon(shared, scheduler, seed, evaluations)
                study, known = run_study(shared, optimizer, objectives, horizon, first, n_trials, seconds, log, seed, catch)
                winners = list_winners(study, known)
            finally:
                shared.end(winners)
        runs = [make_best_run(shared, winner, study) for winner in winners]
    finally:
        shared.release()
    summary: Any = runs[0].run_summary
    shared.load(winners[0], summary.checkpoint)
    return runs if len(objectives) > 1 else runs[0]


def find_horizon(shared: SharedTrainer, scheduler: Any, seed: int, evaluations: int | None) -> int:
    """How many evaluations the longest training has. ValueError where there are none, or none where a scheduler could stop."""
    args = shared.args
    kind = type(shared.trainer)
    own = kind.evaluate is not Trainer.evaluate or kind.get_eval_dataloader is not Trainer.get_eval_dataloader
    if shared.trainer.eval_dataset is None and not own:
        raise ValueError("the trainer has no eval_dataset, and a search compares trials by their evaluations")
    if scheduler is not None and args.eval_strategy == IntervalStrategy.NO:
        raise ValueError("a scheduler decides at evaluations, and eval_strategy is 'no'; allowed are 'epoch' and 'steps'")
    if scheduler is not None and args.save_strategy == SaveStrategy.BEST:
        raise ValueError("save_strategy is 'best', and a scheduler needs a checkpoint where it stops; allowed are the others")
    if evaluations is not None:
        return whole("evaluations", evaluations, 1)
    examples = count_examples(shared.trainer)
    return max(count_evaluations(shared.make_arguments(trial), examples) for trial in shared.space.probe(seed))


def count_evaluations(args: TrainingArguments, examples: int | None) -> int:
    """How often a training on a set of so many examples is evaluated. ValueError where that cannot be said."""
    if args.eval_strategy == IntervalStrategy.NO:
        return 1
    steps, epoch = count_steps(args, examples)
    if args.eval_strategy == IntervalStrategy.EPOCH and examples is None:
        raise ValueError("the training set has no length, so its epochs cannot be counted; give `evaluations=`, the most")
    every: float = epoch
    if args.eval_strategy == IntervalStrategy.STEPS:
        every = float(args.eval_steps or args.logging_steps)
        every = every if every >= 1 else ceil(steps * every)
    delay = args.eval_delay * (epoch if args.eval_strategy == IntervalStrategy.EPOCH else 1)  # in steps
    early = max(ceil(delay / every) - 1, 0)  # before it
    return max(ceil(steps / every) - early, 1)


def make_optimizer(sampler: Any, scheduler: Any, space: Space, seed: int) -> Any:
    """The sampler, or a scheduler over it."""
    made = take_optimizer(sampler, space, seed)
    if scheduler is None:
        return made
    if not isinstance(scheduler, str) and not callable(scheduler):
        raise TypeError(f"the scheduler is {scheduler!r}; allowed are a name of hpo.OPTIMIZERS and a function of a sampler")
    return hpo.make(scheduler, space, seed, sampler=made) if isinstance(scheduler, str) else scheduler(made)


def run_study(
    shared: SharedTrainer, optimizer: Callable[[Space, int], Any], objectives: Mapping[str, str], horizon: int,
    first: Sequence[Mapping[str, Any]], trials: int | None, seconds: float | None, log: str | Path | None, seed: int,
    catch: Caught,
) -> tuple[hpo.Study, Known]:  # fmt: skip
    """A study of the trainer's trials, and the distributions that its space is made of."""
    if (space := shared.space.space) is not None:
        study = hpo.Study(optimizer(space, seed), objectives=objectives, horizon=horizon, log=log)
        for config in first if not len(study.history) else ():
            study.optimizer.enqueue(config)
        folder = None if log is None else f"{log}.checkpoints"
        pool = make_executor("inline", TrialFactory(shared, {}), horizon, folder)
        hpo.run(study, pool, hpo.Stop(trials, seconds), catch=catch)
        return study, {}
    known: Known = {}

    def make(found: Known, study: hpo.Study) -> TrialFactory:
        known.clear()
        known.update(found)
        return TrialFactory(shared, found)

    chain = Chain(make, optimizer, objectives, seed=seed, horizon=horizon, log=log, first=first, catch=catch)
    return chain.run(shared.space.known, trials, seconds), known


def list_winners(study: hpo.Study, known: Known) -> list[Winner]:
    """The best trial, or the Pareto front of several objectives."""
    names, winners = list(study.header.objectives), []
    for one in [study.best] if len(names) == 1 else study.pareto:
        objective = one.value if len(names) == 1 else [one.metrics[name] for name in names]
        winners.append(Winner(Source(one.number, one.seed, one.config, known), objective, one.metrics))
    return winners


def make_best_run(shared: SharedTrainer, winner: Winner, study: hpo.Study | None) -> BestRun:
    """What transformers returns of a best trial."""
    trial = shared.space.make_trial(winner.source)
    args, values = shared.make_arguments(trial), shared.space.read_values(trial)
    metrics = {name: value for name, value in winner.metrics.items() if name.startswith(EVALUATION)}
    checkpoint = find_checkpoint(shared.find_folder(trial), metrics)
    if shared.takes_trial:
        shared.model_init(trial)  # which may ask it for more
    return BestRun(
        str(trial.number), winner.objective, {**trial.params, **values}, Summary(args.seed, checkpoint, metrics, study)
    )
