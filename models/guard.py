"""Decides whether a step is taken: overflows of fp16, gradients that are not finite, spikes.

A step that is not taken changes neither weights nor moments nor the schedule, and its batch is not used again. The decision
reads the norm of the gradient, and must wait for it on CUDA. So the norm is read only if fp16, spike or nonfinite need it.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from torch import Tensor

from models.config import TrainConfig
from models.precision import Scaler

SOON = 20  # steps after which the usual norm is known well enough to recognise a spike
LEARNING = 0.05  # weight of the newest norm in the usual norm
PATIENCE = 25  # after so many steps in a row without a finite gradient a run has diverged, whatever the policy


class Guard:
    """`skipped` counts the steps that were not taken, `is_hopeless` says that too many in a row were not finite."""

    def __init__(self, config: TrainConfig) -> None:
        self.scaler = Scaler() if config.precision == "fp16" else None
        self.skipped = self._lost = self._seen = 0
        self._usual = 0.0

    @property
    def is_hopeless(self) -> bool:
        return self._lost > PATIENCE

    def is_norm_needed(self, config: TrainConfig) -> bool:
        """Whether a step waits for the norm of its gradient."""
        return self.scaler is not None or config.spike > 0 or config.nonfinite == "skip"

    def check_step(self, grads: Tensor, config: TrainConfig, norm: Callable[[Tensor], Tensor]) -> bool:
        """Whether the step with these gradients may be taken; they are unscaled in place.

        `norm` computes their norm over all devices, so that all devices decide alike.
        """
        if not self.is_norm_needed(config):
            return True
        if self.scaler is not None:
            grads.mul_(1 / self.scaler.scale)
        length = float(norm(grads))
        if self.scaler is not None:
            self.scaler.observe(isfinite(length))
        taken = self._judge(length, config)
        self.skipped += not taken
        return taken

    def _judge(self, norm: float, config: TrainConfig) -> bool:
        if not isfinite(norm):
            self._lost += config.nonfinite == "skip"
            return self.scaler is None and config.nonfinite == "stop"  # under "stop" the step is taken, and ends the run
        self._lost = 0
        if not config.spike:
            return True
        spike = self._seen >= SOON and norm > config.spike * self._usual
        # A spike counts as the largest norm that is no spike: if large gradients become usual, they are taken after a while.
        counted = min(norm, config.spike * self._usual) if self._seen >= SOON else norm
        self._usual += (counted - self._usual) * (LEARNING if self._seen >= SOON else 1 / (self._seen + 1))
        self._seen += 1
        return not spike

    # -- its part of a checkpoint --------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The state as plain JSON values."""
        scale = None if self.scaler is None else [self.scaler.scale, self.scaler.clean]
        return {"skipped": self.skipped, "scaler": scale, "guard": [self._lost, self._seen, self._usual]}

    def restore(self, saved: Mapping[str, Any], own: bool = True) -> None:
        """Take over a state; if it is not the trial's own, only loss scale and skipped steps, which belong to the position."""
        self.skipped = saved["skipped"]
        self._lost, self._seen, self._usual = (own and saved.get("guard")) or (0, 0, 0.0)
        if self.scaler is not None:
            self.scaler.scale, self.scaler.clean = saved["scaler"] or (Scaler.START, 0)
