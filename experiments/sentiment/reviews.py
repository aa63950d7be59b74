"""Chinese: our GPT with a classification head, from scratch, one character a token (models/classify/)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import hpo
from experiments.sentiment.budget import Monitor, Weights, search_within
from experiments.sentiment.spaces import BATCH, SCRATCH, WEIGHT_DECAY, most_steps
from models.classify.run import ClassifyRun, EncodedTexts, classify
from models.classify.texts import LabelledTexts
from models.config import GPTConfig

LENGTH = 64  # characters
SCORE = "macro_f1"
SHAPE = {"layers": 2, "hidden": 128, "heads": 4, "context": LENGTH, "dropout": 0.1}


class ReviewRun(ClassifyRun):
    """One training as a Run, in optimizer steps, that tells a monitor of every step and every evaluation. Its whole length is its
    own: so many epochs at its batch. The schedule falls linearly to zero over that length."""

    def __init__(self, reader: Reader, monitor: Monitor, config: Mapping[str, Any], seed: int = 0, horizon: int = 2**31) -> None:
        self.monitor, self.config = monitor, dict(config)
        training = {
            "optimizer": config["optim"], "lr": config["learning_rate"], "weight_decay": WEIGHT_DECAY, "warmup": 0,
            "schedule": "linear", "final_lr": 0.0, "batch": config[BATCH], "epochs": config["num_train_epochs"],
        }  # fmt: skip
        super().__init__({**reader.shape, **training}, int(config.get("seed", seed)), horizon, reader.data)

    def train_step(self) -> None:
        super().train_step()
        self.monitor.count_step()

    def advance(self, until: int, checkpoint: Callable[[], None] | None = None) -> tuple[dict[str, float], Any]:
        """Trains to a step. Macro-F1 on the validation texts there."""
        score = super().advance(until, checkpoint)[0][SCORE]
        self.monitor.take(self.config, self.step, score, self.model.state_dict())
        return {SCORE: score}, ()


@dataclass(frozen=True)
class Reader:
    """Our model on a corpus; `shape` is of GPTConfig."""

    corpus: LabelledTexts
    shape: Mapping[str, Any]
    space = SCRATCH

    @cached_property
    def data(self) -> EncodedTexts:
        return EncodedTexts(self.corpus, self.shape["context"])

    @property
    def truth(self) -> np.ndarray:
        """(N,) classes of the test texts."""
        return self.data.test[1].numpy()

    @property
    def horizon(self) -> int:
        """Optimizer steps of the longest training."""
        return most_steps(self.space, len(self.corpus.train))

    def warm(self) -> None:
        """Does what must not count as seconds of a search: encodes texts, makes a step and an evaluation."""
        _ = self.data.train, self.data.valid, self.data.test
        ReviewRun(self, Monitor(), self.space.default_of(0)).advance(1)

    # -- the arms ------------------------------------------------------------------------------------------------------

    def train_epochs(self, monitor: Monitor, config: Mapping[str, Any], report: Any = None) -> float:
        """A whole training, evaluated after every epoch and reported as report(score, epoch). The last score."""
        run, score = ReviewRun(self, monitor, config), 0.0
        for epoch in range(1, int(config["num_train_epochs"]) + 1):
            score = run.advance(epoch * run.whole // int(config["num_train_epochs"]))[0][SCORE]
            if report is not None:
                report(score, epoch)
        return score

    def train_default(self, monitor: Monitor, seed: int) -> None:
        """One training with the defaults, evaluated after every epoch."""
        self.train_epochs(monitor, self.space.default_of(seed))

    def search_stock(self, monitor: Monitor, seed: int) -> None:
        """Optuna's TPE with its default pruner, which hears of every epoch, until the budget ends it."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)

        def objective(trial: Any) -> float:
            def report(score: float, epoch: int) -> None:
                trial.report(score, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

            return self.train_epochs(monitor, self.space.suggest_all(trial), report)

        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, n_trials=10**6)

    def search_ours(self, monitor: Monitor, optimizer: hpo.Optimizer) -> None:
        """A search of ours in optimizer steps, until the budget ends it."""

        def build(config: Mapping[str, Any], seed: int, horizon: int) -> ReviewRun:
            return ReviewRun(self, monitor, config, seed, horizon)

        search_within(monitor, build, optimizer, SCORE, self.horizon)

    def predict(self, weights: Weights) -> np.ndarray:
        """(N,) the classes that a model with these weights gives the test texts."""
        model = self.data.make_model(GPTConfig(**self.shape), 0)
        model.load_state_dict(weights)
        found: np.ndarray = classify(model, self.data.test[0]).argmax(-1).numpy()
        return found


def gpt_reader(corpus: LabelledTexts) -> Reader:
    """Our usual small GPT on a corpus."""
    return Reader(corpus, SHAPE)
