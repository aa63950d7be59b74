"""Spaces and losses on which the laws try an optimizer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from hpo.parameters import Categorical, Const, Float, Int
from hpo.space import Space

Loss = Callable[[Mapping[str, Any], int, int], Any]  # of a configuration, a budget and a seed


def has_whole_heads(config: Mapping[str, Any]) -> bool:
    return bool(config["hidden"] % config["heads"] == 0)


def mixed_space() -> Space:
    """Everything a space can hold: log ranges, a step, conditions (one of them on an Int), a constant, a constraint."""
    return Space(
        lr=Float(1e-5, 1e-1, log=True),
        dropout=Float(0.0, 0.5),
        batch=Int(1, 512, log=True),
        hidden=Int(16, 64, step=8),
        heads=Int(1, 8),
        optimizer=Categorical(["adamw", "sgd"]),
        momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
        nesterov=Categorical([True, False], when={"optimizer": "sgd"}),
        gate=Float(-1.0, 1.0, when={"heads": [4, 8]}),
        vocab=Const(256),
        constraints=[has_whole_heads],
    )


def small_space() -> Space:
    """Six points, all categorical."""
    return Space(a=Categorical(["x", "y", "z"]), b=Categorical([True, None]))


def plane() -> Space:
    return Space(x=Float(-1.0, 1.0), y=Float(-1.0, 1.0))


SPACES: dict[str, Callable[[], Space]] = {"mixed": mixed_space, "small": small_space, "plane": plane}

# spaces on which repeating is easy, and how many feasible configurations each has
TIGHT: dict[str, tuple[Callable[[], Space], float]] = {
    "log": (lambda: Space(width=Int(1, 20_000, log=True)), 20_000),
    "linear": (lambda: Space(a=Int(0, 10_000), b=Categorical(["x", "y"])), 20_002),
    "narrow": (lambda: Space(x=Float(1e6, 1e6 + 1e-9)), 10),
    "few": (lambda: Space(width=Int(1, 20_000), constraints=[lambda c: c["width"] in (7, 19_000)]), 2),
    "conditional": (lambda: Space(kind=Categorical(["x", "y"]), n=Int(1, 50_000, log=True, when={"kind": "x"}),
                                  constraints=[lambda c: c.get("n", 1) < 6]), 6),
}  # fmt: skip


def noise(*parts: Any) -> float:
    """In [0, 1), from anything with a stable text."""
    return int(hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=6).hexdigest(), 16) / 2**48


def rugged_loss(config: Mapping[str, Any], until: int, seed: int = 0) -> float:
    """A positive loss with a smooth part, a rough part and a learning curve. No two configurations tie."""
    smooth = sum(math.tanh(v) for v in config.values() if isinstance(v, float))
    return 2.0 + 0.2 * math.tanh(smooth) + 0.5 * noise(dict(config)) + 1.0 / until


def quadratic(config: Mapping[str, Any], until: int, seed: int = 0) -> float:
    """An easy loss over the plane, lowest at (0.3, -0.4)."""
    return float((config["x"] - 0.3) ** 2 + (config["y"] + 0.4) ** 2 + 0.1 / until)


def diverge(config: Mapping[str, Any], until: int, seed: int) -> float:
    raise ArithmeticError("diverged")


HOSTILE: dict[str, Loss] = {
    "failing": diverge,
    "nan": lambda config, until, seed: math.nan,
    "inf": lambda config, until, seed: -math.inf,
    "equal": lambda config, until, seed: 1.0,
    "zero": lambda config, until, seed: 0.0,
    "huge": lambda config, until, seed: 10.0 ** (300 * math.sin(seed)),
    "tiny": lambda config, until, seed: 1.0 + 1e-16 * (seed % 7),
    "half": lambda config, until, seed: math.nan if seed % 2 else rugged_loss(config, until, seed),
}
