"""The bytes that the passes of a training keep and allocate, for each token and in total. Imports no torch.

    n tokens of a forward pass on one device, s is 4 bytes in float32 and else 2; H, F, V, T, L, N, K, D, g as in cost.py.

casts           s for each weight of the linear maps under autocast; the backward pass needs these copies
activations     what autograd keeps. For a token in a layer: the residual stream before and after attention (4 H each), the
                inputs of the four maps (3 s H + s F), queries, keys and values as the attention kernel reads them, also
                before rotation or norm if those need it, s g F before the activation, s F after a gate's activation, and
                masks of dropout. RMSNorm on a CPU also keeps 4 H of normalised values. `attention_bytes` has the cases.
                At the end: the last norm (4 H + s H) and the logits
loss            12 V for a token: log-softmax, its gradient, and the gradient of the logits; 20 V with z-loss

The passes by hand (engines/cpu/) are used by one process on a CPU in float32 without activation checkpointing, if its engine is
eager, it has one thread, and kernels.c compiles. These three are assumed here; without them, `kernels` must be False. With
passes by hand, activations are the buffers and masks of buffers.py, logits included: they exist in all phases of a step except
`build` (memory.py), and the loss adds nothing.
Attention with norms of queries and keys, or with dropout, still goes through autograd; what autograd keeps for it exists from
the forward to the backward pass.
"""

from dataclasses import dataclass

from models.config import GPTConfig, TrainConfig
from models.optimizers.rows import Kind
from models.predict import buffers as sizes
from models.predict.cost import gates, maps, matrices
from models.predict.layout import ALONE, DeviceLayout
from models.predict.support import unknown_option

EVALUATED = 4096  # the most tokens in one pass of evaluation (evaluate.py)
EVALUATED_LOGITS = 1 << 24  # and the most logits


@dataclass(frozen=True)
class ActivationTerms:
    """The terms of the formulas for one config; all bytes are those on one device."""

    config: GPTConfig
    training: TrainConfig
    layout: DeviceLayout = ALONE
    device: Kind = "cpu"
    kernels: bool = True  # whether a CPU has one thread and the kernels of engines/cpu/

    @property
    def has_cpu_passes(self) -> bool:
        """Whether the passes are those of engines/cpu/ (`is_supported` in engines/cpu/engine.py)."""
        alone = self.layout.devices == 1 and not self.layout.activation_checkpointing
        known = unknown_option(self.config, self.training) is None
        return self.kernels and self.device == "cpu" and self.size == 4 and alone and known

    @property
    def has_autograd_attention(self) -> bool:
        """Whether attention goes through autograd."""
        return not self.has_cpu_passes or sizes.has_autograd_attention(self.config)

    @property
    def size(self) -> int:
        """Bytes of a number in the precision of the computation."""
        return 4 if self.training.precision == "float32" else 2

    @property
    def tokens(self) -> int:
        """Tokens of one forward pass on one device."""
        self.training.accumulation(self.layout.devices)
        micro = self.training.micro_batch or self.training.batch // self.layout.devices
        return micro * self.config.context

    @property
    def norm_bytes(self) -> int:
        """Bytes for a token that a norm over H keeps beside its input: statistics; RMSNorm on a CPU also normalised values."""
        return 4 * (2 if self.config.norm == "layer" else 1) + self._normalised(self.config.hidden)

    def _normalised(self, width: int) -> int:
        return 4 * width if self.config.norm == "rms" and self.device == "cpu" else 0

    def attention_bytes(self) -> int:
        """Bytes for a token in a layer that attention keeps: queries, keys, values, and everything from them to the output."""
        output = self.size * maps(self.config)["qkv"][0]  # output of the map to queries, keys and values
        copies, before = self._attention_copies()
        return copies + (output if before else 0)

    def _attention_copies(self) -> tuple[int, bool]:
        """Bytes without the map's output, and whether that output is kept."""
        c, size, heads = self.config, self.size, self.config.heads
        width, keys, shared = c.hidden, c.keys * c.head, c.keys != c.heads
        masked = c.attention_dropout > 0 and self.device == "cpu"  # computed by the plain formula, from copies of all three
        new_q = masked or c.qk_norm or c.positions == "rotary"
        new_v = masked or shared
        arrays = size * width * (new_q + (new_q or shared) + new_v)
        before = not (new_q and new_v)  # the kernel reads a view of the map's output, so the whole output is kept
        if c.qk_norm:  # norms are in float32, for which half precision is copied
            before = before or size == 4
            arrays += 0 if size == 4 else 4 * (width + keys)
            arrays += self._normalised(width + keys) + 8 * (heads + c.keys)
        scores = 3 * size * heads * c.context if masked else 4 * heads
        return arrays + scores, before

    def feedforward_bytes(self) -> int:
        """Bytes for a token between the two maps: before the activation, after it, and the activation of a gate."""
        return (gates(self.config) + 1 + (self.config.activation == "swiglu")) * self.size * self.config.inner

    def mask_bytes(self, p: float | None) -> int:
        """Bytes for a token that dropout of H features keeps: numbers on a CPU, one byte each on CUDA."""
        return (self.size if self.device == "cpu" else 1) * self.config.hidden if p else 0

    def layer_bytes(self) -> int:
        """Bytes kept for a token in a layer: two norms and their inputs, inputs of three maps, attention, feed-forward, masks."""
        width = self.config.hidden
        norms, read = 2 * (4 * width + self.norm_bytes), 3 * self.size * width
        branches = 2 * self.mask_bytes(self.config.dropout)
        return norms + read + self.attention_bytes() + self.feedforward_bytes() + branches

    def stack_bytes(self) -> int:
        """Bytes kept for a token from its embedding to the last block."""
        c = self.config
        mask = (4 if self.device == "cpu" else 1) * c.hidden if c.embedded_dropout else 0
        layer = self.layer_bytes()
        blocks = 4 * c.hidden * c.layers + layer if self.layout.activation_checkpointing else layer * c.layers
        return blocks + mask + 8  # the token's number

    def end_bytes(self) -> int:
        """Bytes kept for a token by the last norm and the output map, without logits."""
        return (4 + self.size) * self.config.hidden + self.norm_bytes

    def loss_bytes(self) -> int:
        """The most bytes for a token at one time between logits and their gradient."""
        return 4 * (5 if self.training.z_loss else 3) * self.config.words

    def block_backward_bytes(self) -> int:
        """Bytes for a token that a block's backward pass adds to what was kept: gradients around the feed-forward part."""
        wide = (2 * gates(self.config)) * self.size * self.config.inner
        return wide + (4 + self.size) * self.config.hidden

    @property
    def evaluation_tokens(self) -> int:
        """Tokens in one pass of evaluation."""
        c = self.config
        chunk = max(1, min(EVALUATED, EVALUATED_LOGITS // c.words) // c.context)
        return c.context * min(chunk, max(1, self.training.eval_tokens // c.context))

    def evaluation_bytes(self) -> tuple[int, int]:
        """Bytes of one pass without gradients: within a block, and for the logits with their log-softmax."""
        c, size = self.config, self.size
        wide = size * (gates(c) + 1) * c.inner + (8 + size) * c.hidden
        logits = (8 if size == 4 else 8 + size) * c.words + 4 * c.hidden
        return self.evaluation_tokens * wide, self.evaluation_tokens * logits

    def casts(self) -> int:
        """Bytes of the copies that autocast makes of the linear maps' weights."""
        if self.size == 4:
            return 0
        return self.size * (self.config.layers * matrices(self.config) + self.config.words * self.config.hidden)

    # -- by hand -------------------------------------------------------------------------------------------------------

    def buffer_bytes(self) -> int:
        """Bytes of the buffers and masks of engines/cpu/, which stay; 0 for passes through autograd."""
        if not self.has_cpu_passes:
            return 0
        rows = sizes.buffer_rows(self.config, self.training)
        return sizes.buffer_bytes(self.config, rows) + sizes.mask_bytes(self.config, rows)

    def recorded_bytes(self) -> int:
        """Bytes that autograd keeps for attention in all layers, its output included, if engines/cpu/ leaves attention to it."""
        if not self.has_autograd_attention:
            return 0
        c = self.config
        outputs = 1 + (c.heads > 1 and not c.attention_dropout)  # the fused kernel keeps its own output, by heads
        return self.tokens * c.layers * (self._attention_copies()[0] + 4 * outputs * c.hidden)

    def recorded_backward_bytes(self) -> int:
        """Bytes that the backward pass of one layer's recorded attention holds: gradients, twice if one is made of another."""
        if not self.has_autograd_attention:
            return 0
        c = self.config
        scores = 8 * c.heads * c.context if c.attention_dropout else 0
        return self.tokens * (scores + 8 * c.hidden + 8 * maps(c)["qkv"][0])
