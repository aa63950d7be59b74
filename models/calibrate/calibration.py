"""Measures a device: every rate of a Machine separately, and then real steps, for time that the parts do not explain.

On a CPU with one thread and a compiler, attention, elementwise work and the loss are also measured with the kernels of
engines/cpu/. This takes about twenty seconds.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from models.calibrate.machine import Machine, Table, rate_at
from models.calibrate.microbenchmarks import (
    CACHED,
    EMPTY,
    FEW,
    FRESH,
    HEADS,
    INSTANT,
    MANY,
    NARROW,
    QUICK,
    ROWS,
    SIZES,
    WIDTHS,
    WORDS,
    Microbenchmarks,
)
from models.calibrate.seconds import FIXED, predict
from models.calibrate.steps import Stopwatch, autograd_run_of, has_kernels, measure_code_in_child, run_of
from models.predict.activations import ActivationTerms
from models.predict.operations import pass_operations, update_operations

if TYPE_CHECKING:
    import torch

PRECISIONS = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}
TINY: Mapping[str, Any] = {
    "layers": 2, "hidden": 8, "heads": 1, "vocabulary": 8, "context": 4, "batch": 1, "eval_tokens": 4,
}  # fmt: skip
# Its arrays are larger than the second-level cache, as they are in most trainings that take long.
REFERENCE: Mapping[str, Any] = {
    "layers": 4, "hidden": 128, "heads": 4, "vocabulary": 512, "context": 128, "batch": 16, "eval_tokens": 128,
}  # fmt: skip


def calibrate(device: str = "cpu", threads: int = 1) -> Machine:
    """Measure a device; the number of threads of this process is set to `threads`."""
    import torch

    from models.device import open_device, use_device

    torch.set_num_threads(threads)
    with use_device(open_device(device)):
        return _calibrate(torch.device(device), device, threads)


def _calibrate(on: "torch.device", device: str, threads: int) -> Machine:
    if on.type == "cpu":
        import_module("models.engines.cpu.kernels").keep_memory()  # as trainings do
    timed, alone, kernels = Stopwatch(on, threads), Microbenchmarks(on), has_kernels(device, threads)
    output = {name: output_tables(alone, timed, name) for name in PRECISIONS}
    base, code = measure_code_in_child(device, threads)
    found = Machine(
        device=device,
        threads=threads,
        torch=version("torch"),
        matmul={name: matmul_table(alone, timed, name) for name in PRECISIONS},
        attention=attention_tables(alone, timed, kernels),
        pointwise=pointwise_tables(alone, timed, kernels),
        bandwidth=bandwidth_table(alone, timed),
        output={name: tables[0] for name, tables in output.items()},
        packing={name: tables[1] for name, tables in output.items()},
        logits={name: tables[2] for name, tables in output.items()},
        loss=loss_tables(alone, timed, kernels),
        fresh=timed.rate(alone.allocate(), FRESH) if on.type == "cpu" else INSTANT,
        overhead=operation_seconds(run_of(TINY, device, threads), kernels, timed),
        recorded=operation_seconds(autograd_run_of(TINY, device, threads), False, timed),
        excess=dict.fromkeys(("kernels", *PRECISIONS), 1.0),
        code=code,
        base=base,
        total=device_bytes(on),
        kernels=kernels,
    )
    ways = [name for name in found.excess if kernels or name != "kernels"]
    return replace(found, excess={name: excess(found, name, timed) for name in ways})


def torch_dtype(name: str) -> Any:
    import torch

    return getattr(torch, PRECISIONS[name])


def matmul_table(alone: Microbenchmarks, timed: Stopwatch, name: str) -> Table:
    """FLOPs a second of a linear map, forward and backward, by its width."""
    dtype = torch_dtype(name)
    empty = timed(alone.products(1, dtype, rows=1))
    return [(w, timed.rate(alone.products(w, dtype), 6 * ROWS * w * w, empty)) for w in WIDTHS]


def attention_tables(alone: Microbenchmarks, timed: Stopwatch, kernels: bool) -> dict[str, Table]:
    """FLOPs a second, by context x width of a head."""
    calls = {name: partial(alone.attention, dtype=torch_dtype(name)) for name in PRECISIONS}
    found: dict[str, Callable[[int, int], Callable[[], object]]] = {**calls}
    if kernels:
        found["kernels"] = alone.attention_kernel
    empty = {name: timed(make(1, 8)) for name, make in found.items()}
    return {
        name: [(t * d, timed.rate(make(t, d), 48 * t * t * d, empty[name])) for t, d in HEADS]
        for name, make in found.items()
    }


def pointwise_tables(alone: Microbenchmarks, timed: Stopwatch, kernels: bool) -> dict[str, Table]:
    """Bytes a second, by the bytes of an array."""
    found = {"autograd": (alone.gelu, 44)} | ({"kernels": (alone.gelu_kernel, 24)} if kernels else {})
    empty = {name: timed(make(EMPTY)) for name, (make, _) in found.items()}
    return {
        name: [(4 * n, timed.rate(make(n), touched * n, empty[name])) for n in SIZES]
        for name, (make, touched) in found.items()
    }


def bandwidth_table(alone: Microbenchmarks, timed: Stopwatch) -> Table:
    """Bytes a second of sums in place, by the bytes of an array."""
    empty = timed(alone.sums(EMPTY))
    return [(4 * n, timed.rate(alone.sums(n), 12 * n, empty)) for n in SIZES]


def loss_tables(alone: Microbenchmarks, timed: Stopwatch, kernels: bool) -> dict[str, Table]:
    """Logits a second, there and back, by their number."""
    tables: dict[str, Table] = {"autograd": [(FEW * v, timed.rate(alone.loss(v), FEW * v)) for v in WORDS]}
    if kernels:
        tables["kernels"] = [(MANY * v, timed.rate(alone.loss_kernel(v), MANY * v)) for v in WORDS]
    return tables


def output_tables(alone: Microbenchmarks, timed: Stopwatch, name: str) -> tuple[Table, Table, Table]:
    """Three rates of the three products of an output map: FLOPs a second by its width, measured with logits that fit into a
    cache; and, for the time beyond that, weights a second (measured with few tokens, and so few logits) and logits a second
    (measured with a narrow map, and so few weights)."""
    dtype, least = torch_dtype(name), WIDTHS[0]
    flops = [(w, timed.rate(alone.output(CACHED, FEW, w, dtype), 6 * FEW * CACHED * w)) for w in WIDTHS]
    weights: list[tuple[float, float]] = []
    logits: list[tuple[float, float]] = []
    for words in WORDS:
        more = timed(alone.output(words, least, NARROW, dtype)) - 6 * least * words * NARROW / rate_at(flops, NARROW)
        weights.append((words * NARROW, words * NARROW / max(more, words * NARROW / QUICK)))
        more = timed(alone.output(words, MANY, least, dtype)) - 6 * MANY * words * least / rate_at(flops, least)
        more -= words * least / weights[-1][1]
        logits.append((MANY * words, MANY * words / max(more, MANY * words / QUICK)))
    return flops, weights, logits


def excess(found: Machine, name: str, timed: Stopwatch) -> float:
    """Seconds of a real step over the sum of its parts, FIXED parts left out of both; by hand or through autograd."""
    if name == "kernels":
        run, asked = run_of(REFERENCE, found.device, found.threads), found
    else:
        sequences = 2 if name == "fp16" else REFERENCE["batch"]  # some CPUs take seconds a step in fp16
        config = {**REFERENCE, "precision": name, "batch": sequences}
        run, asked = autograd_run_of(config, found.device, found.threads), replace(found, kernels=False)
    parts = dict(predict({**REFERENCE, "precision": run.config.precision, "batch": run.config.batch}, asked).parts)
    fixed = sum(parts.pop(part) for part in FIXED) * (found.kind == "cpu")
    return max(0.5, (timed(run._step) - fixed) / sum(parts.values()))


def operation_seconds(run: Any, kernels: bool, timed: Stopwatch) -> float:
    """Seconds for an operation, measured in a run so small that its arithmetic takes no time."""
    done = sum(pass_operations(ActivationTerms(run.size, run.config, kernels=kernels))) + update_operations(run.size, run.config)
    return timed(run._step) / done


def device_bytes(device: "torch.device") -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
