"""LogEI and EI against 80 digits: from ten standard deviations of certain improvement to a million in vain.

z = (incumbent - mean) / sd goes from 10 to -40 evenly and on to -1e6 geometrically, for standard deviations from 1e-12 to
1e12. The reference takes the doubles that the acquisition gets, so that the rounding of z is an error too: z^2 eps in EI.
Floors: 1 for log EI, which crosses zero; 0 for all others. What a double cannot hold as a normal number is left out.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import mpmath
import numpy as np

from experiments.exactness.measure import Extent, Worst, track_items
from surrogates import EI, LogEI, Normal
from surrogates.domain import Array

SDS = tuple(10.0**k for k in range(-12, 13, 3))
INCUMBENTS = (0.0, 0.7)
NAMES = ("log EI", "log EI by mean", "log EI by sd", "EI", "EI by mean", "EI by sd")
LEAST = 1e-307  # normal numbers are above


def normal_tails(size: Extent) -> dict[str, Any]:
    """The largest errors, and how many orders of magnitude EI at sd = 1 spans: as a double, and as a logarithm."""
    found, z = Worst(), deviations(size.points)
    reached = []  # log10 EI
    for sd, incumbent in track_items(list(product(SDS, INCUMBENTS)), "tails"):
        means = incumbent - z * sd
        belief = Normal(means, np.full(len(z), sd))
        ours = np.array([*LogEI().gradient(belief, incumbent), *EI().gradient(belief, incumbent)])  # (6, m)
        for mean, values in zip(means, ours.T, strict=True):
            theirs = exact_values(float(mean), sd, incumbent)
            see_point(found, values, theirs, f"z={(incumbent - mean) / sd:.6g} sd={sd:g} incumbent={incumbent}")
            if sd == 1.0:
                reached.append(float(theirs[0]) / np.log(10.0))
    orders = {"EI": span([order for order in reached if order > np.log10(LEAST)]), "log EI": span(reached)}
    return {"errors": found, "problems": len(z) * len(SDS) * len(INCUMBENTS), "orders": orders}


def span(orders: list[float]) -> int:
    """From the least to the greatest."""
    return int(max(orders) - min(orders))


def deviations(points: int) -> Array:
    """z (m,): two thirds of them where EI is representable."""
    return np.concatenate([np.linspace(10.0, -40.0, 2 * points // 3), -np.geomspace(40.0, 1e6, points // 3)])


def exact_values(mean: float, sd: float, incumbent: float) -> list[Any]:
    """The values that NAMES names."""
    with mpmath.workdps(80):
        s = mpmath.mpf(sd)
        z = (mpmath.mpf(incumbent) - mpmath.mpf(mean)) / s
        phi, cdf = mpmath.npdf(z), mpmath.erfc(-z / mpmath.sqrt(2)) / 2
        worth = s * (phi + z * cdf)  # loses 2 log10|z| = 12 digits at the worst
        return [mpmath.log(worth), -cdf / worth, phi / worth, worth, -cdf, phi]


def see_point(found: Worst, ours: Array, theirs: list[Any], where: str) -> None:
    """One point. A gradient of EI is seen where EI is."""
    for name, a, b in zip(NAMES, ours, theirs, strict=True):
        if name.startswith("log") or min(theirs[3], -theirs[4], theirs[5]) > LEAST:
            found.see(name, a, float(b), 1.0 if name == "log EI" else 0.0, where)
