"""The hyperparameters of a GPT and of its training, as one flat mapping of plain names. Imports no torch.

A tuner sees flat names; the model and the loop see two frozen dataclasses. `split` turns one into the other; rules.py says
which values are allowed:

    model, training = split({"layers": 2, "hidden": 64, "lr": 3e-3})
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from models.rules import RULES


def _settle(config: Any) -> None:
    """Check every field of a frozen dataclass against RULES and store it as a plain Python value.

    Raises ValueError that names the hyperparameter, what came and what is allowed.
    """
    for field in fields(config):
        object.__setattr__(config, field.name, RULES[field.name].check(field.name, getattr(config, field.name)))


@dataclass(frozen=True)
class GPTConfig:
    """The size and shape of a GPT. Widths are in units of features, context in tokens.

    ff              inner width of the feed-forward part; 0 or None: ff_ratio x hidden (4 x hidden by default)
    vocabulary      None: that of the corpus, filled in when the model is built
    dropout         acts on what attention and feed-forward add to the residual stream, and on the embedding if
                    embedding_dropout is None; attention_dropout acts on the attention weights
    layer_dropout   stochastic depth: each half of a block is left out, separately for each sequence (Huang et al. 2016)
    positions       "learned" table, or "rotary" with base rotary_base (Su et al. 2021), which needs an even head width
    norm            "layer" or "rms" (Zhang & Sennrich 2019), both with norm_eps
    activation      "gelu" (exact), "gelu_tanh" (GPT-2's), "relu2" (So et al. 2021), "swiglu" (Shazeer 2020)
    kv_heads        heads of keys and values, each shared by a group of heads (Ainslie et al. 2023); None: heads
    qk_norm         queries and keys are normalised within each head (Dehghani et al. 2023)
    tie             the token table is also the output map
    bias            whether linear maps and norms have one; the output map never has one
    init_std        standard deviation of the initial weights. GPT-2, with a width of 768, has 0.02; narrow models need more
    parametrisation "standard", or "mup" (mup.py): widths are measured relative to base_hidden, the width of a head to
                    base_head and, if base_layers is given, depths to it, so that tuned hyperparameters carry over
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
    embedding_dropout: float | None = None
    layer_dropout: float = 0.0
    positions: str = "learned"
    rotary_base: float = 10000.0
    norm: str = "layer"
    norm_eps: float = 1e-5
    activation: str = "gelu"
    kv_heads: int | None = None
    qk_norm: bool = False
    tie: bool = True
    bias: bool = False
    init_std: float = 0.02
    parametrisation: str = "standard"
    base_hidden: int = 64
    base_head: int = 32
    base_layers: int | None = None

    def __post_init__(self) -> None:
        _settle(self)
        if self.hidden % self.heads:
            raise ValueError(f"hidden is {self.hidden}, but must be divisible by heads, which is {self.heads}")
        if self.ff and self.ff_ratio != 4.0:
            raise ValueError(f"ff is {self.ff} and ff_ratio is {self.ff_ratio}, but only one of the two may be given")
        if self.heads % self.keys:
            raise ValueError(f"heads is {self.heads}, but must be divisible by kv_heads, which is {self.keys}")
        if self.positions == "rotary" and self.head % 2:
            raise ValueError(f"hidden / heads is {self.head}, but must be even for rotary positions")
        if self.base_layers is not None and self.parametrisation != "mup":
            raise ValueError(f"base_layers is {self.base_layers}, but is read by parametrisation mup only")

    @property
    def inner(self) -> int:
        """Inner width of the feed-forward part, in features (at least 1)."""
        return self.ff or max(1, round(self.ff_ratio * self.hidden))

    @property
    def head(self) -> int:
        """Width of a head, in features."""
        return self.hidden // self.heads

    @property
    def keys(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    @property
    def embedded_dropout(self) -> float:
        """Dropout of the embedding: `embedding_dropout`, else `dropout`."""
        return self.dropout if self.embedding_dropout is None else self.embedding_dropout

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers."""
        return any((self.dropout, self.attention_dropout, self.embedding_dropout, self.layer_dropout))

    @property
    def words(self) -> int:
        """The vocabulary in tokens; ValueError while it is not known."""
        if self.vocabulary is None:
            raise ValueError("vocabulary is None, but must be given here (a corpus knows its own)")
        return self.vocabulary


@dataclass(frozen=True)
class TrainConfig:
    """How a GPT is trained. optimizers/rows.py and schedule.py say which names an optimizer or a schedule reads.

    batch           the effective batch in sequences = micro_batch x accumulation x devices; micro_batch None means batch
    weight_decay    acts on matrices only
    hypergradient   the rate at which the learning rate itself learns (Baydin et al. 2018), relative to its size; 0 is off
    warmup          a whole number of steps, or a float in [0, 1) as a ratio of all steps; the same goes for decay_every,
                    the period of the exponential schedule's decay_rate
    final_lr        the floor of the schedule as a ratio of lr
    z_loss          weight of the mean of (log sum exp logits)^2 in the loss (PaLM, Chowdhery et al. 2022; 1e-4 there)
    clip            bounds the norm of the gradient, 0 is off
    spike           a step is skipped if its gradient is so many times as long as usual; 0 is off
    nonfinite       if a gradient is not finite, "stop" ends the run as diverged, and "skip" skips the step
    ema             decay, in every step, of an average of the weights; the average is then evaluated; 0 is off
    patience        evaluations in a row without a better `stop_metric` after which training ends; 0 is off
    min_delta       what counts as better is better by more than this
    stop_metric     "loss", "perplexity" or "accuracy" (of the next token); of a classifier (classify/) "macro_f1" and "f1", too
    noise_every     the gradient noise scale is measured every so many steps (scaling.py); 0 is off
    data_fraction   the share of the training text, from its start, that is used
    activation_checkpointing   activations of a block are not kept, but computed again in its backward pass
    sharding        over several devices (engines/distributed/): "none" copies everything (DDP), "grads" shards gradients and
                    moments, "full" the weights as well (FSDP; ZeRO stages 2 and 3, Rajbhandari et al. 2020)
    offload         sharded weights, gradients and moments are kept in the memory of the host
    save_every      in steps: a run that was given a folder saves itself there, for a training without a tuner; 0 is off
    keep            how many of these checkpoints stay, the newest, and the best by `stop_metric`; 0: all
    eval_every      in steps; 0 evaluates only at the end of an advance; eval_tokens is the size of the validation set
    epochs          if given, training (and the schedule) lasts so many passes over the training part
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.9
    nesterov: bool = False
    hypergradient: float = 0.0
    weight_decay: float = 0.1
    warmup: int | float = 0.02
    schedule: str = "cosine"
    final_lr: float = 0.1
    decay_fraction: float = 0.2
    decay_rate: float | None = None
    decay_every: int | float = 0.01
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    clip: float = 1.0
    spike: float = 0.0
    nonfinite: str = "stop"
    ema: float = 0.0
    patience: int = 0
    min_delta: float = 0.0
    stop_metric: str = "loss"
    noise_every: int = 0
    data_fraction: float = 1.0
    batch: int = 16
    micro_batch: int | None = None
    precision: str = "float32"
    activation_checkpointing: bool = False
    sharding: str = "none"
    offload: bool = False
    save_every: int = 0
    keep: int = 0
    eval_every: int = 0
    eval_tokens: int = 8192
    epochs: float | None = None

    def __post_init__(self) -> None:
        _settle(self)
        if self.schedule == "exponential" and self.final_lr == 0 and self.decay_rate is None:
            raise ValueError("final_lr is 0, but must be above 0 for the exponential schedule without a decay_rate")
        if self.offload and self.sharding == "none":
            raise ValueError("offload is True, but works with sharding grads or full only")
        if self.patience and not self.eval_every:
            raise ValueError(f"patience is {self.patience}, but needs eval_every above 0: it counts those evaluations")
        if self.save_every and self.eval_every and self.save_every % self.eval_every:
            raise ValueError(f"save_every is {self.save_every}, but must be a multiple of eval_every, which is {self.eval_every}")
        if self.noise_every and self.batch == 1:
            raise ValueError(f"noise_every is {self.noise_every}, but a batch of 1 has no smaller one to compare with")
        self.accumulation()

    @property
    def micro(self) -> int:
        """Sequences in one forward pass on one device."""
        return self.micro_batch or self.batch

    def accumulation(self, devices: int = 1) -> int:
        """Forward passes per step on each device = batch / (micro_batch x devices); ValueError if it does not divide.

        Without micro_batch, each device takes its whole share in one pass.
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
