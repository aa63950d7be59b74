"""What a configuration costs, without building it. Imports no torch.

    H hidden, F inner width, L layers, N heads, V vocabulary, T context, b 1 with bias and else 0

parameters         H V (twice if untied) + H T + H (1 + b)                  tables and last norm
                   + L [4 H^2 + 2 H F + 2 H + b (7 H + F)]                  blocks; b: norms 2 H, maps 5 H + F

flops per token    6 M + 12 L H T, forward and backward: 6 for each of the M weights that multiply a token (all but the
                   two look-up tables, but with the output map, tied or not), and 12 L H T for attention over the full
                   context (PaLM, Chowdhery et al. 2022, appendix B; nanoGPT's estimate_mfu)

training bytes     4 P (2 + 3 AdamW or 1 SGD) for P float32 weights, gradients, moments and AdamW's scratch, plus
                   micro_batch T [s (L (7 H + 2 F) + 2 H) + 4 (3 V)] for what the backward pass keeps: in a layer both
                   norms' inputs and outputs, q, k, v, the attention output (H each; the sum is 8 H less the residual
                   that is counted with the layer before), feed-forward before and after GELU; at the end the last norm
                   and the logits, their log-softmax and gradient. s is 4 bytes in float32, 2 in bf16 and fp16.
                   Dropout adds (2 L + 1) H masks of 4 bytes, attention dropout 3 L N T (CPU; CUDA's is fused).
                   An estimate of the peak: allocator slack and the library's own memory are not in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.config import GPTConfig, TrainConfig, split

MOMENTS = {"adamw": 3, "sgd": 1}  # flat float32 buffers beside weights and gradients; AdamW's third is scratch


@dataclass(frozen=True)
class Cost:
    """parameters is a count, megabytes (1e6 bytes) the float32 weights, flops_per_token that of training."""

    parameters: int
    megabytes: float
    flops_per_token: int
    training_bytes: int


def block_parameters(config: GPTConfig) -> tuple[int, int]:
    """(weights of the matrices, biases and norms) of one block."""
    hidden, inner, bias = config.hidden, config.inner, int(config.bias)
    matrices = 4 * hidden * hidden + 2 * hidden * inner
    vectors = 2 * hidden + bias * (7 * hidden + inner)
    return matrices, vectors


def parameters(config: GPTConfig) -> int:
    """The exact number of parameters; a tied table counts once."""
    tables = config.hidden * (config.words * (1 if config.tie else 2) + config.context)
    return tables + config.layers * sum(block_parameters(config)) + config.hidden * (1 + config.bias)


def flops_per_token(config: GPTConfig) -> int:
    """Floating-point operations of training on one token, forward and backward."""
    tables = config.hidden * (config.context + (0 if config.tie else config.words))
    attention = 12 * config.layers * config.hidden * config.context
    return 6 * (parameters(config) - tables) + attention


def activation_bytes(config: GPTConfig, training: TrainConfig) -> int:
    """What one micro-batch keeps for its backward pass, in bytes, by the formula above."""
    size = 4 if training.precision == "float32" else 2
    layer = size * (7 * config.hidden + 2 * config.inner)
    ends = size * 2 * config.hidden + 4 * 3 * config.words
    masks = 4 * (2 * config.layers + 1) * config.hidden if config.dropout else 0
    weights = 4 * 3 * config.layers * config.heads * config.context if config.attention_dropout else 0
    return training.micro * config.context * (config.layers * layer + ends + masks + weights)


def cost(config: Mapping[str, Any]) -> Cost:
    """The cost of a flat config, which must give its vocabulary; ValueError as in `split`."""
    model, training = split(config)
    count = parameters(model)
    state = 4 * count * (2 + MOMENTS[training.optimizer])
    return Cost(count, 4 * count / 1e6, flops_per_token(model), state + activation_bytes(model, training))
