"""The bytes that training a configuration takes on each device, without building it. Imports no torch.

    P parameters, n tokens of a forward pass on one device, s is 4 bytes in float32 and else 2; H, F, V, T, L, N, K, D, g as
    in cost.py. Everything else is float32: weights, gradients, moments, the residual stream, the loss.

state           4 P weights, 4 P gradients, 4 P for each array of moments as long as the weights (adamw 2, sgd 1, lion 1;
                muon 1 for the matrices of blocks and 2 for the rest; adafactor rows and columns, and 1 if beta1 > 0),
                4 P for an average of the weights, 4 P for a learned learning rate, 4 T D of rotary angles.
                activations.py has everything else that a pass keeps or allocates

The largest of these phases of a step is the peak of allocated memory; `phases` has them all:

    build       three copies of the weights: the model and the two flat buffers it moves into (CPU)
    loss        state + casts + activations + loss
    head        state + casts + activations + 4 V n + 4 V H: the gradients of logits and output map
    block       the start of the last block's backward pass; if tables are tied, the output map's gradient is kept through
                the whole backward pass, until that of the token table is there
    table       state + the gradients of the tables
    update      state + temporary arrays of the optimizer
    evaluate    state + a pass without gradients over up to 4096 tokens, which is the largest phase for small batches

Several devices: ZeRO (Rajbhandari et al. 2020, section 5; FSDP, Zhao et al. 2023). Each of m devices holds

                sharding    weights                  gradients      moments and averages
                "none"      all                      all            all
                "grads"     all                      1 / m          1 / m                  ZeRO-2, SHARD_GRAD_OP
                "full"      1 / m                    1 / m          1 / m                  ZeRO-3, FULL_SHARD

and, while a block runs, the whole of its sharded parts: weights of two blocks (the next one is fetched ahead) and of the
tables, gradients of one block and of the tables. `offload` moves moments, averages and everything else that is sharded to the
memory of the host, where the update then runs (ZeRO-Offload, Ren et al. 2021). Activation checkpointing (Chen et al. 2016)
keeps 4 H for each layer and the activations of one layer, and computes the rest again.

Not included: fragmentation, the library's own memory (models.calibrate measures it), pools of CUDA graphs and the compiler.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from models.config import split
from models.optimizers.rows import Kind
from models.predict import buffers as sizes
from models.predict.activations import ActivationTerms
from models.predict.cost import gates, maps, matrices, vectors
from models.predict.layout import DeviceLayout
from models.predict.state import buffer_floats, moment_floats, update_bytes

FRAGMENTS, FRAGMENTS_AGAIN, STAYS = 1.4, 1.75, 0.3
MARGIN = 0.25  # share by which a process on a CPU may exceed the prediction (models/README.md)


class Room(Protocol):
    """The number of bytes that trainings may use, and whether they use engines/cpu/ if they can (`kernels`).

    A Machine of models.calibrate is one.
    """

    @property
    def kind(self) -> Kind: ...

    @property
    def available(self) -> int: ...

    @property
    def kernels(self) -> bool: ...


@dataclass(frozen=True)
class Memory:
    """Bytes on one device. `phases` has the bytes that are allocated at one time in each phase, `peak` is the largest of them.

    `process` is the memory that a process ends up with. On a CPU this is more than `peak`: glibc keeps freed arrays below
    32 MB, and not every later array fits into their places. FRAGMENTS is the share by which temporary arrays exceed their sum:
    those of a step through autograd (FRAGMENTS_AGAIN if a block's are computed again), and those of the blocks in an
    evaluation. STAYS is the share of a step through autograd that is still held when a larger evaluation allocates its arrays.
    With passes by hand all buffers of a step are still held, and also the first copy of the weights. The numbers were fitted
    to random configs, not derived.
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
    """The memory of a flat config on one of so many devices; it must give its vocabulary. ValueError as in `split`.

    `kernels` says whether a CPU has one thread and the kernels of engines/cpu/; on other devices it has no meaning.
    """
    model, training = split(config)
    return total_memory(ActivationTerms(model, training, DeviceLayout.of(training, devices), device, kernels))


def fits_memory(config: Mapping[str, Any], room: int | Room, margin: float = MARGIN, devices: int = 1) -> bool:
    """Whether the predicted bytes with a `margin` are within `room` bytes on each device, or within what a machine has available.

    With the room bound, it is a constraint for a space with the names of config.py: partial(fits_memory, room=8 * 10**9).
    """
    told = memory(config, devices) if isinstance(room, int) else memory(config, devices, room.kind, room.kernels)
    return told.process * (1 + margin) <= (room if isinstance(room, int) else room.available)


def total_memory(parts: ActivationTerms) -> Memory:
    """The memory of a training with these parts on one device."""
    count, layout = buffer_floats(parts.config), parts.layout
    shared = layout.sharding != "none"
    full = layout.sharding == "full"
    shard = 4 * -(-count // layout.devices)
    table = 4 * (count - parts.config.layers * (matrices(parts.config) + sum(vectors(parts.config))))
    fetched = (parts.size * (2 * matrices(parts.config)) + table) if full else 0
    fresh = 4 * matrices(parts.config) + table if shared else 0
    own = shard if full else 4 * count
    angles = 4 * parts.config.context * parts.config.head if parts.config.positions == "rotary" else 0
    weights = (0 if full and layout.offload else own) + fetched + angles
    gradients = (0 if layout.offload else shard) + fresh if shared else 4 * count
    moments = 4 * moment_floats(parts.config, parts.training, parts.device) + (4 * count if parts.training.ema else 0)
    moments = 0 if layout.offload else (moments // layout.devices if shared else moments)
    casts = 0 if full else parts.casts()
    state = weights + gradients + moments
    phases = _phases(parts, state, casts)
    return Memory(weights, gradients, moments, casts, _activations(parts), phases, _process(parts, state, phases))


def _activations(parts: ActivationTerms) -> int:
    if parts.has_cpu_passes:
        return parts.buffer_bytes() + parts.recorded_bytes()
    return parts.tokens * (parts.stack_bytes() + parts.end_bytes())


def _process(parts: ActivationTerms, state: int, phases: Mapping[str, int]) -> int:
    peak = max(phases.values())
    if parts.device == "cuda":
        return peak
    first = phases["build"] // 3  # the first copy of the weights
    block, logits = parts.evaluation_bytes()
    evaluated = round(FRAGMENTS * block) + logits
    if parts.has_cpu_passes:
        added = max(evaluated, phases["update"] - state - parts.buffer_bytes())
        return max(peak, state + parts.buffer_bytes() + parts.recorded_bytes() + first + added)
    passes = max(size - state for name, size in phases.items() if name not in ("build", "evaluate"))
    again = evaluated if parts.evaluation_tokens > parts.tokens else 0
    part = FRAGMENTS_AGAIN if parts.layout.activation_checkpointing else FRAGMENTS
    held = max(peak, state + round(max(first, part * passes, STAYS * max(first, passes) + again)))
    return held + _bf16_products(parts)


def _bf16_products(parts: ActivationTerms) -> int:
    """Bytes that products in bf16 need on a CPU: their largest result, accumulated in float32."""
    c = parts.config
    widest = max(c.words, gates(c) * c.inner, maps(c)["qkv"][0])
    return 4 * widest * max(parts.tokens, parts.evaluation_tokens) if parts.training.precision == "bf16" else 0


def _phases(parts: ActivationTerms, state: int, casts: int) -> dict[str, int]:
    c, training, layout, always = parts.config, parts.training, parts.layout, state + parts.buffer_bytes()
    update = 0 if layout.offload else update_bytes(c, training, parts.device) // _update_shards(parts)
    own = 4 * buffer_floats(c) if training.ema else 0  # the run's own weights, while the average replaces them
    evaluated = parts.casts() // c.layers + own + max(parts.evaluation_bytes()) + 8 * training.eval_tokens
    return {
        "build": 12 * buffer_floats(c) if parts.device == "cpu" and layout.sharding == "none" else 0,
        **(_cpu_passes(parts, state) if parts.has_cpu_passes else _recorded_passes(parts, state, casts)),
        "update": always + update,
        "evaluate": always + evaluated,
    }


def _cpu_passes(parts: ActivationTerms, state: int) -> dict[str, int]:
    """Phases of forward and backward pass by hand: the only temporary arrays are those of autograd for attention."""
    held, recorded = state + parts.buffer_bytes(), parts.recorded_bytes()
    ids = 16 * parts.tokens  # token ids and targets
    drawing = sizes.drawing_bytes(parts.config, parts.tokens)
    return {
        "loss": held + ids + recorded + drawing,
        "head": held + ids + recorded,
        "block": held + ids + recorded + parts.recorded_backward_bytes(),
        "table": held + ids,
    }


def _recorded_passes(parts: ActivationTerms, state: int, casts: int) -> dict[str, int]:
    """Phases of forward and backward pass through autograd."""
    c, n = parts.config, parts.tokens
    vocabulary = 4 * c.words * c.hidden
    stack, end = n * parts.stack_bytes(), n * parts.end_bytes()
    fresh = 4 * max(r * k for r, k in maps(c).values())
    busy = state + casts
    return {
        "loss": busy + stack + end + n * parts.loss_bytes(),
        "head": busy + stack + end + n * parts.size * c.words + vocabulary,
        "block": busy + stack + vocabulary * c.tie + n * parts.block_backward_bytes() + fresh,
        "table": busy + (3 if c.tie else 1) * vocabulary + 8 * n * c.hidden,
    }


def _update_shards(parts: ActivationTerms) -> int:
    return 1 if parts.layout.sharding == "none" else parts.layout.devices
