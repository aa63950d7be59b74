"""The hyperparameters that are searched, and the defaults, under the names of TrainingArguments and of Recipe.

The defaults are what people take: for SmolLM2 those of TrainingArguments, for MiniLM those of guides (a rate of 2e-5, batches of
16, weight decay 0.01). Both train all weights of all layers that are kept, and have no warm-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo import Categorical, Float, Int, Space

Rates = tuple[float, float]


@dataclass(frozen=True)
class Spaces:
    """Of a task: ranges of the rate with all weights and with adapters, the choice of batch sizes, the number of layers.

    Adapters have higher rates: their weights begin at zero, and there are few of them.
    """

    rates: Rates
    adapter_rates: Rates
    batches: tuple[int, ...]
    layers: tuple[int, int]
    default: Mapping[str, Any]
    most_epochs: int = 3

    def whole_model(self) -> Space:
        """Of a training of all weights, or of all but the embeddings."""
        return Space({**self._shared(self.rates), "freeze_embeddings": Categorical((False, True))})

    def adapters(self) -> Space:
        """Of a training of adapters: their rank and the rest of what makes them, together with the rate."""
        return Space({
            **self._shared(self.adapter_rates), "lora_rank": Int(1, 32, log=True), "lora_alpha": Float(4.0, 64.0, log=True),
            "lora_targets": Categorical(("attention", "all")), "lora_dropout": Float(0.0, 0.2),
        })  # fmt: skip

    def _shared(self, rates: Rates) -> dict[str, Any]:
        return {
            "learning_rate": Float(*rates, log=True), "batch_size": Categorical(self.batches), "weight_decay": Float(0.0, 0.2),
            "warmup_ratio": Float(0.0, 0.2), "num_layers": Int(*self.layers), "num_train_epochs": Int(1, self.most_epochs),
        }  # fmt: skip


SMOLLM2 = Spaces(
    (1e-5, 1e-2), (1e-4, 1e-1), (2, 4, 8), (2, 6),
    {"learning_rate": 5e-5, "batch_size": 8, "weight_decay": 0.0, "num_layers": 6},
)  # fmt: skip
MINILM = Spaces(
    (1e-5, 1e-3), (1e-4, 1e-2), (8, 16, 32), (2, 6),
    {"learning_rate": 2e-5, "batch_size": 16, "weight_decay": 0.01, "num_layers": 6},
)  # fmt: skip
