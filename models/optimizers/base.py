"""The base class of the weights optimizers, and what they share.

Hyperparameters are read from the config at every step and are never state: a clone trains with its own, not with its parent's.
A step reads no tensor back and branches on none. So it never waits for the device and, if the learning rate is a tensor, can be
captured in a CUDA graph. The count of updates is a tensor for this reason.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from models.config import TrainConfig
from models.flat import Flat, Segment, scalar
from models.optimizers import hypergradient
from models.optimizers.rows import OPTIMIZERS

Rate = float | Tensor  # a learning rate: a number, or a 0-dim float32 tensor on the device of the weights


class Optimizer(ABC):
    """Updates the weights of `flat` from its gradients, in place.

    An author writes `_update`, names `moments` and, if those are not as long as the weights, overrides `_zeros`. Everything
    that changes from step to step is in `state` (by name, on the device of the weights) and in `updates` (the number of steps
    since the moments were zero): if these are saved and restored, a run continues bit for bit.
    """

    moments: ClassVar[tuple[str, ...]]

    def __init__(self, flat: Flat, config: TrainConfig) -> None:
        self.flat = flat
        self.updates = torch.zeros((), device=flat.weights.device)
        self.state = self._zeros(config)
        if config.hypergradient > 0:
            self.state |= hypergradient.initial_state(flat)

    def _zeros(self, config: TrainConfig) -> dict[str, Tensor]:
        """The moments at the start."""
        return {name: torch.zeros_like(self.flat.weights) for name in self.moments}

    @abstractmethod
    def _update(self, lr: Rate, config: TrainConfig) -> None:
        """Update moments and weights; `updates` counts this step already."""

    @torch.no_grad()
    def step(self, lr: Rate, config: TrainConfig) -> None:
        """One update of all weights at learning rate lr. Gradients are read only."""
        self.updates.add_(1)
        if config.hypergradient > 0:
            with hypergradient.learn_rate(self.state, self.flat, lr, config.hypergradient) as learned:
                self._update(learned, config)
        else:
            self._update(lr, config)

    def reset(self) -> None:
        """Go back to the start: moments are zero, the factor on the learning rate is 1."""
        self.updates.zero_()
        for name, tensor in self.state.items():
            tensor.fill_(1.0 if name == hypergradient.FACTOR else 0.0)

    def restore(self, saved: Mapping[str, Tensor], updates: float, learned: bool = True) -> None:
        """Take over `state` and `updates` of a run. If they are those of another optimizer or another model, start anew.

        A run that learns its rate starts at a factor of 1 if the other run did not learn its own. So does a clone, for which
        `learned` is false: a learned factor belongs to the rate for which it was learned. An optimizer without moments takes
        any state that holds some for another optimizer's.
        """
        self.reset()
        own = [name for name in self.state if name not in hypergradient.NAMES]
        if not self._fits(saved, own) or (not own and set(saved) - set(hypergradient.NAMES)):
            return
        rate = [name for name in self.state if name in hypergradient.NAMES]
        for name in own + (rate if learned and self._fits(saved, rate) else []):
            self.state[name].copy_(saved[name])
        self.updates.fill_(updates)

    def _fits(self, saved: Mapping[str, Tensor], names: Sequence[str]) -> bool:
        return all(name in saved and saved[name].shape == self.state[name].shape for name in names)


def make_optimizer(flat: Flat, config: TrainConfig) -> Optimizer:
    """The optimizer that a config names, at its start."""
    made: Optimizer = OPTIMIZERS[config.optimizer].load()(flat, config)
    return made


class Part(NamedTuple):
    """A stretch of the buffers with one rate and one decay, and the views of it into the buffers."""

    segment: Segment
    views: tuple[Tensor, ...]


class Parts:
    """Views of some segments into buffers that all begin where the first segment does.

    Neighbours that are treated alike are one part, so that kernels are called as rarely as possible; `longest` bounds the
    elements of a part (None: no bound).
    """

    def __init__(self, segments: Sequence[Segment], buffers: Sequence[Tensor], longest: int | None = None) -> None:
        self._plain = tuple(_parts(segments, buffers, False, longest))
        self._decaying = tuple(_parts(segments, buffers, True, longest))

    def of(self, config: TrainConfig) -> tuple[Part, ...]:
        return self._decaying if config.weight_decay > 0 else self._plain


def _parts(
    segments: Sequence[Segment], buffers: Sequence[Tensor], decaying: bool, longest: int | None
) -> Iterator[Part]:
    origin = segments[0].start if segments else 0
    for segment in join_segments(segments, decaying):
        every = longest or segment.stop - segment.start
        for start in range(segment.start, segment.stop, every):
            stop = min(start + every, segment.stop)
            yield Part(segment, tuple(buffer[start - origin : stop - origin] for buffer in buffers))


def join_segments(segments: Sequence[Segment], decaying: bool) -> list[Segment]:
    """Joins neighbouring segments with equal rate and decay. If `decaying` is false, the decay may differ."""
    merged: list[Segment] = []
    for one in segments:
        decayed = one.decayed and decaying
        last = merged[-1] if merged else None
        if last and (last.rate, last.decayed) == (one.rate, decayed):
            merged[-1] = Segment(f"{last.kind}+{one.kind}", last.start, one.stop, decayed, one.rate)
        else:
            merged.append(Segment(one.kind, one.start, one.stop, decayed, one.rate))
    return merged


def scale_rate(lr: Rate, by: float) -> Rate:
    """The learning rate times a number, within float32."""
    if isinstance(lr, Tensor):
        return lr if by == 1 else lr * by
    return scalar(lr * by)


def descend(weights: Tensor, update: Tensor, lr: Rate, decay: float) -> None:
    """weights <- (1 - lr decay) weights - lr update, in place."""
    if decay > 0:
        shrink(weights, lr, decay)
    if isinstance(lr, Tensor):
        weights.addcmul_(update, lr, value=-1)
    else:
        weights.add_(update, alpha=scalar(-lr))


def shrink(weights: Tensor, lr: Rate, decay: float) -> None:
    """weights <- (1 - lr decay) weights, in place."""
    weights.mul_(1 - lr * scalar(decay) if isinstance(lr, Tensor) else scalar(1 - lr * decay))
