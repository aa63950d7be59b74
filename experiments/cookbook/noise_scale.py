"""The gradient noise scale as predictor of the largest useful batch (guide B, 6).

One training at a batch of 8 measures it. By the rule a batch of that size needs two thirds of the steps to the same loss that
half of it needs, and beyond it there is little to gain. Beside the steps of the smaller batch; what the rule predicts is said.
"""

from __future__ import annotations

from math import ceil

from experiments.cookbook.gpt import start_training
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT
from models.scaling import scale_lr_by_noise, speedup

MEASURED, LONGEST, RATE = 8, 2000, 1e-3  # batch size; steps of the guide's


def noise_scale(scale: Reduction) -> Outcome:
    def train(batch: int, target: float = 0.0) -> tuple[float, float, int]:
        """(loss, noise scale in sequences, steps) at the end, or where the target is reached."""
        rate = RATE if batch == MEASURED else scale_lr_by_noise(RATE, MEASURED, batch, noise)
        config, every = {**DEFAULT, "lr": rate, "batch_size": batch}, 4 if batch == MEASURED else 0
        run = start_training(config, scale, LONGEST, noise_every=every)
        for steps in range(1, scale.count_steps(LONGEST) + 1):
            metrics = run.advance(steps)[0]
            if metrics["loss"] <= target:
                break
        return metrics["loss"], metrics.get("noise_scale", 0.0) / run.size.context, steps

    loss, noise, _ = train(MEASURED)
    useful = max(2 * ceil(noise / 2), 4)
    steps = {batch: train(batch, 1.02 * loss)[2] for batch in (useful // 2, useful)}
    facts = {"noise scale": f"{noise:.1f} sequences", "predicted": f"{speedup(useful // 2, useful, noise):.2f} times fewer steps"}
    return Outcome(f"steps at a batch of {useful}", steps[useful], {f"at {useful // 2}": steps[useful // 2]}, facts=facts)
