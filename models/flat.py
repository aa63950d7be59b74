"""The weights and gradients of a model in two flat buffers, on which the optimizers (optimizers/) work.

A small model has dozens of small tensors, and a step over each of them costs more in calls than in arithmetic. So all weights
are in one flat tensor, and all gradients in another; the parameters of the model are views into them. An update, the norm of
the gradient and clearing the gradient then take a handful of passes, whatever the number of layers.

The buffer is ordered by kind. Each kind is a segment with its own factor on the learning rate, and with or without decay:

    hidden   matrices of the blocks            decayed
    table    tokens, positions, head           decayed
    vector   norms and biases                  not decayed, as in nanoGPT
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, prod

import torch
from torch import Tensor, nn

from models.norms import length

ALIGN = 16  # floats; every parameter starts on a 64-byte boundary, as fast matrix kernels require
SMALL = 1e-30  # factors below it may be near the smallest float32
KINDS = ("hidden", "table", "vector")  # in the order of the buffer


@dataclass(frozen=True)
class Segment:
    """The elements start to stop of the buffer: one kind of parameter, or neighbouring kinds that are treated alike.

    `rate` is the factor on the learning rate in this segment.
    """

    kind: str
    start: int
    stop: int
    decayed: bool
    rate: float = 1.0

    def decay(self, weight_decay: float) -> float:
        """The decay to use with the rate of this segment, so that a step shrinks weights by lr x weight_decay.

        `rate` comes from muP, and is kept out of the decay on purpose: lr x weight_decay is one over the number of steps that
        weights remember, which should not depend on the width (Wang & Aitchison 2024, arXiv 2405.13698; "independent
        weight decay", Wortsman et al. 2023; Kosson et al. 2025, arXiv 2510.19093: without it, rates do not transfer).
        """
        return scalar(weight_decay / self.rate) if self.decayed else 0.0


@dataclass(frozen=True)
class Flat:
    """Weights and gradients of a model in two flat float32 tensors (size,). Padding is zero and stays zero.

    segments   the kinds that the model has, in the order of the buffer; together they cover it
    places     name of a parameter -> its (offset, shape)
    splits     name of a parameter that consists of several matrices, one below another -> the rows of each
    """

    weights: Tensor
    grads: Tensor
    segments: tuple[Segment, ...]
    places: Mapping[str, tuple[int, tuple[int, ...]]]
    splits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def kind_of(name: str, weight: Tensor) -> str:
    """The kind of a parameter by its name and dimension; one of KINDS."""
    if weight.dim() < 2:
        return "vector"
    return "hidden" if name.startswith("blocks.") else "table"


@dataclass(frozen=True)
class Layout:
    """Where parameters of given shapes are in a buffer of `size` elements."""

    places: Mapping[str, tuple[int, tuple[int, ...]]]
    segments: tuple[Segment, ...]
    size: int

    def view(self, buffer: Tensor, name: str) -> Tensor:
        """A parameter's part of a buffer, in its shape."""
        return view(buffer, self.places[name])


def view(buffer: Tensor, place: tuple[int, tuple[int, ...]]) -> Tensor:
    """The view of a buffer at an (offset, shape)."""
    offset, shape = place
    return buffer[offset : offset + prod(shape)].view(shape)


def layout(parameters: Mapping[str, Tensor], rates: Mapping[str, float] = {}) -> Layout:
    """The layout by kind, and within a kind in the order of the parameters. ValueError that names a rate that is not allowed."""
    _check_rates(rates)
    places: dict[str, tuple[int, tuple[int, ...]]] = {}
    segments, end = [], 0
    for kind in KINDS:
        start = end
        for name, weight in parameters.items():
            if kind_of(name, weight) == kind:
                places[name] = (end, tuple(weight.shape))
                end += -(-weight.numel() // ALIGN) * ALIGN
        if end > start:
            segments.append(Segment(kind, start, end, kind != "vector", float(rates.get(kind, 1.0))))
    return Layout(places, tuple(segments), end)


def flatten(model: nn.Module, rates: Mapping[str, float] = {}) -> Flat:
    """Move the weights of a model into one flat buffer; its parameters and their gradients become views into it.

    `rates` has the factor on the learning rate by kind (1 if absent). The rows of parameters that consist of several matrices
    are read from `model.splits`, if the model has it. ValueError that names rates or rows that do not fit.
    """
    named = dict(model.named_parameters())
    flat, plan = copy_flat(named, rates)
    for name, weight in named.items():
        weight.data, weight.grad = plan.view(flat.weights, name), plan.view(flat.grads, name)
    return replace(flat, splits=_check_splits(getattr(model, "splits", {}), plan.places))


def copy_flat(parameters: Mapping[str, Tensor], rates: Mapping[str, float] = {}) -> tuple[Flat, Layout]:
    """Flat buffers with a copy of the parameters."""
    plan = layout(parameters, rates)
    weights, grads = torch.zeros(2, plan.size, device=next(iter(parameters.values())).device).unbind(0)
    for name, weight in parameters.items():
        plan.view(weights, name).copy_(weight.detach())
    return Flat(weights, grads, plan.segments, plan.places), plan


def _check_rates(rates: Mapping[str, float]) -> None:
    for kind, rate in rates.items():
        if kind not in KINDS:
            raise ValueError(f"rate of {kind!r}: not a kind of parameter; kinds are {', '.join(KINDS)}")
        if not (isfinite(rate) and rate > 0):
            raise ValueError(f"rate of {kind!r} is {rate!r}, but must be a finite number above 0")


def _check_splits(
    splits: Mapping[str, tuple[int, ...]], places: Mapping[str, tuple[int, tuple[int, ...]]]
) -> dict[str, tuple[int, ...]]:
    for name, rows in splits.items():
        if name not in places:
            raise ValueError(f"splits name {name!r}, which is no parameter of the model")
        if sum(rows) != places[name][1][0]:
            raise ValueError(f"splits of {name!r} are {rows}, but must add up to its {places[name][1][0]} rows")
    return {name: tuple(rows) for name, rows in splits.items()}


def scalar(value: float) -> float:
    """The value within float32. torch raises for a factor beyond it, but with an absurd rate a training should diverge."""
    return max(-3e38, min(3e38, value))


def clip(grads: Tensor, bound: float, norm: Callable[[Tensor], Tensor] = length) -> None:
    """Scale the gradient so that its norm is at most `bound`; 0 is off. Like torch's clip_grad_norm_, without a sync."""
    if bound > 0:
        size = norm(grads)
        factor = (bound / (size + 1e-6)).clamp(max=1.0)
        if factor.device.type != "cpu":
            grads.mul_(factor)
        elif (found := factor.item()) < SMALL and size.isfinite():  # in two steps: a denormal factor would be 0 in training
            largest = grads.abs().max().double().clamp(min=1.0)
            grads.div_(largest).mul_(bound / (size / largest))
        elif found != 1:  # looking costs nothing on a CPU
            grads.mul_(factor)
