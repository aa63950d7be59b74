"""What fits into a worker's memory: what the prediction says, quickly, and a space of nothing else."""

import json
from typing import Any

import numpy as np
import pytest

from experiments.job import DEFAULT, LARGEST, SPACES, GPTObjective, divides, flat, space
from experiments.tune.memory import SWITCHES, Fits, worker_room
from hpo.optimizers import make
from models.predict.memory import MARGIN, fits_memory, memory

VOCABULARY = 84


def sampled(name: str, count: int, room: Fits | None = None) -> list[dict[str, Any]]:
    there = space(name, room)
    return [there.decode(row) for row in there.domain.random(np.random.default_rng(1), count)]


WIDE = sampled("wide", 300)


def room(available: int, **changed: Any) -> Fits:
    return worker_room(GPTObjective(**changed), available, VOCABULARY)


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
    needs = sorted(room(1, **changed).bytes_needed(config) for config in WIDE)
    for limit in (needs[30], needs[150], needs[-1]):
        there = room(limit, **changed)
        for config in WIDE:
            known = {**dict(there.fixed), **flat(config)}
            assert there(config) == fits_memory(known, there) == (there.bytes_needed(config) <= limit)


def test_the_limit_is_per_device_and_counts_what_is_fixed() -> None:
    base = room(1).bytes_needed(DEFAULT)
    assert room(1, context=512).bytes_needed(DEFAULT) > 3 * base
    assert room(1, context=512, activation_checkpointing=True).bytes_needed(DEFAULT) < room(1, context=512).bytes_needed(DEFAULT)
    assert room(1, device="cuda:1").kind == "cuda"


AUTOGRAD = [{"engine": "compile"}, {"threads": 2}, {"activation_checkpointing": True}, {"precision": "bf16"}]


@pytest.mark.parametrize("changed", AUTOGRAD)
def test_what_is_not_trained_by_hand_is_not_predicted_so(changed: dict[str, Any]) -> None:
    there = room(1, context=512, **changed)
    for config in WIDE[:50]:
        known = {**dict(there.fixed), **flat(config)}
        assert there.bytes_needed(config) == int(memory(known, kernels=False).process * (1 + MARGIN)) + 1


def test_nor_is_it_where_the_machine_has_no_kernels() -> None:
    made = GPTObjective(context=512)
    byhand, autograd = worker_room(made, 1, VOCABULARY), worker_room(made, 1, VOCABULARY, kernels=False)
    needs = [(byhand.bytes_needed(config), autograd.bytes_needed(config)) for config in WIDE]
    assert max(without / there for there, without in needs) > 1.4
    for config, (_, without) in zip(WIDE, needs, strict=True):
        assert worker_room(made, without, VOCABULARY, kernels=False)(config)
        assert not worker_room(made, without - 2, VOCABULARY, kernels=False)(config)


@pytest.mark.parametrize("changed", [{}, {"engine": "compile"}])
def test_sizes_are_largest_at_the_upper_ends_and_switches_only_add(changed: dict[str, Any]) -> None:
    """What the quick answer for all sizes of a kind stands on."""
    there = room(1, **changed)
    for config in WIDE:
        plain = flat(config)
        assert all(plain[name] <= largest for name, largest in LARGEST.items())
        assert there.bytes_needed(config) <= there.bytes_needed({**plain, **LARGEST, **SWITCHES})


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
