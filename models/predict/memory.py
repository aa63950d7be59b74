"""The bytes that training a configuration takes on each device, without building it. Imports no torch.

    P parameters, n tokens of a forward pass on one device, s 4 bytes in float32 and else 2; H, F, V, T, L, N, K, D, g as
    in cost.py. All else is float32: weights, gradients, moments, the residual stream, the loss.

state           4 P weights, 4 P gradients, 4 P an array of moments as long as the weights (adamw 2, sgd 1, lion 1; muon 1
                for the matrices of blocks and 2 for the rest; adafactor rows and columns, and 1 where beta1 > 0),
                4 P for an average of the weights, 4 P for a learned learning rate, 4 T D of rotary angles
                all else that is kept or made in a pass stands in activations.py

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

Not in it: fragmentation, the library's own memory (models.calibrate measures that), CUDA graphs' and the compiler's pools.
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
MARGIN = 0.25  # for what a process on a CPU comes to hold beyond what is predicted (models/README.md)


class Room(Protocol):
    """Something with a number of bytes that trainings may use, and whether they go by engines/cpu/ where they can (`kernels`).

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
    return total_memory(ActivationTerms(model, training, DeviceLayout.of(training, devices), device, kernels))


def fits_memory(config: Mapping[str, Any], room: int | Room, margin: float = MARGIN, devices: int = 1) -> bool:
    """Whether what is predicted and a `margin` of it are within `room` bytes a device, or what a machine has available.

    A constraint of a space, with the room bound: partial(fits, room=8 * 10**9), if its names are those of config.py.
    """
    told = memory(config, devices) if isinstance(room, int) else memory(config, devices, room.kind, room.kernels)
    return told.process * (1 + margin) <= (room if isinstance(room, int) else room.available)


def total_memory(parts: ActivationTerms) -> Memory:
    """What a training with these parts holds on one device."""
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
    first = phases["build"] // 3  # the weights' first places
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
    """What products in bf16 take on a CPU: the largest result, gathered in float32."""
    c = parts.config
    widest = max(c.words, gates(c) * c.inner, maps(c)["qkv"][0])
    return 4 * widest * max(parts.tokens, parts.evaluation_tokens) if parts.training.precision == "bf16" else 0


def _phases(parts: ActivationTerms, state: int, casts: int) -> dict[str, int]:
    c, training, layout, always = parts.config, parts.training, parts.layout, state + parts.buffer_bytes()
    update = 0 if layout.offload else update_bytes(c, training, parts.device) // _update_shards(parts)
    own = 4 * buffer_floats(c) if training.ema else 0  # the run's own weights, while the average is in their place
    evaluated = parts.casts() // c.layers + own + max(parts.evaluation_bytes()) + 8 * training.eval_tokens
    return {
        "build": 12 * buffer_floats(c) if parts.device == "cpu" and layout.sharding == "none" else 0,
        **(_cpu_passes(parts, state) if parts.has_cpu_passes else _recorded_passes(parts, state, casts)),
        "update": always + update,
        "evaluate": always + evaluated,
    }


def _cpu_passes(parts: ActivationTerms, state: int) -> dict[str, int]:
    """Phases of forward and backward pass: nothing but what autograd does for attention comes and goes."""
    held, recorded = state + parts.buffer_bytes(), parts.recorded_bytes()
    ids = 16 * parts.tokens  # and targets
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
