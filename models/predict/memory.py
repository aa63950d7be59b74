"""The bytes that training a configuration takes on each device, without building it. Imports no torch.

    P parameters, n tokens of a forward pass on one device, s 4 bytes in float32 and else 2; H, F, V, T, L, N, K, D, g as
    in cost.py. All else is float32: weights, gradients, moments, the residual stream, the loss.

state           4 P weights, 4 P gradients, 4 P an array of moments as long as the weights (adamw 2, sgd 1, lion 1; muon 1
                for the matrices of blocks and 2 for the rest; adafactor rows and columns, and 1 where beta1 > 0),
                4 P for an average of the weights, 4 P for a learned learning rate, 4 T D of rotary angles
casts           s a weight of the linear maps under autocast, which the backward pass wants
activations     what autograd keeps. A token in a layer: the residual stream before and after attention (4 H each), what
                the four maps read (3 s H + s F), queries, keys and values as the attention kernel reads them, and before
                rotation or norm where those need it, s g F before the activation, s F of a gate after it, and masks of
                dropout. RMSNorm on a CPU keeps 4 H of normalised values more. `attention_bytes` has the cases
                at the end the last norm (4 H + s H) and the logits
loss            12 V a token: log-softmax, its gradient, and the gradient of the logits; 20 V with z-loss

By hand (engines/cpu/) trains one process on a CPU in float32 without activation checkpointing, if it is eager, has one thread and
kernels.c compiles. The latter three are taken for granted here; without them, `kernels` is to be False. Activations are then
the buffers and masks of buffers.py, with the logits: they are in all phases but `build`, and there is no loss beside
them. Attention with norms of queries and keys or with dropout still goes through autograd, and what that keeps of it is there
from forward to backward pass.

Phases of a step whose largest is the peak of allocated memory, and which stand in `phases`:

    build       three copies of the weights: the model and the two flat buffers it moves into (CPU)
    loss        state + casts + activations + loss
    head        state + casts + activations + 4 V n + 4 V H: the gradients of logits and output map
    block       as the last block's backward pass finds it; where tables are tied, the output map's gradient waits for
                that of the token table and stands beside all of the backward pass
    table       state + the gradients of the tables
    update      state + what the optimizer needs for a moment
    evaluate    state + a pass without gradients over up to 4096 tokens, which for small batches is the largest of all

Several devices: ZeRO (Rajbhandari et al. 2020, section 5; FSDP, Zhao et al. 2023). On each of m devices lie, of

                sharding    weights                  gradients      moments and averages
                "none"      all                      all            all
                "grads"     all                      1 / m          1 / m                  ZeRO-2, SHARD_GRAD_OP
                "full"      1 / m                    1 / m          1 / m                  ZeRO-3, FULL_SHARD

and while a block runs, what of it is sharded in full: weights of two blocks (the next one is fetched ahead) and of the
tables, gradients of one block and of the tables. `offload` moves moments and averages, and what else is sharded, to the
memory of the host, where the update is then (ZeRO-Offload, Ren et al. 2021). Activation checkpointing (Chen et al. 2016)
keeps 4 H a layer and the activations of one layer, and computes the rest again.

Not in it: fragmentation, the library's own memory (calibrate.py measures that), CUDA graphs' and the compiler's pools.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from models.config import GPTConfig, TrainConfig, split
from models.optimizers.rows import Kind
from models.predict import buffers as sizes
from models.predict.cost import gates, maps, matrices, vectors
from models.predict.state import buffer_floats, moment_floats, update_bytes
from models.predict.support import unknown_option

EVALUATED = 4096  # tokens in one pass of evaluation at most, and
EVALUATED_LOGITS = 1 << 24  # logits (evaluate.py)

FRAGMENTS, FRAGMENTS_AGAIN, STAYS = 1.4, 1.75, 0.3
MARGIN = 0.25  # for what a process on a CPU comes to hold beyond what is predicted (models/README.md)


@dataclass(frozen=True)
class Layout:
    """How a training lies on its devices."""

    devices: int = 1
    sharding: str = "none"
    activation_checkpointing: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise ValueError(f"devices is {self.devices}, but must be at least 1")
        if self.sharding not in ("none", "grads", "full"):
            raise ValueError(f"sharding is {self.sharding!r}, but must be one of none, grads, full")
        if self.offload and self.sharding == "none":
            raise ValueError("offload is True, but works with sharding grads or full only")

    @classmethod
    def of(cls, training: TrainConfig, devices: int = 1) -> "Layout":
        """As a config says, on so many devices."""
        return cls(devices, training.sharding, training.activation_checkpointing, training.offload)


ALONE = Layout()


class Room(Protocol):
    """Something with a number of bytes that trainings may use, and whether they go by engines/cpu/ where they can (`kernels`).

    A Machine of calibrate.py is one.
    """

    @property
    def kind(self) -> Kind: ...

    @property
    def available(self) -> int: ...

    @property
    def kernels(self) -> bool: ...


@dataclass(frozen=True)
class Memory:
    """Bytes on one device. `phases` has what is allocated at once by phase, `peak` is the largest of them.

    `process` is what a process comes to hold. On a CPU that is more: glibc keeps what was freed in arrays below 32 MB
    in places that not every later array fits. FRAGMENTS is the part by which arrays that come and go exceed their sum:
    of a step through autograd (FRAGMENTS_AGAIN where a block's are computed again), of the blocks of an evaluation. STAYS is
    the part of a step through autograd that is there still when a larger evaluation wants its own. By hand all of a step's
    buffers are, and besides the weights' first places. The numbers were fitted to random configs, not derived.
    """

    weights: int
    gradients: int
    moments: int
    casts: int
    activations: int
    phases: Mapping[str, int]
    process: int

    @property
    def state(self) -> int:
        return self.weights + self.gradients + self.moments

    @cached_property
    def peak(self) -> int:
        return max(self.phases.values())


def memory(config: Mapping[str, Any], devices: int = 1, device: Kind = "cpu", kernels: bool = True) -> Memory:
    """On one of so many devices, of a flat config, which must give its vocabulary; ValueError as in `split`.

    `kernels` says whether a CPU has one thread and the kernels of engines/cpu/; elsewhere it means nothing.
    """
    model, training = split(config)
    return Parts(model, training, Layout.of(training, devices), device, kernels).memory()


def fits(config: Mapping[str, Any], room: int | Room, margin: float = MARGIN, devices: int = 1) -> bool:
    """Whether what is predicted and a `margin` of it are within `room` bytes a device, or what a machine has available.

    A constraint of a space, with the room bound: partial(fits, room=8 * 10**9), if its names are those of config.py.
    """
    told = memory(config, devices) if isinstance(room, int) else memory(config, devices, room.kind, room.kernels)
    return told.process * (1 + margin) <= (room if isinstance(room, int) else room.available)


# -- activations -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """The terms of the formula for one config; bytes are on one device."""

    config: GPTConfig
    training: TrainConfig
    layout: Layout = ALONE
    device: Kind = "cpu"
    kernels: bool = True  # whether a CPU has one thread and the kernels of engines/cpu/

    @property
    def byhand(self) -> bool:
        """Whether the passes are those of engines/cpu/ (`supports` in engines/cpu/engine.py)."""
        alone = self.layout.devices == 1 and not self.layout.activation_checkpointing
        known = unknown_option(self.config, self.training) is None
        return self.kernels and self.device == "cpu" and self.size == 4 and alone and known

    @property
    def attention_recorded(self) -> bool:
        """Whether attention goes through autograd."""
        return not self.byhand or sizes.recorded(self.config)

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
    def evaluated(self) -> int:
        """Tokens of one pass of evaluation."""
        c = self.config
        chunk = max(1, min(EVALUATED, EVALUATED_LOGITS // c.words) // c.context)
        return c.context * min(chunk, max(1, self.training.eval_tokens // c.context))

    def evaluation_bytes(self) -> tuple[int, int]:
        """Of one pass without gradients: within a block, and of the logits with their log-softmax."""
        c, size = self.config, self.size
        wide = size * (gates(c) + 1) * c.inner + (8 + size) * c.hidden
        logits = (8 if size == 4 else 8 + size) * c.words + 4 * c.hidden
        return self.evaluated * wide, self.evaluated * logits

    # -- by hand -------------------------------------------------------------------------------------------------------

    def held(self) -> int:
        """Buffers and masks of engines/cpu/, which stay; 0 where autograd is gone through."""
        if not self.byhand:
            return 0
        rows = sizes.rows(self.config, self.training)
        return sizes.buffer_bytes(self.config, rows) + sizes.mask_bytes(self.config, rows)

    def recorded_bytes(self) -> int:
        """What autograd keeps of attention in all layers, with its output, where engines/cpu/ leaves attention to it."""
        if not self.attention_recorded:
            return 0
        c = self.config
        outputs = 1 + (c.heads > 1 and not c.attention_dropout)  # the fused kernel keeps its own, by heads
        return self.tokens * c.layers * (self._attention_copies()[0] + 4 * outputs * c.hidden)

    def recorded_backward_bytes(self) -> int:
        """What the backward pass of one layer's recorded attention holds: gradients, twice where one makes another."""
        if not self.attention_recorded:
            return 0
        c = self.config
        scores = 8 * c.heads * c.context if c.attention_dropout else 0
        return self.tokens * (scores + 8 * c.hidden + 8 * maps(c)["qkv"][0])

    # -- all together --------------------------------------------------------------------------------------------------

    def casts(self) -> int:
        """Weights of linear maps as autocast made them."""
        if self.size == 4:
            return 0
        return self.size * (self.config.layers * matrices(self.config) + self.config.words * self.config.hidden)

    def memory(self) -> Memory:
        """All of it."""
        count, layout = buffer_floats(self.config), self.layout
        shared = layout.sharding != "none"
        full = layout.sharding == "full"
        shard = 4 * -(-count // layout.devices)
        table = 4 * (count - self.config.layers * (matrices(self.config) + sum(vectors(self.config))))
        fetched = (self.size * (2 * matrices(self.config)) + table) if full else 0
        fresh = 4 * matrices(self.config) + table if shared else 0
        own = shard if full else 4 * count
        angles = 4 * self.config.context * self.config.head if self.config.positions == "rotary" else 0
        weights = (0 if full and layout.offload else own) + fetched + angles
        gradients = (0 if layout.offload else shard) + fresh if shared else 4 * count
        moments = 4 * moment_floats(self.config, self.training, self.device) + (4 * count if self.training.ema else 0)
        moments = 0 if layout.offload else (moments // layout.devices if shared else moments)
        casts = 0 if full else self.casts()
        state = weights + gradients + moments
        phases = self._phases(state, casts)
        return Memory(weights, gradients, moments, casts, self._activations(), phases, self._process(state, phases))

    def _activations(self) -> int:
        if self.byhand:
            return self.held() + self.recorded_bytes()
        return self.tokens * (self.stack_bytes() + self.end_bytes())

    def _process(self, state: int, phases: Mapping[str, int]) -> int:
        peak = max(phases.values())
        if self.device == "cuda":
            return peak
        first = phases["build"] // 3  # the weights' first places
        block, logits = self.evaluation_bytes()
        evaluated = round(FRAGMENTS * block) + logits
        if self.byhand:
            added = max(evaluated, phases["update"] - state - self.held())
            return max(peak, state + self.held() + self.recorded_bytes() + first + added)
        passes = max(size - state for name, size in phases.items() if name not in ("build", "evaluate"))
        again = evaluated if self.evaluated > self.tokens else 0
        part = FRAGMENTS_AGAIN if self.layout.activation_checkpointing else FRAGMENTS
        held = max(peak, state + round(max(first, part * passes, STAYS * max(first, passes) + again)))
        return held + self._bf16_products()

    def _bf16_products(self) -> int:
        """What products in bf16 take on a CPU: the largest result, gathered in float32."""
        c = self.config
        widest = max(c.words, gates(c) * c.inner, maps(c)["qkv"][0])
        return 4 * widest * max(self.tokens, self.evaluated) if self.training.precision == "bf16" else 0

    def _phases(self, state: int, casts: int) -> dict[str, int]:
        c, training, layout, always = self.config, self.training, self.layout, state + self.held()
        update = 0 if layout.offload else update_bytes(c, training, self.device) // self._update_shards
        own = 4 * buffer_floats(c) if training.ema else 0  # the run's own weights, while the average is in their place
        evaluated = self.casts() // c.layers + own + max(self.evaluation_bytes()) + 8 * training.eval_tokens
        return {
            "build": 12 * buffer_floats(c) if self.device == "cpu" and layout.sharding == "none" else 0,
            **(self._byhand_passes(state) if self.byhand else self._recorded_passes(state, casts)),
            "update": always + update,
            "evaluate": always + evaluated,
        }

    def _byhand_passes(self, state: int) -> dict[str, int]:
        """Phases of forward and backward pass: nothing but what autograd does for attention comes and goes."""
        held, recorded = state + self.held(), self.recorded_bytes()
        ids = 16 * self.tokens  # and targets
        drawing = sizes.drawing_bytes(self.config, self.tokens)
        return {
            "loss": held + ids + recorded + drawing,
            "head": held + ids + recorded,
            "block": held + ids + recorded + self.recorded_backward_bytes(),
            "table": held + ids,
        }

    def _recorded_passes(self, state: int, casts: int) -> dict[str, int]:
        """Phases of forward and backward pass through autograd."""
        c, n = self.config, self.tokens
        vocabulary = 4 * c.words * c.hidden
        stack, end = n * self.stack_bytes(), n * self.end_bytes()
        fresh = 4 * max(r * k for r, k in maps(c).values())
        busy = state + casts
        return {
            "loss": busy + stack + end + n * self.loss_bytes(),
            "head": busy + stack + end + n * self.size * c.words + vocabulary,
            "block": busy + stack + vocabulary * c.tie + n * self.block_backward_bytes() + fresh,
            "table": busy + (3 if c.tie else 1) * vocabulary + 8 * n * c.hidden,
        }

    @property
    def _update_shards(self) -> int:
        return 1 if self.layout.sharding == "none" else self.layout.devices
