"""Seconds of a step and peak memory of a process, predicted before a config runs, from the measured rates of this machine.

    seconds = excess x (matmul FLOPs / rate  +  attention FLOPs / rate  +  bytes of elementwise work / rate
                        +  bytes of the update / bandwidth)  +  operations x overhead  +  recorded operations x theirs
              +  weights of the output map / rate  +  logits / rate of products  +  logits / rate of the loss

This is a roofline by parts (Williams et al. 2009). Rates are interpolated between sizes: a product by its smallest dimension,
attention by context x width of a head, elementwise work by the size of its arrays. `excess` is how much longer a real step
takes than its parts, which were measured alone, with their arrays in the cache; it is measured for the passes by hand, and for
autograd in each precision. A product with a large vocabulary first repacks all its weights, whatever the number of tokens, and
reads and writes logits that fit into no cache. The loss takes a time for each logit. These three are measured by size. If the
noise scale is measured, half a batch passes through the model once more.

Bytes of elementwise work are counted: for the passes by hand from the buffers, for autograd operation by operation
(predict/traffic.py). Operations are calls of torch and of the kernels of engines/cpu/ (predict/operations.py). Those that
autograd records take longer, since their backward pass is included. On CUDA, operations are launched while others run, so a
step takes the larger of launches and work.

Peak memory is the sum of what a process holds before it trains (measured), the code that a precision loads (measured), and the
formula of memory.py. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.calibrate.machine import Machine, rate_at
from models.config import GPTConfig, TrainConfig, split
from models.optimizers.rows import OPTIMIZERS
from models.predict import buffers
from models.predict.activations import ActivationTerms
from models.predict.cost import maps
from models.predict.layout import DeviceLayout
from models.predict.memory import MARGIN, fits_memory, total_memory
from models.predict.operations import pass_operations, update_operations
from models.predict.state import buffer_floats
from models.predict.traffic import attention_traffic, autograd_bytes

FRESH = 1 << 26  # bytes; glibc keeps at most so much freed memory, once smaller arrays are kept (engines/cpu/kernels.py)
# How often the passes by hand read or write a buffer, and a mask; the second was fitted, since random numbers take time, too.
BUFFERS, MASKS = 3, 20
FIXED = ("overhead", "output", "loss")  # parts that `excess` does not multiply


@dataclass(frozen=True)
class Prediction:
    """The prediction for a config on a machine. `parts` are the terms of seconds_per_step; `fits` includes a margin."""

    seconds_per_step: float
    peak_bytes: int
    fits: bool
    parts: Mapping[str, float]


def predict(config: Mapping[str, Any], machine: Machine, devices: int = 1, margin: float = MARGIN) -> Prediction:
    """Seconds and bytes of a flat config on each of `devices`; it must give its vocabulary. ValueError as in `split`."""
    model, training = split(config)
    parts = ActivationTerms(model, training, DeviceLayout.of(training, devices), machine.kind, machine.kernels)
    terms = seconds(parts, machine)
    work = sum(terms.values()) - terms["overhead"]
    peak = total_memory(parts).process + machine.slack + machine.code[training.precision]
    total = max(work, terms["overhead"]) if machine.kind == "cuda" else sum(terms.values())
    return Prediction(total, machine.base + peak, fits_memory(config, machine, margin, devices), terms)


def way(parts: ActivationTerms) -> str:
    """The key of a training in a machine's tables by way: "kernels" for the passes by hand, else its precision."""
    return "kernels" if parts.has_cpu_passes else parts.training.precision


def seconds(parts: ActivationTerms, machine: Machine) -> dict[str, float]:
    """The terms of a step, by the formula above."""
    c, training, n, excess = parts.config, parts.training, parts.tokens, machine.excess[way(parts)]
    passes, begun = count_passes(parts)
    again = 4 / 3 if parts.layout.activation_checkpointing else 1.0  # the forward pass of the blocks runs twice
    rates = machine.matmul[training.precision]
    products = sum(6 * r * k / rate_at(rates, min(r, k, n)) for r, k in maps(c).values()) * c.layers * again
    products += 6 * c.words * c.hidden / rate_at(machine.output[training.precision], min(c.words, c.hidden, n))
    attended = 12 * c.layers * c.hidden * c.context * again
    by = training.precision if parts.has_autograd_attention else "kernels"
    called, recorded = pass_operations(parts)
    return {
        "products": excess * passes * n * products,
        "attention": excess * passes * n * attended / rate_at(machine.attention[by], c.context * c.head),
        "elementwise": excess * passes * elementwise_seconds(parts, machine),
        "update": excess * update_seconds(c, training, machine),
        "output": output_seconds(parts, machine, passes, begun),
        "loss": passes * loss_seconds(parts, machine),
        "overhead": machine.overhead * (begun * called + update_operations(c, training)) + machine.recorded * begun * recorded,
    }


def count_passes(parts: ActivationTerms) -> tuple[float, float]:
    """On average in a step: passes counted as full ones, and the number of passes started; some have fewer tokens."""
    training, devices = parts.training, parts.layout.devices
    passes = training.accumulation(devices)
    if not training.noise_every:
        return passes, passes
    half = min(1.0, (training.batch // devices // 2) * parts.config.context / parts.tokens)  # the share of a pass's tokens
    return passes + half / training.noise_every, passes + 1 / training.noise_every


def elementwise_seconds(parts: ActivationTerms, machine: Machine) -> float:
    """Seconds of the elementwise work in one forward and backward pass, without the loss."""
    c, n = parts.config, parts.tokens
    array = n * parts.size * c.inner
    if not parts.has_cpu_passes:
        return autograd_bytes(parts) / rate_at(machine.pointwise["autograd"], array)
    held = buffers.buffer_bytes(c, n) - 4 * n * c.words
    moved = (BUFFERS * held + MASKS * buffers.mask_bytes(c, n)) / rate_at(machine.pointwise["kernels"], array)
    if not parts.has_autograd_attention:
        return moved
    recorded = n * c.layers * sum(attention_traffic(parts))
    return moved + recorded / rate_at(machine.pointwise["autograd"], 4 * n * c.hidden)


def output_seconds(parts: ActivationTerms, machine: Machine, passes: float, begun: float) -> float:
    """Seconds of the output map's products beyond their FLOPs: weights to repack, logits to read and write."""
    c, precision = parts.config, parts.training.precision
    weights, logits = c.words * c.hidden, parts.tokens * c.words
    arranged = begun * weights / rate_at(machine.packing[precision], weights)
    return arranged + passes * logits / rate_at(machine.logits[precision], logits)


def loss_seconds(parts: ActivationTerms, machine: Machine) -> float:
    """Seconds of the loss, forward and backward. If autograd needs more memory than glibc keeps, it comes from the system."""
    logits, made = parts.tokens * parts.config.words, parts.tokens * parts.loss_bytes()
    if parts.has_cpu_passes:
        return logits / rate_at(machine.loss["kernels"], logits)
    return logits / rate_at(machine.loss["autograd"], logits) + (made / machine.fresh if made > FRESH else 0.0)


def update_seconds(config: GPTConfig, training: TrainConfig, machine: Machine) -> float:
    """Seconds to clear the gradient, to clip it, for the optimizer's passes over its buffers, and for its matrix products."""
    buffer = 4 * buffer_floats(config)
    row = OPTIMIZERS[training.optimizer]
    passes = row.passes + (3 if training.ema else 0) + (9 if training.hypergradient else 0)
    moved = passes * buffer / rate_at(machine.bandwidth, buffer)
    if row.flops is None:
        return moved
    sizes = [(min(r, k), max(r, k)) for r, k in maps(config).values()]
    rates = machine.matmul["bf16" if machine.kind == "cuda" else "float32"]
    return moved + config.layers * sum(row.flops(r, k) / rate_at(rates, r) for r, k in sizes)
