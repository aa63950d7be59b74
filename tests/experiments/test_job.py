"""The two spaces of the main job: what is in them, that all of it trains, and that what does not fit is left out."""

import json
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from experiments.job import DEFAULT, GPTObjective, default, divides, flat, grid_values, space, trainable
from experiments.spaces import KINDS, LARGEST, SPACES, SWITCHES, Fits
from hpo import PBT, Grid, Random
from hpo.optimizers import make
from models.config import split
from models.optimizers.rows import OPTIMIZERS
from models.predict.memory import MARGIN, fits, memory
from models.schedule import SHAPES

CONTEXT = 16
VOCABULARY = 84


def sampled(name: str, count: int, room: Fits | None = None) -> list[dict[str, Any]]:
    there = space(name, room)
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
    grid = Grid(space(name), seed=0, values=grid_values(name))
    listed = [config for config in map(grid.at, range(grid.count)) if config is not None]
    assert len(listed) == count
    assert default(name) in listed


@pytest.mark.parametrize("name", SPACES)
def test_pbt_explores_only_what_a_space_has_and_no_shape(name: str) -> None:
    explored = set(trainable(name))
    assert explored <= set(space(name).parameters)
    assert not explored & {*KINDS, "layers", "hidden", "ff_ratio", "kv_share", "schedule"}
    PBT(Random(space(name), seed=0), explore=trainable(name))


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


# -- memory ------------------------------------------------------------------------------------------------------------


def room(available: int, **changed: Any) -> Fits:
    return GPTObjective(**changed).room(available, VOCABULARY)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"context": 512, "engine": "compile"},
        {"context": 512, "activation_checkpointing": True},
        {"device": "cuda", "precision": "bf16"},
    ],
)
def test_it_says_what_the_prediction_says(changed: dict[str, Any]) -> None:
    needs = sorted(room(1, **changed).needs(config) for config in WIDE)
    for limit in (needs[30], needs[150], needs[-1]):
        there = room(limit, **changed)
        for config in WIDE:
            known = {**dict(there.fixed), **flat(config)}
            assert there(config) == fits(known, there) == (there.needs(config) <= limit)


def test_the_limit_is_per_device_and_counts_what_is_fixed() -> None:
    base = room(1).needs(DEFAULT)
    assert room(1, context=512).needs(DEFAULT) > 3 * base
    assert room(1, context=512, activation_checkpointing=True).needs(DEFAULT) < room(1, context=512).needs(DEFAULT)
    assert room(1, device="cuda:1").kind == "cuda"


AUTOGRAD = [{"engine": "compile"}, {"threads": 2}, {"activation_checkpointing": True}, {"precision": "bf16"}]


@pytest.mark.parametrize("changed", AUTOGRAD)
def test_what_is_not_trained_by_hand_is_not_predicted_so(changed: dict[str, Any]) -> None:
    there = room(1, context=512, **changed)
    for config in WIDE[:50]:
        known = {**dict(there.fixed), **flat(config)}
        assert there.needs(config) == int(memory(known, kernels=False).process * (1 + MARGIN)) + 1


def test_nor_is_it_where_the_machine_has_no_kernels() -> None:
    made = GPTObjective(context=512)
    byhand, autograd = made.room(1, VOCABULARY), made.room(1, VOCABULARY, kernels=False)
    needs = [(byhand.needs(config), autograd.needs(config)) for config in WIDE]
    assert max(without / there for there, without in needs) > 1.4
    for config, (_, without) in zip(WIDE, needs, strict=True):
        assert made.room(without, VOCABULARY, kernels=False)(config)
        assert not made.room(without - 2, VOCABULARY, kernels=False)(config)


@pytest.mark.parametrize("changed", [{}, {"engine": "compile"}])
def test_sizes_are_largest_at_the_upper_ends_and_switches_only_add(changed: dict[str, Any]) -> None:
    """What the quick answer for all sizes of a kind stands on."""
    there = room(1, **changed)
    for config in WIDE:
        plain = flat(config)
        assert all(plain[name] <= largest for name, largest in LARGEST.items())
        assert there.needs(config) <= there.needs({**plain, **LARGEST, **SWITCHES})


@pytest.mark.parametrize("name", SPACES)
def test_only_what_fits_is_sampled(name: str) -> None:
    there = room(20_000_000)
    everything, fitting = sampled(name, 200), sampled(name, 200, there)
    assert all(map(there, fitting))
    assert 20 < sum(map(there, everything)) < 180
    optimizer = make("gp", space(name, there), 0)
    for value in range(12):
        job = optimizer.ask()
        assert job is not None and there(job.config)
        optimizer.tell(job, float(value))


def test_a_limit_stands_in_the_header_and_none_changes_nothing() -> None:
    named = space("standard", room(12_345)).describe()["constraints"]
    assert named[0] == "experiments.job.divides"
    assert "12345" in json.dumps(named[1])
    assert named != space("standard", room(12_345, engine="compile")).describe()["constraints"]
    assert space("standard").constraints == (divides,)


def test_where_all_fits_the_first_configurations_are_those_without_a_limit() -> None:
    assert sampled("standard", 50, room(10**10)) == sampled("standard", 50)
