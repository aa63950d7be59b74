"""The arms, each with the same CPU seconds, and what a line holds.

    default   one training with the defaults, as long as the seconds allow, evaluated EVALUATIONS times on the way
    random    ASHA over random configurations of a training of all weights
    tuned     ASHA over a GP, in the same space
    LoRA      ASHA over a GP, in the space of adapters

Of all models that an arm evaluated, the one with the lowest loss on the validation texts is kept, and it alone is tried on the
test texts. Two references are not trained: the model that the default begins with, and SmolLM2 with all its layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import hpo
from experiments.finetuning.spaces import Spaces
from experiments.finetuning.tasks import TASKS, FinetuningTask
from experiments.ledger.environment import environment
from experiments.sentiment.budget import BudgetSpent, Monitor, search_within

EVALUATIONS = 6  # of the default
PROBE = 5  # steps by which the cost of one is measured
FILLED = 0.95  # the share of the seconds that the default's training is planned for: a step may become dearer

Start = Callable[[float], Monitor]  # begins so many seconds
Found = tuple[Monitor, dict[str, Any]]  # what was heard, and further fields of the line
MakeSampler = Callable[[hpo.Space, int], hpo.Sampler]


# -- searches ----------------------------------------------------------------------------------------------------------


def make_random(space: hpo.Space, seed: int) -> hpo.Sampler:
    return hpo.Random(space, seed=seed)


def make_gp(space: hpo.Space, seed: int) -> hpo.Sampler:
    return hpo.GP(space, seed=seed)


@dataclass(frozen=True)
class RungSearch:
    """ASHA over a sampler of the space that `choose` takes from those of a task."""

    choose: Callable[[Spaces], hpo.Space]
    make_sampler: MakeSampler

    def __call__(self, task: FinetuningTask, start: Start, seed: int) -> Found:
        from experiments.finetuning.training import SCORE, TextsRun

        monitor = start(task.seconds)

        def build(config: Mapping[str, Any], seed: int, horizon: int) -> TextsRun:
            return TextsRun(task, monitor, config, seed, horizon)

        optimizer = hpo.ASHA(self.make_sampler(self.choose(task.spaces), seed), min_resource=task.rung)
        search_within(monitor, build, optimizer, SCORE, task.horizon, "texts")
        return monitor, {}


def train_with_defaults(task: FinetuningTask, start: Start, seed: int) -> Found:
    """One training that fills the seconds. Its length, and with it its schedule, is planned from what a step costs here."""
    import transformers

    from experiments.finetuning.training import open_trainer

    loss, steps = plan_default(task, start, seed)
    monitor, config = start(task.seconds), {**task.spaces.default, "max_steps": steps}
    transformers.set_seed(seed)  # before the model is made
    trainer = open_trainer(task, monitor, config, seed=seed, eval_strategy="steps", eval_steps=steps // EVALUATIONS)
    with suppress(BudgetSpent):
        trainer.train()
    return monitor, {"start": float(f"{loss:.6g}"), "planned": steps}


def plan_default(task: FinetuningTask, start: Start, seed: int) -> tuple[float, int]:
    """The loss on the validation texts before the default's training, and for how many steps the seconds are enough, by what a
    step and an evaluation cost. None of this counts as seconds of the arm."""
    import transformers

    from experiments.finetuning.training import open_trainer

    probe = start(float("inf"))
    transformers.set_seed(seed)
    trainer = open_trainer(task, probe, {**task.spaces.default, "max_steps": PROBE})
    loss: float = trainer.evaluate()["eval_loss"]
    times = []
    for act in (trainer.train, trainer.train, trainer.evaluate):  # the first training of a process is dearer
        before = probe.elapsed_seconds
        act()
        times.append(probe.elapsed_seconds - before)
    step, evaluation = times[1] / PROBE, times[2]
    steps = (FILLED * task.seconds - EVALUATIONS * evaluation) / step
    return loss, EVALUATIONS * max(int(steps / EVALUATIONS), 1)


# -- by name -----------------------------------------------------------------------------------------------------------

ARMS: Mapping[str, Callable[[FinetuningTask, Start, int], Found]] = {
    "default": train_with_defaults,
    "random": RungSearch(Spaces.whole_model, make_random),
    "tuned": RungSearch(Spaces.whole_model, make_gp),
    "LoRA": RungSearch(Spaces.adapters, make_gp),
}
REFERENCES: Mapping[str, Callable[[Spaces], Mapping[str, Any]]] = {  # configurations of models that are not trained
    "untrained": lambda spaces: spaces.default,
    "whole": lambda spaces: {},
}


# -- lines -------------------------------------------------------------------------------------------------------------


def measure_finetuning(task: str, arm: str, seed: int) -> dict[str, Any]:
    """One arm with one seed: its best model's scores on the test texts, and what was done to find it."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    opened = TASKS[task]()
    found = run_reference(opened, arm, seed) if arm in REFERENCES else run_arm(opened, arm, seed)
    return {**found, "versions": environment("torch", "transformers", "peft")}


def run_reference(task: FinetuningTask, arm: str, seed: int) -> dict[str, Any]:
    """The scores of a model that was not trained, on the test texts."""
    import transformers

    transformers.set_seed(seed)
    return task.judge(task.make_model(REFERENCES[arm](task.spaces)))


def run_arm(task: FinetuningTask, arm: str, seed: int, start: Start = Monitor) -> dict[str, Any]:
    """What `measure_finetuning` does, for any task. RuntimeError if the seconds were over before anything was evaluated."""
    task.make_model(task.spaces.default)  # what is read once must not count as seconds of the first trial
    monitor, more = ARMS[arm](task, start, seed)
    found = monitor.conclude()  # before the test texts are read
    model = task.make_model(found["best"]["config"])
    model.load_state_dict(monitor.weights)
    return {**task.judge(model), **more, **found}
