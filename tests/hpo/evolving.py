"""Functions that the tests of evolutionary methods minimise, and a loop that asks and tells."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hpo import Categorical, Float, Int, Optimizer, Space


def cube(d: int = 5) -> Space:
    return Space({f"x{i}": Float(-5.0, 5.0) for i in range(d)})


def sphere(config: Any) -> float:
    return float(sum(value * value for value in config.values()))


def rosenbrock(config: Any) -> float:
    x = np.array(list(config.values()))
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


MIXED = Space({"lr": Float(1e-5, 1e-1, log=True), "width": Int(1, 64), "kind": Categorical(["a", "b", "c", "d"])})


def mixed(config: Any) -> float:
    return (math.log10(config["lr"]) + 3) ** 2 + ((config["width"] - 40) / 16) ** 2 + 2.0 * (config["kind"] != "c")


def tell_all(optimizer: Optimizer, jobs: int, loss: Callable[[Any], Any]) -> Any:
    for _ in range(jobs):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, loss(job.config))
    return optimizer.history
