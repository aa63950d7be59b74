"""Mixed precision: the autocast context and the loss scaler (Micikevicius et al. 2018).

bf16 only needs the context. fp16 has few exponents, so the loss is scaled up before the backward pass, and the gradient scaled
down after it; if the gradient overflowed, the step is skipped and the scale is halved. To know this, fp16 waits for the device
once a step, as torch's own GradScaler does; float32 and bf16 do not.

On a CPU denormal numbers are treated as 0 (`without_denormals`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def context(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass: autocast for bf16 and fp16 (on CPU too, slowly), nothing for float32."""
    if precision in AUTOCAST:
        return torch.autocast(device.type, dtype=AUTOCAST[precision])
    return nullcontext()


class Scaler:
    """The loss scale: halved at an overflow, doubled after `PATIENCE` clean steps in a row (torch's defaults)."""

    START, PATIENCE = 65536.0, 2000

    def __init__(self) -> None:
        self.scale, self.clean = self.START, 0

    def observe(self, finite: bool) -> None:
        """Adapt the scale after a step; `finite` says whether its scaled gradient was."""
        self.clean = self.clean + 1 if finite else 0
        if not finite:
            self.scale /= 2
        elif self.clean == self.PATIENCE:
            self.scale, self.clean = self.scale * 2, 0


@contextmanager
def without_denormals(device: torch.device) -> Iterator[None]:
    """A context in which, on a CPU, results of this thread below 1.2e-38 (the smallest normal float32) become 0.

    Processors take many times as long for denormal numbers. A training at a far too high rate saturates attention and loss, and
    then has many of them; and tuners try such rates.
    """
    before = _flushing()
    if device.type == "cpu":
        torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushing() -> bool:
    """Whether this thread treats denormal numbers as 0, which torch can set but not report."""
    return (torch.tensor(1e-39) * 1.0).item() == 0.0
