"""How fast one device is: rates by size, seconds of an operation, bytes. Measured by calibration.py, read by seconds.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from models.optimizers.rows import Kind

Table = Sequence[Sequence[float]]  # (size, rate) with sizes in ascending order

SLACK = 12 * 10**6  # bytes on a CPU that memory.py does not count: fragments, kernels that are loaded at their first use


@dataclass(frozen=True)
class Machine:
    """Rates in 1 / second by size, bytes, and the least seconds of an operation.

    A `way` is "kernels" for the passes of engines/cpu/, else the precision in which autograd trains. Tables by way have
    "kernels" only if `kernels` is true.
    """

    device: str
    threads: int
    torch: str
    matmul: Mapping[str, Table]  # by precision; FLOPs, by smallest dimension
    attention: Mapping[str, Table]  # by way; FLOPs, by context x width of a head
    pointwise: Mapping[str, Table]  # "autograd" and "kernels"; bytes that elementwise work reads and writes, by bytes of an array
    bandwidth: Table  # bytes of plain sums in place, by bytes of an array
    output: Mapping[str, Table]  # by precision; FLOPs of the output map, by its width, with logits that fit into a cache
    packing: Mapping[str, Table]  # by precision; weights of the output map, which its products repack first, by their number
    logits: Mapping[str, Table]  # by precision; logits that the output map's products read and write, by their number
    loss: Mapping[str, Table]  # "autograd" and "kernels"; logits through the loss, forward and backward, by their number
    fresh: float  # bytes of new memory from the system
    overhead: float  # seconds for an operation
    recorded: float  # seconds for an operation that autograd records
    excess: Mapping[str, float]  # by way; seconds of a real step over the sum of its parts
    code: Mapping[str, int]  # by precision; bytes of code that products load at their first use
    base: int  # bytes of a process that has trained, minus those that memory.py counts
    total: int  # bytes of the device
    kernels: bool  # whether trainings use engines/cpu/ if they can

    @property
    def kind(self) -> Kind:
        return "cuda" if self.device.startswith("cuda") else "cpu"

    @property
    def slack(self) -> int:
        return SLACK if self.kind == "cpu" else 0

    @property
    def available(self) -> int:
        """Bytes that are left for the part of a training that memory.py counts."""
        return self.total - self.base - self.slack


def rate_at(table: Table, size: float) -> float:
    """The rate at a size: interpolated linearly in logarithms, and constant beyond the ends of the table."""
    sizes, rates = zip(*table, strict=True)
    return exp(float(np.interp(log(size), np.log(sizes), np.log(rates))))
