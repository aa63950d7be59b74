"""What a model costs to use: the bytes of its weights, and measured seconds of a pass and of a generated token.

A pass is a forward pass over a whole context, as it reads a prompt (prefill). A token is what `generate` does for one more token
at the end of a whole context: the cache reads the last one, and the most likely next is chosen.

How a time is measured: `warmup` calls that do not count, then `repeats` calls, each timed by itself from when the device is idle
until it is idle again (on CUDA both ends are synchronised; a pair of CUDA events would leave out the launch of the first kernel,
for which a user waits, too). The median is reported, and the quartiles beside it, because whatever else the machine does adds to
some of the calls. Models that are compared take turns, call by call, so that a machine that becomes slower meanwhile does so for
all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from models.decoding.cache import KeyValueCache
from models.device import open_device, use_device
from models.gpt import GPT
from models.precision import AUTOCAST, without_denormals
from models.precision import context as autocast

PRECISIONS = ("float32", *AUTOCAST)
Call = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """The median of repeated measurements, and their quartiles."""

    median: float
    low: float  # the first quartile
    high: float  # the third

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value; quartiles between two values are interpolated."""
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
        return cls(median, low, high)


@dataclass(frozen=True)
class Inference:
    """Seconds that a model takes, and all that they depend on."""

    forward: Spread  # seconds of a pass over `batch` sequences of `context` tokens
    token: Spread  # seconds of a generated token in each of `batch` sequences, at the end of `context` tokens
    batch: int
    context: int
    device: str  # "cpu", or the name of the GPU
    precision: str
    threads: int  # of the CPU
    warmup: int
    repeats: int
    torch: str  # its version

    @property
    def tokens_per_second(self) -> float:
        """Tokens that passes read."""
        return self.batch * self.context / self.forward.median

    @property
    def generated_per_second(self) -> float:
        """Tokens that are generated."""
        return self.batch / self.token.median


def weight_bytes(model: nn.Module) -> int:
    """The bytes of parameters and buffers as they are held now. Weights that share their memory, such as tied tables, count
    once."""
    held = {_place(tensor): tensor.nbytes for tensor in (*model.parameters(), *model.buffers())}
    return sum(held.values())


def _place(tensor: torch.Tensor) -> tuple[int, int, int]:
    """Where a tensor's numbers are; on the meta device, where there are none, the tensor itself stands for its place."""
    start = tensor.untyped_storage().data_ptr() if tensor.device.type != "meta" else id(tensor)
    return start, int(tensor.storage_offset()), tensor.numel()


def measure_inference(
    model: GPT,
    batch: int = 1,
    context: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    threads: int = 1,
    warmup: int = 3,
    repeats: int = 20,
    clock: Callable[[], float] = perf_counter,
) -> Inference:
    """Measured seconds of a model.

    context    the tokens of a sequence (None: as many as the model knows positions)
    device     where it is measured (None: where the model is); on another device a copy is measured
    precision  as in a training: "float32", or autocast to "bf16" or "fp16"
    threads    of the CPU
    clock      returns seconds

    The model, the number of threads and all random states are left as they were. On a CPU denormal numbers count as 0, as in
    trainings. ValueError in one sentence for an argument that is not allowed, and for a model whose logits are not finite.
    """
    return compare_inference([model], batch, context, device, precision, threads, warmup, repeats, clock)[0]


def compare_inference(
    models: Sequence[GPT],
    batch: int = 1,
    context: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    threads: int = 1,
    warmup: int = 3,
    repeats: int = 20,
    clock: Callable[[], float] = perf_counter,
) -> list[Inference]:
    """Measured seconds of several models, as `measure_inference` has them, that take turns: one call of each in every round."""
    for name, value, least in (("batch", batch, 1), ("threads", threads, 1), ("warmup", warmup, 0), ("repeats", repeats, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} is {value!r}, but must be a whole number of at least {least}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, but must be one of {', '.join(PRECISIONS)}")
    lengths = [_length(model, context) for model in models]
    with _set_threads(threads), without_denormals(torch.device("cpu")), torch.inference_mode():
        on = [_move(model, device) for model in models]
        calls = [call for model, length in zip(on, lengths, strict=True) for call in _calls(model, batch, length, precision)]
        devices = [next(model.parameters()).device for model in on for _ in range(2)]
        spreads = [Spread.of(seconds) for seconds in time_calls(calls, devices, warmup, repeats, clock)]
    return [
        Inference(*pair, batch, length, _device_name(where), precision, threads, warmup, repeats, torch.__version__)
        for pair, length, where in zip(zip(spreads[::2], spreads[1::2], strict=True), lengths, devices[::2], strict=True)
    ]


def time_calls(
    calls: Sequence[Call], devices: Sequence[torch.device], warmup: int, repeats: int, clock: Callable[[], float] = perf_counter
) -> list[list[float]]:
    """Seconds of every call in each of `repeats` rounds, after `warmup` rounds that do not count.

    A call is over when its device has finished. Every round has another order, so that no call always finds the caches as the
    same one has left them.
    """
    found: list[list[float]] = [[] for _ in calls]
    for turn in range(warmup + repeats):
        for which in np.random.default_rng(turn).permutation(len(calls)).tolist():
            _wait(devices[which])
            started = clock()
            calls[which]()
            _wait(devices[which])
            seconds = clock() - started
            if turn >= warmup:
                found[which].append(seconds)
    return found


def _wait(device: torch.device) -> None:
    """Until the device has finished; a CPU has finished when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _calls(model: GPT, batch: int, length: int, precision: str) -> list[Call]:
    """A pass, and a token."""
    device, words = next(model.parameters()).device, model.config.words
    ids = torch.arange(batch * length, device=device).view(batch, length) % words

    def run(call: Call) -> None:
        with use_device(device), autocast(precision, device):
            call()

    cache = KeyValueCache(model, length)
    cache.select([0] * batch)
    if length > 1:
        run(partial(cache.extend, ids[:, :-1]))
    return [partial(run, partial(model, ids)), partial(run, partial(read_token, cache, ids))]


def read_token(cache: KeyValueCache, ids: Tensor) -> Tensor:
    """The most likely next token of each row (B,), where the cache holds all of ids (B, T) but the last, and does so again
    afterwards. ValueError where logits are not finite."""
    cache.lengths = [ids.size(1) - 1] * ids.size(0)
    logits = cache.extend(ids[:, -1:])
    if not logits.isfinite().all():
        raise ValueError("the model's logits are not finite: has its training diverged?")
    return logits.argmax(-1)


def _length(model: GPT, context: int | None) -> int:
    most = model.config.context
    if context is None:
        return most
    if not isinstance(context, int) or isinstance(context, bool) or not 1 <= context <= most:
        raise ValueError(f"context is {context!r}, but must be a whole number from 1 to {most}, the positions of the model")
    return context


def _move(model: GPT, device: str | None) -> GPT:
    """The model, if it is on the device already, else a copy there."""
    if device is None:
        return model
    there, here = open_device(device), next(model.parameters()).device
    if there.type == here.type and there.index in (None, here.index):
        return model
    copy = GPT(model.config)
    copy.load_state_dict(model.state_dict())
    return copy.to(there)


@contextmanager
def _set_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
