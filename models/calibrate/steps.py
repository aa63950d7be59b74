"""Real steps of a config, to compare predictions with: their seconds, and the memory of their process.

On a CPU with one thread, seconds are CPU seconds of that thread: what a step takes on a machine that does nothing else. So a
busy machine can be measured, too.

    python -m models.calibrate.steps steps '[{"hidden": 64, ...}, "cpu", 1, 5]'   config, device, threads, steps; prints it
    python -m models.calibrate.steps code '["cpu", 1]'                             device, threads
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.config import GPTConfig, TrainConfig
from models.data.batches import Corpus
from models.data.tokenizers import Characters
from models.predict.activations import ActivationTerms
from models.predict.memory import total_memory

if TYPE_CHECKING:
    import torch

# A config that loads most of the code that any config needs, so that this code is in memory.
WARM: Mapping[str, Any] = {
    "layers": 1, "hidden": 64, "heads": 2, "kv_heads": 1, "vocabulary": 65, "context": 64, "batch": 8, "eval_tokens": 64,
    "norm": "rms", "positions": "rotary", "activation": "swiglu", "qk_norm": True, "dropout": 0.1, "optimizer": "muon",
}  # fmt: skip
LEAST = 0.1  # the share of a call's seconds that counts at least, if nearly all of them are the call itself


class Stopwatch:
    """The least seconds of a call: whatever is above them is due to other work on the machine."""

    def __init__(self, device: "torch.device", threads: int) -> None:
        self.device = device
        self.clock = time.thread_time if device.type == "cpu" and threads == 1 else time.perf_counter

    def __call__(self, call: Callable[[], object], enough: float = 0.04, least: int = 3) -> float:
        """Times groups of calls that together take a millisecond or more, until `enough` seconds have passed."""
        self._once(call, 1)
        count = max(1, round(1e-3 / max(self._once(call, 1), 1e-6)))
        found: list[float] = []
        while len(found) < least or sum(found) * count < enough:
            found.append(self._once(call, count) / count)
        return max(min(found), 1e-9)

    def rate(self, call: Callable[[], object], amount: float, empty: float = 0.0) -> float:
        """The amount processed in a second, after subtracting the seconds of the same call on almost no data (`empty`)."""
        taken = self(call)
        return amount / max(taken - empty, LEAST * taken)

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


@dataclass(frozen=True)
class Measured:
    """Least seconds of a step; the most bytes in use, and the part of them that no formula counts (on CUDA: of torch's)."""

    seconds: float
    base: int
    peak: int


def run_of(config: Mapping[str, Any], device: str, threads: int) -> Any:
    """A TrainRun on random tokens. The config must give its vocabulary."""
    from models.train import TrainRun

    length = max(20_000, 2 * config["context"], 2 * config.get("eval_tokens", 8192))
    tokens = np.random.default_rng(0).integers(config["vocabulary"], size=length, dtype=np.uint32)
    corpus = Corpus("random tokens", tokens, tokens, Characters("a"))
    return TrainRun(config, 0, 1000, corpus, "steps", device, threads)


def autograd_run_of(config: Mapping[str, Any], device: str, threads: int) -> Any:
    """As `run_of`, but always through autograd."""
    from models.engines.eager import EagerEngine

    run = run_of(config, device, threads)
    run.engine = EagerEngine(run.model, run.flat, run.optimizer, run.config)
    return run


def has_kernels(device: str, threads: int) -> bool:
    """Whether trainings on a device use engines/cpu/ if they can. Compiles its kernels to find out."""
    import torch

    from models.engines.cpu.engine import is_supported

    return is_supported(GPTConfig(), TrainConfig(), torch.device(device), threads)


def measure_steps(config: Mapping[str, Any], device: str, threads: int, repeats: int) -> Measured:
    """Steps and an evaluation in this process. It should be a fresh one, because its peak memory is that of its whole life."""
    import torch

    from models.device import open_device, use_device

    torch.set_num_threads(threads)
    with use_device(open_device(device)):
        return _measure_steps(config, device, threads, repeats)


def _measure_steps(config: Mapping[str, Any], device: str, threads: int, repeats: int) -> Measured:
    base = _warm_up(device, threads)
    run = run_of(config, device, threads)
    taken = Stopwatch(run.device, threads)(run._step, enough=0.0, least=repeats)
    run.validation.loss()
    return Measured(taken, base, _peak(device))


def _warm_up(device: str, threads: int) -> int:
    """Train a little; returns the bytes of this process, minus those that memory.py counts for this training."""
    warm = run_of(WARM, device, threads)
    warm.advance(2)
    kernels = has_kernels(device, threads)
    return _peak(device) - total_memory(ActivationTerms(warm.size, warm.config, device=warm.device.type, kernels=kernels)).process


def _peak(device: str) -> int:
    if device.startswith("cuda"):
        return int(import_module("torch").cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")  # ru_maxrss would start at the peak of the parent process
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_in_child(config: Mapping[str, Any], device: str, threads: int, repeats: int = 5) -> Measured:
    """`measure_steps` in its own process."""
    return Measured(**_child("steps", dict(config), device, threads, repeats))


def measure_code(device: str, threads: int) -> dict[str, Any]:
    """Bytes of this process (which should be a fresh one) that no formula counts, and bytes of code by precision."""
    import torch

    from models.device import open_device, use_device

    torch.set_num_threads(threads)
    with use_device(open_device(device)):
        base, code = _warm_up(device, threads), {"float32": 0}
        autograd_run_of(WARM, device, threads).advance(2)
        for precision in ("bf16", "fp16"):
            before = _peak(device)
            run_of({**WARM, "precision": precision}, device, threads).advance(2)
            code[precision] = _peak(device) - before if device == "cpu" else 0
    return {"base": base, "code": code}


def measure_code_in_child(device: str, threads: int) -> tuple[int, dict[str, int]]:
    """`measure_code` in its own process."""
    found = _child("code", device, threads)
    return found["base"], found["code"]


def _child(what: str, *arguments: Any) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "models.calibrate.steps", what, json.dumps(arguments)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring {what} {arguments} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    print(json.dumps(asdict(measure_steps(*asked)) if sys.argv[1] == "steps" else measure_code(*asked)))
