"""Dropout of elements, of attention weights and of whole branches."""

from math import sqrt
from typing import Any

import pytest
import torch

from models.config import GPTConfig
from models.dropout import dropout
from models.gpt import GPT, attend
from tests.models.tiny import shaken

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"layers": 2, "hidden": 32, "heads": 4, "vocabulary": 23, "context": 20}


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1001,), (64, 63, 5)])
def test_dropout_drops_that_share_and_keeps_the_mean(p: float, shape: tuple[int, ...]) -> None:
    x = torch.ones(shape)
    y = dropout(x, p, torch.Generator().manual_seed(0))
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=4 * sqrt(p * (1 - p) / x.numel()))
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)), rtol=2e-4, atol=0)


def test_dropout_is_asked_for_by_a_generator_and_repeats_with_its_seed() -> None:
    model = GPT(GPTConfig(layers=2, hidden=32, heads=2, vocabulary=20, dropout=0.2, attention_dropout=0.2))
    ids = torch.arange(20)[None]
    assert torch.equal(model(ids), model(ids))
    runs = [model(ids, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2]) and not torch.equal(runs[0], model(ids))


def test_dropout_almost_everywhere_is_finite() -> None:
    assert torch.isfinite(dropout(torch.ones(100), 0.9999999, torch.Generator().manual_seed(0))).all()


def test_attention_with_dropout_is_the_fused_one_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 5, 4, generator=generator)
    plain = attend(q, k, v, 0.5, 0.0, None)
    mean = torch.stack([attend(q, k, v, 0.5, 0.3, generator) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, plain, rtol=0, atol=0.06)
    torch.testing.assert_close(attend(q, k, v, 0.5, 1e-9, generator), plain)
    torch.testing.assert_close(attend(q, k, v, 0.5, 1e-4, torch.Generator().manual_seed(1)), plain, rtol=1e-3, atol=1e-3)


def test_layer_dropout_leaves_out_whole_branches_of_a_sequence() -> None:
    config = GPTConfig(**{**SMALL, "layers": 1}, layer_dropout=0.5)
    model = shaken(config)
    x = torch.randn(200, 3, 32, generator=torch.Generator().manual_seed(0))
    changed = model.blocks[0](x, None, torch.Generator().manual_seed(1)) - x
    untouched = (changed.abs().amax(dim=(1, 2)) == 0).float().mean().item()
    assert untouched == pytest.approx(0.25, abs=0.1)  # both branches left out
    assert torch.equal(model(torch.zeros(1, 3, dtype=torch.int64)), model(torch.zeros(1, 3, dtype=torch.int64)))


def test_embedding_dropout_is_its_own() -> None:
    ids = torch.zeros(1, 3, dtype=torch.int64)
    on, off = (GPT(GPTConfig(**SMALL, dropout=0.0, embedding_dropout=p)) for p in (0.5, 0.0))
    assert not torch.equal(on(ids, torch.Generator().manual_seed(0)), on(ids))
    assert torch.equal(off(ids, torch.Generator().manual_seed(0)), off(ids))
