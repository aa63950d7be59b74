"""The weights optimizers, one row for each: what configs, predictions, sharding and search spaces need to know. Imports no torch.

    adding one     write its class in its own file (base.py has the base class), and its row in OPTIMIZERS

A class is imported when a training uses it. Its row is read for everything else: which names a config may have (rules.py), bytes
(predict/state.py), seconds (calibrate/seconds.py), rates by width (mup.py), whether weights may be sharded
(engines/distributed/fsdp.py), and which values are searched (experiments/spaces.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

Kind = Literal["cpu", "cuda"]
Matrices = tuple[tuple[int, int, int], ...]  # each is (count, rows, columns)

PIECE = 1 << 15  # floats that Lion works on at once on a CPU, so that they fit into the second-level cache


@dataclass(frozen=True)
class Shapes:
    """The shapes of a model's weights. `size` is the floats of a flat buffer (flat.py), in which every parameter is padded."""

    size: int
    hidden: Matrices  # of blocks; queries, keys and values are three matrices, gate and value two
    tables: Matrices
    vectors: int  # elements of norms and biases

    @property
    def matrices(self) -> Matrices:
        return self.hidden + self.tables

    @property
    def hidden_size(self) -> int:
        return sum(count * rows * columns for count, rows, columns in self.hidden)


class Hyperparameters(Protocol):
    """The fields of a TrainConfig that the rows read."""

    @property
    def beta1(self) -> float: ...


@dataclass(frozen=True)
class OptimizerRow:
    """What can be known about a weights optimizer without importing its code.

    code        "module:Class" of its Optimizer
    reads       the hyperparameters that it reads besides lr, weight_decay and hypergradient
    moments     floats that it keeps from step to step, including arrays that it never frees
    passes      time of an update in passes over a buffer as long as the weights, with clipping and clearing the gradient
    operations  calls of torch in an update
    update      the size of a step, by which mup.py finds a rate: "sign", the same for every element whatever the gradient
                (Adam); "spectral", the same singular values (Muon); "gradient", as long as the gradient (SGD)
    shardable   whether it updates each weight by itself, so that it can work on a part of a matrix
    extra_bytes bytes that an update allocates for its duration
    flops       of matrix products for one matrix of a block with (rows, columns), rows <= columns
    rates       the range of learning rates in the wide space of experiments/spaces.py; None: not in that space
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
        """The optimizer's class, a subclass of base.Optimizer; this imports torch."""
        module, _, name = self.code.partition(":")
        found: type[Any] = getattr(import_module(module), name)
        return found


def lion_moments(shapes: Shapes, training: Hyperparameters, device: Kind) -> int:
    """The momentum, and an array for updates."""
    return shapes.size + (min(shapes.size, PIECE) if device == "cpu" else shapes.size)


def muon_bytes(shapes: Shapes, device: Kind) -> int:
    """The direction of all matrices; for those of one shape also a copy, two iterates, and the two products of Newton-Schulz."""
    groups: dict[tuple[int, int], int] = {}
    for count, rows, columns in shapes.hidden:
        shape = min(rows, columns), max(rows, columns)
        groups[shape] = groups.get(shape, 0) + count
    size = 4 if device == "cpu" else 2  # on CUDA the iteration is in bfloat16, in one more copy
    arrays = 4 + (2 if device == "cpu" else 3) * size
    largest = max(count * low * (arrays * high + 2 * size * low) for (low, high), count in groups.items())
    return 4 * shapes.hidden_size + largest


def adafactor_moments(shapes: Shapes, training: Hyperparameters, device: Kind) -> int:
    """Rows and columns of all matrices, and every element of the vectors; also a first moment if beta1 is above 0."""
    factors = sum(count * (rows + columns) for count, rows, columns in shapes.matrices) + shapes.vectors
    return factors + (shapes.size if training.beta1 > 0 else 0)


def adafactor_bytes(shapes: Shapes, device: Kind) -> int:
    """The update of one stack of matrices."""
    return 4 * max(count * rows * columns for count, rows, columns in shapes.matrices)


# Passes and operations are counted (tests/models/test_operations.py). Adafactor has more passes than reads and writes of its
# buffers, since its sums over rows and columns take longer.
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
    "muon": OptimizerRow(  # momentum for matrices of blocks; the rest as in adamw
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
