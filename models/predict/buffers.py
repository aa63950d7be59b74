"""The bytes that the passes of passes.py hold, from the config alone. Imports no torch.

    n rows (tokens of a pass); H, F, V, L, N, g as in cost.py; S = (N + 2 K) D, what queries, keys and values take together.
    Everything is float32.

buffers     made once for a shape (B, T), kept until the run ends, and so there during updates and evaluations too:
            what all blocks share   3 H + F + S
            a block                 5 H + S + g F + F, 4 statistics of its norms, and N logarithms of its attention's sums
                                    where that does not go through autograd (`has_autograd_attention`)
            both ends               4 H, 2 statistics, V logits, in the place of which their gradient comes
masks       of dropout, drawn for a pass and kept until the next one draws: 2 H a block, H of embeddings
"""

from models.config import GPTConfig, TrainConfig
from models.predict.cost import gates, maps

DRAWING = 7  # bytes a feature while a mask is drawn: bits, comparison, and the mask, beside the one whose place it takes


def has_autograd_attention(config: GPTConfig) -> bool:
    """Whether attention goes through autograd: with what is rare, norms of queries and keys, dropout of its weights."""
    return config.qk_norm or config.attention_dropout > 0


def buffer_rows(config: GPTConfig, training: TrainConfig) -> int:
    """Tokens that there are buffers for: of a micro-batch, and of the half batch by which noise is measured (train.py)."""
    micro = training.micro_batch or training.batch
    half = training.batch // 2 if training.noise_every and micro == training.batch else 0
    return (micro + half) * config.context


def buffer_bytes(config: GPTConfig, count: int) -> int:
    """Of the buffers for `count` rows."""
    hidden, inner, attended = config.hidden, config.inner, maps(config)["qkv"][0]
    shared = 3 * hidden + inner + attended
    logs = 0 if has_autograd_attention(config) else config.heads
    block = 5 * hidden + attended + (gates(config) + 1) * inner + 4 + logs
    ends = 4 * hidden + 2 + config.words
    return 4 * count * (shared + config.layers * block + ends)


def mask_bytes(config: GPTConfig, count: int) -> int:
    """Of the masks of dropout for `count` rows."""
    branches = 2 * config.layers if config.dropout or config.layer_dropout else 0
    return 4 * count * config.hidden * (branches + bool(config.embedded_dropout))


def drawing_bytes(config: GPTConfig, count: int) -> int:
    """What is there beside the masks while one is drawn, for `count` rows."""
    return DRAWING * count * config.hidden if mask_bytes(config, count) else 0
