"""simple_pbt and the four searches of a tutorial: what a generation is made of, what is printed, and what comes back."""

import re

import numpy as np
import pytest
from scipy.stats import loguniform

import hpo
from hpo import Categorical, Float, Int, Space
from hpo.optimizers.simple_pbt import SimplePBT, change_value
from tests.hpo.examples import run_example

SPACE = Space(lr=Float(1e-5, 1e-1, log=True), weight_decay=Float(0.0, 0.2), batch=Categorical([16, 32, 64]), n=Int(1, 9))


def loss(config):
    return abs(np.log10(config["lr"]) + 3) + abs(config["weight_decay"] - 0.1) + config["batch"] / 64 + abs(config["n"] - 5) / 4


def test_each_generation_is_the_better_half_and_a_mutated_copy_of_each():
    study = hpo.minimize(loss, SPACE, SimplePBT(SPACE, seed=1, population=6, generations=4), quiet=True)
    configs = [job.config for job in study.history.jobs.values()]
    assert len(configs) == 24
    for generation in range(1, 4):
        before, now = (configs[6 * g : 6 * g + 6] for g in (generation - 1, generation))
        upper = sorted(before, key=loss)[:3]
        assert now[:3] == upper, "the better half is trained again, afresh"
        for parent, child in zip(upper, now[3:], strict=True):
            changed = [name for name in parent if child[name] != parent[name]]
            assert len(changed) == 1, "one random parameter at a time"
    assert all(job.source is None for job in study.history.jobs.values())
    assert study.best.config == min(configs, key=loss)


def test_changes_are_those_of_the_guide():
    rng = np.random.default_rng(0)
    rates = np.array([change_value(SPACE.parameters["lr"], 1e-3, rng) for _ in range(4000)]) / 1e-3
    assert 0.8 <= rates.min() < 0.81 and 1.19 < rates.max() <= 1.2 and abs(rates.mean() - 1) < 0.01
    decays = np.array([change_value(SPACE.parameters["weight_decay"], 0.02, rng) for _ in range(4000)])
    assert decays.min() == 0.0 and 0.069 < decays.max() <= 0.07 and abs((decays == 0).mean() - 0.3) < 0.03
    assert {change_value(SPACE.parameters["batch"], 32, rng) for _ in range(50)} == {16, 64}
    assert {change_value(SPACE.parameters["n"], 5, rng) for _ in range(200)} == {3, 4, 6, 7}


def test_a_line_a_generation_and_the_best(capsys):
    best, value = hpo.simple_pbt(loss, SPACE, population=4, generations=5, seed=3)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == [f"generation {g}" for g in range(1, 6)]
    values = [float(re.findall(r": (\S+) at", line)[0]) for line in said]
    assert values == sorted(values, reverse=True) and abs(values[-1] - value) < 1e-5 and loss(best) == value
    first = hpo.simple_pbt(lambda c: -loss(c), SPACE, seed=3, direction="max")
    assert first == (best, -value)


def test_the_examples():
    assert run_example(hpo.simple_pbt)["best_loss"] < 1.0


@pytest.mark.parametrize(
    ("search", "count"),
    [
        (hpo.GridSearch({"lr": [1e-4, 1e-3, 1e-2], "batch": [16, 32]}), 6),
        (hpo.RandomSearch({"lr": loguniform(1e-5, 1e-1), "batch": [16, 32]}, n_iterations=30), 30),
        (hpo.BayesianSearch({"lr": (1e-5, 1e-1, "log"), "batch": [16, 32]}, n_initial=5, n_iterations=20), 20),
        (hpo.GeneticSearch({"lr": (1e-5, 1e-1, "log"), "batch": [16, 32]}, population_size=10, n_generations=4), 40),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else None,
)
def test_the_four_searches_maximise(search, count):
    def score(config):
        return -abs(np.log10(config["lr"]) + 3) - config["batch"] / 64

    best, value = search.run(score, quiet=True)
    assert len(search.study.history.trials) == count and value == score(best)
    assert best["batch"] == 16 and abs(np.log10(best["lr"]) + 3) < 0.6
