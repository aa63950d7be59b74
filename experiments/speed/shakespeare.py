"""nanoGPT's character model on Shakespeare, to the validation loss that it publishes: 1.4697 (its README)."""

from __future__ import annotations

import time
from typing import Any

from experiments.speed.sizes import text
from models.train import TrainRun

TARGET, STEPS, EVERY = 1.4697, 5000, 250
# config/train_shakespeare_char.py of nanoGPT, in the names of `models`.
CONFIG: dict[str, Any] = {
    "layers": 6, "hidden": 384, "heads": 6, "context": 256, "dropout": 0.2, "attention_dropout": 0.2, "batch": 64,
    "lr": 1e-3, "final_lr": 0.1, "beta2": 0.99, "weight_decay": 0.1, "warmup": 100, "schedule": "cosine", "clip": 1.0,
    "eval_every": EVERY, "eval_tokens": 10**9,
}  # fmt: skip


def race(device: str, precision: str, engine: str | None = None) -> str:
    """Trains until an evaluation over the whole validation text is at the target; the seconds include everything."""
    chosen = engine or ("eager" if device == "cpu" else "graph")
    started = time.perf_counter()
    run = TrainRun({**CONFIG, "precision": precision}, 0, STEPS, text(), "steps", device, engine=chosen)
    best = float("inf")
    for until in range(EVERY, STEPS + 1, EVERY):
        metrics, _ = run.advance(until)
        best = min(best, metrics["loss"])
        print(f"step {until}: loss {metrics['loss']:.4f}, {time.perf_counter() - started:.1f} s", flush=True)
        if best <= TARGET:
            return (f"{TARGET} reached after {until} steps and {time.perf_counter() - started:.1f} s ({device}, {chosen})")
    return f"{TARGET} not reached in {STEPS} steps: best {best:.4f}, {time.perf_counter() - started:.1f} s ({device}, {chosen})"
