"""Chinese: our GPT with a classification head, from scratch, one character a token.

Attention is causal and texts are filled up at their right, so that no real token sees the filling; the head reads the mean over
real tokens. Weights, batches and dropout are functions of (seed, position), as in models/train.py, so that a training which
pauses at rungs gives the weights of one that was trained at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hpo
from experiments.sentiment.budget import Monitor, Weights, search_within
from experiments.sentiment.corpora import Corpus, Labelled
from experiments.sentiment.scores import count_confusions, macro_f1
from experiments.sentiment.spaces import BATCH, SCRATCH, WEIGHT_DECAY, most_steps, whole_steps
from hpo.objective import Curve
from models import checkpoint as checkpoints
from models.config import GPTConfig, TrainConfig
from models.data.tokenizers import Characters
from models.dropout import Noise, dropout
from models.flat import clip, flatten
from models.gpt import GPT
from models.optimizers.base import make_optimizer
from models.schedule import lr_at
from models.seeds import mix

LENGTH = 64  # characters
SCORE = "macro_f1"
FILLING, UNKNOWN = "\0", "\ufffd"  # the characters that fill up, and that stand for those of no training text
SHAPE = {"layers": 2, "hidden": 128, "heads": 4, "context": LENGTH, "dropout": 0.1}
EVAL_BATCH = 128
FIRST_WEIGHTS, ORDER, DROPOUT = 0, 1, 2  # roles of a seed
Part = tuple[Tensor, Tensor]  # ids (N, LENGTH), classes (N,)


class Alphabet:
    """Characters that occur at least twice in the training texts; all others are UNKNOWN."""

    def __init__(self, texts: Iterable[str]) -> None:
        counts = Counter(letter for text in texts for letter in text)
        self.letters = {letter for letter, count in counts.items() if count > 1} - {FILLING}
        self.characters = Characters("".join(self.letters) + FILLING + UNKNOWN)
        self.filling = int(self.characters.encode(FILLING)[0])

    def encode(self, text: str) -> np.ndarray:
        """The first LENGTH characters as ids (LENGTH,), filled up at the right."""
        letters = [letter if letter in self.letters else UNKNOWN for letter in text[:LENGTH]]
        return self.characters.encode("".join(letters).ljust(LENGTH, FILLING))


class Classifier(GPT):
    """A GPT whose head reads the mean of a text's features: ids (B, T) to logits (B, C). The head begins at zero."""

    def __init__(self, config: GPTConfig, classes: int, filling: int, seed: int) -> None:
        super().__init__(config, seed)
        self.verdict, self.filling = nn.Linear(config.hidden, classes), filling
        nn.init.zeros_(self.verdict.weight)
        nn.init.zeros_(self.verdict.bias)

    def forward(self, ids: Tensor, noise: Noise = None) -> Tensor:
        assert self.positions is not None
        x = dropout(self.tokens(ids) + self.positions.weight[: ids.size(1)], self.config.embedded_dropout, noise)
        for block in self.blocks:
            x = block(x, self.angles, noise)
        real = (ids != self.filling).unsqueeze(-1)  # (B, T, 1); no text is empty
        logits: Tensor = self.verdict((self.norm(x) * real).sum(1) / real.sum(1))
        return logits


class ReviewRun:
    """One training as a Run, in optimizer steps. Its whole length is its own: so many epochs at its batch; a budget beyond it
    leaves it as it is. The schedule falls linearly to zero over that length."""

    def __init__(self, reader: Reader, monitor: Monitor, config: Mapping[str, Any], seed: int = 0, horizon: int = 2**31) -> None:
        self.reader, self.monitor, self.config = reader, monitor, dict(config)
        self.seed, self.step = int(config.get("seed", seed)), 0
        self.batch = int(config[BATCH])
        self.whole = min(horizon, whole_steps(config, len(reader.train[1])))
        self.training = TrainConfig(
            optimizer=config["optim"], lr=config["learning_rate"], weight_decay=WEIGHT_DECAY, warmup=0, schedule="linear",
            final_lr=0.0, batch=self.batch,
        )  # fmt: skip
        self.model = reader.make_model(mix(self.seed, FIRST_WEIGHTS))
        self.flat = flatten(self.model)
        self.optimizer = make_optimizer(self.flat, self.training)

    def advance(self, until: int) -> tuple[dict[str, float], Curve]:
        """Trains to a step. Macro-F1 on the validation texts there."""
        while self.step < min(until, self.whole):
            self._train_step()
            self.monitor.count_step()
        score = self.reader.score(self.model)
        self.monitor.take(self.config, self.step, score, self.model.state_dict())
        return {SCORE: score}, ()

    def _train_step(self) -> None:
        ids, labels = self._draw_batch()
        self.flat.grads.zero_()
        noise = torch.Generator().manual_seed(mix(self.seed, DROPOUT, self.step))
        F.cross_entropy(self.model(ids, noise), labels).backward()
        clip(self.flat.grads, self.training.clip)
        self.optimizer.step(lr_at(self.step, self.whole, self.training), self.training)
        self.step += 1

    def _draw_batch(self) -> Part:
        """The texts of the step at this position; every epoch has an order of its own."""
        ids, labels = self.reader.train
        epoch, place = divmod(self.step, -(-len(labels) // self.batch))
        order = np.random.default_rng(mix(self.seed, ORDER, epoch)).permutation(len(labels))
        rows = torch.from_numpy(order[place * self.batch : (place + 1) * self.batch])
        return ids[rows], labels[rows]

    def save(self, path: str) -> None:
        weights = {name: weight.detach().numpy() for name, weight in self.model.named_parameters()}
        state = {name: moment.numpy() for name, moment in self.optimizer.state.items()}
        position = {"steps": self.step, "updates": float(self.optimizer.updates)}
        checkpoints.write(path, checkpoints.Checkpoint(weights, state, position))

    def load(self, path: str) -> None:
        saved = checkpoints.read(path)
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(torch.from_numpy(saved.weights[name]))
        state = {name: torch.from_numpy(array) for name, array in saved.state.items()}
        self.optimizer.restore(state, saved.position["updates"])
        self.step = saved.position["steps"]


@dataclass(frozen=True)
class Reader:
    """Our model on a corpus; `shape` is of GPTConfig."""

    corpus: Corpus
    shape: Mapping[str, Any]
    space = SCRATCH

    @cached_property
    def alphabet(self) -> Alphabet:
        return Alphabet(text for text, _ in self.corpus.train)

    @cached_property
    def train(self) -> Part:
        return self.encode_texts(self.corpus.train)

    @cached_property
    def valid(self) -> Part:
        return self.encode_texts(self.corpus.valid)

    @cached_property
    def test(self) -> Part:
        return self.encode_texts(self.corpus.test)

    @property
    def truth(self) -> np.ndarray:
        """(N,) classes of the test texts."""
        return self.test[1].numpy()

    @property
    def horizon(self) -> int:
        """Optimizer steps of the longest training."""
        return most_steps(self.space, len(self.corpus.train))

    def warm(self) -> None:
        """Does what must not count as seconds of a search: encodes texts, makes a step and an evaluation."""
        _ = self.train, self.valid, self.test
        ReviewRun(self, Monitor(), self.space.default_of(0)).advance(1)

    def encode_texts(self, part: Sequence[Labelled]) -> Part:
        ids = np.stack([self.alphabet.encode(text) for text, _ in part])
        return torch.from_numpy(ids), torch.tensor([label for _, label in part])

    def make_model(self, seed: int) -> Classifier:
        config = GPTConfig(**self.shape, vocabulary=self.alphabet.characters.vocabulary)
        return Classifier(config, len(self.corpus.classes), self.alphabet.filling, seed)

    def classify(self, model: Classifier, ids: Tensor) -> np.ndarray:
        """(N,) the class of each text."""
        with torch.no_grad():
            return torch.cat([model(part).argmax(-1) for part in ids.split(EVAL_BATCH)]).numpy()

    def score(self, model: Classifier) -> float:
        """Macro-F1 on the validation texts."""
        ids, labels = self.valid
        return float(macro_f1(count_confusions(labels.numpy(), self.classify(model, ids), len(self.corpus.classes))))

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
        model = self.make_model(0)
        model.load_state_dict(weights)
        return self.classify(model, self.test[0])


def gpt_reader(corpus: Corpus) -> Reader:
    """Our usual small GPT on a corpus."""
    return Reader(corpus, SHAPE)
