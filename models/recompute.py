"""Activation checkpointing: a block's activations are not kept, but computed again in its backward pass (Chen et al. 2016).

It works like torch.utils.checkpoint without reentrance: every tensor that autograd would keep is replaced by a number, and the
backward pass computes all of them when it needs the first. torch's own function imports its compiler, which costs every process
a second and 75 MB, and reads the state of the random generator, which a CUDA graph cannot record. So torch's own is used only in
compiled code.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from models.dropout import Noise


def recompute(block: Callable[[Tensor], Tensor], x: Tensor, noise: Noise) -> Tensor:
    """block(x) with dropout from `noise`, of which only x is kept. When it is computed again, the same bits are drawn."""
    if torch.compiler.is_compiling():
        return checkpoint(block, x, use_reentrant=False)  # type: ignore[no-any-return]
    if not torch.is_grad_enabled():
        return block(x)
    once_more = _Again(block, x, noise)
    with saved_tensors_hooks(once_more.pack, once_more.unpack):
        return block(x)


class _Again:
    """The tensors that a block would keep, by their numbers."""

    def __init__(self, block: Callable[[Tensor], Tensor], x: Tensor, noise: Noise) -> None:
        self.block, self.x, self.noise, self.count = block, x.detach(), noise, 0
        self.kind = x.device.type
        self.cast, self.dtype = torch.is_autocast_enabled(self.kind), torch.get_autocast_dtype(self.kind)
        self.found: list[Tensor | None] | None = None
        self.bits: Tensor | None = None
        if isinstance(noise, torch.Generator):
            self.bits = noise.get_state()
        elif noise is not None and self.kind == "cuda":
            self.bits = torch.cuda.get_rng_state(x.device)

    def pack(self, tensor: Tensor) -> int:
        """The number that autograd keeps instead of a tensor."""
        self.count += 1
        return self.count - 1

    def unpack(self, number: int) -> Tensor:
        """The tensor of a number; it may be taken only once."""
        if self.found is None:
            self.found = self._compute()
        tensor, self.found[number] = self.found[number], None  # each is needed once
        assert tensor is not None, "the backward pass was gone through twice"
        return tensor

    def _compute(self) -> list[Tensor | None]:
        found: list[Tensor | None] = []

        def keep(tensor: Tensor) -> None:
            found.append(tensor.detach())

        def never(nothing: None) -> Tensor:
            raise AssertionError("what is computed again has no backward pass of its own")

        cast = torch.autocast(self.kind, self.dtype, self.cast)
        with torch.enable_grad(), self._drawing(), cast, saved_tensors_hooks(keep, never):
            self.block(self.x.requires_grad_())
        assert len(found) == self.count, f"{len(found)} tensors came of a block that had kept {self.count}"
        return found

    def _drawing(self) -> AbstractContextManager[object]:
        """A context in which dropout draws the same bits as the first time."""
        if self.bits is None:
            return nullcontext()
        if isinstance(self.noise, torch.Generator):
            self.noise.set_state(self.bits)
            return nullcontext()
        return _Borrowed(self.bits, self.x.device)


class _Borrowed:
    """A context in which the generator of a CUDA device has a given state; afterwards it is as before."""

    def __init__(self, bits: Tensor, device: torch.device) -> None:
        self.bits, self.device = bits, device

    def __enter__(self) -> None:
        self.before = torch.cuda.get_rng_state(self.device)
        torch.cuda.set_rng_state(self.bits, self.device)

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_rng_state(self.before, self.device)
