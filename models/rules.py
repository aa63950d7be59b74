"""The allowed values of each hyperparameter. Imports no torch.

config.py explains what each one means, and checks every value against RULES.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any

from models.optimizers.rows import OPTIMIZERS


@dataclass(frozen=True)
class Rule:
    """The allowed values of a hyperparameter: a predicate, the same in words, and the plain type that is stored."""

    allows: Callable[[Any], bool]
    words: str
    store: Callable[[Any], Any]

    def check(self, name: str, value: Any) -> Any:
        """The value as it is stored. ValueError, which names the hyperparameter, what came and what is allowed."""
        if not self.allows(value):
            raise ValueError(f"{name} is {value!r}, but must be {self.words}")
        return self.store(value)


@dataclass(frozen=True)
class Choice:
    """One of some names. Of a table, whose rows may grow, all names count that it has when a value is checked."""

    names: Collection[str]

    def check(self, name: str, value: Any) -> str:
        """As `Rule.check`."""
        if not (isinstance(value, str) and value in self.names):
            raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(self.names)}")
        return str(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


def _integer(low: int) -> Rule:
    return Rule(lambda v: _is_int(v) and v >= low, f"a whole number of at least {low}", int)


def _real(low: float, high: float | None = None) -> Rule:
    """A finite number in [low, high), or of at least low if high is None."""
    if high is None:
        return Rule(lambda v: _is_real(v) and v >= low, f"a finite number of at least {low:g}", float)
    return Rule(lambda v: _is_real(v) and low <= v < high, f"a number in [{low:g}, {high:g})", float)


def _between(low: float, high: float) -> Rule:
    return Rule(lambda v: _is_real(v) and low <= v <= high, f"a number in [{low:g}, {high:g}]", float)


def _positive() -> Rule:
    return Rule(lambda v: _is_real(v) and v > 0, "a finite number above 0", float)


def _optional(rule: Rule) -> Rule:
    return Rule(
        lambda v: v is None or rule.allows(v), f"{rule.words}, or None", lambda v: None if v is None else rule.store(v)
    )


def _is_warmup(value: Any) -> bool:
    return (_is_int(value) and value >= 0) or (_is_real(value) and not _is_int(value) and 0 <= value < 1)


def _is_duration(value: Any) -> bool:
    return _is_warmup(value) and value > 0


FLAG = Rule(lambda v: isinstance(v, bool), "True or False", bool)
WARMUP = Rule(
    _is_warmup,
    "a whole number of steps, or a float in [0, 1) as a ratio of all steps",
    lambda v: int(v) if _is_int(v) else float(v),
)
DURATION = Rule(_is_duration, "a whole number of at least 1 step, or a float in (0, 1) as a ratio of all steps", WARMUP.store)

RULES: Mapping[str, Rule | Choice] = {
    "layers": _integer(1),
    "hidden": _integer(1),
    "heads": _integer(1),
    "ff": _optional(_integer(0)),
    "ff_ratio": _positive(),
    "vocabulary": _optional(_integer(1)),
    "context": _integer(1),
    "dropout": _real(0, 1),
    "attention_dropout": _real(0, 1),
    "embedding_dropout": _optional(_real(0, 1)),
    "layer_dropout": _real(0, 1),
    "positions": Choice(("learned", "rotary")),
    "rotary_base": _positive(),
    "norm": Choice(("layer", "rms")),
    "norm_eps": _positive(),
    "activation": Choice(("gelu", "gelu_tanh", "relu2", "swiglu")),
    "kv_heads": _optional(_integer(1)),
    "qk_norm": FLAG,
    "tie": FLAG,
    "bias": FLAG,
    "init_std": _positive(),
    "parametrisation": Choice(("standard", "mup")),
    "base_hidden": _integer(1),
    "base_head": _integer(1),
    "base_layers": _optional(_integer(1)),
    "optimizer": Choice(OPTIMIZERS),
    "lr": _real(0),
    "beta1": _real(0, 1),
    "beta2": _real(0, 1),
    "eps": _between(1e-30, 1),
    "momentum": _real(0, 1),
    "nesterov": FLAG,
    "hypergradient": _real(0),
    "weight_decay": _real(0),
    "warmup": WARMUP,
    "schedule": Choice(("constant", "linear", "cosine", "exponential", "inverse_sqrt", "wsd")),
    "final_lr": _between(0, 1),
    "decay_fraction": _between(0, 1),
    "decay_rate": _optional(Rule(lambda v: _is_real(v) and 0 < v < 1, "a number in (0, 1)", float)),
    "decay_every": DURATION,
    "label_smoothing": _real(0, 1),
    "z_loss": _real(0),
    "clip": _real(0),
    "spike": Rule(lambda v: _is_real(v) and (v == 0 or v > 1), "0 (off) or a finite number above 1", float),
    "nonfinite": Choice(("stop", "skip")),
    "ema": _real(0, 1),
    "patience": _integer(0),
    "min_delta": _real(0),
    "stop_metric": Choice(("loss", "perplexity", "accuracy", "macro_f1", "f1")),
    "noise_every": _integer(0),
    "data_fraction": Rule(lambda v: _is_real(v) and 0 < v <= 1, "a number in (0, 1]", float),
    "batch": _integer(1),
    "micro_batch": _optional(_integer(1)),
    "precision": Choice(("float32", "bf16", "fp16")),
    "activation_checkpointing": FLAG,
    "sharding": Choice(("none", "grads", "full")),
    "offload": FLAG,
    "save_every": _integer(0),
    "keep": _integer(0),
    "eval_every": _integer(0),
    "eval_tokens": _integer(1),
    "epochs": _optional(_positive()),
}
