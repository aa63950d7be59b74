"""The bytes that the passes of engines/cpu/passes.py hold, from the config alone. Imports no torch.

    n rows (tokens of a pass); H, F, V, L, N, g as in cost.py; S = (N + 2 K) D, the width of queries, keys and values together.
    Everything is float32.

buffers     made once for a shape (B, T) and kept until the run ends, so they exist in updates and evaluations too:
            shared by all blocks    3 H + F + S
            for each block          5 H + S + g F + F, 4 statistics of its norms, and N logarithms of its attention's sums
                                    unless attention goes through autograd (`has_autograd_attention`)
            for both ends           4 H, 2 statistics, V logits, which are replaced by their gradient
masks       of dropout, drawn for a pass and kept until the next draw: 2 H for a block, H for the embedding
"""

from models.config import GPTConfig, TrainConfig
from models.predict.cost import gates, maps

DRAWING = 7  # bytes for a feature while a mask is drawn: random bits, comparison, and the new mask beside the old one


def has_autograd_attention(config: GPTConfig) -> bool:
    """Whether attention goes through autograd, as with rare options: norms of queries and keys, dropout of its weights."""
    return config.qk_norm or config.attention_dropout > 0


def buffer_rows(config: GPTConfig, training: TrainConfig) -> int:
    """The number of tokens with buffers: for a micro-batch, and for the half batch that measures the noise scale (train.py)."""
    micro = training.micro_batch or training.batch
    half = training.batch // 2 if training.noise_every and micro == training.batch else 0
    return (micro + half) * config.context


def buffer_bytes(config: GPTConfig, count: int) -> int:
    """Bytes of the buffers for `count` rows."""
    hidden, inner, attended = config.hidden, config.inner, maps(config)["qkv"][0]
    shared = 3 * hidden + inner + attended
    logs = 0 if has_autograd_attention(config) else config.heads
    block = 5 * hidden + attended + (gates(config) + 1) * inner + 4 + logs
    ends = 4 * hidden + 2 + config.words
    return 4 * count * (shared + config.layers * block + ends)


def mask_bytes(config: GPTConfig, count: int) -> int:
    """Bytes of the masks of dropout for `count` rows."""
    branches = 2 * config.layers if config.dropout or config.layer_dropout else 0
    return 4 * count * config.hidden * (branches + bool(config.embedded_dropout))


def drawing_bytes(config: GPTConfig, count: int) -> int:
    """Bytes needed beside the masks while one is drawn, for `count` rows."""
    return DRAWING * count * config.hidden if mask_bytes(config, count) else 0
