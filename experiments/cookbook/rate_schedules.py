"""Warm-up from 1 % of the rate, then cosine; exponential decay; AdamW and SGD; evaluations and checkpoints (guide D, 7).

Four trainings of the default's shape. The first of 100 steps of linear warm-up has a hundredth of the rate; here they are fewer,
as all steps are, so that the first of four has a quarter. Each training is evaluated ten times, saves itself five times, and of
these two checkpoints stay and the best. Beside AdamW at a constant rate, which is one of the four.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from experiments.cookbook.gpt import start_training
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT
from models.snapshots import Snapshots

STEPS, WARMUP = 2000, 0.05  # steps of the guide's, and the share of them that warms up
SCHEDULES: dict[str, dict[str, Any]] = {
    "warm-up, cosine": {"warmup": WARMUP, "schedule": "cosine", "final_lr": 0.0},
    "exponential": {"warmup": WARMUP, "schedule": "exponential", "decay_rate": 0.95, "decay_every": 0.02, "final_lr": 0.0},
    "SGD, cosine": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "warmup": WARMUP, "schedule": "cosine", "final_lr": 0.0},
    "constant": {"schedule": "constant", "warmup": 0},
}


def rate_schedules(scale: Reduction) -> Outcome:
    losses, whole = {}, scale.count_steps(STEPS)
    every: dict[str, Any] = {"eval_every": max(whole // 10, 1), "save_every": 2 * max(whole // 10, 1), "keep": 2}
    with tempfile.TemporaryDirectory() as folder:
        for name, fields in SCHEDULES.items():
            run = start_training({**DEFAULT, "lr": 1e-3}, scale, STEPS, folder=Path(folder, name), **every, **fields)
            losses[name] = run.advance(whole)[0]["loss"]
        kept = {name: len(Snapshots(Path(folder, name)).list_steps()) for name in SCHEDULES}
    facts = {**{name: f"{loss:.4f}" for name, loss in losses.items()}, "checkpoints that stay": max(kept.values())}
    return Outcome("loss", min(losses.values()), {"constant": losses["constant"]}, facts=facts)
