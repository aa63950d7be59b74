"""The two spaces of the main job: what is in them, and that all of it trains."""

import json
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

import hpo
from experiments.job import DEFAULT, SPACES, GPTObjective, default, flat, job_grid, list_trainable, space
from experiments.tune.memory import KINDS
from hpo import PBT, Grid, Random
from models.config import split
from models.optimizers.rows import OPTIMIZERS
from models.schedule import SHAPES

CONTEXT = 16


def sampled(name: str, count: int) -> list[dict[str, Any]]:
    there = space(name)
    return [there.decode(row) for row in there.domain.random(np.random.default_rng(1), count)]


WIDE = sampled("wide", 300)


# -- what is in them ---------------------------------------------------------------------------------------------------


def test_the_standard_space_is_the_one_that_committed_results_are_of() -> None:
    described = json.dumps(space().describe(), sort_keys=True)
    assert sha256(described.encode()).hexdigest()[:16] == "062db54de0590dd3"


@pytest.mark.parametrize("name", SPACES)
def test_the_default_is_in_every_space_and_always_the_same_training(name: str) -> None:
    assert space(name).check(default(name)) == default(name)
    assert split(flat(default(name))) == split(DEFAULT)


@pytest.mark.parametrize(("name", "count"), [("standard", 16), ("wide", 20)])
def test_the_grid_lists_a_few_configurations_and_the_default_is_one(name: str, count: int) -> None:
    grid = Grid(space(name), seed=0, values=job_grid(name))
    listed = [config for config in map(grid.at, range(grid.count)) if config is not None]
    assert len(listed) == count
    assert default(name) in listed


@pytest.mark.parametrize("name", SPACES)
def test_pbt_explores_only_what_a_space_has_and_no_shape(name: str) -> None:
    explored = set(list_trainable(name))
    assert explored <= set(space(name).parameters)
    assert not explored & {*KINDS, "layers", "hidden", "ff_ratio", "kv_share", "schedule"}
    PBT(Random(space(name), seed=0), explore=list_trainable(name))


@pytest.mark.parametrize("name", SPACES)
def test_learning_rates_come_last(name: str) -> None:
    rates = [one for one in space(name).parameters if one.endswith("lr") and one != "final_lr"]
    assert list(space(name).parameters)[-len(rates) :] == rates
    assert rates[-1] == "lr"


def test_the_wide_space_has_every_optimizer_and_schedule() -> None:
    assert {config["optimizer"] for config in WIDE} == set(OPTIMIZERS)
    assert {config["schedule"] for config in WIDE} == set(SHAPES)


READ = {
    "optimizer": {
        "adamw": {"beta1", "beta2", "eps", "lr"},
        "sgd": {"momentum", "nesterov", "sgd_lr"},
        "lion": {"beta1", "beta2", "lion_lr"},
        "muon": {"momentum", "beta1", "beta2", "eps", "muon_lr"},
        "adafactor": {"beta1", "beta2", "eps", "adafactor_lr"},
    },
    "schedule": {
        "constant": set(),
        "linear": {"final_lr"},
        "cosine": {"final_lr"},
        "exponential": {"final_lr", "decay_rate"},
        "inverse_sqrt": {"final_lr"},
        "wsd": {"final_lr", "decay_fraction"},
    },
}


@pytest.mark.parametrize("parent", READ)
def test_what_a_choice_reads_is_there_with_it_and_not_without(parent: str) -> None:
    read = READ[parent]
    conditional = set().union(*read.values())
    for config in WIDE:
        assert conditional & set(config) == read[config[parent]]


def test_nothing_else_is_conditional() -> None:
    conditional = {name for name, spec in space("wide").parameters.items() if spec.when}
    assert conditional == set().union(*(names for read in READ.values() for names in read.values()))


def test_heads_share_keys_and_values_evenly() -> None:
    assert {flat(config).get("kv_heads") for config in WIDE} == {None, 1, 2, 4}
    assert {config["kv_share"] for config in WIDE if config["heads"] == 1} == {1.0}


# -- that all of it trains ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_models_take_every_configuration(name: str) -> None:
    for config in sampled(name, 60):
        _, training = split(flat(config))
        assert training.optimizer == config["optimizer"]
        rate = {"adamw": "lr"}.get(training.optimizer, f"{training.optimizer}_lr")
        assert training.lr == config[rate]
        assert json.loads(json.dumps(config)) == config


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> GPTObjective:
    folder = tmp_path_factory.mktemp("text")
    (folder / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog, and so on\n" * 40)
    return GPTObjective(str(folder / "tiny.txt"), context=CONTEXT, eval_tokens=64, cache=str(folder))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains_on_configurations_of_the_wide_space(objective: GPTObjective, optimizer: str) -> None:
    for config in [config for config in WIDE if config["optimizer"] == optimizer][:2]:
        steps = 2 * config["batch"] * CONTEXT
        run = objective(config, 0, 10 * steps)
        metrics, _ = run.advance(steps)
        assert metrics["steps"] == 2
        assert 0 < metrics["loss"] < 10


def test_the_objective_passes_on_how_a_step_is_carried_out(objective: GPTObjective) -> None:
    fixed = {**objective.__dict__, "activation_checkpointing": True}
    assert GPTObjective(**fixed)(DEFAULT, 0, 1000).model.again
    assert not objective(DEFAULT, 0, 1000).model.again
    with pytest.raises(ValueError, match="engine is 'graph', but CUDA graphs need a CUDA device"):
        GPTObjective(**{**fixed, "engine": "graph"})(DEFAULT, 0, 1000)


class Silent(GPTObjective):
    """Says nothing of what may change, so that its runs are asked."""

    explore = None  # type: ignore[assignment]


@pytest.mark.parametrize(("cls", "options"), [(GPTObjective, {}), (Silent, {"population": 4, "generations": 4, "resample": 0.9})])
def test_the_default_call_of_pbt_loses_no_clone(objective: GPTObjective, cls: type[GPTObjective], options: Any) -> None:
    optimizer = hpo.make("pbt", space(), **options)
    study = hpo.minimize(cls(**objective.__dict__), space(), optimizer, unit="tokens", horizon=10 * CONTEXT, quiet=True)
    history, explored = study.history, set(study.header.optimizer["explore"])
    assert history.adopted and not any(history.is_failure(history.trials[trial][0]) for trial in history.adopted)
    assert not explored & {"layers", "hidden", "ff_ratio"} and {"lr", "weight_decay", "batch", "beta2"} <= explored
    assert cls is Silent or explored == set(list_trainable())


@pytest.mark.filterwarnings("ignore")
def test_a_shape_that_is_explored_loses_clones(objective: GPTObjective) -> None:
    """The error that the test above sees."""
    optimizer = PBT(Random(space(), seed=0), explore=["layers", "hidden"], generations=3)
    history = hpo.minimize(objective, space(), optimizer, unit="tokens", horizon=10 * CONTEXT, quiet=True).history
    lost = [history.results[history.trials[trial][0]].error or "" for trial in history.adopted]
    assert any("does not fit" in error for error in lost)
