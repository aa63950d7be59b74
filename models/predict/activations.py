"""The bytes that the passes of a training keep and make, for each token and as a whole. Imports no torch.

    n tokens of a forward pass on one device, s 4 bytes in float32 and else 2; H, F, V, T, L, N, K, D, g as in cost.py.

casts           s a weight of the linear maps under autocast, which the backward pass wants
activations     what autograd keeps. A token in a layer: the residual stream before and after attention (4 H each), what
                the four maps read (3 s H + s F), queries, keys and values as the attention kernel reads them, and before
                rotation or norm where those need it, s g F before the activation, s F of a gate after it, and masks of
                dropout. RMSNorm on a CPU keeps 4 H of normalised values more. `attention_bytes` has the cases
                at the end the last norm (4 H + s H) and the logits
loss            12 V a token: log-softmax, its gradient, and the gradient of the logits; 20 V with z-loss

By hand (engines/cpu/) trains one process on a CPU in float32 without activation checkpointing, if it is eager, has one thread
and kernels.c compiles. The latter three are taken for granted here; without them, `kernels` is to be False. Activations are
then the buffers and masks of buffers.py, with the logits: they are in all phases of a step but `build` (memory.py), and there
is no loss beside them.
Attention with norms of queries and keys or with dropout still goes through autograd, and what that keeps of it is there
from forward to backward pass.
"""

from dataclasses import dataclass

from models.config import GPTConfig, TrainConfig
from models.optimizers.rows import Kind
from models.predict import buffers as sizes
from models.predict.cost import gates, maps, matrices
from models.predict.layout import ALONE, DeviceLayout
from models.predict.support import unknown_option

EVALUATED = 4096  # tokens in one pass of evaluation at most, and
EVALUATED_LOGITS = 1 << 24  # logits (evaluate.py)


@dataclass(frozen=True)
class ActivationTerms:
    """The terms of the formulas for one config; bytes are on one device."""

    config: GPTConfig
    training: TrainConfig
    layout: DeviceLayout = ALONE
    device: Kind = "cpu"
    kernels: bool = True  # whether a CPU has one thread and the kernels of engines/cpu/

    @property
    def has_cpu_passes(self) -> bool:
        """Whether the passes are those of engines/cpu/ (`supports` in engines/cpu/engine.py)."""
        alone = self.layout.devices == 1 and not self.layout.activation_checkpointing
        known = unknown_option(self.config, self.training) is None
        return self.kernels and self.device == "cpu" and self.size == 4 and alone and known

    @property
    def has_autograd_attention(self) -> bool:
        """Whether attention goes through autograd."""
        return not self.has_cpu_passes or sizes.has_autograd_attention(self.config)

    @property
    def size(self) -> int:
        """Bytes of a number in what is computed."""
        return 4 if self.training.precision == "float32" else 2

    @property
    def tokens(self) -> int:
        """Tokens of one forward pass on one device."""
        self.training.accumulation(self.layout.devices)
        micro = self.training.micro_batch or self.training.batch // self.layout.devices
        return micro * self.config.context

    @property
    def norm_bytes(self) -> int:
        """What a norm over H keeps of a token beside its input: statistics, and RMSNorm on a CPU the normalised values."""
        return 4 * (2 if self.config.norm == "layer" else 1) + self._normalised(self.config.hidden)

    def _normalised(self, width: int) -> int:
        return 4 * width if self.config.norm == "rms" and self.device == "cpu" else 0

    def attention_bytes(self) -> int:
        """Queries, keys, values and what leads from them to the output, of a token in a layer."""
        output = self.size * maps(self.config)["qkv"][0]  # of the map to queries, keys and values
        copies, before = self._attention_copies()
        return copies + (output if before else 0)

    def _attention_copies(self) -> tuple[int, bool]:
        """Without the map's output, and whether that is kept."""
        c, size, heads = self.config, self.size, self.config.heads
        width, keys, shared = c.hidden, c.keys * c.head, c.keys != c.heads
        masked = c.attention_dropout > 0 and self.device == "cpu"  # by the plain formula, from copies of all three
        new_q = masked or c.qk_norm or c.positions == "rotary"
        new_v = masked or shared
        arrays = size * width * (new_q + (new_q or shared) + new_v)
        before = not (new_q and new_v)  # a view of the map's output is read, so all of that is kept
        if c.qk_norm:  # in float32, for which half precision is copied
            before = before or size == 4
            arrays += 0 if size == 4 else 4 * (width + keys)
            arrays += self._normalised(width + keys) + 8 * (heads + c.keys)
        scores = 3 * size * heads * c.context if masked else 4 * heads
        return arrays + scores, before

    def feedforward_bytes(self) -> int:
        """Between the two maps: before the activation, after it, and of a gate its activation."""
        return (gates(self.config) + 1 + (self.config.activation == "swiglu")) * self.size * self.config.inner

    def mask_bytes(self, p: float | None) -> int:
        """Of dropout of H features that are computed: numbers on a CPU, one byte each on CUDA."""
        return (self.size if self.device == "cpu" else 1) * self.config.hidden if p else 0

    def layer_bytes(self) -> int:
        """Kept of a token in a layer: two norms with their inputs, three maps' inputs, attention, feed-forward, masks."""
        width = self.config.hidden
        norms, read = 2 * (4 * width + self.norm_bytes), 3 * self.size * width
        branches = 2 * self.mask_bytes(self.config.dropout)
        return norms + read + self.attention_bytes() + self.feedforward_bytes() + branches

    def stack_bytes(self) -> int:
        """Kept of a token from its embedding to the last block."""
        c = self.config
        mask = (4 if self.device == "cpu" else 1) * c.hidden if c.embedded_dropout else 0
        layer = self.layer_bytes()
        blocks = 4 * c.hidden * c.layers + layer if self.layout.activation_checkpointing else layer * c.layers
        return blocks + mask + 8  # the token's number

    def end_bytes(self) -> int:
        """Kept of a token by the last norm and the output map, without logits."""
        return (4 + self.size) * self.config.hidden + self.norm_bytes

    def loss_bytes(self) -> int:
        """Of a token, at most at once between logits and their gradient."""
        return 4 * (5 if self.training.z_loss else 3) * self.config.words

    def block_backward_bytes(self) -> int:
        """What a block's backward pass holds beside what was kept, of a token: gradients around the feed-forward part."""
        wide = (2 * gates(self.config)) * self.size * self.config.inner
        return wide + (4 + self.size) * self.config.hidden

    @property
    def evaluation_tokens(self) -> int:
        """Tokens of one pass of evaluation."""
        c = self.config
        chunk = max(1, min(EVALUATED, EVALUATED_LOGITS // c.words) // c.context)
        return c.context * min(chunk, max(1, self.training.eval_tokens // c.context))

    def evaluation_bytes(self) -> tuple[int, int]:
        """Of one pass without gradients: within a block, and of the logits with their log-softmax."""
        c, size = self.config, self.size
        wide = size * (gates(c) + 1) * c.inner + (8 + size) * c.hidden
        logits = (8 if size == 4 else 8 + size) * c.words + 4 * c.hidden
        return self.evaluation_tokens * wide, self.evaluation_tokens * logits

    def casts(self) -> int:
        """Weights of linear maps as autocast made them."""
        if self.size == 4:
            return 0
        return self.size * (self.config.layers * matrices(self.config) + self.config.words * self.config.hidden)

    # -- by hand -------------------------------------------------------------------------------------------------------

    def buffer_bytes(self) -> int:
        """Buffers and masks of engines/cpu/, which stay; 0 where autograd is gone through."""
        if not self.has_cpu_passes:
            return 0
        rows = sizes.buffer_rows(self.config, self.training)
        return sizes.buffer_bytes(self.config, rows) + sizes.mask_bytes(self.config, rows)

    def recorded_bytes(self) -> int:
        """What autograd keeps of attention in all layers, with its output, where engines/cpu/ leaves attention to it."""
        if not self.has_autograd_attention:
            return 0
        c = self.config
        outputs = 1 + (c.heads > 1 and not c.attention_dropout)  # the fused kernel keeps its own, by heads
        return self.tokens * c.layers * (self._attention_copies()[0] + 4 * outputs * c.hidden)

    def recorded_backward_bytes(self) -> int:
        """What the backward pass of one layer's recorded attention holds: gradients, twice where one makes another."""
        if not self.has_autograd_attention:
            return 0
        c = self.config
        scores = 8 * c.heads * c.context if c.attention_dropout else 0
        return self.tokens * (scores + 8 * c.hidden + 8 * maps(c)["qkv"][0])
