"""Grid, random, Bayesian and genetic search as small classes with run(objective); they maximise (guide D, 1).

The genetic one has the guide's tournaments of 3, uniform crossover and mutations at a rate of 0.1, of a tenth of the range. Its
population of 20 and 10 generations, the defaults of GeneticSearch, are here half as many as there are trials each. The objective
is the accuracy of a classifier of reviews. Beside a configuration that nobody chose.
"""

from __future__ import annotations

from functools import partial

import hpo
from experiments.cookbook.classification import classify_reviews
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction

FIXED = {"num_epochs": 3, "weight_decay": 0.01}
LISTS = {"learning_rate": [1e-6, 1e-5, 1e-4], "batch_size": [8, 16, 32]}
RANGES = {"learning_rate": (1e-6, 1e-3, "log"), "batch_size": [8, 16, 32]}


def four_searches(scale: Reduction) -> Outcome:
    def score(config: dict[str, float]) -> float:
        return partial(classify_reviews, scale=scale)({**config, **FIXED})

    trials = scale.count_trials(20)
    searches = [
        hpo.GridSearch(LISTS), hpo.RandomSearch(RANGES, trials, seed=scale.seed),
        hpo.BayesianSearch(RANGES, n_initial=trials // 4, n_iterations=trials - trials // 4, seed=scale.seed),
        hpo.GeneticSearch(RANGES, max(trials // 2, 4), max(trials // 2, 2), seed=scale.seed),
    ]  # fmt: skip
    found = {type(search).__name__: search.run(score, quiet=True) for search in searches}
    best = max(found, key=lambda name: found[name][1])
    beside = {"untuned": score({"learning_rate": 1e-5, "batch_size": 32}), **{name: value for name, (_, value) in found.items()}}
    return Outcome("accuracy", found[best][1], beside, is_higher_better=True, facts={best: format_config(found[best][0])})
