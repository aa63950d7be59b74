"""The two spaces of the main job by name, and their way into the names of models.config.

    standard   the shape, AdamW or SGD, five schedules, three kinds of regularisation
    wide       besides that every optimizer and schedule that models has, each with what it reads, and the parts of a
               modern architecture

Both hold the same sizes, and the default configuration. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpo.space import Categorical, Float, Int, Parameter
from models.optimizers.rows import OPTIMIZERS as ROWS

Parameters = dict[str, Parameter]

DEFAULT: Mapping[str, Any] = {
    "layers": 2, "hidden": 64, "heads": 4, "ff_ratio": 4, "batch": 16, "optimizer": "adamw", "beta2": 0.99,
    "schedule": "cosine", "warmup": 0.02, "weight_decay": 0.1, "dropout": 0.0, "label_smoothing": 0.0, "lr": 1e-3,
}  # fmt: skip
UNSAID: Mapping[str, Any] = {  # what the wide space wants to hear besides; as models.config has it where nothing is said
    "kv_share": 1.0, "positions": "learned", "norm": "layer", "activation": "gelu", "qk_norm": False, "tie": True,
    "init_std": 0.02, "beta1": 0.9, "eps": 1e-8, "hypergradient": 0.0, "final_lr": 0.1, "z_loss": 0.0, "ema": 0.0, "clip": 1.0,
}  # fmt: skip

# What PBT may change while a model trains: not its shape, and not what its optimizer's moments belong to.
TRAINABLE = ("batch", "beta2", "momentum", "weight_decay", "dropout", "label_smoothing", "sgd_lr", "lr")
RANGES = {name: row.rates for name, row in ROWS.items() if row.rates is not None}  # of learning rates in the wide space
OPTIMIZERS = tuple(RANGES)
RATES = tuple(f"{name}_lr" for name in OPTIMIZERS if name != "adamw")  # AdamW's is lr; what they mean has nothing in common
TRAINABLE_WIDE = ("beta1", "clip", "z_loss", *(name for name in RATES if name not in TRAINABLE), *TRAINABLE)
LARGEST = {"layers": 4, "hidden": 96, "ff_ratio": 4, "batch": 32}  # upper ends, each of which takes the most memory


def standard() -> Parameters:
    """Architecture, optimisation and regularisation; the learning rates last, where a grid varies them fastest."""
    return {
        **_shape(),
        "optimizer": Categorical(["adamw", "sgd"]),
        "beta2": Float(0.9, 0.999, when={"optimizer": "adamw"}),
        "momentum": Float(0.0, 0.98, when={"optimizer": "sgd"}),
        "schedule": Categorical(["cosine", "linear", "constant", "exponential", "wsd"]),
        "warmup": Float(0.0, 0.2),
        **_regularisation(),
        **_rates("sgd_lr", "lr"),
    }


def wide() -> Parameters:
    """As `standard`, with all of models.config that decides how well a model of one device trains. First choices are the
    default's."""
    return {
        **_shape(),
        **_architecture(),
        **_optimizers(),
        **_schedules(),
        **_regularisation(),
        "z_loss": Categorical([0.0, 1e-4, 1e-3]),
        "ema": Categorical([0.0, 0.9, 0.99, 0.999]),
        "clip": Float(0.1, 10.0, log=True),
        **_rates(*RATES, "lr"),
    }


SPACES: Mapping[str, Callable[[], Parameters]] = {"standard": standard, "wide": wide}


def _shape() -> Parameters:
    return {
        "layers": Int(1, LARGEST["layers"]),
        "hidden": Int(32, LARGEST["hidden"], step=16),
        "heads": Categorical([1, 2, 4, 8]),
        "ff_ratio": Int(1, LARGEST["ff_ratio"]),
        "batch": Int(2, LARGEST["batch"], log=True),
    }


def _architecture() -> Parameters:
    return {
        "kv_share": Categorical([1.0, 0.5, 0.25]),  # kv_heads as a share of heads
        "positions": Categorical(["learned", "rotary"]),
        "norm": Categorical(["layer", "rms"]),
        "activation": Categorical(["gelu", "swiglu", "relu2"]),
        "qk_norm": Categorical([False, True]),
        "tie": Categorical([True, False]),
        "init_std": Float(0.01, 0.1, log=True),
    }


def _optimizers() -> Parameters:
    """Each with what it reads, by the rows of models/optimizers/rows.py."""
    return {
        "optimizer": Categorical(OPTIMIZERS),
        "beta1": Float(0.8, 0.98, when=_readers("beta1")),
        "beta2": Float(0.9, 0.999, when=_readers("beta2")),
        "eps": Float(1e-10, 1e-6, log=True, when=_readers("eps")),
        "momentum": Float(0.0, 0.98, when=_readers("momentum")),
        "nesterov": Categorical([False, True], when=_readers("nesterov")),
        "hypergradient": Categorical([0.0, 0.01, 0.05]),
    }


def _readers(name: str) -> dict[str, list[str]]:
    """Of the wide space, the optimizers that read a hyperparameter."""
    return {"optimizer": [one for one in OPTIMIZERS if name in ROWS[one].reads]}


def _schedules() -> Parameters:
    """Each with what it reads: the table of models/schedule.py. decay_every stays a hundredth of the training, so that
    decay_rate ends between a thousandth and nine tenths of the rate."""
    return {
        "schedule": Categorical(["cosine", "linear", "constant", "exponential", "inverse_sqrt", "wsd"]),
        "decay_rate": Float(0.93, 0.999, when={"schedule": "exponential"}),
        "decay_fraction": Float(0.05, 0.8, when={"schedule": "wsd"}),
        "final_lr": Float(0.0, 0.3, when={"schedule": ["cosine", "linear", "exponential", "inverse_sqrt", "wsd"]}),
        "warmup": Float(0.0, 0.2),
    }


def _regularisation() -> Parameters:
    return {
        "weight_decay": Float(1e-3, 1.0, log=True),
        "dropout": Float(0.0, 0.3),
        "label_smoothing": Float(0.0, 0.1),
    }


def _rates(*names: str) -> Parameters:
    """Learning rates, a factor of a hundred for each."""
    ranges = {
        "lr" if name == "adamw" else f"{name}_lr": Float(low, high, log=True, when={"optimizer": name})
        for name, (low, high) in RANGES.items()
    }
    return {name: ranges[name] for name in names}


def half_decades(low: float, high: float) -> list[float]:
    """The numbers 1, 3, 10, 30 ... times a power of ten above `low` and up to `high`: a person's grid of rates."""
    steps = (float(f"{digit}e{power}") for power in range(-12, 4) for digit in (1, 3))
    return [step for step in steps if low < step <= high]


# -- configurations ----------------------------------------------------------------------------------------------------


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of either space in the names of models.config: one learning rate, whichever optimizer it is for,
    and heads of keys and values by their number."""
    plain = dict(config)
    for name in RATES:
        if name in plain:
            plain["lr"] = plain.pop(name)
    share = plain.pop("kv_share", 1.0)
    return plain if share == 1 else {**plain, "kv_heads": round(share * plain["heads"])}


def shares(config: Mapping[str, Any]) -> bool:
    """As many heads share each head of keys and values; a constraint of the wide space."""
    return bool((config["heads"] * config["kv_share"]).is_integer())


def default(name: str) -> dict[str, Any]:
    """The default configuration in the parameters of a space; the same training in all of them."""
    return dict(DEFAULT) if name == "standard" else {**DEFAULT, **UNSAID}
