"""The hyperparameters of a GPT and of its training, as one flat mapping of plain names. Imports no torch.

A tuner sees flat names; the model and the loop see two frozen dataclasses. `split` goes from one to the other and is
the only place where names and values are judged:

    model, training = split({"layers": 2, "hidden": 64, "lr": 3e-3})
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Rule:
    """What a hyperparameter may be: a predicate, the same in words, and the plain type that is stored."""

    allows: Callable[[Any], bool]
    words: str
    store: Callable[[Any], Any]


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


def _integer(low: int) -> Rule:
    return Rule(lambda v: _is_int(v) and v >= low, f"a whole number of at least {low}", int)


def _real(low: float, high: float | None = None) -> Rule:
    """A finite number in [low, high), or of at least low where high is None."""
    if high is None:
        return Rule(lambda v: _is_real(v) and v >= low, f"a finite number of at least {low:g}", float)
    return Rule(lambda v: _is_real(v) and low <= v < high, f"a number in [{low:g}, {high:g})", float)


def _between(low: float, high: float) -> Rule:
    return Rule(lambda v: _is_real(v) and low <= v <= high, f"a number in [{low:g}, {high:g}]", float)


def _positive() -> Rule:
    return Rule(lambda v: _is_real(v) and v > 0, "a finite number above 0", float)


def _one_of(*names: str) -> Rule:
    return Rule(lambda v: v in names, "one of " + ", ".join(names), str)


def _optional(rule: Rule) -> Rule:
    return Rule(
        lambda v: v is None or rule.allows(v), f"{rule.words}, or None", lambda v: None if v is None else rule.store(v)
    )


def _is_warmup(value: Any) -> bool:
    return (_is_int(value) and value >= 0) or (_is_real(value) and not _is_int(value) and 0 <= value < 1)


FLAG = Rule(lambda v: isinstance(v, bool), "True or False", bool)
WARMUP = Rule(
    _is_warmup,
    "a whole number of steps, or a float in [0, 1) as a ratio of all steps",
    lambda v: int(v) if _is_int(v) else float(v),
)

RULES: Mapping[str, Rule] = {
    "layers": _integer(1),
    "hidden": _integer(1),
    "heads": _integer(1),
    "ff": _optional(_integer(0)),
    "ff_ratio": _positive(),
    "vocabulary": _optional(_integer(1)),
    "context": _integer(1),
    "dropout": _real(0, 1),
    "attention_dropout": _real(0, 1),
    "norm_eps": _positive(),
    "tie": FLAG,
    "bias": FLAG,
    "optimizer": _one_of("adamw", "sgd"),
    "lr": _real(0),
    "beta1": _real(0, 1),
    "beta2": _real(0, 1),
    "eps": _between(1e-30, 1),
    "momentum": _real(0, 1),
    "weight_decay": _real(0),
    "warmup": WARMUP,
    "schedule": _one_of("constant", "linear", "cosine", "exponential", "wsd"),
    "final_lr": _between(0, 1),
    "decay_fraction": _between(0, 1),
    "label_smoothing": _real(0, 1),
    "clip": _real(0),
    "batch": _integer(1),
    "micro_batch": _optional(_integer(1)),
    "precision": _one_of("float32", "bf16", "fp16"),
    "eval_every": _integer(0),
    "eval_tokens": _integer(1),
    "epochs": _optional(_positive()),
}


def _settle(config: Any) -> None:
    """Check every field of a frozen dataclass against RULES and store it as a plain Python value.

    Raises ValueError that names the hyperparameter, what came and what is allowed.
    """
    for field in fields(config):
        value, rule = getattr(config, field.name), RULES[field.name]
        if not rule.allows(value):
            raise ValueError(f"{field.name} is {value!r}, but must be {rule.words}")
        object.__setattr__(config, field.name, rule.store(value))


@dataclass(frozen=True)
class GPTConfig:
    """The size and shape of a GPT. Widths are in units of features, context in tokens.

    `ff` is the inner width of the feed-forward part; 0 or None means `ff_ratio` x hidden (4 x hidden by default).
    `vocabulary` None means: that of the corpus, filled in when the model is built. `bias` covers the linear maps and
    the norms; the output map never has one. `tie` shares the token table with the output map.
    """

    layers: int = 4
    hidden: int = 128
    heads: int = 4
    ff: int | None = None
    ff_ratio: float = 4.0
    vocabulary: int | None = None
    context: int = 64
    dropout: float = 0.0
    attention_dropout: float = 0.0
    norm_eps: float = 1e-5
    tie: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        _settle(self)
        if self.hidden % self.heads:
            raise ValueError(f"hidden is {self.hidden}, but must be divisible by heads, which is {self.heads}")
        if self.ff and self.ff_ratio != 4.0:
            raise ValueError(f"ff is {self.ff} and ff_ratio is {self.ff_ratio}, but only one of the two may be given")

    @property
    def inner(self) -> int:
        """Inner width of the feed-forward part, in features (at least 1)."""
        return self.ff or max(1, round(self.ff_ratio * self.hidden))

    @property
    def words(self) -> int:
        """The vocabulary in tokens; ValueError while it is not known."""
        if self.vocabulary is None:
            raise ValueError("vocabulary is None, but must be given here (a corpus knows its own)")
        return self.vocabulary


@dataclass(frozen=True)
class TrainConfig:
    """How a GPT is trained. Which names an optimizer or a schedule reads stands in optim.py and schedule.py.

    `batch` is the effective batch in sequences = micro_batch x accumulation x devices; `micro_batch` None means batch.
    `weight_decay` acts on matrices only. `warmup` is in steps as a whole number and a ratio of all steps as a float in
    [0, 1). `final_lr` is the floor of the schedule as a ratio of lr. `clip` bounds the norm of the gradient, 0 is off.
    `eval_every` is in steps, 0 evaluates only where an advance ends. `eval_tokens` is the size of the validation set.
    `epochs`, where given, sets the length of training (and of the schedule) to so many passes over the training part.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.9
    weight_decay: float = 0.1
    warmup: int | float = 0.02
    schedule: str = "cosine"
    final_lr: float = 0.1
    decay_fraction: float = 0.2
    label_smoothing: float = 0.0
    clip: float = 1.0
    batch: int = 16
    micro_batch: int | None = None
    precision: str = "float32"
    eval_every: int = 0
    eval_tokens: int = 8192
    epochs: float | None = None

    def __post_init__(self) -> None:
        _settle(self)
        if self.schedule == "exponential" and self.final_lr == 0:
            raise ValueError("final_lr is 0, but must be above 0 for the exponential schedule, which never gets to 0")
        self.accumulation()

    @property
    def micro(self) -> int:
        """Sequences in one forward pass on one device."""
        return self.micro_batch or self.batch

    def accumulation(self, devices: int = 1) -> int:
        """Forward passes per step on each device = batch / (micro_batch x devices); ValueError if it does not divide.

        Where micro_batch is not given, each device takes its whole share in one pass.
        """
        share = devices * (self.micro_batch or 1)
        if self.batch % share:
            micro = f"micro_batch {self.micro_batch} x " if self.micro_batch else ""
            raise ValueError(f"batch is {self.batch}, but must be divisible by {micro}{devices} devices = {share}")
        return self.batch // share if self.micro_batch else 1


MODEL_NAMES = tuple(field.name for field in fields(GPTConfig))
TRAIN_NAMES = tuple(field.name for field in fields(TrainConfig))


def split(config: Mapping[str, Any]) -> tuple[GPTConfig, TrainConfig]:
    """Turn a flat mapping of hyperparameters into (GPTConfig, TrainConfig); absent names take their defaults.

    Raises ValueError in one sentence for an unknown name or a value that is not allowed.
    """
    unknown = sorted(set(config) - set(RULES))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not a hyperparameter; allowed are {', '.join(RULES)}")
    return (
        GPTConfig(**{name: config[name] for name in MODEL_NAMES if name in config}),
        TrainConfig(**{name: config[name] for name in TRAIN_NAMES if name in config}),
    )
