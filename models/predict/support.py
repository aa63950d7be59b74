"""The options that the passes of engines/cpu/ know. Imports no torch.

Those passes are written out, and do not call the model. An option that they do not know would silently be ignored. So every
field of GPTConfig and TrainConfig is listed here. A configuration with a field or a value that is not listed is trained through
autograd, which calls the model itself.

    adding an option   implement it in engines/cpu/ and list the values that are implemented; or list only the value with which
                       the model computes the same as before. A field that changes no pass goes to BESIDE

A test fails as long as a field of either config is missing here (tests/models/test_support.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from models.config import GPTConfig, TrainConfig

ANY: Final = None  # every value is known: sizes, probabilities and factors, which the passes read directly
FLAG = (False, True)
Values = tuple[Any, ...] | None

MODEL: Mapping[str, Values] = {
    "layers": ANY,
    "hidden": ANY,
    "heads": ANY,
    "ff": ANY,
    "ff_ratio": ANY,
    "vocabulary": ANY,
    "context": ANY,
    "dropout": ANY,
    "attention_dropout": ANY,
    "embedding_dropout": ANY,
    "layer_dropout": ANY,
    "positions": ("learned", "rotary"),
    "rotary_base": ANY,
    "norm": ("layer", "rms"),
    "norm_eps": ANY,
    "activation": ("gelu", "gelu_tanh", "relu2", "swiglu"),
    "kv_heads": ANY,
    "qk_norm": FLAG,
    "tie": FLAG,
    "bias": FLAG,
    "init_std": ANY,
    "parametrisation": ("standard", "mup"),
    "base_hidden": ANY,
    "base_head": ANY,
    "base_layers": ANY,
}
"""The fields of GPTConfig, each with the values that the passes know."""

TRAINING: Mapping[str, Values] = {
    "label_smoothing": ANY,
    "z_loss": ANY,
    "precision": ("float32",),
    "activation_checkpointing": (False,),
}
"""The fields of TrainConfig that change a pass."""

LEFT: Mapping[str, tuple[Any, ...]] = {"precision": ("bf16", "fp16"), "activation_checkpointing": (True,)}
"""Values that are left to autograd on purpose."""

BESIDE = frozenset({
    "optimizer", "lr", "beta1", "beta2", "eps", "momentum", "nesterov", "hypergradient", "weight_decay", "warmup", "schedule",
    "final_lr", "decay_fraction", "decay_rate", "decay_every", "clip", "spike", "nonfinite", "ema", "patience", "min_delta",
    "stop_metric", "noise_every", "data_fraction", "batch", "micro_batch", "sharding", "offload", "save_every", "keep",
    "eval_every", "eval_tokens", "epochs",
})  # fmt: skip
"""The fields of TrainConfig that change no pass: updates, batches, evaluations, and what needs several processes."""


def unknown_option(size: GPTConfig, training: TrainConfig) -> str | None:
    """The first field that is not listed here, or whose value is not, in words; None if there is none."""
    for name, value, values in (*_declared(size, MODEL), *_declared(training, {**TRAINING, **dict.fromkeys(BESIDE, ANY)})):
        if values is not ANY and value not in (*values, *LEFT.get(name, ())):
            return f"{name} {value!r}"
    return None


def has_passes(size: GPTConfig, training: TrainConfig) -> bool:
    """Whether the passes can train this configuration: they know every option, and none is left to autograd."""
    left = any(getattr(training, name) in values for name, values in LEFT.items())
    return not left and unknown_option(size, training) is None


def _declared(config: GPTConfig | TrainConfig, known: Mapping[str, Values]) -> Iterator[tuple[str, Any, Values]]:
    """(name, value, known values) of every field; a field that is not listed has no known values."""
    return ((field.name, getattr(config, field.name), known.get(field.name, ())) for field in fields(config))
