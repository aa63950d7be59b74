"""Seconds a step and peak memory of a process, predicted before a config runs by what this machine was measured to do.

    seconds = excess x (matmul FLOPs / rate  +  attention FLOPs / rate  +  bytes of elementwise work / rate
                        +  bytes of the update / bandwidth)  +  operations x overhead  +  recorded operations x theirs
              +  weights of the output map / rate  +  logits / rate

a roofline by parts (Williams et al. 2009). Rates are interpolated between sizes: a product by its smallest dimension, attention
by context x width of a head, elementwise work by the size of its arrays. `excess` is how much longer one real step takes than
its parts, each of which was measured alone, with its arrays in the cache; it is measured in float32 and in bf16. A product with
a large vocabulary arranges each of its weights first, whatever the number of tokens, and through autograd a loss takes its time
a logit: both are measured by size. Where the noise scale is measured, half a batch is gone through once more.

Operations are calls of torch and of the kernels of engines/cpu/; those that autograd records take longer, with what it does for
them on the way back. On CUDA, operations are launched while others run, so that a step takes the larger of launches and work.
Peak memory is what a process holds before it trains, measured, and the formula of memory.py.

On a CPU with one thread and a compiler, attention and elementwise work in float32 are measured with the kernels of engines/cpu/,
elsewhere with torch's. `machine` keeps what was measured in the cache folder; it takes a few seconds.

    python -m models.calibrate           measure, and print what came of it
    python -m models.calibrate --check   random configs of 10k to 20M parameters: predicted and measured, side by side

Imports torch where it measures, not where it predicts.
"""

import argparse
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from math import exp, log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.calibrate.measure import FEW, FRESH, HEADS, INSTANT, NARROW, ROWS, SIZES, WIDTHS, WORDS, Parted
from models.calibrate.steps import Stopwatch, has_kernels, measured_in_child, recorded_run_of, run_of
from models.config import GPTConfig, TrainConfig, split
from models.data.cache import cache_folder
from models.optimizers.rows import OPTIMIZERS, Kind
from models.predict import buffers as buffers_of
from models.predict.cost import gates, maps
from models.predict.memory import MARGIN, Layout, Parts, fits
from models.predict.state import buffer_floats, shapes_of

if TYPE_CHECKING:
    import torch

Table = Sequence[Sequence[float]]  # (size, rate) with sizes in ascending order

PRECISIONS = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}
TINY: Mapping[str, Any] = {
    "layers": 2, "hidden": 8, "heads": 1, "vocabulary": 8, "context": 4, "batch": 1, "eval_tokens": 4,
}  # fmt: skip
# Its arrays are larger than the second-level cache, as they are in most trainings that take long.
REFERENCE: Mapping[str, Any] = {
    "layers": 4, "hidden": 128, "heads": 4, "vocabulary": 512, "context": 128, "batch": 16, "eval_tokens": 128,
}  # fmt: skip
SLACK = 12 * 10**6  # bytes on a CPU beside what memory.py counts: fragments, kernels that are loaded at their first use
BF16 = 12 * 10**6  # bytes of the kernels for products in bf16, which a CPU loads at the first
TOUCHED = 5  # arrays that are read or written for each one kept: by its maker, by its gradient, by the gradient's
# By hand: for each buffer; for each mask, whose random numbers take as long; for each that autograd keeps of attention, which
# it goes through in pieces. Only the first was counted, the others were fitted to a few configs.
BUFFERS, MASKS, PIECES = 3, 20, 15
# Operations by layer, around the layers and by step, as counted in tests/models/test_calibrate.py.
LAYER, ENDS, LAYER_BYHAND, ENDS_BYHAND, STEP = 88, 42, 27, 17, 6
AGAIN = 0.7  # of a layer's operations, where they are called again: forward, and putting away what is kept


@dataclass(frozen=True)
class Machine:
    """What one device does: rates in 1 / second by size, bytes, and the seconds that an operation takes at least."""

    device: str
    threads: int
    torch: str
    matmul: Mapping[str, Table]  # by precision; FLOPs, by smallest dimension
    attention: Mapping[str, Table]  # by precision, and "kernels" where there are; FLOPs, by context x width of a head
    pointwise: Table  # bytes that elementwise work goes through, by bytes of an array
    bandwidth: Table  # bytes of plain sums in place, by bytes of an array
    output: Mapping[str, Table]  # by precision; weights of the output map that products with few tokens arrange, by their number
    loss: Table  # logits through autograd, there and back, by their number
    fresh: float  # bytes of arrays for which memory comes from the system
    overhead: float  # seconds an operation
    recorded: float  # seconds an operation that autograd records
    excess: Mapping[str, float]  # of a real step over the sum of its parts, by precision
    base: int  # bytes of a process that has trained, without what memory.py counts
    total: int  # bytes of the device
    kernels: bool  # whether trainings go by engines/cpu/ where they can

    @property
    def kind(self) -> Kind:
        return "cuda" if self.device.startswith("cuda") else "cpu"

    @property
    def slack(self) -> int:
        return SLACK if self.kind == "cpu" else 0

    @property
    def available(self) -> int:
        """Bytes for what memory.py counts of a training."""
        return self.total - self.base - self.slack


@dataclass(frozen=True)
class Prediction:
    """Of a config on a machine. `parts` are the terms of seconds_per_step; `fits` is with a margin."""

    seconds_per_step: float
    peak_bytes: int
    fits: bool
    parts: Mapping[str, float]


def predict(config: Mapping[str, Any], machine: Machine, devices: int = 1, margin: float = MARGIN) -> Prediction:
    """What a flat config, which must give its vocabulary, takes on each of so many devices; ValueError as in `split`."""
    model, training = split(config)
    parts = Parts(model, training, Layout.of(training, devices), machine.kind, machine.kernels)
    terms = seconds(parts, machine)
    work = sum(terms.values()) - terms["overhead"]
    peak = parts.memory().process + machine.slack + BF16 * (machine.kind == "cpu" and training.precision == "bf16")
    total = max(work, terms["overhead"]) if machine.kind == "cuda" else sum(terms.values())
    return Prediction(total, machine.base + peak, fits(config, machine, margin, devices), terms)


def seconds(parts: Parts, machine: Machine) -> dict[str, float]:
    """The terms of a step, by the formula above."""
    c, training, n, excess = parts.config, parts.training, parts.tokens, machine.excess[parts.training.precision]
    passes, begun = passes_of(parts)
    again = 4 / 3 if parts.layout.activation_checkpointing else 1.0  # the forward pass of blocks, once more
    rates, precision = machine.matmul[training.precision], training.precision
    products = sum(6 * r * k / rate_at(rates, min(r, k, n)) for r, k in maps(c).values()) * c.layers * again
    products += 6 * c.words * c.hidden / rate_at(rates, min(c.words, c.hidden, n))
    attended = 12 * c.layers * c.hidden * c.context * again
    by = precision if parts.attention_recorded else "kernels"
    attention = attended / rate_at(machine.attention[by], c.context * c.head)
    touched = touched_bytes(parts) / rate_at(machine.pointwise, n * parts.size * c.inner)
    called, recorded = operations(parts)
    weights = c.words * c.hidden
    return {
        "products": excess * passes * n * products,
        "attention": excess * passes * n * attention,
        "elementwise": excess * passes * touched,
        "update": excess * update_seconds(c, training, machine),
        "output": begun * weights / rate_at(machine.output[precision], weights),
        "loss": 0.0 if parts.byhand else passes * loss_seconds(parts, machine),
        "overhead": machine.overhead * (begun * called + update_operations(c, training)) + machine.recorded * begun * recorded,
    }


def loss_seconds(parts: Parts, machine: Machine) -> float:
    """Of logits through autograd. Where they take more than is kept of what was freed, memory comes from the system."""
    logits, made = parts.tokens * parts.config.words, parts.tokens * parts.loss_bytes()
    return logits / rate_at(machine.loss, logits) + (made / machine.fresh if made > FRESH else 0.0)


def passes_of(parts: Parts) -> tuple[float, float]:
    """Of a step, on average: passes over the tokens of one, and passes that are begun, some of which are over fewer."""
    training, devices = parts.training, parts.layout.devices
    passes = training.accumulation(devices)
    if not training.noise_every:
        return passes, passes
    half = min(1.0, (training.batch // devices // 2) * parts.config.context / parts.tokens)  # of the tokens of a pass
    return passes + half / training.noise_every, passes + 1 / training.noise_every


def touched_bytes(parts: Parts) -> int:
    """What elementwise work of one forward and backward pass reads and writes."""
    if parts.byhand:
        buffers, masks = (of(parts.config, parts.tokens) for of in (buffers_of.buffer_bytes, buffers_of.mask_bytes))
        return BUFFERS * buffers + MASKS * masks + PIECES * parts.recorded_bytes()
    whole = replace(parts, layout=replace(parts.layout, activation_checkpointing=False))  # all is made, whatever is kept
    cast = 2 * (4 + parts.size) * parts.config.words if parts.size < 4 else 0  # of the logits, there and back
    return parts.tokens * (TOUCHED * (whole.stack_bytes() + whole.end_bytes()) + cast)


def update_seconds(config: GPTConfig, training: TrainConfig, machine: Machine) -> float:
    """Clearing the gradient, clipping, the optimizer's passes over its buffers, and its products of matrices."""
    buffer = 4 * buffer_floats(config)
    row = OPTIMIZERS[training.optimizer]
    passes = row.passes + (3 if training.ema else 0) + (9 if training.hypergradient else 0)
    moved = passes * buffer / rate_at(machine.bandwidth, buffer)
    if row.flops is None:
        return moved
    sizes = [(min(r, k), max(r, k)) for r, k in maps(config).values()]
    rates = machine.matmul["bf16" if machine.kind == "cuda" else "float32"]
    return moved + config.layers * sum(row.flops(r, k) / rate_at(rates, r) for r, k in sizes)


def operations(parts: Parts) -> tuple[int, int]:
    """Of one forward and backward pass: how many are called as they are, and how many autograd records."""
    c, training = parts.config, parts.training
    rms, cast, rotary = c.norm == "rms", training.precision != "float32", c.positions == "rotary"
    embedded = bool(c.embedded_dropout)
    attention = (43 + 4 * cast) * rotary + (9 + 44 * rms) * c.qk_norm + 14 * (c.keys != c.heads)
    attention += 52 * bool(c.attention_dropout)
    if parts.byhand:
        layer = LAYER_BYHAND + 8 * c.bias + 24 * bool(c.dropout) + 28 * bool(c.layer_dropout)
        layer += 0 if parts.attention_recorded else 2 + 2 * rotary
        recorded = 30 + attention if parts.attention_recorded else 0
        return c.layers * layer + ENDS_BYHAND + 11 * embedded, c.layers * recorded
    layer = LAYER + attention + 44 * rms + 14 * cast + 14 * c.bias + 22 * bool(c.dropout) + 22 * bool(c.layer_dropout)
    layer += 8 * (gates(c) == 2) + 6 * (c.activation == "relu2")
    layer += round(AGAIN * layer) if parts.layout.activation_checkpointing else 0
    ends = ENDS + 22 * rms + 6 * cast + 19 * bool(training.z_loss) + 20 * bool(training.label_smoothing) + 11 * embedded
    return 0, c.layers * layer + ends


def update_operations(config: GPTConfig, training: TrainConfig) -> int:
    """Operations of a step beside its passes."""
    called = OPTIMIZERS[training.optimizer].operations(shapes_of(config))
    return STEP + called + (13 if training.hypergradient else 0) + (1 if training.ema else 0)


def rate_at(table: Table, size: float) -> float:
    """The rate at a size: straight between its neighbours in logarithms, and at the ends as there."""
    sizes, rates = zip(*table, strict=True)
    return exp(float(np.interp(log(size), np.log(sizes), np.log(rates))))


# -- measuring ---------------------------------------------------------------------------------------------------------


def machine(device: str = "cpu", threads: int = 1, cache: str | Path | None = None) -> Machine:
    """The machine as it was measured before with this torch, from the cache folder, or measured now."""
    path = cache_folder(cache) / f"machine-{device.replace(':', '-')}-{threads}.json"
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.keys() == {one.name for one in fields(Machine)} and stored["torch"] == version("torch"):
            return Machine(**stored)
    found = calibrate(device, threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}.tmp")
    half.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    os.replace(half, path)
    return found


def calibrate(device: str = "cpu", threads: int = 1) -> Machine:
    """Measure a device, in about ten seconds; the number of threads of this process is set to `threads`."""
    import torch

    from models.device import open_device, use_device

    torch.set_num_threads(threads)
    with use_device(open_device(device)):
        return _calibrated(device, threads)


def _calibrated(device: str, threads: int) -> Machine:
    import torch

    on = torch.device(device)
    timed, alone = Stopwatch(on, threads), Parted(on)
    kinds = {name: getattr(torch, kind) for name, kind in PRECISIONS.items()}
    kernels = has_kernels(device, threads)
    attention = {
        name: [(t * d, timed.rate(alone.attended(t, d, of), 48 * t * t * d)) for t, d in HEADS]
        for name, of in kinds.items()
    }
    if kernels:
        attention["kernels"] = [(t * d, timed.rate(alone.attended_byhand(t, d), 48 * t * t * d)) for t, d in HEADS]
    activation, touched = (alone.gelu_byhand, 24) if kernels else (alone.gelu, 20)
    found = Machine(
        device,
        threads,
        version("torch"),
        {name: [(w, timed.rate(alone.product(w, of), 2 * ROWS * w * w)) for w in WIDTHS] for name, of in kinds.items()},
        attention,
        [(4 * n, timed.rate(activation(n), touched * n)) for n in SIZES],
        [(4 * n, timed.rate(alone.sums(n), 12 * n)) for n in SIZES],
        {},
        [(FEW * v, timed.rate(alone.loss(v), FEW * v)) for v in WORDS],
        timed.rate(alone.fresh(), FRESH) if on.type == "cpu" else INSTANT,
        per_operation(run_of(TINY, device, threads), kernels, timed),
        per_operation(recorded_run_of(TINY, device, threads), False, timed),
        dict.fromkeys(kinds, 1.0),
        measured_in_child(TINY, device, threads, 1).base,
        _total(on),
        kernels,
    )
    found = replace(found, output={name: arranged(found, alone, timed, name) for name in kinds})
    of = {name: excess(found, {**REFERENCE, "precision": name}, timed) for name in ("float32", "bf16")}
    return replace(found, excess={**of, "fp16": of["float32"]})  # a CPU takes seconds a step in fp16


def arranged(found: Machine, alone: Parted, timed: Stopwatch, name: str) -> list[tuple[int, float]]:
    """Weights a second of an output map, of what its three products with few tokens take beyond their FLOPs."""
    if name == "fp16" and found.kind == "cpu":  # no faster than its FLOPs
        return [(1, INSTANT)]
    import torch

    table = []
    for words in WORDS:
        taken = sum(timed(product) for product in alone.output(words, getattr(torch, PRECISIONS[name])))
        more = taken - 6 * FEW * words * NARROW / rate_at(found.matmul[name], NARROW)
        table.append((words * NARROW, min(INSTANT, words * NARROW / max(more, 1e-9))))
    return table


def excess(found: Machine, config: Mapping[str, Any], timed: Stopwatch) -> float:
    """Of a real step over the sum of its parts, without what does not grow with it."""
    parts = dict(predict(config, found).parts)
    fixed = sum(parts.pop(name) for name in ("overhead", "output", "loss")) * (found.kind == "cpu")
    return max(1.0, (timed(run_of(config, found.device, found.threads)._step) - fixed) / sum(parts.values()))


def per_operation(run: Any, kernels: bool, timed: Stopwatch) -> float:
    """Seconds an operation of a run so small that its arithmetic takes none."""
    done = sum(operations(Parts(run.size, run.config, kernels=kernels))) + update_operations(run.size, run.config)
    return timed(run._step) / done


def _total(device: "torch.device") -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# -- the command -------------------------------------------------------------------------------------------------------


def random_config(rng: random.Random) -> dict[str, Any]:
    """A config of 10k to 20M parameters with options of every kind."""
    heads = rng.choice([1, 2, 4, 8])
    config: dict[str, Any] = {
        "layers": rng.randint(1, 6), "heads": heads, "hidden": heads * rng.choice([16, 32, 64]),
        "ff_ratio": rng.choice([2.0, 4.0]), "dropout": rng.choice([0.0, 0.0, 0.1]),
        "vocabulary": rng.choice([65, 512, 4096]), "context": rng.choice([32, 64, 256]), "batch": rng.choice([4, 8, 16]),
        "positions": rng.choice(["learned", "rotary"]), "norm": rng.choice(["layer", "rms"]), "tie": rng.random() < 0.5,
        "activation": rng.choice(["gelu", "relu2", "swiglu"]), "qk_norm": rng.random() < 0.3,
        "optimizer": rng.choice([*OPTIMIZERS]), "ema": rng.choice([0.0, 0.99]),
    }  # fmt: skip
    config["kv_heads"] = rng.choice([one for one in (1, 2, 4, 8) if heads % one == 0])
    rare = {  # each in one config of four
        "precision": "bf16", "activation_checkpointing": True, "noise_every": rng.choice([1, 1, 4]),
        "micro_batch": config["batch"] // 2,
    }  # fmt: skip
    config |= {name: value for name, value in rare.items() if rng.random() < 0.25}
    if rng.random() < 0.25:  # GPT-2's
        config |= {"vocabulary": 50257, "batch": 4, "context": min(config["context"], 64)}
        config |= {"micro_batch": 2} if "micro_batch" in config else {}
    return config


def check(on: Machine, count: int, seed: int) -> list[tuple[float, float]]:
    """Print predicted and measured of `count` random configs; returns the ratios of (seconds, bytes of growth)."""
    print("parameters tokens optimizer     ms a step: told, real, ratio      MB of growth: told, real, ratio")
    rng, ratios = random.Random(seed), []
    for _ in range(count):
        config = random_config(rng)
        parts, told = Parts(*split(config)), predict(config, on)
        real = measured_in_child(config, on.device, on.threads)
        seconds, mine = told.seconds_per_step, told.peak_bytes - on.base
        grown = max(1, real.peak - (real.base if on.kind == "cpu" else 0))
        ratios.append((seconds / real.seconds, mine / grown))
        size = f"{buffer_floats(parts.config):10,} {parts.tokens:6} {config['optimizer']:9}"
        times = f"{1e3 * seconds:12.2f} {1e3 * real.seconds:9.2f} {ratios[-1][0]:6.2f}"
        print(f"{size} {times} {mine / 1e6:15.1f} {grown / 1e6:8.1f} {ratios[-1][1]:6.2f}", flush=True)
    return ratios


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m models.calibrate", description="Measure this machine.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="compare predictions with real steps")
    parser.add_argument("--count", type=int, default=12, help="random configs of the check")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    on = machine(asked.device, asked.threads)
    print(json.dumps(asdict(on), indent=1)) if not asked.check else check(on, asked.count, asked.seed)
