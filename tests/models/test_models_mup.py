"""First weights and learning rates by muP."""

from math import sqrt
from typing import Any

import pytest
import torch

from models.config import GPTConfig
from models.gpt import GPT
from models.mup import first_sd, rates

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"layers": 2, "hidden": 32, "heads": 4, "vocabulary": 23, "context": 20}


def test_at_the_base_both_parametrisations_are_one_model() -> None:
    standard = GPTConfig(**SMALL)
    mup = GPTConfig(**SMALL, parametrisation="mup", base_hidden=32, base_head=8, base_layers=2)
    ids = torch.arange(20)[None] % 23
    torch.testing.assert_close(GPT(standard, 3)(ids), GPT(mup, 3)(ids))
    for optimizer in ("adamw", "sgd", "muon"):
        assert dict(rates(mup, optimizer)) == dict(rates(standard, optimizer)) == {"hidden": 1, "table": 1, "vector": 1}


def test_mup_scales_as_its_table_says() -> None:
    config = GPTConfig(layers=8, hidden=256, heads=4, parametrisation="mup", base_hidden=64, base_layers=2)
    assert first_sd(config, "blocks.3.qkv.weight") == pytest.approx(0.02 / 2)
    assert first_sd(config, "blocks.3.down.weight") == pytest.approx(0.02 / 2 / sqrt(2 * 2))
    assert first_sd(config, "tokens.weight") == 0.02
    assert rates(config, "adamw") == {"hidden": 1 / 8, "table": 1, "vector": 1}
    assert rates(config, "muon") == {"hidden": 1 / 4, "table": 1, "vector": 1}
    assert rates(config, "sgd") == {"hidden": 1, "table": 4, "vector": 4}
