"""Activation checkpointing changes no bit."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings

from models.config import split
from models.engines.cpu import engine as cpu
from models.engines.eager import EagerEngine
from models.flat import flatten
from models.gpt import GPT
from models.optimizers.rows import OPTIMIZERS
from tests.models.test_shapes_degenerate import shapes
from tests.models.tiny import STEP, TINY, make

torch.set_num_threads(1)


def test_activation_checkpointing_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "library", lambda: None)  # it recomputes for autograd
    config = {**TINY, "layers": 2, "dropout": 0.2, "attention_dropout": 0.1, "layer_dropout": 0.1}
    plain, again = make(config), make({**config, "activation_checkpointing": True})
    for run in (plain, again):
        run.advance(10 * STEP)
    assert torch.equal(plain.flat.weights, again.flat.weights)


@settings(deadline=None, max_examples=40)
@given(shapes().filter(lambda shape: shape["positions"] == "learned"))
def test_what_is_computed_again_is_the_same(shape: dict[str, Any]) -> None:
    """Activation checkpointing changes no bit, whatever the shape."""
    size, training = split(shape)
    found = []
    for again in (False, True):
        model = GPT(size, seed=1)
        model.again = again
        flat = flatten(model)
        engine = EagerEngine(model, flat, OPTIMIZERS["sgd"].load()(flat, training), training)
        engine.gradient(torch.zeros(training.batch, size.context + 1, dtype=torch.int64), 1.0, 1.0, seed=3)
        found.append(flat.grads)
    assert torch.equal(*found)
