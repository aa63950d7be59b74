"""How much smaller than in the guides models, data and searches are. Ranges, rules and rates are the guides' own.

A configuration always has a guide's own values, such as 768 for the hidden width; they become smaller where a model is built and
a training is set up, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LAYERS, HEADS = 6, 4  # so many times fewer: 6, 12, 24 layers are 1, 2, 4, and 8, 12, 16 heads are 2, 3, 4
LENGTH, VOCABULARY = 64, 512  # tokens of a text, where guides have 512, and of the vocabulary, where GPT-2 has 50,257
TEXTS = 23_767  # lines of WikiText-2's train part that are not empty: what an epoch of a guide has


@dataclass(frozen=True)
class Reduction:
    """The size of a program.

    width   what widths are divided by: hidden and ff
    texts   how many texts there are to train on; warm-up steps of Trainers are fewer in the same ratio
    steps   what budgets in steps are divided by, and warm-up steps of trainings whose budget is one
    trials  how many trials a search has; None: as many as in the guide
    seed    of the search and of the trainings
    """

    width: int = 16
    texts: int = 64
    steps: int = 25
    trials: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {"width": (1, 64), "texts": (8, TEXTS), "steps": (1, 100)}
        for name, (least, most) in allowed.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed are whole numbers from {least} to {most}")
        if self.trials is not None and self.trials < 1:
            raise ValueError(f"trials is {self.trials}; allowed is at least 1")

    def count_trials(self, guide: int) -> int:
        """The number of trials, of which the guide has so many."""
        return guide if self.trials is None else self.trials

    def count_steps(self, guide: int) -> int:
        """The steps of a budget, of which the guide has so many."""
        return max(round(guide / self.steps), 1)

    def count_warmup(self, guide: int) -> int:
        """The warm-up steps of a training over epochs, of which the guide has so many."""
        return round(guide * self.texts / TEXTS)

    def build_shape(self, config: Mapping[str, Any]) -> dict[str, int]:
        """Layers, hidden width, heads and ff width of the model that stands for a configuration's."""
        return {
            "layers": max(round(config["layers"] / LAYERS), 1), "hidden": config["hidden"] // self.width,
            "heads": config["heads"] // HEADS, "ff": config["ff"] // self.width,
        }  # fmt: skip
