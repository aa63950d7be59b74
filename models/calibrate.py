"""Seconds a step and peak memory of a process, predicted before a config runs by what this machine was measured to do.

    seconds = excess x (matmul FLOPs / rate  +  attention FLOPs / rate  +  bytes of elementwise work / rate
                        +  bytes of the update / bandwidth)  +  operations x overhead

a roofline by parts (Williams et al. 2009). Rates are interpolated between sizes: a product by its smallest dimension, attention
by context x width of a head, elementwise work by the size of its arrays. `excess` is how much longer one real step takes than
its parts, each of which was measured alone, with its arrays in the cache. On CUDA, operations are launched while others
run, so that a step takes the larger of launches and work. Peak memory is what a process holds before it trains, measured,
and the formula of memory.py.

On a CPU with one thread all times are CPU seconds of that thread, which is what a step takes on a machine with nothing
else to do, so that a busy machine can be calibrated, too. `machine` keeps what was measured in the cache folder; it takes
a few seconds.

    python -m models.calibrate           measure, and print what came of it
    python -m models.calibrate --check   random configs of 10k to 20M parameters: predicted and measured, side by side

Imports torch where it measures, not where it predicts.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import version
from math import exp, log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.config import GPTConfig, TrainConfig, split
from models.cost import gates, maps
from models.data import Corpus, cache_folder
from models.memory import MARGIN, PIECE, Kind, Layout, Parts, buffer_floats, fits
from models.tokenizers import Characters

if TYPE_CHECKING:
    import torch

Table = Sequence[Sequence[float]]  # (size, rate) with sizes in ascending order

PRECISIONS = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}
TINY: Mapping[str, Any] = {"layers": 2, "hidden": 8, "heads": 1, "vocabulary": 8, "context": 4, "batch": 1, "eval_tokens": 4}
REFERENCE: Mapping[str, Any] = {
    "layers": 4, "hidden": 128, "heads": 4, "vocabulary": 512, "context": 64, "batch": 8, "eval_tokens": 64,
}  # fmt: skip
# What loads most of the code that any config needs, which then lies in memory as well.
WARM: Mapping[str, Any] = {
    "layers": 1, "hidden": 64, "heads": 2, "kv_heads": 1, "vocabulary": 65, "context": 64, "batch": 8, "eval_tokens": 64,
    "norm": "rms", "positions": "rotary", "activation": "swiglu", "qk_norm": True, "dropout": 0.1, "optimizer": "muon",
}  # fmt: skip
SLACK = 12 * 10**6  # bytes on a CPU beside what memory.py counts: fragments, kernels that are loaded at their first use
TOUCHED = 5  # arrays that are read or written for each one kept: by its maker, by its gradient, by the gradient's
UPDATE = {"adamw": 11, "sgd": 9, "lion": 17, "muon": 20, "adafactor": 16}  # buffers read or written, with clip and zero
# Operations that torch is given, by layer, around the layers and by update, as counted in tests/models/test_calibrate.py.
LAYER, ENDS, STEP = 66, 41, 30
UPDATES = {"adamw": 9, "sgd": 9, "lion": 13, "muon": 134, "adafactor": 241}


@dataclass(frozen=True)
class Machine:
    """What one device does: rates in 1 / second by size, bytes, and the seconds that an operation takes at least."""

    device: str
    threads: int
    torch: str
    matmul: Mapping[str, Table]  # by precision; FLOPs, by smallest dimension
    attention: Mapping[str, Table]  # by precision; FLOPs, by context x width of a head
    pointwise: Table  # bytes that elementwise work goes through, by bytes of an array
    bandwidth: Table  # bytes of plain sums in place, by bytes of an array
    overhead: float  # seconds an operation
    excess: float  # of a real step over the sum of its parts
    base: int  # bytes of a process that has trained, without what memory.py counts
    total: int  # bytes of the device

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
    parts = Parts(*split(config), Layout.of(split(config)[1], devices), machine.kind)
    terms = seconds(parts, machine)
    work = sum(terms.values()) - terms["overhead"]
    peak = parts.memory().process + machine.slack
    total = max(work, terms["overhead"]) if machine.kind == "cuda" else sum(terms.values())
    return Prediction(total, machine.base + peak, fits(config, machine, margin, devices), terms)


def seconds(parts: Parts, machine: Machine) -> dict[str, float]:
    """The terms of a step, by the formula above."""
    c, training, n = parts.config, parts.training, parts.tokens
    passes = training.accumulation(parts.layout.devices)
    again = 4 / 3 if parts.layout.activation_checkpointing else 1.0  # the forward pass of blocks, once more
    rates, precision = machine.matmul[training.precision], training.precision
    products = sum(6 * r * k / rate_at(rates, min(r, k, n)) for r, k in maps(c).values()) * c.layers * again
    products += 6 * c.words * c.hidden / rate_at(rates, min(c.words, c.hidden, n))
    attended = 12 * c.layers * c.hidden * c.context * again
    attention = attended / rate_at(machine.attention[precision], c.context * c.head)
    kept = parts.stack_bytes() + parts.end_bytes() + 4 * c.words
    touched = TOUCHED * n * kept / rate_at(machine.pointwise, n * parts.size * c.inner)
    return {
        "products": machine.excess * passes * n * products,
        "attention": machine.excess * passes * n * attention,
        "elementwise": machine.excess * passes * touched,
        "update": machine.excess * update_seconds(c, training, machine),
        "overhead": machine.overhead * (passes * operations(c, training) + update_operations(c, training)),
    }


def update_seconds(config: GPTConfig, training: TrainConfig, machine: Machine) -> float:
    """Clearing the gradient, clipping, the optimizer's passes over its buffers, and Muon's products."""
    buffer = 4 * buffer_floats(config)
    passes = UPDATE[training.optimizer] + (3 if training.ema else 0) + (9 if training.hypergradient else 0)
    moved = passes * buffer / rate_at(machine.bandwidth, buffer)
    if training.optimizer != "muon":
        return moved
    sizes = [(min(r, k), max(r, k)) for r, k in maps(config).values()]
    # Five steps of x x^T, its square, and the product with x (optimizers/muon.py); in bfloat16 on CUDA.
    rates = machine.matmul["bf16" if machine.kind == "cuda" else "float32"]
    return moved + config.layers * sum(5 * (4 * r * r * k + 2 * r**3) / rate_at(rates, r) for r, k in sizes)


def operations(config: GPTConfig, training: TrainConfig) -> int:
    """Operations of one forward and backward pass."""
    rms, cast = config.norm == "rms", training.precision != "float32"
    layer = LAYER + 44 * rms + 34 * cast + 12 * config.bias + 22 * bool(config.dropout)
    layer += (43 + 12 * cast) * (config.positions == "rotary") + (9 + 44 * rms) * config.qk_norm
    layer += 14 * (config.keys != config.heads) + 10 * (gates(config) == 2)
    layer += 52 * bool(config.attention_dropout) + 26 * bool(config.layer_dropout)
    ends = ENDS + 22 * rms + 6 * cast + 19 * bool(training.z_loss) + 20 * bool(training.label_smoothing)
    return config.layers * layer + ends


def update_operations(config: GPTConfig, training: TrainConfig) -> int:
    """Operations of a step beside its passes."""
    pieces = 5 * (buffer_floats(config) // PIECE) if training.optimizer == "lion" else 0
    learned = 13 if training.hypergradient else 0
    return STEP + UPDATES[training.optimizer] + pieces + learned + (1 if training.ema else 0)


def rate_at(table: Table, size: float) -> float:
    """The rate at a size: straight between its neighbours in logarithms, and at the ends as there."""
    sizes, rates = zip(*table, strict=True)
    return exp(float(np.interp(log(size), np.log(sizes), np.log(rates))))


# -- measuring ---------------------------------------------------------------------------------------------------------


def machine(device: str = "cpu", threads: int = 1, cache: str | Path | None = None) -> Machine:
    """The machine as it was measured before with this torch, from the cache folder, or measured now."""
    path = cache_folder(cache) / f"machine-{device.replace(':', '-')}-{threads}.json"
    if path.exists():
        stored = Machine(**json.loads(path.read_text(encoding="utf-8")))
        if stored.torch == version("torch"):
            return stored
    found = calibrate(device, threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}.tmp")
    half.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    os.replace(half, path)
    return found


def calibrate(device: str = "cpu", threads: int = 1) -> Machine:
    """Measure a device, in about ten seconds; the number of threads of this process is set to `threads`."""
    import torch

    torch.set_num_threads(threads)
    on = torch.device(device)
    timed, alone = Stopwatch(on, threads), Parted(on)
    kinds = {name: getattr(torch, kind) for name, kind in PRECISIONS.items()}
    tiny, real = run_of(TINY, device, threads), run_of(REFERENCE, device, threads)
    done = operations(tiny.size, tiny.config) + update_operations(tiny.size, tiny.config)
    found = Machine(
        device,
        threads,
        version("torch"),
        {name: [(w, timed.rate(alone.product(w, of), 2 * ROWS * w * w)) for w in WIDTHS] for name, of in kinds.items()},
        {name: [(t * d, timed.rate(alone.attended(t, d, of), 48 * t * t * d)) for t, d in HEADS] for name, of in kinds.items()},
        [(4 * n, timed.rate(alone.gelu(n), 20 * n)) for n in SIZES],
        [(4 * n, timed.rate(alone.sums(n), 12 * n)) for n in SIZES],
        timed(tiny._step) / done,
        1.0,
        measured_in_child(TINY, device, threads, 1).base,
        _total(on),
    )  # fmt: skip
    parts = dict(predict(REFERENCE, found).parts)
    launched = parts.pop("overhead") * (found.kind == "cpu")
    return replace(found, excess=max(1.0, (timed(real._step) - launched) / sum(parts.values())))


ROWS, WIDTHS = 1024, (16, 64, 256, 1024)
HEADS = ((16, 8), (64, 16), (64, 64), (256, 64), (1024, 64))  # (context, width of a head) of four heads
SIZES = (1 << 12, 1 << 16, 1 << 20, 1 << 23)  # floats


class Stopwatch:
    """The least seconds of a call: the others are what something else did to it."""
    def __init__(self, device: "torch.device", threads: int) -> None:
        self.device = device
        self.clock = time.thread_time if device.type == "cpu" and threads == 1 else time.perf_counter

    def __call__(self, call: Callable[[], object], enough: float = 0.04, least: int = 3) -> float:
        """Groups of calls that take a millisecond or more are timed, until `enough` seconds have gone."""
        self._once(call, 1)
        count = max(1, round(1e-3 / max(self._once(call, 1), 1e-6)))
        found: list[float] = []
        while len(found) < least or sum(found) * count < enough:
            found.append(self._once(call, count) / count)
        return max(min(found), 1e-9)

    def rate(self, call: Callable[[], object], amount: float) -> float:
        return amount / self(call)

    def _once(self, call: Callable[[], object], count: int) -> float:
        self._wait()
        started = self.clock()
        for _ in range(count):
            call()
        self._wait()
        return self.clock() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            import_module("torch").cuda.synchronize(self.device)


class Parted:
    """The parts of a step, each by itself: calls to be timed."""
    def __init__(self, device: "torch.device") -> None:
        self.torch, self.device = import_module("torch"), device

    def sums(self, n: int) -> Callable[[], object]:
        a, b = self.torch.zeros(2, n, device=self.device)
        return lambda: a.add_(b)

    def gelu(self, n: int) -> Callable[[], object]:
        """Forward and backward: two arrays are touched, and then three."""
        a, b = self.torch.zeros(2, n, device=self.device)
        gelu, back = self.torch.nn.functional.gelu, self.torch.ops.aten.gelu_backward
        return lambda: (gelu(a), back(b, a))

    def product(self, width: int, dtype: "torch.dtype") -> Callable[[], object]:
        x, weight = (self.torch.zeros(rows, width, device=self.device, dtype=dtype) for rows in (ROWS, width))
        return lambda: x @ weight.t()

    def attended(self, context: int, head: int, dtype: "torch.dtype") -> Callable[[], object]:
        q = self.torch.zeros(1, 4, context, head, device=self.device, dtype=dtype, requires_grad=True)
        gradient, attention = self.torch.zeros_like(q), self.torch.nn.functional.scaled_dot_product_attention
        return lambda: attention(q, q, q, is_causal=True).backward(gradient)


def _total(device: "torch.device") -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# -- real steps --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Least seconds of a step; bytes at most in use, and of them what no formula counts (on CUDA: allocated by torch)."""

    seconds: float
    base: int
    peak: int


def run_of(config: Mapping[str, Any], device: str, threads: int) -> Any:
    """A TrainRun of a config that gives its vocabulary, on random tokens."""
    from models.train import TrainRun

    length = max(20_000, 2 * config["context"], 2 * config.get("eval_tokens", 8192))
    tokens = np.random.default_rng(0).integers(config["vocabulary"], size=length, dtype=np.uint32)
    corpus = Corpus("random tokens", tokens, tokens, Characters("a"))
    return TrainRun(config, 0, 1000, corpus, "steps", device, threads)


def measured(config: Mapping[str, Any], device: str, threads: int, repeats: int) -> Measured:
    """Steps and an evaluation in this process, which should be a fresh one: its peak is that of all its life."""
    import torch

    torch.set_num_threads(threads)
    warm = run_of(WARM, device, threads)
    warm.advance(2)
    base = _peak(device) - Parts(warm.size, warm.config, device=warm.device.type).memory().process
    run = run_of(config, device, threads)
    taken = Stopwatch(run.device, threads)(run._step, enough=0.0, least=repeats)
    run.validation.loss()
    return Measured(taken, base, _peak(device))


def _peak(device: str) -> int:
    if device.startswith("cuda"):
        return int(import_module("torch").cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")  # ru_maxrss begins at what the process that started this one had
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measured_in_child(config: Mapping[str, Any], device: str, threads: int, repeats: int = 5) -> Measured:
    """`measured` in a process of its own."""
    asked = json.dumps([dict(config), device, threads, repeats])
    command = [sys.executable, "-W", "ignore", "-m", "models.calibrate", "--one", asked]
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring {dict(config)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return Measured(**json.loads(done.stdout))


# -- the command -------------------------------------------------------------------------------------------------------


def random_config(rng: random.Random) -> dict[str, Any]:
    """A config of 10k to 20M parameters with options of every kind."""
    heads = rng.choice([1, 2, 4, 8])
    config = {
        "layers": rng.randint(1, 6), "heads": heads, "hidden": heads * rng.choice([16, 32, 64]),
        "ff_ratio": rng.choice([2.0, 4.0]), "dropout": rng.choice([0.0, 0.0, 0.1]),
        "vocabulary": rng.choice([65, 512, 4096]), "context": rng.choice([32, 64, 256]), "batch": rng.choice([4, 8, 16]),
        "positions": rng.choice(["learned", "rotary"]), "norm": rng.choice(["layer", "rms"]), "tie": rng.random() < 0.5,
        "activation": rng.choice(["gelu", "relu2", "swiglu"]), "qk_norm": rng.random() < 0.3,
        "optimizer": rng.choice(["adamw", "sgd", "lion", "muon", "adafactor"]), "ema": rng.choice([0.0, 0.99]),
    }  # fmt: skip
    return {**config, "kv_heads": rng.choice([one for one in (1, 2, 4, 8) if heads % one == 0])}


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
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        return print(json.dumps(asdict(measured(*json.loads(asked.one)))))
    on = machine(asked.device, asked.threads)
    print(json.dumps(asdict(on), indent=1)) if not asked.check else check(on, asked.count, asked.seed)


if __name__ == "__main__":
    main()
