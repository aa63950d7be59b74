"""Costs against the built model: parameters exactly, FLOPs by torch's counter, memory by what autograd keeps."""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.config import split
from models.cost import activation_bytes, cost
from models.gpt import GPT

torch.set_num_threads(1)

SIZES: list[dict[str, Any]] = [
    {"layers": 1, "hidden": 8, "heads": 2, "vocabulary": 10, "context": 5},
    {"layers": 3, "hidden": 24, "heads": 3, "vocabulary": 101, "context": 32, "ff": 50},
    {"layers": 2, "hidden": 36, "heads": 4, "vocabulary": 7, "context": 16, "ff_ratio": 2.6},
]


@pytest.mark.parametrize(("size", "tie", "bias"), list(product(SIZES, (True, False), (True, False))))
def test_parameters_are_exact(size: dict[str, Any], tie: bool, bias: bool) -> None:
    config = {**size, "tie": tie, "bias": bias}
    built = sum(weight.numel() for weight in GPT(split(config)[0]).parameters())
    assert cost(config).parameters == built
    assert cost(config).megabytes == pytest.approx(4 * built / 1e6)


def test_gpt2_has_its_124_million() -> None:
    gpt2 = {"layers": 12, "hidden": 768, "heads": 12, "vocabulary": 50257, "context": 1024, "bias": True}
    assert cost(gpt2).parameters == 124_439_808
    assert cost(gpt2).flops_per_token == 6 * (124_439_808 - 1024 * 768) + 12 * 12 * 768 * 1024


@pytest.mark.parametrize("tie", [True, False])
def test_flops_are_those_torch_counts(tie: bool) -> None:
    config = {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 128, "context": 32, "tie": tie}
    model = GPT(split(config)[0])
    ids = torch.zeros(2, 32, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(ids).sum().backward()
    # The formula counts norms and biases as products too, which is the difference here.
    assert cost(config).flops_per_token == pytest.approx(counter.get_total_flops() / ids.numel(), rel=0.02)


@pytest.mark.parametrize(
    "extra", [{}, {"dropout": 0.1}, {"micro_batch": 2}, {"attention_dropout": 0.1, "dropout": 0.2}, {"hidden": 128}]
)
def test_activations_are_what_autograd_keeps(extra: dict[str, Any]) -> None:
    config = {"layers": 3, "hidden": 64, "heads": 4, "vocabulary": 90, "context": 64, "batch": 4, **extra}
    size, training = split(config)
    model, kept = GPT(size), {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(training.micro, size.context, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model(ids, torch.Generator().manual_seed(0)).flatten(0, 1)
        loss = F.cross_entropy(logits, ids.flatten())
    kept_bytes = sum(size for place, size in kept.items() if place not in weights)
    with_logits = kept_bytes + 2 * logits.numel() * 4  # the logits themselves and their gradient
    assert loss.isfinite()
    assert activation_bytes(size, training) == pytest.approx(with_logits, rel=0.15)


def test_training_memory_adds_up() -> None:
    small = {"layers": 1, "hidden": 8, "heads": 2, "vocabulary": 10, "context": 4, "batch": 2}
    size, training = split(small)
    assert cost(small).training_bytes == 20 * cost(small).parameters + activation_bytes(size, training)
    assert cost({**small, "optimizer": "sgd"}).training_bytes == cost(small).training_bytes - 8 * cost(small).parameters
    assert cost({**small, "precision": "bf16"}).training_bytes < cost(small).training_bytes


def test_the_vocabulary_must_be_known() -> None:
    with pytest.raises(ValueError, match="vocabulary is None"):
        cost({"layers": 2})
