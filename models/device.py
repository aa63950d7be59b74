"""The device of a run: found by its name, and the current one while the run works on it."""

from contextlib import AbstractContextManager, nullcontext

import torch


def open_device(name: str) -> torch.device:
    """The torch device "cpu", "cuda" or "cuda:N"; ValueError for another name or one that this machine lacks."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdecimal() or name == kind):
        raise ValueError(f"device is {name!r}, but must be cpu, cuda or cuda:N")
    if kind == "cuda":
        if int(number or 0) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise ValueError(
                f"device is {name!r}, but this machine has {count} CUDA devices" + "; use cpu" * (not count)
            )
        torch.set_float32_matmul_precision("high")  # TF32 for float32 products: 8 times the rate
    return torch.device(name)


def use_device(device: torch.device) -> AbstractContextManager[object]:
    """Make this the current CUDA device, which is the default for streams, graphs, seeds and pinned memory.

    Does nothing for a CPU, nor for a device without a number, which is the current one already.
    """
    return nullcontext() if device.type == "cpu" or device.index is None else torch.cuda.device(device)
