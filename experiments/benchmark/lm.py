"""lm_pretrain: a made-up surface of the validation loss of a language model, in the shapes that papers measured.

Nine hyperparameters, one fixed budget of compute for everybody (not a parameter): a larger model sees fewer tokens.

    N            parameters: 12 depth width^2 + VOCABULARY width
    D            tokens that the budget buys: COMPUTE utilisation(batch) / (6 N)
    x            natural logarithm of lr over its optimum; > 0 is too large
    edge         the x at which training diverges
    loss         E + A / N^0.34 + B / D^0.28 (nats a token), D shrunk by everything that wastes tokens; at most GUESS

The sources of the shapes: N and D, Hoffmann et al. 2022 (equation 10); repeated tokens, Muennighoff et al. 2023; the critical
batch, McCandlish et al. 2018; the optimal learning rate falling with width, Yang et al. 2022, and growing as sqrt(batch),
Malladi et al. 2022; weight decay as a time scale, Wang and Aitchison 2024; linear decay to zero, Defazio et al. 2023.
The constants between them are invented: what is learnt here is about optimizers, not about language models.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo.space import Categorical, Config, Float, Int, Space

VOCABULARY, CONTEXT = 50_257, 1024
GUESS = math.log(VOCABULARY)  # 10.82: the loss of a model that knows nothing, and the true value of a diverged run
COMPUTE = 6e17  # FLOPs
UNIQUE = 4e8  # tokens of the corpus; what is read beyond them is read again
NOISE = 0.004  # standard deviation between seeds, nats
BEST = 3.91945807272  # found by tests/experiments/lm_search.py, rounded down in the twelfth digit; found again from other seeds
BEST_AT: Config = {
    "lr": 0.0011958384677044171, "batch": 47, "warmup": 0.032339685360460446, "weight_decay": 0.09788576091769874,
    "beta2_gap": 0.016112855282592528, "depth": 10, "width": 596, "dropout": 0.02624907783949889, "schedule": "linear",
}  # fmt: skip

SCHEDULES = ("cosine", "linear", "wsd", "constant")
SCHEDULE_COST = {"cosine": 0.005, "linear": 0.0, "wsd": 0.004, "constant": 0.06}  # nats
SCHEDULE_LR = {"cosine": 1.0, "linear": 1.2, "wsd": 0.8, "constant": 0.45}  # factor on the optimal learning rate


def lm_space() -> Space:
    return Space(
        lr=Float(1e-5, 1e-1, log=True),
        batch=Int(8, 512, log=True),
        warmup=Float(0.0, 0.3),
        weight_decay=Float(1e-4, 1.0, log=True),
        beta2_gap=Float(1e-4, 0.3, log=True),
        depth=Int(2, 16),
        width=Int(64, 1024, log=True),
        dropout=Float(0.0, 0.5),
        schedule=Categorical(SCHEDULES),
    )


def parameters(config: Mapping[str, Any]) -> float:
    """N."""
    return float(12 * config["depth"] * config["width"] ** 2 + VOCABULARY * config["width"])


def tokens_bought(config: Mapping[str, Any]) -> float:
    """D: small batches leave the accelerator idle."""
    return COMPUTE * config["batch"] / (config["batch"] + 16) / (6 * parameters(config))


def too_large(config: Mapping[str, Any]) -> float:
    """x = ln(lr / optimal lr)."""
    shape = (config["width"] / 256) ** -0.8 * (config["depth"] / 8) ** -0.4
    optimum = 2.5e-3 * shape * math.sqrt(config["batch"] / 64) * SCHEDULE_LR[config["schedule"]]
    return math.log(config["lr"] / optimum)


def edge(config: Mapping[str, Any]) -> float:
    """The x of the edge of stability: warm-up moves it up, a long second-moment memory and depth move it down."""
    warm = 0.9 * (1 - math.exp(-config["warmup"] / 0.02))
    memory = 0.25 * max(0.0, math.log10(0.01 / config["beta2_gap"]))
    return 0.9 + warm - memory - 0.3 * math.log(config["depth"] / 8)


def is_divergent(config: Mapping[str, Any]) -> bool:
    return too_large(config) > edge(config)


def _read(config: Mapping[str, Any]) -> float:
    """What D tokens are worth when a corpus is read D / UNIQUE times; dropout makes a repeated token worth more."""
    again = tokens_bought(config) / UNIQUE - 1
    if again <= 0:
        return tokens_bought(config)
    lasting = 3 + 60 * config["dropout"]
    return UNIQUE * (1 + lasting * (1 - math.exp(-again / lasting)))


def _useful(config: Mapping[str, Any]) -> float:
    """The part of the tokens that teaches: beyond the critical batch, away from the best lr and in warm-up it is less."""
    x = too_large(config)
    speed = math.exp(-0.25 * x**2) if x < 0 else math.exp(-0.5 * x**2)
    return speed / (1 + config["batch"] / 192) * (1 - 0.6 * config["warmup"])


def _tuning(config: Mapping[str, Any]) -> float:
    """Nats lost to weight decay, second-moment memory, a cold start, shape and schedule; never negative."""
    steps = tokens_bought(config) / (config["batch"] * CONTEXT)
    decay = math.log(config["weight_decay"] * config["lr"] * steps / 2.5)
    decay_cost = 0.03 * decay**2 if decay > 0 else 0.09 * (1 - math.exp(-(decay**2) / 6))
    memory = math.log(config["beta2_gap"] / (0.02 * (config["batch"] / 64) ** 0.7))
    memory_cost = 0.05 * (1 - math.exp(-(memory**2) / 8)) + 0.02 * max(0.0, memory - 1) ** 2
    cold = 0.03 * math.exp(-config["warmup"] / 0.015)
    aspect = math.log(config["width"] / config["depth"] / 56)
    return decay_cost + memory_cost + cold + 0.015 * aspect**2 + SCHEDULE_COST[config["schedule"]]


def true(config: Mapping[str, Any]) -> float:
    """The loss without noise, nats a token; GUESS where the run diverges."""
    if is_divergent(config):
        return GUESS
    size = parameters(config) * (1 - config["dropout"]) ** 1.5  # dropout costs capacity
    learnt = 406.4 / size**0.34 + 410.7 / (_read(config) * _useful(config)) ** 0.28
    spikes = 0.08 * math.exp((too_large(config) - edge(config)) / 0.15)  # just below the edge
    reducible, most = learnt + spikes + _tuning(config), GUESS - 1.69
    return 1.69 + (reducible**-4 + most**-4) ** -0.25  # a smooth minimum: nothing is worse than guessing


def noise(config: Mapping[str, Any], rng: np.random.Generator) -> float:
    """The loss of one run: NaN where it diverges."""
    return math.nan if is_divergent(config) else true(config) + NOISE * float(rng.standard_normal())
