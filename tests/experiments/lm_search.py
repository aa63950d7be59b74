"""How the least value of the task lm_pretrain was found: by brute force, then step by step."""

import itertools
import math
from functools import partial

import numpy as np
from scipy.optimize import differential_evolution, minimize

from experiments.benchmark import lm
from hpo.space import Config, Float, Int, Space


def _value(fixed: Config, searched: Space, row: np.ndarray) -> float:
    """`lm.true` where some parameters are fixed and a row of the unit cube gives the others."""
    return lm.true({**fixed, **searched.decode(np.clip(row, 0.0, 1.0))})


def _part(names: tuple[str, ...]) -> Space:
    full = lm.lm_space().parameters
    return Space({name: full[name] for name in names})


def find_best(starts: int = 2, seed: int = 0) -> tuple[float, Config]:
    """The least value and where, by brute force, in some minutes.

    For every depth and schedule: differential evolution over the seven other dimensions, `starts` times. The best of
    all is then polished by `_descend`. This is how lm.BEST was found.
    """
    rest = _part(tuple(name for name in lm.lm_space().columns if name not in ("depth", "schedule")))
    found: list[tuple[float, Config]] = []
    for depth, schedule, start in itertools.product(range(2, 17), lm.SCHEDULES, range(starts)):
        fixed = {"depth": depth, "schedule": schedule}
        result = differential_evolution(partial(_value, fixed, rest), [(0, 1)] * 7, maxiter=120, popsize=10, tol=1e-9,
                                        rng=seed + start, polish=False)  # fmt: skip
        found.append((float(result.fun), {**fixed, **rest.decode(result.x)}))
    return _descend(*min(found, key=lambda one: one[0]))


def _polish(fixed: Config, floats: Space, start: np.ndarray) -> tuple[float, np.ndarray]:
    """The least value over the floats near a start in the unit cube, by Nelder-Mead restarted."""
    for _ in range(3):
        found = minimize(partial(_value, fixed, floats), start, method="Nelder-Mead", bounds=[(0, 1)] * len(start),
                         options={"xatol": 1e-10, "fatol": 1e-14, "maxfev": 4000})  # fmt: skip
        start = found.x
    return float(found.fun), start


def _descend(value: float, config: Config) -> tuple[float, Config]:
    """Steps of depth, batch and width, the floats polished at each, until no step improves."""
    floats = _part(tuple(name for name, spec in lm.lm_space().parameters.items() if isinstance(spec, Float)))
    before = math.inf
    while value < before - 1e-12:
        before = value
        for name, step in itertools.product(("depth", "batch", "width"), (0, -16, -4, -1, 1, 4, 16)):
            spec = lm.lm_space().parameters[name]
            assert isinstance(spec, Int)
            fixed = {**config, name: min(max(config[name] + step, spec.lo), spec.hi)}
            least, row = _polish(fixed, floats, floats.encode({n: config[n] for n in floats.columns}))
            if least < value - 1e-13:
                value, config = least, {**fixed, **floats.decode(np.clip(row, 0.0, 1.0))}
    return value, config
