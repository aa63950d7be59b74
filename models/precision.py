"""Mixed precision: the autocast context and the loss scaler (Micikevicius et al. 2018).

bf16 needs the context only. fp16 has few exponents, so the loss is scaled up before the backward pass and the gradient
down after it; a step whose gradient overflowed is skipped and the scale halved. Knowing that costs one host sync a
step, as in torch's own GradScaler; float32 and bf16 have none.
"""

from contextlib import AbstractContextManager, nullcontext

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

    def saw(self, finite: bool) -> None:
        """Whether the gradient of a step, scaled, was finite."""
        self.clean = self.clean + 1 if finite else 0
        if not finite:
            self.scale /= 2
        elif self.clean == self.PATIENCE:
            self.scale, self.clean = self.scale * 2, 0
