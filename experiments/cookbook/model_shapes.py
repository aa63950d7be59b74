"""Shapes of large models: 30B has 64 heads, 48 layers, width 7168 and batch 5 (guide B, 5); 24 heads, width 1536 and batch 2 of a
1.5B have no depth there, and take 50 layers. Parameters are counted without building them, beside the label."""

from __future__ import annotations

from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction
from models.config import split
from models.predict.cost import parameters

SHAPES = {
    "30B": {"layers": 48, "hidden": 7168, "heads": 64, "context": 2048},
    "1.5B": {"layers": 50, "hidden": 1536, "heads": 24, "context": 1024},
}


def model_shapes(scale: Reduction) -> Outcome:
    counts = {name: parameters(split({**shape, "vocabulary": 50257, "bias": True})[0]) for name, shape in SHAPES.items()}
    facts = {name: f"{count / 1e9:.2f} billion, width {SHAPES[name]['hidden']}" for name, count in counts.items()}
    away = {name: abs(count / (float(name[:-1]) * 1e9) - 1) for name, count in counts.items()}
    return Outcome("largest distance from a label", max(away.values()), {"allowed": 0.05}, facts=facts)
