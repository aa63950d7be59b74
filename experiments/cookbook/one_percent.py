"""Tune on 1 % of the data, then scale to the whole (guide B, 3).

The rate is tuned on a part of the tokens and of the steps, carried over by a rule (models/scaling.py), and the whole is trained
once. A hundredth of the programs' short training is no step at all, so the part is a tenth here. Beside the default on the whole,
and the same number of whole trainings at random rates, at ten times the cost.
"""

from __future__ import annotations

from dataclasses import replace

import hpo
from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT
from experiments.cookbook.text import load_stream
from models.scaling import for_data

WHOLE, PART, SHARE = 2000, 200, 0.1  # steps of the guide's, and the share of the text


def one_percent(scale: Reduction) -> Outcome:
    corpus = load_stream()
    small = replace(corpus, train=corpus.train[: int(SHARE * len(corpus.train))])

    def train(config: dict[str, float], steps: int = WHOLE) -> float:
        text = corpus if steps == WHOLE else small
        return advance_training(start_training({**DEFAULT, **config}, scale, steps, text), scale, steps)

    ranges, trials = {"lr": (1e-4, 1e-1, "log")}, scale.count_trials(10)
    part = hpo.minimize(lambda config: train(config, PART), ranges, "gp", trials, seed=scale.seed, quiet=True)
    carried = for_data({"lr": part.best.config["lr"], "batch": DEFAULT["batch_size"]}, SHARE, 1.0, "horizon")
    drawn = hpo.minimize(train, ranges, "random", trials, seed=scale.seed, quiet=True)
    facts = {"tuned on the part": format_config(part.best.config), "carried over": f"lr {carried['lr']:.4g}"}
    beside = {"default": train({}), "random on the whole": drawn.best.value}
    return Outcome("loss", train({"lr": carried["lr"]}), beside, facts=facts)
