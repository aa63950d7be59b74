"""The matrices in a flat buffer. Those of equal shape are stacked, so that one operation works on all layers at once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import Tensor

from models.flat import Flat, Segment


@dataclass(frozen=True)
class Stack:
    """`count` matrices (rows, columns) at equal distances in the buffer; a vector is a matrix of one row."""

    segment: Segment
    start: int
    distance: int
    count: int
    rows: int
    columns: int

    def of(self, buffer: Tensor) -> Tensor:
        """The view (count, rows, columns) into a flat buffer."""
        sizes, strides = (self.count, self.rows, self.columns), (self.distance, self.columns, 1)
        return buffer.as_strided(sizes, strides, buffer.storage_offset() + self.start)


def stacks(flat: Flat, segment: Segment) -> tuple[Stack, ...]:
    """All parameters of a segment as stacks; each matrix of a parameter counts separately (`flat.splits`).

    Matrices whose names differ only in numbers are the same matrix in different layers. They make one stack, because they are at
    equal distances. Any other matrix is a stack of its own.
    """
    alike: dict[tuple[str, int, int, int], list[int]] = {}
    for name, (offset, shape) in flat.places.items():
        if segment.start <= offset < segment.stop:
            for part, (start, rows, columns) in enumerate(_matrices(flat, name, offset, shape)):
                alike.setdefault((re.sub(r"\d+", "#", name), part, rows, columns), []).append(start)
    return tuple(
        Stack(segment, start, distance, count, rows, columns)
        for (_, _, rows, columns), starts in alike.items()
        for start, distance, count in _runs(starts)
    )


def _matrices(flat: Flat, name: str, offset: int, shape: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(offset, rows, columns) of each matrix of a parameter."""
    columns = prod(shape[1:]) if len(shape) > 1 else prod(shape)
    for rows in flat.splits.get(name, (shape[0],)) if len(shape) > 1 else (1,):
        yield offset, rows, columns
        offset += rows * columns


def _runs(starts: Sequence[int]) -> list[tuple[int, int, int]]:
    """(start, distance, count) that cover `starts`: a single one if all distances are equal, else one for each start."""
    distances = {right - left for left, right in pairwise(starts)}
    if len(distances) == 1:
        return [(starts[0], distances.pop(), len(starts))]
    return [(start, 0, 1) for start in starts]
