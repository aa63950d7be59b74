"""The main job: a small character GPT on a text, as a space, a default configuration and an objective.

Imports no torch: the driver of a study does not need it, only its workers do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hpo.space import Categorical, Float, Int, Space

if TYPE_CHECKING:
    from models.data import Corpus
    from models.train import TrainRun

MIN_RESOURCE = 16_384  # tokens; the lowest rung takes about half a second on one core
HORIZON = 27 * MIN_RESOURCE  # tokens of a whole training
REDUCTION = 3

DEFAULT: Mapping[str, Any] = {
    "layers": 2, "hidden": 64, "heads": 4, "ff_ratio": 4, "batch": 16, "optimizer": "adamw", "beta2": 0.99,
    "schedule": "cosine", "warmup": 0.02, "weight_decay": 0.1, "dropout": 0.0, "label_smoothing": 0.0, "lr": 1e-3,
}  # fmt: skip

# What PBT may change while a model trains: not its shape, and not what its optimizer's moments belong to.
TRAINABLE = ("batch", "beta2", "momentum", "weight_decay", "dropout", "label_smoothing", "sgd_lr", "lr")


def divides(config: Mapping[str, Any]) -> bool:
    """Heads share the hidden width evenly."""
    return bool(config["hidden"] % config["heads"] == 0)


def space() -> Space:
    """Architecture, optimisation and regularisation; the learning rate last, where a grid varies it fastest."""
    return Space(
        layers=Int(1, 4),
        hidden=Int(32, 96, step=16),
        heads=Categorical([1, 2, 4, 8]),
        ff_ratio=Int(1, 4),
        batch=Int(2, 32, log=True),
        optimizer=Categorical(["adamw", "sgd"]),
        beta2=Float(0.9, 0.999, when={"optimizer": "adamw"}),
        momentum=Float(0.0, 0.98, when={"optimizer": "sgd"}),
        schedule=Categorical(["cosine", "linear", "constant", "exponential", "wsd"]),
        warmup=Float(0.0, 0.2),
        weight_decay=Float(1e-3, 1.0, log=True),
        dropout=Float(0.0, 0.3),
        label_smoothing=Float(0.0, 0.1),
        sgd_lr=Float(1e-2, 1.0, log=True, when={"optimizer": "sgd"}),  # the two optimizers' rates have nothing in common
        lr=Float(3e-4, 3e-2, log=True, when={"optimizer": "adamw"}),
        constraints=[divides],
    )


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of the space in the names of `models`: one learning rate, whichever optimizer it is for."""
    plain = dict(config)
    if "sgd_lr" in plain:
        plain["lr"] = plain.pop("sgd_lr")
    return plain


def grid_values() -> dict[str, Sequence[Any]]:
    """What a careful person would list: four learning rates, two shapes, the rest at the default."""
    listed: dict[str, Sequence[Any]] = {name: [value] for name, value in DEFAULT.items()}
    return {**listed, "layers": [2, 4], "hidden": [64, 96], "momentum": [0.9], "sgd_lr": [0.1], "lr": [1e-3, 3e-3, 1e-2, 3e-2]}


@lru_cache(maxsize=2)
def _corpus(name: str, tokenizer: str, cache: str | None) -> Corpus:
    from models.data import load_corpus

    return load_corpus(name, tokenizer, cache)


@dataclass(frozen=True)
class GPTObjective:
    """A Run factory: trains the GPT of a configuration on a corpus. Picklable, so that any worker can have it."""

    corpus: str = "shakespeare"
    tokenizer: str = "char"
    context: int = 64
    eval_tokens: int = 8_192
    unit: str = "tokens"
    device: str = "cpu"
    precision: str = "float32"
    threads: int = 1
    cache: str | None = None

    def warm(self) -> None:
        """Imports and data that every trial needs."""
        import models.train  # noqa: F401

        _corpus(self.corpus, self.tokenizer, self.cache)

    def __call__(self, config: Mapping[str, Any], seed: int, horizon: int) -> TrainRun:
        from models.train import TrainRun

        fixed = {"context": self.context, "eval_tokens": self.eval_tokens, "precision": self.precision}
        corpus = _corpus(self.corpus, self.tokenizer, self.cache)
        return TrainRun({**fixed, **flat(config)}, seed, horizon, corpus, self.unit, self.device, self.threads)
