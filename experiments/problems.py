"""Problems with several objectives, all minimised: four functions with known fronts, and two tables of real trainings.

    zdt1, zdt3       six numbers, two objectives: a convex front, and one in pieces (Zitzler, Deb, Thiele 2000)
    dtlz2            six numbers, three objectives: an eighth of a sphere (Deb et al. 2002); its optimum is moved out of the
                     middle, which some methods try first
    branin_currin    two numbers (Belakaria et al. 2019, as in BoTorch)
    logreg           a complete grid of Snoek et al. (2012): error on held-out data, and log10 of the seconds of training
    fcnet            protein structure (Klein & Hutter 2019; 62,208 networks): log10 of the error, and of the parameters

The reference point of a problem was fixed before anything was measured, by one rule: with a the least value of an objective and
b the greater of its worst on the exact front and its median over the space, it is b + (b - a) / 10, to two digits. The volume
that the exact front dominates is exact, but for branin_currin, where it was found by a search on the front, to 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.benchmark.functions import box_space, branin, vector
from experiments.benchmark.tables import LOGREG, Grid, data_file, fcnet_file, fcnet_space, fcnet_true
from hpo.space import Space

Values = Mapping[str, Any]
D = 6
MIDDLE = np.array([0.23, 0.61, 0.84, 0.37])  # where DTLZ2's distance to the front is zero
PROTEIN = "protein_structure"
FEATURES = 9  # of protein structure
UNITS = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class VectorProblem:
    """A problem: its space, the losses (M,) of a configuration, and what the exact front dominates below the reference.

    needs: a file below the shared data folder
    """

    space: Callable[[], Space]
    losses: Callable[[Values], tuple[float, ...]]
    reference: tuple[float, ...]
    volume: float
    needs: str | None = None

    @property
    def is_available(self) -> bool:
        """Whether its file is there."""
        return self.needs is None or data_file(self.needs).exists()


# -- functions ---------------------------------------------------------------------------------------------------------


def zdt(config: Values, shape: Callable[[float, float], float]) -> tuple[float, ...]:
    """Two losses; on the front the second is shape(f1, f1), where all numbers but the first are 0."""
    x = vector(config)
    g = 1.0 + 9.0 * float(x[1:].mean())
    return float(x[0]), g * shape(float(x[0]) / g, float(x[0]))


def _convex(share: float, x: float) -> float:
    return 1.0 - math.sqrt(share)


def _broken(share: float, x: float) -> float:
    return 1.0 - math.sqrt(share) - share * math.sin(10.0 * math.pi * x)


def dtlz2(config: Values) -> tuple[float, ...]:
    """Three losses; the front is the part of the unit sphere where all are positive."""
    x = vector(config)
    radius, (a, b) = 1.0 + float(((x[2:] - MIDDLE) ** 2).sum()), x[:2] * math.pi / 2
    return radius * math.cos(a) * math.cos(b), radius * math.cos(a) * math.sin(b), radius * math.sin(a)


def branin_currin(config: Values) -> tuple[float, ...]:
    """Branin's function with its box stretched to the unit square, and Currin's exponential function (1991)."""
    x, y = config["x1"], config["x2"]
    bend = 1.0 - math.exp(-0.5 / y) if y > 0.0 else 1.0
    ratio = (2300.0 * x**3 + 1900.0 * x**2 + 2092.0 * x + 60.0) / (100.0 * x**3 + 500.0 * x**2 + 4.0 * x + 20.0)
    return branin({"x1": 15.0 * x - 5.0, "x2": 15.0 * y}), bend * ratio


# -- tables ------------------------------------------------------------------------------------------------------------


def _grid_losses(grid: Grid) -> Callable[[Values], tuple[float, ...]]:
    seconds = replace(grid, objective="time_s")
    return lambda config: (grid.true(config), math.log10(seconds.true(config)))


def parameters_of(first: int, second: int) -> int:
    """Weights and biases of a network with two hidden layers of so many units, for protein structure."""
    return (FEATURES + 1) * first + (first + 1) * second + second + 1


def fcnet(config: Values) -> tuple[float, ...]:
    """log10 of the mean squared error, and of the parameters."""
    first, second = (UNITS[config[f"n_units_{i}_index"]] for i in (1, 2))
    return fcnet_true(PROTEIN, config), math.log10(parameters_of(first, second))


# -- all ---------------------------------------------------------------------------------------------------------------


def _unit() -> Space:
    return box_space(D, 0.0, 1.0)


def _line(shape: Callable[[float, float], float], reference: tuple[float, float], volume: float) -> VectorProblem:
    return VectorProblem(_unit, lambda config: zdt(config, shape), reference, volume)


def _table(grid: Grid, reference: tuple[float, float], volume: float) -> VectorProblem:
    return VectorProblem(grid.space, _grid_losses(grid), reference, volume, grid.file)


PROBLEMS: dict[str, VectorProblem] = {
    "zdt1": _line(_convex, (1.1, 4.3), 4.396667),
    "zdt3": _line(_broken, (0.94, 4.4), 4.134024),
    "dtlz2": VectorProblem(_unit, dtlz2, (1.1, 1.1, 1.1), 1.1**3 - math.pi / 6),
    "branin_currin": VectorProblem(lambda: box_space(2, 0.0, 1.0), branin_currin, (39.0, 7.7), 226.2416),
    "logreg": _table(LOGREG, (0.33, 1.4), 0.2887781),
    "fcnet": VectorProblem(fcnet_space, fcnet, (-0.37, 5.7), 0.6846672, fcnet_file(PROTEIN)),
}
