"""Scales that depend on the width and the depth of a model, so that tuned hyperparameters need not. Imports no torch.

With m = hidden / base_hidden, s = init_std, D the width of a head, L layers, and l = layers / base_layers (1 without
base_layers):

                            standard              mup, Adam-like        mup, Muon       mup, SGD
first sd, table, head       s                     s                     s               s
first sd, maps              s                     s / sqrt(m)           (the same)
  into the residual stream  s / sqrt(2 L)         s / sqrt(2 m L/l)     (the same)
rate, maps of blocks        1                     1 / (m sqrt(l))       1 / sqrt(m l)   1
rate, tables, head          1                     1                     1               m
rate, norms and biases      1                     1                     1               m
attention scale             1 / sqrt(D)           sqrt(base_head) / D   (the same)
logits times                1                     1 / m                 (the same)
residual branches times     1                     1 / sqrt(l)           (the same)

At the base width, depth and head both columns are the same model. The widths are those of Yang et al. 2022 (Tensor
Programs V), table 8, in the form with a multiplier at the output, which goes with tied tables; the depths those of Yang
et al. 2023 (Tensor Programs VI). Adam-like are the optimizers whose updates have the same size whatever the gradient's.
Muon's update is scaled to the size of Adam's an element (0.2), which makes its spectral norm grow as sqrt(m); the spectral
condition (Yang, Simon & Bernstein 2023) wants it constant, and so a rate of 1 / sqrt(m).
"""

from collections.abc import Mapping
from math import sqrt

from models.config import GPTConfig
from models.optimizers.rows import OPTIMIZERS


def _width(config: GPTConfig) -> float:
    return config.hidden / config.base_hidden if config.parametrisation == "mup" else 1.0


def _depth(config: GPTConfig) -> float:
    return config.layers / config.base_layers if config.base_layers else 1.0


def attention_scale(config: GPTConfig) -> float:
    """The factor on the scores of queries and keys."""
    return sqrt(config.base_head) / config.head if config.parametrisation == "mup" else 1 / sqrt(config.head)


def output_scale(config: GPTConfig) -> float:
    """The factor on the logits."""
    return 1 / _width(config)


def branch_scale(config: GPTConfig) -> float:
    """The factor on attention and feed-forward before they are added to the residual stream."""
    return 1 / sqrt(_depth(config))


def first_sd(config: GPTConfig, name: str) -> float:
    """Standard deviation of the initial weights of the matrix called `name`."""
    if not name.startswith("blocks."):
        return config.init_std
    into_residual = name.endswith(("mix.weight", "down.weight"))
    layers = 2 * config.layers / _depth(config) if into_residual else 1
    return config.init_std / sqrt(_width(config) * layers)


def rates(config: GPTConfig, optimizer: str) -> Mapping[str, float]:
    """The factor on the learning rate, by kind of parameter (flat.py)."""
    m, l = _width(config), _depth(config)
    update = OPTIMIZERS[optimizer].update
    if update == "gradient":
        return {"hidden": 1.0, "table": m, "vector": m}
    return {"hidden": 1 / sqrt(m * l) if update == "spectral" else 1 / (m * sqrt(l)), "table": 1.0, "vector": 1.0}
