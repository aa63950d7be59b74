"""How many operations a step calls, from the config alone. Imports no torch.

An operation is a call of torch or of a kernel of engines/cpu/. The numbers were counted, and a test counts them again
(tests/models/test_operations.py).
"""

from models.config import GPTConfig, TrainConfig
from models.optimizers.rows import OPTIMIZERS
from models.predict.activations import ActivationTerms
from models.predict.cost import gates
from models.predict.state import shapes_of

# For each layer, around the layers, and for each step.
LAYER, ENDS, LAYER_BYHAND, ENDS_BYHAND, STEP = 88, 42, 27, 17, 6
AGAIN = 0.7  # share of a layer's operations that checkpointing repeats: the forward pass, and storing what is kept


def pass_operations(parts: ActivationTerms) -> tuple[int, int]:
    """The operations of one forward and backward pass: how many are plain calls, and how many are recorded by autograd."""
    c, training = parts.config, parts.training
    rms, cast, rotary = c.norm == "rms", training.precision != "float32", c.positions == "rotary"
    embedded = bool(c.embedded_dropout)
    attention = (43 + 4 * cast) * rotary + (9 + 44 * rms) * c.qk_norm + 14 * (c.keys != c.heads)
    attention += 52 * bool(c.attention_dropout)
    if parts.has_cpu_passes:
        layer = LAYER_BYHAND + 8 * c.bias + 24 * bool(c.dropout) + 28 * bool(c.layer_dropout)
        layer += 0 if parts.has_autograd_attention else 2 + 2 * rotary
        recorded = 30 + attention if parts.has_autograd_attention else 0
        return c.layers * layer + ENDS_BYHAND + 11 * embedded, c.layers * recorded
    layer = LAYER + attention + 44 * rms + 14 * cast + 14 * c.bias + 22 * bool(c.dropout) + 22 * bool(c.layer_dropout)
    layer += 8 * (gates(c) == 2) + 6 * (c.activation == "relu2")
    layer += round(AGAIN * layer) if parts.layout.activation_checkpointing else 0
    ends = ENDS + 22 * rms + 6 * cast + 19 * bool(training.z_loss) + 20 * bool(training.label_smoothing) + 11 * embedded
    return 0, c.layers * layer + ends


def update_operations(config: GPTConfig, training: TrainConfig) -> int:
    """The operations of a step outside of its passes."""
    called = OPTIMIZERS[training.optimizer].operations(shapes_of(config))
    return STEP + called + (13 if training.hypergradient else 0) + (1 if training.ema else 0)
