"""What a cache of keys and values gives is what a pass gives, for every GPT that a config can name."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import GPTConfig
from models.decoding.cache import KeyValueCache
from models.gpt import GPT
from models.precision import context as autocast
from tests.models.tiny import shaken

torch.set_num_threads(1)
# Every option that the forward pass reads, with the values that the law below draws. A new field of GPTConfig must be added
# here, or to WEIGHTS if it only says how weights begin or what training drops.
DRAWN: dict[str, list[Any]] = {
    "layers": [1, 3],
    "hidden": [24],
    "heads": [2, 4, 6],
    "kv_heads": [None, 1, 2],
    "ff": [None, 20],
    "context": [12],
    "vocabulary": [19],
    "positions": ["learned", "rotary"],
    "rotary_base": [100.0, 10000.0],
    "norm": ["layer", "rms"],
    "norm_eps": [1e-5, 1e-2],
    "activation": ["gelu", "gelu_tanh", "relu2", "swiglu"],
    "qk_norm": [False, True],
    "tie": [False, True],
    "bias": [False, True],
    "parametrisation": ["standard", "mup"],
}
WEIGHTS = {"init_std", "base_hidden", "base_head", "base_layers", "ff_ratio", "dropout", "attention_dropout",
           "embedding_dropout", "layer_dropout"}  # fmt: skip


def test_every_field_of_a_config_is_drawn() -> None:
    assert {field.name for field in fields(GPTConfig)} == {*DRAWN, *WEIGHTS}


@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in DRAWN.items()}), st.data())
@settings(deadline=None, max_examples=60)
def test_cached_logits_are_those_of_a_pass(config: dict[str, Any], data: st.DataObject) -> None:
    """Rows of different lengths, which begin with the same tokens, read in pieces, dropped, repeated and reordered."""
    model = shaken(GPTConfig(**config))
    lengths = data.draw(st.lists(st.integers(2, 10), min_size=1, max_size=4))
    same = data.draw(st.integers(1, min(lengths) - 1))
    ids = torch.randint(19, (len(lengths), 12), generator=torch.Generator().manual_seed(len(lengths)))
    ids[:, :same] = ids[:1, :same].clone()
    expected = model(ids).detach()
    cache, rows = KeyValueCache(model, 12), list(range(len(lengths)))
    assert_close(cache.extend(ids[:1, :same]), expected[:1, same - 1])
    cache.select([0] * len(rows))
    widest = max(lengths)
    assert_close(cache.extend(ids[:, same:widest], [n - same for n in lengths]), expected[rows, [n - 1 for n in lengths]])
    while max(lengths) < 12:
        if data.draw(st.booleans()):
            kept = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=5))
            cache.select(kept)
            rows, lengths = [rows[one] for one in kept], [lengths[one] for one in kept]
        waits = data.draw(st.integers(-1, len(rows) - 1))  # a row that ended stays as it is
        counts = [int(place != waits) for place in range(len(rows))]
        found = cache.extend(ids[rows, lengths][:, None], counts)
        if not any(counts):
            break
        live = [place for place in range(len(rows)) if counts[place]]
        assert_close(found[live], expected[[rows[one] for one in live], [lengths[one] for one in live]])
        lengths = [n + count for n, count in zip(lengths, counts, strict=True)]
    assert cache.lengths == lengths


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_a_cache_works_in_lower_precision() -> None:
    """Under autocast, keys and values are kept in bf16; logits are as near to float32 as a pass's in bf16 are."""
    model = shaken(GPTConfig(layers=2, hidden=32, heads=4, kv_heads=2, vocabulary=19, context=10, positions="rotary"))
    ids = torch.arange(10)[None]
    exact = model(ids).detach()[:, -1]
    with torch.no_grad(), autocast("bf16", torch.device("cpu")):
        passed = model(ids)[:, -1]
        cache = KeyValueCache(model, 10)
        cache.extend(ids[:, :7])
        for place in range(7, 10):
            found = cache.extend(ids[:, place : place + 1])
    assert cache.keys[0].dtype == torch.bfloat16
    assert float((found - exact).abs().max()) <= 3 * float((passed - exact).abs().max())


def test_a_cache_grows_no_gradients_and_is_not_overrun() -> None:
    model = GPT(GPTConfig(layers=1, hidden=8, heads=2, vocabulary=11, context=6))
    cache = KeyValueCache(model, 4)
    assert not cache.extend(torch.tensor([[1, 2, 3]])).requires_grad
    with pytest.raises(ValueError, match=r"^3 tokens are held and 2 come, but the cache has room for 4$"):
        cache.extend(torch.tensor([[1, 2]]))
    for capacity in (0, 7):
        with pytest.raises(ValueError, match=f"^capacity is {capacity}, but must be from 1 to 6, the model's context$"):
            KeyValueCache(model, capacity)
