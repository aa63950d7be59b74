"""The arms: majority class, default hyperparameters, stock Optuna, ours with GP, ours with ASHA(GP); and what a line holds.

For every arm the model of the highest macro-F1 on the validation texts among all that it evaluated is kept, and it alone is
tried on the test texts. What is evaluated is the arm's affair: the defaults and stock Optuna after every epoch, as guides have
it; ours with GP at the end of each trial, ASHA at its rungs. A search ends after SECONDS of CPU time (budget.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import hpo
from experiments.ledger.environment import environment
from experiments.sentiment.budget import BudgetSpent, Monitor, Weights
from experiments.sentiment.corpora import CORPORA
from experiments.sentiment.scores import write_outcomes
from experiments.sentiment.spaces import SearchSpace
from models.classify.scores import accuracy, count_confusions, f1_by_class, macro_f1
from models.classify.texts import LabelledTexts

SECONDS = 1200.0  # of the CPU, for a search
LOWEST_RUNG = 31  # optimizer steps; an epoch of batches of 64 has 32


class Learner(Protocol):
    """What can be trained and searched on a corpus: Encoder, Reader."""

    @property
    def corpus(self) -> LabelledTexts: ...
    @property
    def space(self) -> SearchSpace: ...
    @property
    def truth(self) -> np.ndarray: ...
    def warm(self) -> None: ...
    def train_default(self, monitor: Monitor, seed: int) -> None: ...
    def search_stock(self, monitor: Monitor, seed: int) -> None: ...
    def search_ours(self, monitor: Monitor, optimizer: hpo.Optimizer) -> None: ...
    def predict(self, weights: Weights) -> np.ndarray: ...


Search = Callable[[Learner, Monitor, int], None]  # of a learner, the monitor and a seed


@dataclass(frozen=True)
class Arm:
    """`search` is None for the majority class; `limited` says whether the budget ends it."""

    search: Search | None
    limited: bool = True


def search_gp(learner: Learner, monitor: Monitor, seed: int) -> None:
    learner.search_ours(monitor, hpo.GP(learner.space.ours(), seed=seed))


def search_asha(learner: Learner, monitor: Monitor, seed: int) -> None:
    learner.search_ours(monitor, hpo.ASHA(hpo.GP(learner.space.ours(), seed=seed), min_resource=LOWEST_RUNG))


ARMS: Mapping[str, Arm] = {
    "majority": Arm(None, limited=False),
    "default": Arm(lambda learner, monitor, seed: learner.train_default(monitor, seed), limited=False),
    "Optuna": Arm(lambda learner, monitor, seed: learner.search_stock(monitor, seed)),
    "GP": Arm(search_gp),
    "ASHA(GP)": Arm(search_asha),
}


def make_encoder(corpus: LabelledTexts) -> Learner:
    from experiments.sentiment.encoder import minilm_encoder

    return minilm_encoder(corpus)


def make_reader(corpus: LabelledTexts) -> Learner:
    from experiments.sentiment.reviews import gpt_reader

    return gpt_reader(corpus)


LEARNERS: Mapping[str, Callable[[LabelledTexts], Learner]] = {"english": make_encoder, "chinese": make_reader}


def measure_arm(task: str, arm: str, seed: int, seconds: float = SECONDS) -> dict[str, Any]:
    """One arm with one seed: its best model's scores on the test texts, and what was done to find it."""
    import torch

    torch.set_num_threads(1)
    corpus = CORPORA[task]()
    learner = LEARNERS[task](corpus)
    learner.warm()
    return {**measure_learner(learner, ARMS[arm], seed, seconds), "versions": environment("torch", "transformers", "optuna")}


def measure_learner(learner: Learner, arm: Arm, seed: int, seconds: float) -> dict[str, Any]:
    """What `measure_arm` does, for any learner. RuntimeError if the seconds were over before anything was evaluated."""
    monitor, corpus = Monitor(seconds if arm.limited else float("inf")), learner.corpus
    if arm.search is None:
        return score_predictions(corpus, learner.truth, np.full(len(learner.truth), corpus.majority))
    with suppress(BudgetSpent):
        arm.search(learner, monitor, seed)
    found = monitor.conclude()  # before the test texts are read
    return {**score_predictions(corpus, learner.truth, learner.predict(monitor.weights)), **found}


def score_predictions(corpus: LabelledTexts, truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Scores on the test texts, and for intervals a letter for every text (scores.py)."""
    classes, positive = len(corpus.classes), corpus.classes.index(corpus.positive)
    found = count_confusions(truth, predicted, classes)
    scores = {"macro_f1": macro_f1(found), "accuracy": accuracy(found), "f1": f1_by_class(found)[positive]}
    return {
        **{name: float(f"{value:.6g}") for name, value in scores.items()},
        "classes": list(corpus.classes),
        "positive": positive,
        "majority": corpus.majority,
        "outcomes": write_outcomes(truth, predicted, classes),
    }
