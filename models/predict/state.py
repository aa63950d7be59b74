"""Floats of weights, gradients and moments in their flat buffers, and the bytes of an update. Imports no torch."""

from typing import Literal

from models.config import GPTConfig, TrainConfig
from models.predict.cost import gates, lengths, matrices, tables

Kind = Literal["cpu", "cuda"]

ALIGN = 16  # floats; where a parameter may start in the flat buffers (optim.py)
PIECE = 1 << 15  # floats that Lion works on at once on a CPU (optimizers/lion.py)


def buffer_floats(config: GPTConfig) -> int:
    """The length of a flat buffer: the parameters, each padded to ALIGN."""
    return sum(-(-length // ALIGN) * ALIGN for length in lengths(config))


def moment_floats(config: GPTConfig, training: TrainConfig, device: Kind = "cpu") -> int:
    """Floats that the optimizer keeps from step to step; Lion's of an array for its updates."""
    count, hidden = buffer_floats(config), config.layers * matrices(config)
    learned = count if training.hypergradient else 0
    if training.optimizer == "adafactor":
        return _factors(config) + (count if training.beta1 > 0 else 0) + learned
    piece = min(count, PIECE) if device == "cpu" else count
    moments = {"adamw": 2 * count, "sgd": count, "lion": count + piece, "muon": 2 * count - hidden}
    return moments[training.optimizer] + learned


def _matrices(config: GPTConfig) -> list[tuple[int, int, int]]:
    """(count, rows, columns) of all matrices; queries, keys and values are three, as are gate and value two."""
    return _hidden(config) + [(1, *size) for size in tables(config).values()]


def _hidden(config: GPTConfig) -> list[tuple[int, int, int]]:
    keys = config.keys * config.head
    sizes = [(config.hidden, config.hidden)] * 2 + [(keys, config.hidden)] * 2
    sizes += [(config.inner, config.hidden)] * gates(config) + [(config.hidden, config.inner)]
    return [(config.layers, *size) for size in sizes]


def _factors(config: GPTConfig) -> int:
    """Rows and columns of all matrices, and every element of the vectors (Shazeer & Stern 2018)."""
    sizes = _matrices(config)
    norms_and_biases = sum(lengths(config)) - sum(count * rows * columns for count, rows, columns in sizes)
    return sum(count * (rows + columns) for count, rows, columns in sizes) + norms_and_biases


def update_bytes(config: GPTConfig, training: TrainConfig, device: Kind = "cpu") -> int:
    """What an update allocates for its duration."""
    overflow = 6 * buffer_floats(config) if training.precision == "fp16" else 0  # is it finite? absolutes and two masks
    if training.optimizer == "adafactor":  # the update of one stack of matrices
        return max(overflow, 4 * max(count * rows * columns for count, rows, columns in _matrices(config)))
    return max(overflow, _muon_bytes(config, device)) if training.optimizer == "muon" else overflow


def _muon_bytes(config: GPTConfig, device: Kind) -> int:
    """The direction of all, and of the matrices of one shape a copy, two iterates, and the two products of Newton-Schulz."""
    groups: dict[tuple[int, int], int] = {}
    for count, rows, columns in _hidden(config):
        shape = min(rows, columns), max(rows, columns)
        groups[shape] = groups.get(shape, 0) + count
    size = 4 if device == "cpu" else 2  # CUDA iterates in bfloat16, in a copy more
    arrays = 4 + (2 if device == "cpu" else 3) * size
    largest = max(count * low * (arrays * high + 2 * size * low) for (low, high), count in groups.items())
    return 4 * config.layers * matrices(config) + largest
