"""The model against transformers' GPT-2, its and its first weights."""

from dataclasses import replace
from math import log, sqrt
from typing import Any

import pytest
import torch

from models.config import GPTConfig
from models.gpt import GPT
from tests.models.tiny import shaken

torch.set_num_threads(1)

SHAPES: list[dict[str, Any]] = [
    {"layers": 1, "hidden": 8, "heads": 1, "vocabulary": 11, "context": 4},
    {"layers": 3, "hidden": 48, "heads": 6, "vocabulary": 97, "context": 33, "norm_eps": 1e-3},
    {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 300, "context": 64, "ff": 100, "norm_eps": 1e-6},
    {"layers": 2, "hidden": 32, "heads": 2, "vocabulary": 50, "context": 16, "tie": False},
]


def gpt2_names(model: GPT) -> dict[str, torch.Tensor]:
    """The weights under the names of transformers, whose Conv1D keeps its matrices transposed."""
    homes = {"norm1": "ln_1", "norm2": "ln_2", "qkv": "attn.c_attn", "mix": "attn.c_proj", "up": "mlp.c_fc"}
    homes["down"] = "mlp.c_proj"
    named = {"transformer.wte.weight": model.tokens.weight, "transformer.wpe.weight": model.positions.weight}
    named |= {f"transformer.ln_f.{kind}": getattr(model.norm, kind) for kind in ("weight", "bias")}
    named["lm_head.weight"] = model.tokens.weight if model.head is None else model.head.weight
    for number, block in enumerate(model.blocks):
        for ours, theirs in homes.items():
            for kind, weight in getattr(block, ours).named_parameters():
                named[f"transformer.h.{number}.{theirs}.{kind}"] = weight.T if weight.dim() == 2 else weight
    return named


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_equal_those_of_transformers(shape: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    config = GPTConfig(**shape, bias=True, activation="gelu_tanh")
    model = shaken(config)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=config.words,
            n_positions=config.context,
            n_embd=config.hidden,
            n_layer=config.layers,
            n_head=config.heads,
            n_inner=config.inner,
            layer_norm_epsilon=config.norm_eps,
            tie_word_embeddings=config.tie,
        )
    ).eval()
    missing, unexpected = theirs.load_state_dict(gpt2_names(model), strict=False)
    assert not unexpected and not [name for name in missing if "attn.bias" not in name]
    ids = torch.randint(config.words, (3, config.context), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(ids[:, :3]), theirs(ids[:, :3]).logits, rtol=1e-5, atol=1e-5)


def test_no_token_sees_the_future() -> None:
    model = shaken(GPTConfig(**SHAPES[1]))
    ids = torch.arange(33)[None]
    changed = ids.clone()
    changed[0, 20:] += 1
    before, after = model(ids)[0], model(changed)[0]
    torch.testing.assert_close(before[:20], after[:20])
    assert not torch.allclose(before[20], after[20])


def test_first_weights_are_those_of_gpt2_and_a_function_of_the_seed() -> None:
    config = GPTConfig(layers=8, hidden=128, heads=4, vocabulary=200, bias=True)
    large = dict(GPT(replace(config, init_std=0.1), 5).named_parameters())
    state = torch.get_rng_state()
    model, same, other = GPT(config, 5), GPT(config, 5), GPT(config, 6)
    assert torch.equal(torch.get_rng_state(), state)
    for (name, weight), (_, again), (_, differs) in zip(
        model.named_parameters(), same.named_parameters(), other.named_parameters(), strict=True
    ):
        assert torch.equal(weight, again)
        if weight.dim() == 1:
            assert torch.all(weight == (0 if name.endswith("bias") else 1))
        else:
            std = 0.02 / sqrt(16) if "mix" in name or "down" in name else 0.02
            assert weight.std().item() == pytest.approx(std, rel=0.05)
            assert not torch.equal(weight, differs)
            torch.testing.assert_close(large[name], 5 * weight)


def test_an_untrained_model_knows_nothing() -> None:
    model = GPT(GPTConfig(layers=2, hidden=64, heads=2, vocabulary=100))
    ids = torch.randint(100, (4, 64), generator=torch.Generator().manual_seed(0))
    loss = torch.nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(log(100), rel=0.03)
