"""Our own GPT in training, for a configuration of a guide whose budgets are steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna import TrialPruned

import hpo
from experiments.cookbook.scale import LENGTH, Reduction
from experiments.cookbook.space import DEFAULT, NINE, build_space
from experiments.cookbook.text import load_stream
from models.data.batches import Corpus
from models.train import TrainRun

EVALUATED_TOKENS = 3072
# What is searched where budgets are steps: the nine hyperparameters without epochs, and any number of layers.
RANGES = {**{name: spec for name, spec in NINE.items() if name != "epochs"}, "layers": hpo.Int(6, 24)}


def start_training(
    config: Mapping[str, Any], scale: Reduction, steps: int, corpus: Corpus | None = None, folder: Path | None = None,
    **more: Any,
) -> TrainRun:  # fmt: skip
    """A run that has not begun, of so many steps of the guide's: `scale.count_steps(steps)` of ours. `more` are other fields of
    the training, which go before."""
    trained = {
        **scale.build_shape(config), "context": LENGTH, "bias": True, "activation": "gelu_tanh", "schedule": "linear",
        "final_lr": 0.0, "eval_tokens": EVALUATED_TOKENS, "lr": config["lr"], "batch": config["batch_size"],
        "weight_decay": config["weight_decay"],
        "warmup": scale.count_steps(config["warmup_steps"]) if config["warmup_steps"] else 0,
    }  # fmt: skip
    text = corpus or load_stream()
    return TrainRun({**trained, **more}, scale.seed, scale.count_steps(steps), text, unit="steps", folder=folder)


def advance_training(run: TrainRun, scale: Reduction, steps: int) -> float:
    """Trains to so many steps of the guide's. The loss there, in nats a token."""
    return float(run.advance(scale.count_steps(steps))[0]["loss"])


def train_by_rungs(config: Mapping[str, Any], scale: Reduction, rungs: Sequence[int], trial: Any) -> float:
    """Trains to each of the guide's rungs, reports the loss there to a trial of Optuna's, and asks whether to go on. The last
    loss; TrialPruned where it is not to."""
    run = start_training(config, scale, rungs[-1])
    for steps in rungs:
        loss = advance_training(run, scale, steps)
        trial.report(loss, steps)
        if trial.should_prune():
            raise TrialPruned
    return loss


def default_loss(scale: Reduction, steps: int) -> float:
    """The loss of the default configuration after so many steps of the guide's."""
    return advance_training(start_training(DEFAULT, scale, steps), scale, steps)


def search_randomly(scale: Reduction, steps: int, trials: int) -> float:
    """The lowest loss that random search finds in so many trainings to the end."""

    def train(config: Mapping[str, Any]) -> float:
        return advance_training(start_training(config, scale, steps), scale, steps)

    return float(hpo.minimize(train, build_space(RANGES, scale.seed), "random", trials, seed=scale.seed, quiet=True).best.value)


def count_spent_steps(study: hpo.Study) -> int:
    """The steps, in the guide's, that all trials of a study have trained: each as far as it came."""
    history = study.history
    return sum(max((key[1] for key in keys if key in history.results and not history.is_failure(key)), default=0)
               for keys in history.trials.values())  # fmt: skip
