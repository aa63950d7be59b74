"""The model against transformers' GPT-2, its first weights, dropout and generation."""

from dataclasses import replace
from math import log, sqrt
from typing import Any

import pytest
import torch

from models.config import GPTConfig
from models.decoding import _filtered, generate
from models.dropout import dropout
from models.gpt import GPT, attend

torch.set_num_threads(1)

SHAPES: list[dict[str, Any]] = [
    {"layers": 1, "hidden": 8, "heads": 1, "vocabulary": 11, "context": 4},
    {"layers": 3, "hidden": 48, "heads": 6, "vocabulary": 97, "context": 33, "norm_eps": 1e-3},
    {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 300, "context": 64, "ff": 100, "norm_eps": 1e-6},
    {"layers": 2, "hidden": 32, "heads": 2, "vocabulary": 50, "context": 16, "tie": False},
]


def shaken(config: GPTConfig) -> GPT:
    """A model all of whose weights matter: biases and norms moved away from 0 and 1, the rest large."""
    model, generator = GPT(config, seed=1), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return model


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


def test_generation_is_greedy_at_temperature_zero_and_top_k_one() -> None:
    model = shaken(GPTConfig(**SHAPES[1]))
    start = torch.tensor([[1, 2, 3], [4, 5, 6]])
    greedy = generate(model, start, 50, temperature=0)
    ids = start
    for _ in range(50):
        ids = torch.cat((ids, model(ids[:, -33:])[:, -1].argmax(-1, keepdim=True)), 1)
    assert torch.equal(greedy, ids)
    assert torch.equal(generate(model, start, 50, top_k=1), greedy)
    assert torch.equal(generate(model, start, 50, top_p=1e-9), greedy)


def test_generation_is_a_function_of_the_seed() -> None:
    model, start = shaken(GPTConfig(**SHAPES[1])), torch.tensor([[7]])
    first, same, other = (generate(model, start, 40, 1.0, None, None, seed) for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert first.shape == (1, 41)


def test_the_filters_keep_the_smallest_sets() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    assert _filtered(logits, 2, None).isfinite().tolist() == [[False, True, False, True]]
    assert _filtered(logits, None, 0.74).isfinite().tolist() == [[False, True, False, True]]
    assert _filtered(logits, None, 0.76).isfinite().tolist() == [[False, True, True, True]]
    assert _filtered(logits, 99, 1.0).isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": -1}, "tokens is -1"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"ids": torch.zeros(1, 0, dtype=torch.int64)}, "the prompt is empty"),
    ],
)
def test_what_cannot_be_sampled_is_refused(arguments: dict[str, Any], message: str) -> None:
    plain: dict[str, Any] = {"ids": torch.tensor([[1]]), "tokens": 2}
    with pytest.raises(ValueError, match=message):
        generate(GPT(GPTConfig(**SHAPES[0])), **{**plain, **arguments})
