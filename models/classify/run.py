"""ClassifyRun: a GPT with a head in training, as a Run whose unit is optimizer steps.

Weights, batches and dropout are functions of (seed, position), as in models/train.py, so that a training which pauses at rungs
gives the weights of one that was trained at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, lru_cache
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import checkpoint as checkpoints
from models.classify.alphabet import Alphabet
from models.classify.classifier import Classifier
from models.classify.pieces import Pieces
from models.classify.scores import accuracy, count_confusions, f1_by_class, macro_f1
from models.classify.texts import Labelled, LabelledTexts
from models.config import GPTConfig, TrainConfig, split
from models.flat import clip, flatten
from models.optimizers.base import make_optimizer
from models.schedule import lr_at
from models.seeds import mix
from models.snapshots import Snapshots
from models.stopping import FALLING, Stopping
from models.trial import owner

EVAL_BATCH = 128
FIRST_WEIGHTS, ORDER, DROPOUT = 0, 1, 2  # roles of a seed
METRICS = ("loss", "accuracy", "macro_f1", "f1")
# What of TrainConfig a classifier does not read.
UNREAD = ("z_loss", "spike", "nonfinite", "ema", "noise_every", "micro_batch", "precision", "activation_checkpointing",
          "sharding", "offload", "eval_tokens")  # fmt: skip
TOKENIZERS = ("char", "bpe")
ENCODED = 8  # texts in tokens of other sizes that a process remembers
Part = tuple[Tensor, Tensor]  # ids (N, T), classes (N,)


@dataclass(frozen=True)
class EncodedTexts:
    """Labelled texts as tokens of one length, the model's context.

    tokenizer   "char": characters; "bpe": a BPE of `vocab_size` tokens, trained on the training texts alone
    """

    texts: LabelledTexts
    context: int
    tokenizer: str = "char"
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        if self.tokenizer not in TOKENIZERS:
            raise ValueError(f"tokenizer is {self.tokenizer!r}; allowed are {', '.join(map(repr, TOKENIZERS))}")
        if (self.vocab_size is None) != (self.tokenizer == "char"):
            raise ValueError(f"vocab_size is {self.vocab_size!r} with tokenizer={self.tokenizer!r}; allowed are a number with "
                             "'bpe' and None with 'char', which has the characters of the texts")  # fmt: skip

    @cached_property
    def alphabet(self) -> Alphabet | Pieces:
        words = (text for text, _ in self.texts.train)
        return Alphabet(words, self.context) if self.vocab_size is None else Pieces(words, self.context, self.vocab_size)

    @cached_property
    def train(self) -> Part:
        return self.encode(self.texts.train)

    @cached_property
    def valid(self) -> Part:
        return self.encode(self.texts.valid)

    @cached_property
    def test(self) -> Part:
        return self.encode(self.texts.test)

    def encode(self, part: Sequence[Labelled]) -> Part:
        """Ids and classes. ValueError for a part without texts, and for a text that is empty."""
        if not part:
            raise ValueError("a part of the texts is empty, but must have at least one text")
        if empty := [place for place, (text, _) in enumerate(part) if not text]:
            raise ValueError(f"text {empty[0]} is empty, so that it has nothing to classify it by")
        ids = np.stack([self.alphabet.encode(text) for text, _ in part])
        return torch.from_numpy(ids), torch.tensor([label for _, label in part])

    def make_model(self, size: GPTConfig, seed: int) -> Classifier:
        size = replace(size, vocabulary=self.alphabet.vocabulary)
        return Classifier(size, len(self.texts.classes), self.alphabet.filling, seed)


@lru_cache(maxsize=ENCODED)
def encode_texts(texts: LabelledTexts, context: int, tokenizer: str, vocab_size: int | None) -> EncodedTexts:
    """Texts in other tokens; made once in a process for the same texts and size."""
    return EncodedTexts(texts, context, tokenizer, vocab_size)


def classify(model: Classifier, ids: Tensor) -> Tensor:
    """(N, C) logits of texts, without dropout."""
    with torch.no_grad():
        return torch.cat([model(part) for part in ids.split(EVAL_BATCH)])


class ClassifyRun:
    """Trains a classifier by a flat config, the names of GPTConfig and TrainConfig. Its length is `epochs`, but at most the
    horizon, in steps; a budget beyond it leaves it as it is. A `tokenizer` of the config, and with "bpe" its `vocab_size`, stand
    in the place of those of `data`.

    Metrics, on the validation texts: loss (cross-entropy), accuracy, macro_f1, f1 (of the class `positive`), and train_loss (of
    the last batch). `eval_every`, `patience`, `stop_metric`, `min_delta`, `save_every` and `keep` are as for a TrainRun.
    ValueError in one sentence for a config that cannot be trained, or has what a classifier does not read.
    """

    def __init__(
        self, config: Mapping[str, Any], seed: int, horizon: int, data: EncodedTexts, folder: str | Path | None = None
    ) -> None:
        rest = {name: value for name, value in config.items() if name not in ("tokenizer", "vocab_size")}
        self.size, self.training = split(rest)
        refuse_unread(self.training)
        if self.size.context != data.context:
            raise ValueError(f"context is {self.size.context}, but the texts were encoded with {data.context}")
        if self.training.save_every and folder is None:
            raise ValueError(f"save_every is {self.training.save_every}, but no folder was given to save in")
        if len(rest) < len(config):
            tokenizer = config.get("tokenizer", data.tokenizer)
            size = config.get("vocab_size", None if tokenizer == "char" else data.vocab_size)
            data = encode_texts(data.texts, data.context, tokenizer, size)
        if data.tokenizer != "char":  # tokens of another size are another trial
            self.size = replace(self.size, vocabulary=data.alphabet.vocabulary)
        self.seed, self.horizon, self.data = seed, horizon, data
        self.step, self.diverged = 0, False
        rows = round(self.training.data_fraction * len(data.train[1]))
        if not rows:
            raise ValueError(f"data_fraction is {self.training.data_fraction}, which leaves none of {len(data.train[1])} texts")
        self.train = data.train[0][:rows], data.train[1][:rows]
        self.epoch_steps = -(-rows // self.training.batch)
        epochs = self.training.epochs
        self.whole = horizon if epochs is None else min(horizon, max(1, round(epochs * self.epoch_steps)))
        self.model = data.make_model(self.size, mix(seed, FIRST_WEIGHTS))
        self.flat = flatten(self.model)
        self.optimizer = make_optimizer(self.flat, self.training)
        self.stopping, self.loss = Stopping(), nan
        self.snapshots = None if folder is None else Snapshots(Path(folder), self.training.keep)
        self._found: tuple[int, dict[str, float]] | None = None  # the last evaluation, and its step
        self._curve: dict[int, float] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to train."""
        return self.step >= self.whole or self.diverged or self.stopping.is_over(self.training.patience)

    def advance(
        self, until: int, checkpoint: Callable[[], None] | None = None
    ) -> tuple[dict[str, float], list[tuple[int, float]]]:
        """Trains to a step; (metrics there, (step, loss) of the evaluations on the way). A loss that is not finite ends the run
        for good: the metrics are then nan. ValueError for a step behind the run or beyond the horizon."""
        if until > self.horizon:
            raise ValueError(f"until is {until}, but must be at most the horizon, {self.horizon}")
        if until < self.step and not self.is_over:
            raise ValueError(f"until is {until}, but the run has trained {self.step} steps already")
        every = self.training.eval_every
        while self.step < until and not self.is_over:
            self.train_step()
            if every and self.step % every == 0:
                self._observe()
            if self.training.save_every and self.step % self.training.save_every == 0:
                self._save_snapshot()
            if checkpoint is not None and self.step < until:
                checkpoint()
        metrics = self.evaluate()
        curve, self._curve = {**self._curve, self.step: metrics["loss"]}, {}
        points = sorted((step, loss) for step, loss in curve.items() if isfinite(loss))
        return {**metrics, "train_loss": self.loss, "steps": self.step}, points

    def train_step(self) -> None:
        """One update from one batch."""
        ids, labels = self.draw_batch()
        self.flat.grads.zero_()
        noise = torch.Generator().manual_seed(mix(self.seed, DROPOUT, self.step))
        loss = F.cross_entropy(self.model(ids, noise), labels, label_smoothing=self.training.label_smoothing)
        loss.backward()
        clip(self.flat.grads, self.training.clip)
        self.optimizer.step(lr_at(self.step, self.whole, self.training), self.training)
        self.loss = loss.item()
        self.diverged = not isfinite(self.loss)
        self.step += 1

    def draw_batch(self) -> Part:
        """The texts of the step at this position; every epoch has an order of its own."""
        ids, labels = self.train
        epoch, place = divmod(self.step, self.epoch_steps)
        order = np.random.default_rng(mix(self.seed, ORDER, epoch)).permutation(len(labels))
        rows = torch.from_numpy(order[place * self.training.batch : (place + 1) * self.training.batch])
        return ids[rows], labels[rows]

    def evaluate(self) -> dict[str, float]:
        """The metrics on the validation texts at this step; measured once."""
        if self._found is None or self._found[0] != self.step:
            ids, labels = self.data.valid
            found = dict.fromkeys(METRICS, nan)
            if not self.diverged:
                found = score_logits(classify(self.model, ids), labels, self.data.texts)
            self._found, self.diverged = (self.step, found), not isfinite(found["loss"])
        return self._found[1]

    def _observe(self) -> None:
        found, metric = self.evaluate(), self.training.stop_metric
        if self.diverged:
            return
        self._curve[self.step] = found["loss"]
        self.stopping.observe(found[metric] if metric in FALLING else -found[metric], self.training.min_delta)

    def _save_snapshot(self) -> None:
        known = self._found is not None and self._found[0] == self.step and not self.diverged
        value = self._found[1][self.training.stop_metric] if known and self._found else None
        assert self.snapshots is not None
        self.snapshots.add(self.step, self.training.stop_metric, value, self.save)

    def save(self, path: str | Path) -> None:
        """Writes weights, moments and position."""
        weights = {name: weight.detach().numpy() for name, weight in self.model.named_parameters()}
        state = {name: moment.numpy() for name, moment in self.optimizer.state.items()}
        tokens = self.step * self.training.batch * self.size.context
        position = {
            **checkpoints.START, "steps": self.step, "tokens": tokens, "updates": float(self.optimizer.updates),
            "optimizer": self.training.optimizer, "owner": self._owner, "diverged": self.diverged,
            "train_loss": self.loss if isfinite(self.loss) else None,
            "stopping": asdict(self.stopping) if isfinite(self.stopping.best) else None,
            **({"curve": sorted(self._curve.items())} if self._curve else {}),
        }  # fmt: skip
        checkpoints.write(path, checkpoints.Checkpoint(weights, state, position))

    @property
    def _owner(self) -> str:
        return owner(self.size, self.training, self.seed)

    def load(self, path: str | Path) -> None:
        """Goes on from a checkpoint of this trial; one of another trial is adopted."""
        saved = checkpoints.read(path)
        self._take(saved, path, own=saved.position.get("owner", self._owner) == self._owner)

    def adopt(self, path: str | Path) -> None:
        """Clones: takes over weights, moments and position, but not how patient the other trial was."""
        self._take(checkpoints.read(path), path, own=False)

    def _take(self, saved: checkpoints.Checkpoint, path: str | Path, own: bool) -> None:
        shapes = {name: tuple(weight.shape) for name, weight in self.model.named_parameters()}
        checkpoints.check_fits(path, saved, shapes)
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(torch.from_numpy(saved.weights[name]))
        if saved.position.get("optimizer", self.training.optimizer) == self.training.optimizer:
            state = {name: torch.from_numpy(array) for name, array in saved.state.items()}
            self.optimizer.restore(state, saved.position["updates"], learned=own)
        else:
            self.optimizer.reset()
        self.step, self._found = saved.position["steps"], None
        finite = all(bool(weight.isfinite().all()) for weight in self.model.parameters())
        self.diverged = saved.position["diverged"] if own else not finite
        self.loss = loss if (loss := saved.position.get("train_loss")) is not None else nan
        self.stopping = Stopping(**((own and saved.position.get("stopping")) or {}))
        self._curve = {int(step): loss for step, loss in saved.position.get("curve", ())} if own else {}


def score_logits(logits: Tensor, labels: Tensor, texts: LabelledTexts) -> dict[str, float]:
    """loss, accuracy, macro_f1, and f1 of the class `positive`; all nan where a logit is not finite."""
    if not bool(logits.isfinite().all()):
        return dict.fromkeys(METRICS, nan)
    confusions = count_confusions(labels.numpy(), logits.argmax(-1).numpy(), len(texts.classes))
    f1 = f1_by_class(confusions)[texts.classes.index(texts.positive)]
    return {
        "loss": F.cross_entropy(logits, labels).item(), "accuracy": float(accuracy(confusions)),
        "macro_f1": float(macro_f1(confusions)), "f1": float(f1),
    }  # fmt: skip


def refuse_unread(training: TrainConfig) -> None:
    """ValueError for a field that has another value than its default, but is not read here."""
    for one in fields(training):
        value = getattr(training, one.name)
        if one.name in UNREAD and value != one.default:
            raise ValueError(f"{one.name} is {value!r}, but a classifier does not read it; allowed is {one.default!r}")
    if training.stop_metric not in METRICS:
        raise ValueError(f"stop_metric is {training.stop_metric!r}, but a classifier has {', '.join(METRICS)}")
