"""The parameters and FLOPs of a configuration, counted without building it. Imports no torch. Bytes are in memory.py.

    H hidden, F inner width, L layers, N heads, K heads of keys and values, D = H / N, V vocabulary, T context,
    g is 2 if the feed-forward part has a gate (swiglu) and else 1, b is 1 with bias and else 0, n(w) = w (1 + b) for a
    LayerNorm of width w and w for an RMSNorm, which has no bias

parameters         H V (twice if untied) + H T if positions are learned + n(H)      tables and last norm
                   + L [H (H + 2 K D) + H^2 + (g + 1) H F                           maps of a block
                        + 2 n(H) + 2 n(D) with qk_norm                              norms
                        + b (H + 2 K D + 2 H + g F)]                                biases of the maps

flops per token    6 M + 12 L H T, forward and backward: 6 for each of the M weights that multiply a token (all but the
                   two look-up tables, but with the output map, tied or not), and 12 L H T for attention over the full
                   context (PaLM, Chowdhery et al. 2022, appendix B; nanoGPT's estimate_mfu). Heads that share keys and
                   values save weights, not attention. Attention is counted in full, as usual, though half of it is
                   masked. Activation checkpointing adds 2 M + 4 L H T that are not counted: the number is what the model
                   itself needs, by which MFU is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.config import GPTConfig, split


@dataclass(frozen=True)
class Cost:
    """The number of parameters, the megabytes (1e6 bytes) of the float32 weights, and the FLOPs of training on one token."""

    parameters: int
    megabytes: float
    flops_per_token: int


def maps(config: GPTConfig) -> dict[str, tuple[int, int]]:
    """(rows, columns) of the linear maps of one block, by name; rows are the width of the output."""
    hidden, inner = config.hidden, config.inner
    return {
        "qkv": (hidden + 2 * config.keys * config.head, hidden),
        "mix": (hidden, hidden),
        "up": (gates(config) * inner, hidden),
        "down": (hidden, inner),
    }


def gates(config: GPTConfig) -> int:
    """The number of maps into the feed-forward part: 2 if one of them is a gate, else 1."""
    return 2 if config.activation == "swiglu" else 1


def vectors(config: GPTConfig) -> list[int]:
    """Lengths of the norms and biases of one block."""
    norms = 2 * _norm(config, config.hidden) + (2 * _norm(config, config.head) if config.qk_norm else [])
    return norms + ([rows for rows, _ in maps(config).values()] if config.bias else [])


def _norm(config: GPTConfig, width: int) -> list[int]:
    return [width] * (2 if config.bias and config.norm == "layer" else 1)


def tables(config: GPTConfig) -> dict[str, tuple[int, int]]:
    """(rows, columns) of the matrices outside of blocks, by name."""
    words = {"tokens": (config.words, config.hidden)}
    positions = {"positions": (config.context, config.hidden)} if config.positions == "learned" else {}
    return words | positions | ({} if config.tie else {"head": (config.words, config.hidden)})


def matrices(config: GPTConfig) -> int:
    """The number of weights in the linear maps of one block."""
    return sum(rows * columns for rows, columns in maps(config).values())


def lengths(config: GPTConfig) -> list[int]:
    """The number of elements of every parameter of the model."""
    block = [rows * columns for rows, columns in maps(config).values()] + vectors(config)
    outside = [rows * columns for rows, columns in tables(config).values()] + _norm(config, config.hidden)
    return block * config.layers + outside


def parameters(config: GPTConfig) -> int:
    """The exact number of parameters; a tied table counts once."""
    return sum(lengths(config))


def flops_per_token(config: GPTConfig) -> int:
    """Floating-point operations of training on one token, forward and backward."""
    looked_up = sum(rows * columns for name, (rows, columns) in tables(config).items() if name != "head")
    if config.tie:
        looked_up -= config.words * config.hidden
    return 6 * (parameters(config) - looked_up) + 12 * config.layers * config.hidden * config.context


def cost(config: Mapping[str, Any]) -> Cost:
    """The cost of a flat config, which must give its vocabulary; ValueError as in `split`."""
    model, _ = split(config)
    count = parameters(model)
    return Cost(count, 4 * count / 1e6, flops_per_token(model))
