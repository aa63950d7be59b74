"""EpochRun: a TrainerRun that ends at its own epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transformers import Trainer

from hpo.integrations.transformers.names import find_field
from hpo.integrations.transformers.run import LENGTHS, MakeTrainer, TrainerRun
from hpo.integrations.transformers.shared import count_examples, count_steps
from hpo.objective import Curve


class EpochRun(TrainerRun):
    """A TrainerRun whose whole length is its own: as many optimizer steps as the trainer counts for its epochs at its batch size,
    at most the horizon. A budget beyond it leaves it as it is.

    So `num_train_epochs` (or `max_steps`), which a TrainerRun refuses, is a hyperparameter like others, and the schedule of the
    learning rate falls over this length. ValueError for a trainer whose length cannot be told.
    """

    def __init__(self, make_trainer: MakeTrainer, config: Mapping[str, Any], seed: int, horizon: int) -> None:
        lengths = {name: value for name, value in config.items() if find_field(name) in LENGTHS}
        own = horizon

        def make(rest: dict[str, Any]) -> Trainer:
            nonlocal own
            trainer = make_trainer({**rest, **lengths})
            own = min(horizon, count_steps(trainer.args, count_examples(trainer))[0])
            return trainer

        super().__init__(make, {name: value for name, value in config.items() if name not in lengths}, seed, horizon)
        self.horizon = self.trainer.args.max_steps = own

    def advance(self, until: int, checkpoint: Callable[[], None] | None = None) -> tuple[dict[str, float], Curve]:
        return super().advance(min(until, self.horizon), checkpoint)
