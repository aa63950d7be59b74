"""E[max_i (a_i + b_i Z)] - max_i a_i for a standard normal Z, exactly and in log space, for many sets of lines at once.

The maximum of lines is piecewise linear: with its breakpoints c_j between lines l and r, b_l < b_r,

    E[max] - max a = sum_j (b_r - b_l) h(-|c_j|),   c_j = (a_l - a_r) / (b_r - b_l)

(Frazier, Powell, Dayanik 2009, "The knowledge-gradient policy for correlated normal beliefs", eq. 14; h as in normal.py.)
Every term is an expected improvement of its own, with gap |a_l - a_r| and sd b_r - b_l, so LogEI's numerics apply.

Notation     a, b (m, k)  intercepts and slopes of k lines in each of m sets     J  breakpoints, filled up with nothing
"""

from __future__ import annotations

import numpy as np

from surrogates.acquisitions.normal import log_h
from surrogates.domain import Array

NOTHING = -1e300  # log of a set whose lines are all parallel
PARALLEL = 1e-100  # slopes that differ by less: such lines cross too far away to be counted


def breakpoints(a: Array, b: Array) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the lines left and right of each breakpoint, both (m, J); left = right where there is none.

    A walk along the envelope: from the least slope, always to the line that is crossed first.
    """
    every = np.arange(len(a))
    at = np.argmax(np.where(b <= b.min(axis=1, keepdims=True), a, -np.inf), axis=1)
    path = [at]
    while True:
        steeper = b - b[every, at, None]
        crossing = np.full_like(a, np.inf)
        with np.errstate(over="ignore"):
            np.divide(a[every, at, None] - a, steeper, out=crossing, where=steeper > 0)
        following = crossing.argmin(axis=1)
        following = np.where(steeper[every, following] > 0, following, at)
        if (following == at).all():
            break
        path.append(following)
        at = following
    left = np.stack(path[:-1], axis=1) if len(path) > 1 else path[0][:, None]
    right = np.stack(path[1:], axis=1) if len(path) > 1 else left
    return left, right


def log_gain(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """log(E[max] - max a), (m,), and its derivatives by a and b, (m, k). NOTHING and zeros where lines are parallel."""
    every, (left, right) = np.arange(len(a))[:, None], breakpoints(a, b)
    width, fall = b[every, right] - b[every, left], a[every, left] - a[every, right]
    there = width > PARALLEL
    wide = np.where(there, width, 1.0)
    value, first, second = log_h(-np.abs(fall) / wide)
    terms = np.where(there, np.log(wide) + value, -np.inf)
    top = np.maximum(terms.max(axis=1, keepdims=True), NOTHING)
    weights = np.exp(terms - top)
    total = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(total > 0, total, 1.0)
    by_fall = -weights * first / wide * np.where(fall >= 0, 1.0, -1.0)
    by_width = weights * second / wide
    by_a, by_b = np.zeros_like(a), np.zeros_like(b)
    for into, amount in ((by_a, by_fall), (by_b, -by_width)):
        np.add.at(into, (every, left), amount)
        np.add.at(into, (every, right), -amount)
    return top[:, 0] + np.log(np.where(total > 0, total, 1.0))[:, 0], by_a, by_b
