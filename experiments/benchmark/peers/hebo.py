"""HEBO (Cowen-Rivers et al. 2022), the winner of the black-box challenge of NeurIPS 2020, with its defaults.

Its parameter types carry the space: num, pow, int, pow_int, step_int, bool and cat. What had to be decided:

Conditions  HEBO has none: an inactive number is told in the middle of its range, an inactive choice as its first.
Diverged    nan is told as the worst finite value so far (late, where all before it diverged as well). HEBO itself would
            drop it, and could then propose the same place again.
Constraints It takes none: what a constraint of ours excludes is told at that worst value too, and it is asked again.
Recommended The lowest observed, as its `best_x`.
Versions    It pins numpy below 1.25 and pymoo 0.6.0, so it runs in an environment of its own; the model that it uses
            by default needs neither GPy nor catboost.
"""

from __future__ import annotations

import io
import math
import warnings
from contextlib import nullcontext, redirect_stdout
from typing import Any

import numpy as np
import pandas as pd
import torch
from hebo.design_space.design_space import DesignSpace
from hebo.optimizers.hebo import HEBO as Optimizer

from experiments.benchmark import peers
from experiments.benchmark.peers.shortcuts.evolved import shortcuts as evolved
from experiments.benchmark.peers.shortcuts.seeded import seed_streams
from hpo.parameters import Categorical, Float, Int, Parameter
from hpo.space import Config, Space

EXCLUDED = 20  # consecutive suggestions that a constraint excludes, before a random feasible one is taken


def hebo_parameter(name: str, spec: Parameter) -> dict[str, Any]:
    """One of our parameters as one of theirs; a choice by its index."""
    if isinstance(spec, Categorical):
        if _boolean(spec):
            return {"name": name, "type": "bool"}
        return {"name": name, "type": "cat", "categories": list(range(spec.size))}
    if isinstance(spec, Float):
        return {"name": name, "type": "pow" if spec.log else "num", "lb": spec.lo, "ub": spec.hi}
    assert isinstance(spec, Int), spec
    ends = {"name": name, "lb": spec.lo, "ub": spec.lo + (spec.count - 1) * spec.step}
    if spec.log:
        return ends | {"type": "pow_int"}
    return ends | ({"type": "int"} if spec.step == 1 else {"type": "step_int", "step": spec.step})


def _boolean(spec: Parameter) -> bool:
    return isinstance(spec, Categorical) and all(isinstance(choice, bool) for choice in spec.choices)


def _in(spec: Parameter, value: Any) -> Any:
    """Our value as theirs."""
    return int(spec.encode(value)) if isinstance(spec, Categorical) and not _boolean(spec) else value


def _out(spec: Parameter, value: Any) -> Any:
    """Their value as ours: within the range (they compute in single precision), on a step, plain."""
    if isinstance(spec, Categorical):
        return bool(value) if _boolean(spec) else spec.choices[int(value)]
    if isinstance(spec, Int):
        return spec.lo + min(max(round((value - spec.lo) / spec.step), 0), spec.count - 1) * spec.step
    return float(min(max(value, spec.lo), spec.hi))  # type: ignore[attr-defined]


class HEBO:
    """One study of HEBO's, driven by ask and tell; with shortcuts its search is quicker (evolved.py)."""

    def __init__(self, space: Space, seed: int, budget: int, shortcuts: bool = True) -> None:
        torch.set_num_threads(1)
        self.shortcut = evolved if shortcuts else nullcontext
        self.space, self.seed = space, seed
        self.searched = [name for name in space.columns if space.parameters[name].size != 1]
        self.middle = {name: self._middle(space.parameters[name]) for name in self.searched}
        design = DesignSpace().parse([hebo_parameter(name, space.parameters[name]) for name in self.searched])
        self.study = Optimizer(design, scramble_seed=seed)
        self._told: list[tuple[Config, float]] = []
        self._diverged: list[Config] = []  # not told yet: no finite value is known
        self._asked = 0

    @staticmethod
    def _middle(spec: Parameter) -> Any:
        return spec.decode(0.0 if isinstance(spec, Categorical) else 0.5)

    # -- ask and tell -----------------------------------------------------------------------------------------------

    def ask(self) -> Config:
        if len({repr(config) for config, _ in self._told}) >= self.space.domain.size:
            raise peers.Exhausted(f"all {self.space.domain.size:.0f} points of the space were told")
        for _ in range(EXCLUDED):
            config = self._suggested()
            if self.space.is_feasible(config):
                return config
            self._worst(config)
        return self.space.decode(self.space.domain.random(np.random.default_rng((self.seed, self._asked)), 1)[0])

    def _suggested(self) -> Config:
        self._asked += 1
        # it prints the jitter of every Cholesky factor, and a hint about compiled modules
        with seed_streams(self.seed, self._asked), warnings.catch_warnings(), redirect_stdout(io.StringIO()), self.shortcut():
            warnings.simplefilter("ignore")
            row = self.study.suggest(n_suggestions=1).iloc[0]
        values = {name: _out(self.space.parameters[name], row[name]) for name in self.searched}
        ones = {name: self.space.parameters[name].decode(0.0) for name in self.space.columns if name not in values}
        return self.space.decode(self.space.domain.snap(self.space.encode(values | ones))[0])

    def tell(self, config: Config, value: float) -> None:
        self._told.append((dict(config), float(value)))
        if not math.isfinite(value):
            return self._worst(config)
        self._observe(config, value)
        waiting, self._diverged = self._diverged, []
        for one in waiting:
            self._worst(one)

    def best(self) -> Config:
        """The lowest observed."""
        return dict(min(self._told, key=lambda one: one[1] if math.isfinite(one[1]) else math.inf)[0])

    @staticmethod
    def versions() -> dict[str, str]:
        return peers.package_versions("HEBO", "pymoo", "gpytorch", "torch", "numpy")

    def _worst(self, config: Config) -> None:
        finite = [value for _, value in self._told if math.isfinite(value)]
        if finite:
            self._observe(config, max(finite))
        else:
            self._diverged.append(config)

    def _observe(self, config: Config, value: float) -> None:
        values = {name: config.get(name, self.middle[name]) for name in self.searched}
        row = {name: _in(self.space.parameters[name], v) for name, v in values.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.study.observe(pd.DataFrame([row])[self.study.space.para_names], np.array([[value]]))
