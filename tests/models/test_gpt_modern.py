"""The modern forms of the model against transformers' Llama, and what each field does by itself."""

from math import sqrt
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from models.config import GPTConfig
from models.gpt import GPT, rotary_angles, rotate
from tests.models.tiny import shaken

torch.set_num_threads(1)

LLAMA: dict[str, Any] = {"positions": "rotary", "norm": "rms", "activation": "swiglu", "tie": False, "norm_eps": 1e-6}
SMALL: dict[str, Any] = {"layers": 2, "hidden": 32, "heads": 4, "vocabulary": 23, "context": 20}


def llama_names(model: GPT) -> dict[str, torch.Tensor]:
    """The weights under the names of transformers' Llama, which has maps of their own for what we map together."""
    named = {"model.embed_tokens.weight": model.tokens.weight, "model.norm.weight": model.norm.weight}
    if model.head is not None:
        named["lm_head.weight"] = model.head.weight
    for i, block in enumerate(model.blocks):
        q, k, v = block.qkv.weight.split(model.splits[f"blocks.{i}.qkv.weight"])
        gate, up = block.up.weight.chunk(2)
        parts = {
            "self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v, "self_attn.o_proj": block.mix.weight,
            "mlp.gate_proj": gate, "mlp.up_proj": up, "mlp.down_proj": block.down.weight,
            "input_layernorm": block.norm1.weight, "post_attention_layernorm": block.norm2.weight,
        }  # fmt: skip
        named |= {f"model.layers.{i}.{name}.weight": weight for name, weight in parts.items()}
    return named


@pytest.mark.parametrize("kv_heads", [None, 2, 1])
@pytest.mark.parametrize("base", [10000.0, 500.0])
def test_logits_equal_those_of_transformers_llama(kv_heads: int | None, base: float) -> None:
    transformers = pytest.importorskip("transformers")
    config = GPTConfig(**SMALL, **LLAMA, kv_heads=kv_heads, rotary_base=base, ff=56)
    model = shaken(config)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=23,
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=kv_heads or 4,
            max_position_embeddings=20,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": base},
        )
    ).eval()
    missing, unexpected = theirs.load_state_dict(llama_names(model), strict=False)
    assert not missing and not unexpected
    ids = torch.randint(23, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_rotary_scores_depend_on_distance_alone() -> None:
    config = GPTConfig(**SMALL, positions="rotary")
    angles = rotary_angles(config, torch.device("cpu"))
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 1, 20, 8)
    scores = (rotate(q, angles) @ rotate(k, angles).mT)[0, 0]
    for distance in range(19):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-5)


def test_rotary_has_no_table_and_moves_with_the_model() -> None:
    model = GPT(GPTConfig(**SMALL, positions="rotary"))
    assert model.positions is None and not any("positions" in name for name, _ in model.named_parameters())
    assert model.double().angles is not None and model.angles[0].dtype == torch.float32
    assert not any("angle" in name for name in model.state_dict())


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_normalised_queries_and_keys_ignore_their_size(norm: str) -> None:
    model = shaken(GPTConfig(**SMALL, norm=norm, qk_norm=True, norm_eps=1e-12))
    ids = torch.arange(20)[None] % 23
    before = model(ids)
    for block in model.blocks:
        block.qkv.weight.data[:64].mul_(7.0)  # queries and keys
    torch.testing.assert_close(model(ids), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("activation", "formula"), [
    ("gelu", lambda x: 0.5 * x * (1 + torch.erf(x / sqrt(2)))),
    ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
    ("relu2", lambda x: torch.where(x > 0, x**2, 0.0)),
    ("swiglu", lambda x: x[..., :96] / (1 + torch.exp(-x[..., :96])) * x[..., 96:]),
])  # fmt: skip
def test_activations_are_their_formulas(activation: str, formula: Any) -> None:
    model = shaken(GPTConfig(**SMALL, activation=activation, ff=96))
    x = torch.randn(2, 20, 32, generator=torch.Generator().manual_seed(0))
    block = model.blocks[0]
    attended = x + block.mix(block.attention_output(block.qkv(block.norm1(x)), None, None))
    expected = attended + block.down(formula(block.up(block.norm2(attended))))
    torch.testing.assert_close(block(x, None, None), expected, rtol=1e-4, atol=1e-5)
