"""The main job: a small character GPT on a text, as a space, a default configuration and an objective.

Imports no torch: the driver of a study does not need it, only its workers do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.spaces import (
    DEFAULT,
    LARGEST,
    OPTIMIZERS,
    RANGES,
    RATES,
    SPACES,
    TRAINABLE,
    TRAINABLE_WIDE,
    default,
    flat,
    half_decades,
    shares,
)
from hpo.space import Constraint, Space

if TYPE_CHECKING:
    from models.data.batches import Corpus
    from models.train import TrainRun

MIN_RESOURCE = 16_384  # tokens; the lowest rung takes a fraction of a second on one core
HORIZON = 27 * MIN_RESOURCE  # tokens of a whole training
REDUCTION = 3
JUDGED_ON = 65_536  # tokens of the validation text

__all__ = [
    "DEFAULT",
    "LARGEST",
    "SPACES",
    "TRAINABLE",
    "GPTObjective",
    "default",
    "divides",
    "flat",
    "job_grid",
    "judge_checkpoint",
    "list_trainable",
    "space",
]  # fmt: skip


def divides(config: Mapping[str, Any]) -> bool:
    """Heads share the hidden width evenly."""
    return bool(config["hidden"] % config["heads"] == 0)


def space(name: str = "standard", room: Constraint | None = None) -> Space:
    """A space of spaces.py by its name; with `room`, only what fits into it (experiments/tune/memory.py)."""
    constraints: list[Constraint] = [divides]
    if name == "wide":
        constraints.append(shares)
    if room is not None:
        constraints.append(room)  # last, because it takes the longest and needs a shape that can be built
    return Space(SPACES[name](), constraints=constraints)


def list_trainable(name: str = "standard") -> tuple[str, ...]:
    """What PBT may change in a space while a model trains."""
    return TRAINABLE if name == "standard" else TRAINABLE_WIDE


def job_grid(name: str = "standard") -> dict[str, Sequence[Any]]:
    """What a careful person would list: four learning rates, two shapes, the rest at the default; in the wide space four
    learning rates for every optimizer."""
    listed: dict[str, Sequence[Any]] = {one: [value] for one, value in default(name).items()}
    adamw = half_decades(*RANGES["adamw"])
    if name == "standard":
        return {**listed, "layers": [2, 4], "hidden": [64, 96], "momentum": [0.9], "sgd_lr": [0.1], "lr": adamw}
    listed |= {"optimizer": list(OPTIMIZERS), "momentum": [0.9], "nesterov": [False]}
    listed |= {"decay_rate": [0.97], "decay_fraction": [0.2]}  # of schedules that are not listed
    rates = {name: half_decades(*RANGES[name.removesuffix("_lr")]) for name in RATES}
    return {**listed, **rates, "lr": adamw}


@lru_cache(maxsize=2)
def _corpus(name: str, tokenizer: str, cache: str | None) -> Corpus:
    from models.data.batches import load_corpus

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
    engine: str = "eager"
    activation_checkpointing: bool = False

    @property
    def fixed_config(self) -> dict[str, Any]:
        """What every configuration is trained with, in the names of models.config."""
        names = ("context", "eval_tokens", "precision", "activation_checkpointing")
        return {name: getattr(self, name) for name in names}

    @property
    def explore(self) -> tuple[str, ...]:
        """What may change while a model trains, in the names of either space; all else is its shape or its optimizer's."""
        return TRAINABLE_WIDE

    def warm(self) -> None:
        """Imports and data that every trial needs."""
        import models.train  # noqa: F401

        _corpus(self.corpus, self.tokenizer, self.cache)

    def __call__(self, config: Mapping[str, Any], seed: int, horizon: int) -> TrainRun:
        return self.on(_corpus(self.corpus, self.tokenizer, self.cache), config, seed, horizon)

    def on(self, corpus: Corpus, config: Mapping[str, Any], seed: int, horizon: int) -> TrainRun:
        """The same on a corpus that is there already."""
        from models.train import TrainRun

        together = {**self.fixed_config, **flat(config)}
        return TrainRun(together, seed, horizon, corpus, self.unit, self.device, self.threads, self.engine)


def judge_checkpoint(path: Path, config: Mapping[str, Any], seed: int, horizon: int, until: int) -> float:
    """The loss of a checkpoint on many tokens; what it was trained with, and how far."""
    judge = GPTObjective(eval_tokens=JUDGED_ON)(config, seed, horizon)
    judge.load(str(path))
    metrics, _ = judge.advance(until)
    return metrics["loss"]
