"""What a flat config may say, and what it is told otherwise."""

import subprocess
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from models.config import RULES, GPTConfig, TrainConfig, split


def test_defaults_are_valid_and_every_name_has_a_rule() -> None:
    model, training = split({})
    assert (model, training) == (GPTConfig(), TrainConfig())
    assert {field.name for field in (*fields(model), *fields(training))} == set(RULES)


def test_a_flat_mapping_is_split_by_name() -> None:
    model, training = split({"layers": 3, "hidden": 32, "lr": 0.1, "batch": 8, "tie": False})
    assert (model.layers, model.hidden, model.tie) == (3, 32, False)
    assert (training.lr, training.batch, training.micro) == (0.1, 8, 8)


def test_the_inner_width() -> None:
    assert GPTConfig(hidden=12).inner == GPTConfig(hidden=12, ff=0).inner == 48
    assert GPTConfig(hidden=12, ff=20).inner == 20
    assert GPTConfig(hidden=12, ff_ratio=2.7).inner == 32


def test_one_definition_of_the_effective_batch() -> None:
    training = TrainConfig(batch=24, micro_batch=4)
    assert training.accumulation() == 6
    assert training.accumulation(devices=3) == 2
    assert TrainConfig(batch=24).accumulation(devices=3) == 1
    with pytest.raises(ValueError, match="batch is 24, but must be divisible by micro_batch 4 x 5 devices = 20"):
        training.accumulation(devices=5)


def test_numbers_of_numpy_become_plain() -> None:
    model, training = split({"layers": np.int64(2), "lr": np.float64(0.1), "warmup": np.int32(3)})
    assert type(model.layers) is int and type(training.lr) is float and type(training.warmup) is int


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"learning_rate": 1}, "learning_rate: not a hyperparameter; allowed are layers, hidden, heads, "),
        ({"layers": 0}, "layers is 0, but must be a whole number of at least 1"),
        ({"layers": 2.0}, "layers is 2.0, but must be a whole number"),
        ({"layers": True}, "layers is True, but must be a whole number"),
        ({"hidden": 30, "heads": 4}, "hidden is 30, but must be divisible by heads, which is 4"),
        ({"ff": 64, "ff_ratio": 2.0}, "only one of the two may be given"),
        ({"dropout": 1.0}, r"dropout is 1.0, but must be a number in \[0, 1\)"),
        ({"lr": float("nan")}, "lr is nan, but must be a finite number of at least 0"),
        ({"lr": "fast"}, "lr is 'fast', but must be a finite number"),
        ({"eps": 0}, r"eps is 0, but must be a number in \[1e-30, 1\]"),
        ({"tie": 1}, "tie is 1, but must be True or False"),
        ({"optimizer": "adam"}, "optimizer is 'adam', but must be one of adamw, sgd"),
        ({"optimizer": ["adamw"]}, "must be one of adamw, sgd"),
        ({"warmup": 1.5}, "warmup is 1.5, but must be a whole number of steps, or a float"),
        ({"warmup": -1}, "warmup is -1"),
        ({"schedule": "exponential", "final_lr": 0}, "final_lr is 0, but must be above 0 for the exponential"),
        ({"batch": 10, "micro_batch": 4}, "batch is 10, but must be divisible by micro_batch 4"),
        ({"precision": "int8"}, "precision is 'int8', but must be one of float32, bf16, fp16"),
    ],
)
def test_errors_name_the_parameter_what_came_and_what_is_allowed(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        split(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module", ["models", "models.config", "models.predict.cost", "models.schedule", "models.data.batches"])
def test_what_needs_no_torch_loads_none(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_gives_its_names_lazily() -> None:
    import models

    for name in models.__all__:
        assert getattr(models, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'TrainRum'; it has GPTConfig"):
        models.TrainRum  # noqa: B018
