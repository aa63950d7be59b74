"""What one device does: rates by size, seconds of an operation, bytes. Measured by calibration.py, read by seconds.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from models.optimizers.rows import Kind

Table = Sequence[Sequence[float]]  # (size, rate) with sizes in ascending order

SLACK = 12 * 10**6  # bytes on a CPU beside what memory.py counts: fragments, kernels that are loaded at their first use


@dataclass(frozen=True)
class Machine:
    """Rates in 1 / second by size, bytes, and the seconds that an operation takes at least.

    A `way` is "kernels" for the passes of engines/cpu/, and through autograd the precision. Where a table is by way, it has
    "kernels" only if `kernels` is true.
    """

    device: str
    threads: int
    torch: str
    matmul: Mapping[str, Table]  # by precision; FLOPs, by smallest dimension
    attention: Mapping[str, Table]  # by way; FLOPs, by context x width of a head
    pointwise: Mapping[str, Table]  # "autograd" and "kernels"; bytes that elementwise work goes through, by bytes of an array
    bandwidth: Table  # bytes of plain sums in place, by bytes of an array
    output: Mapping[str, Table]  # by precision; FLOPs of the output map, by its width, with logits that lie in a cache
    packing: Mapping[str, Table]  # by precision; weights of the output map, which its products arrange first, by their number
    logits: Mapping[str, Table]  # by precision; logits that the output map's products go through, by their number
    loss: Mapping[str, Table]  # "autograd" and "kernels"; logits through the loss, there and back, by their number
    fresh: float  # bytes of arrays for which memory comes from the system
    overhead: float  # seconds an operation
    recorded: float  # seconds an operation that autograd records
    excess: Mapping[str, float]  # by way; of a real step over the sum of its parts
    code: Mapping[str, int]  # by precision; bytes of code that products load at their first use
    base: int  # bytes of a process that has trained, without what memory.py counts
    total: int  # bytes of the device
    kernels: bool  # whether trainings go by engines/cpu/ where they can

    @property
    def kind(self) -> Kind:
        return "cuda" if self.device.startswith("cuda") else "cpu"

    @property
    def slack(self) -> int:
        return SLACK if self.kind == "cpu" else 0

    @property
    def available(self) -> int:
        """Bytes for what memory.py counts of a training."""
        return self.total - self.base - self.slack


def rate_at(table: Table, size: float) -> float:
    """The rate at a size: straight between its neighbours in logarithms, and at the ends as there."""
    sizes, rates = zip(*table, strict=True)
    return exp(float(np.interp(log(size), np.log(sizes), np.log(rates))))
