"""Floats of weights, gradients and moments in their flat buffers, and the bytes of an update. Imports no torch."""

from models.config import GPTConfig, TrainConfig
from models.optimizers.rows import OPTIMIZERS, Kind, Matrices, Shapes
from models.predict.cost import gates, lengths, tables

ALIGN = 16  # floats; where a parameter may start in the flat buffers (flat.py)


def buffer_floats(config: GPTConfig) -> int:
    """The length of a flat buffer: the parameters, each padded to ALIGN."""
    return sum(-(-length // ALIGN) * ALIGN for length in lengths(config))


def shapes_of(config: GPTConfig) -> Shapes:
    """The shapes of a model that the rows of the optimizers need."""
    hidden, outside = _hidden(config), tuple((1, *size) for size in tables(config).values())
    vectors = sum(lengths(config)) - sum(count * rows * columns for count, rows, columns in hidden + outside)
    return Shapes(buffer_floats(config), hidden, outside, vectors)


def _hidden(config: GPTConfig) -> Matrices:
    keys = config.keys * config.head
    sizes = [(config.hidden, config.hidden)] * 2 + [(keys, config.hidden)] * 2
    sizes += [(config.inner, config.hidden)] * gates(config) + [(config.hidden, config.inner)]
    return tuple((config.layers, *size) for size in sizes)


def moment_floats(config: GPTConfig, training: TrainConfig, device: Kind = "cpu") -> int:
    """Floats of optimizer state, including temporary arrays that are never freed."""
    learned = buffer_floats(config) if training.hypergradient else 0
    return OPTIMIZERS[training.optimizer].moments(shapes_of(config), training, device) + learned


def update_bytes(config: GPTConfig, training: TrainConfig, device: Kind = "cpu") -> int:
    """Bytes that an update allocates for its duration."""
    overflow = 6 * buffer_floats(config) if training.precision == "fp16" else 0  # is it finite? absolute values and two masks
    return max(overflow, OPTIMIZERS[training.optimizer].extra_bytes(shapes_of(config), device))
