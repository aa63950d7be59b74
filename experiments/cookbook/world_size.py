"""From 16 devices to 32: the batch and the rate that go with them (guide B, 4).

2 machines of 8 devices with 22 sequences each and a rate of 5e-5 become 4 of 8: a batch of 352 becomes 704, and the rate 1e-4 by
the linear rule, as the guide has it. Both are trained on the same number of sequences, 16 times fewer, beside the larger batch at
the old rate.
"""

from __future__ import annotations

from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT
from models.scaling import for_devices

TUNED = {"lr": 5e-5, "batch": 352}
SMALLER, STEPS = 16, 2000  # times; of the guide's, at the smaller batch


def world_size(scale: Reduction) -> Outcome:
    carried = for_devices(TUNED, 22, 16, 32, "linear")

    def train(lr: float, batch: float) -> float:
        steps = STEPS * TUNED["batch"] // batch  # so that all see the same sequences
        config = {**DEFAULT, "lr": 20 * lr, "batch_size": round(batch / SMALLER)}  # from scratch: a rate 20 times as high
        return advance_training(start_training(config, scale, int(steps)), scale, int(steps))

    beside = {"the old rate": train(TUNED["lr"], carried["batch"]), "16 devices": train(TUNED["lr"], TUNED["batch"])}
    facts = {"global batch": f"{TUNED['batch']} -> {carried['batch']}", "rate": f"{TUNED['lr']:g} -> {carried['lr']:g}"}
    return Outcome("loss", train(carried["lr"], carried["batch"]), beside, facts=facts)
