"""The programs by name: the number in the guide, what it is, and the stated size. Imports none of them until one is run."""

from __future__ import annotations

from importlib import import_module

from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction

PROGRAMS: dict[str, tuple[str, str]] = {
    "parameter_count": ("A1", "a causal LM of any shape; GPT-2's parameters"),
    "manual_search": ("A2", "three shapes by hand, with the Trainer"),
    "random_search": ("A3", "random shapes, with the Trainer"),
    "grid_search": ("A4", "81 shapes, of which 63 can be built, with the Trainer"),
    "random_nine": ("A5", "random search over nine hyperparameters, with the Trainer"),
    "tpe_nine": ("A6", "TPE over the nine, `trial.suggest_*`, with the Trainer"),
    "simplified_pbt": ("A7", "population-based training without weights"),
    "pbt": ("A7", "the real one, with the Trainer's checkpoints"),
    "three_objectives": ("A8", "loss, megabytes and measured time; the Pareto front"),
    "median_pruning": ("A9", "median pruning at 100, 500 and 2000 steps"),
    "asha": ("A10", "ASHA(100, 3, 0)"),
    "gp_sampler": ("A11", "a Gaussian process as the sampler"),
    "several_machines": ("A12", "median pruning by several drivers, each 10 trials, in one database"),
    "optuna_study": ("A9, A11", "our GP and our median rule in Optuna's study"),
    "pretrained_layers": ("A13", "a pretrained model's first layers, with rate, batch size and weight decay"),
    "four_jobs": ("B1", "one hyperparameter from 2 to 26 with four jobs, random and grid"),
    "managed_tuner": ("B2", "a tuner as managed services have it, over a script that prints its loss"),
    "one_percent": ("B3", "tuned on a part of the data, carried over to the whole"),
    "world_size": ("B4", "16 devices become 32: batch and rate"),
    "model_shapes": ("B5", "30B and 1.5B, by their parameters"),
    "noise_scale": ("B6", "the gradient noise scale predicts the largest useful batch"),
    "hyperband_speed": ("B7", "steps to random search's loss by ASHA, random and Bayesian search"),
    "retraining_pipeline": ("B8", "tuning as a step of a retraining pipeline: it begins with what the last search found"),
    "nanogpt": ("B2", "nanoGPT's train.py, unmodified, tuned by what it prints, with early stopping"),
    "classify_llamatune": ("C1", "classification in three lines by `llamatune`"),
    "four_searches": ("D1", "grid, random, Bayesian and genetic search as classes"),
    "finetune_minilm": ("D2", "six hyperparameters of a fine-tuning, ten initial points"),
    "coarse_fine_local": ("D4", "coarse grid, fine grid, local search"),
    "pool_and_async": ("D5", "a pool of processes, and asyncio"),
    "early_end": ("D6", "patience 5, min_delta 0.001"),
    "rate_schedules": ("D7", "schedules, AdamW and SGD, checkpoints of which some stay"),
    "learned_rate": ("-", "the rate learns by its own gradient, beside random search"),
    "prompt_decoding": ("D3", "a prompt and decoding parameters, by random search"),
    "hotel_reviews": ("E1, E2", "reviews classified with the Trainer, and its `hyperparameter_search` on our GP"),
}


TRIALS = {  # at the stated size; all others as the guide
    "three_objectives": 25, "gp_sampler": 25, "optuna_study": 25, "classify_llamatune": 20, "finetune_minilm": 12,
    "four_searches": 6, "hyperband_speed": 8,
}  # fmt: skip


def find_scale(name: str) -> Reduction:
    """The stated size of a program."""
    return Reduction(trials=TRIALS.get(name))


def run_program(name: str, scale: Reduction) -> Outcome:
    """What a program finds at a scale. ValueError for a name that is none."""
    if name not in PROGRAMS:
        raise ValueError(f"program is {name!r}; allowed are {', '.join(PROGRAMS)}")
    found: Outcome = getattr(import_module(f"experiments.cookbook.{name}"), name)(scale)
    return found
