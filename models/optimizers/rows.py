"""The weights optimizers, a row each: all that configs, predictions, sharding and search spaces ask of one. Imports no torch.

    adding one     its class in a file of its own (base.py says what one is), and its row in OPTIMIZERS

A class is imported when a training takes it, and a row is read wherever an optimizer is spoken of: which names a config may
have (rules.py), bytes (predict/state.py), seconds (calibrate/seconds.py), rates by width (mup.py), whether weights may be
sharded (engines/distributed/fsdp.py), and what is searched (experiments/spaces.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

Kind = Literal["cpu", "cuda"]
Matrices = tuple[tuple[int, int, int], ...]  # (count, rows, columns) each

PIECE = 1 << 15  # floats that Lion works on at once on a CPU, whose second-level cache holds them then


@dataclass(frozen=True)
class Shapes:
    """The weights of a model: `size` floats of a flat buffer (flat.py), in which every parameter is padded."""

    size: int
    hidden: Matrices  # of blocks; queries, keys and values are three, as are gate and value two
    tables: Matrices
    vectors: int  # elements of norms and biases

    @property
    def matrices(self) -> Matrices:
        return self.hidden + self.tables

    @property
    def hidden_size(self) -> int:
        return sum(count * rows * columns for count, rows, columns in self.hidden)


class Hyperparameters(Protocol):
    """What the rows read of a TrainConfig."""

    @property
    def beta1(self) -> float: ...


@dataclass(frozen=True)
class OptimizerRow:
    """What is to be known of a weights optimizer without its code.

    code        "module:Class" of its Optimizer
    reads       the hyperparameters that it reads besides lr, weight_decay and hypergradient
    moments     floats that it keeps from step to step, and arrays that it holds as long
    passes      over a buffer of the weights' length that an update takes in time, with clipping and clearing the gradient
    operations  calls of torch by an update
    update      the size of a step for which mup.py finds a rate: "sign", the same an element whatever the gradient (Adam's);
                "spectral", the same singular values (Muon's); "gradient", as long as the gradient (SGD's)
    shardable   whether it updates each weight by itself, so that a part of a matrix is enough
    extra_bytes what an update allocates for its duration
    flops       of matrix products for one matrix of a block, of (rows, columns) with rows <= columns
    rates       where learning rates are searched for by the wide space of experiments/spaces.py; None: nowhere
    """

    code: str
    reads: tuple[str, ...]
    moments: Callable[[Shapes, Hyperparameters, Kind], int]
    passes: int
    operations: Callable[[Shapes], int]
    update: Literal["sign", "spectral", "gradient"] = "sign"
    shardable: bool = True
    extra_bytes: Callable[[Shapes, Kind], int] = lambda shapes, device: 0
    flops: Callable[[int, int], int] | None = None
    rates: tuple[float, float] | None = None

    def load(self) -> type[Any]:
        """Its class, a subclass of base.Optimizer; torch is imported now."""
        module, _, name = self.code.partition(":")
        found: type[Any] = getattr(import_module(module), name)
        return found


def lion_moments(shapes: Shapes, training: Hyperparameters, device: Kind) -> int:
    """The momentum, and an array for updates."""
    return shapes.size + (min(shapes.size, PIECE) if device == "cpu" else shapes.size)


def muon_bytes(shapes: Shapes, device: Kind) -> int:
    """The direction of all, and of the matrices of one shape a copy, two iterates, and the two products of Newton-Schulz."""
    groups: dict[tuple[int, int], int] = {}
    for count, rows, columns in shapes.hidden:
        shape = min(rows, columns), max(rows, columns)
        groups[shape] = groups.get(shape, 0) + count
    size = 4 if device == "cpu" else 2  # CUDA iterates in bfloat16, in a copy more
    arrays = 4 + (2 if device == "cpu" else 3) * size
    largest = max(count * low * (arrays * high + 2 * size * low) for (low, high), count in groups.items())
    return 4 * shapes.hidden_size + largest


def adafactor_moments(shapes: Shapes, training: Hyperparameters, device: Kind) -> int:
    """Rows and columns of all matrices, and every element of the vectors; a first moment where beta1 is above 0."""
    factors = sum(count * (rows + columns) for count, rows, columns in shapes.matrices) + shapes.vectors
    return factors + (shapes.size if training.beta1 > 0 else 0)


def adafactor_bytes(shapes: Shapes, device: Kind) -> int:
    """The update of one stack of matrices."""
    return 4 * max(count * rows * columns for count, rows, columns in shapes.matrices)


# Passes and operations are counted (tests/models/test_operations.py). Adafactor's passes are more than its buffers are read and
# written, as its sums over rows and columns take longer.
OPTIMIZERS: dict[str, OptimizerRow] = {
    "adamw": OptimizerRow(
        "models.optimizers.adamw:AdamW",
        reads=("beta1", "beta2", "eps"),
        moments=lambda shapes, training, device: 2 * shapes.size,
        passes=11,
        operations=lambda shapes: 9,
        rates=(3e-4, 3e-2),
    ),
    "sgd": OptimizerRow(
        "models.optimizers.sgd:SGD",
        reads=("momentum", "nesterov"),
        moments=lambda shapes, training, device: shapes.size,
        passes=9,
        operations=lambda shapes: 9,
        update="gradient",
        rates=(1e-2, 1.0),
    ),
    "lion": OptimizerRow(
        "models.optimizers.lion:Lion",
        reads=("beta1", "beta2"),
        moments=lion_moments,
        passes=17,
        operations=lambda shapes: 18 + 6 * (shapes.size // PIECE),
        rates=(1e-4, 1e-2),
    ),
    "muon": OptimizerRow(  # momentum for matrices of blocks; for the rest as adamw
        "models.optimizers.muon:Muon",
        reads=("momentum", "beta1", "beta2", "eps"),
        moments=lambda shapes, training, device: 2 * shapes.size - shapes.hidden_size,
        passes=20,
        operations=lambda shapes: 134,
        update="spectral",
        shardable=False,
        extra_bytes=muon_bytes,
        flops=lambda rows, columns: 5 * (4 * rows * rows * columns + 2 * rows**3),  # x x^T, its square, the product with x
        rates=(1e-3, 1e-1),
    ),
    "adafactor": OptimizerRow(
        "models.optimizers.adafactor:Adafactor",
        reads=("beta1", "beta2", "eps"),
        moments=adafactor_moments,
        passes=40,
        operations=lambda shapes: 241,
        shardable=False,
        extra_bytes=adafactor_bytes,
        rates=(3e-4, 3e-2),
    ),
}
