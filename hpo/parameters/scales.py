"""The position of a number in its range, from 0 to 1, and back: linear and logarithmic, up to the ends of float64.

Wherever the width or the ratio of a range is a float, the formulas are the plain ones, and positions are what they have
always been. Beyond that, each formula is the one that does not overflow.

Integers whose halves a float cannot hold (`is_wide`) are counted exactly. A position has 53 bits: of more values than
that only as many can be proposed as there are positions, and a value between two of them has that of its neighbour.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

REACH = 64  # neighbouring floats that are tried for a position that decodes to its own value
TOP = math.log(sys.float_info.max)
LARGEST = 10**300  # of an integer; its logarithm and its distance from any other are floats


def at(u: float, lo: float, hi: float, log: bool) -> float:
    """The number at a position; rounding may carry it over an end by a last bit."""
    if log:
        ratio = hi / lo
        if ratio < math.inf:
            return lo * ratio**u
        return math.exp(min(math.log(lo) * (1.0 - u) + math.log(hi) * u, TOP))
    width = hi - lo
    return lo + u * width if abs(width) < math.inf else lo * (1.0 - u) + hi * u


def position(value: float, lo: float, hi: float, log: bool) -> float:
    """The position of a number; the middle of a range of one point."""
    if lo == hi:
        return 0.5
    if log:
        ratio = hi / lo
        if ratio < math.inf:
            return math.log(value / lo) / math.log(ratio)
        return (math.log(value) - math.log(lo)) / (math.log(hi) - math.log(lo))
    width = hi - lo
    return float((value - lo) / width if abs(width) < math.inf else (value / 2 - lo / 2) / (hi / 2 - lo / 2))


def is_wide(lo: int, hi: int, log: bool) -> bool:
    """Whether integers of a range are too large for floats: rounding would miss halves (or, over a logarithm, whole ones)."""
    return max(abs(lo), abs(hi)) >= (2**47 if log else 2**50)


class WideIntegers:
    """`count` integers lo, lo + step, ... of any size, each at the position of its bin; bins as those of Int."""

    def __init__(self, lo: int, step: int, count: int, log: bool) -> None:
        self.lo, self.step, self.count, self.log = lo, step, count, log
        self.a = max(2 * lo - step, lo)  # twice the lower edge of the first bin: doubled, edges are integers
        self.width = _log_ratio(2 * (lo + (count - 1) * step) + step, self.a) if log else math.nan

    def position(self, index: int) -> float:
        """The position of a place; one that leads back to it wherever there is one."""
        if self.log:
            u = _log_ratio(2 * (self.lo + index * self.step), self.a) / self.width
        else:
            u = (2 * index + 1) / (2 * self.count)
        return _position_of(u, index, self.index)

    def index(self, u: float) -> int:
        """The place whose bin a position lies in."""
        if u <= 0.0 or u >= 1.0:  # the ends are theirs, whatever rounding makes of them
            return 0 if u <= 0.0 else self.count - 1
        if self.log:
            grown = self.a * math.expm1(u * self.width)  # twice the distance from the lower edge
            p, q = grown.as_integer_ratio()
            found = ((self.a - 2 * self.lo + self.step) * q + p) // (2 * self.step * q)
        else:
            p, q = u.as_integer_ratio()
            found = p * self.count // q
        return min(max(found, 0), self.count - 1)


def _log_ratio(p: int, q: int) -> float:
    """log(p / q) of two positive integers, as exact where they are neighbours as where their ratio is large."""
    return math.log1p((p - q) / q) if p < 2 * q else math.log(p / q)  # a division of integers is rounded once


def _position_of(u: float, index: int, place: Callable[[float], int]) -> float:
    """The float nearest to u that leads to `index`; u itself if positions step over it."""
    near, found = u, place(u)
    towards = 0.0 if found > index else 1.0
    for _ in range(REACH):
        if found == index:
            return near
        if (found > index) != (towards == 0.0) or near == towards:  # stepped over it
            break
        near = math.nextafter(near, towards)
        found = place(near)
    return u
