"""A part on every device: torch's FSDP. Each device holds its rows of every weight, gradient and moment. This suffices for
optimizers that update each weight by itself."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor

from models.config import TrainConfig
from models.engines.distributed.group import Group
from models.engines.eager import EagerEngine
from models.flat import Flat, clip, copy_flat, layout
from models.gpt import GPT
from models.optimizers.base import Optimizer
from models.optimizers.rows import OPTIMIZERS
from models.precision import AUTOCAST


def shard(model: GPT, config: TrainConfig) -> None:
    """Split the weights of a model over the group, block by block. ValueError for a config that cannot be sharded."""
    if not OPTIMIZERS[config.optimizer].shardable:
        able = [name for name, row in OPTIMIZERS.items() if row.shardable]
        needed = f"{', '.join(able[:-1])} or {able[-1]}"
        raise ValueError(f"optimizer is {config.optimizer!r}, but sharding {config.sharding!r} needs {needed}")
    if config.hypergradient:
        raise ValueError(f"hypergradient is {config.hypergradient}, but must be 0 with sharding {config.sharding!r}")
    half = AUTOCAST.get(config.precision)
    options: dict[str, Any] = {
        "reshard_after_forward": config.sharding == "full",
        "offload_policy": CPUOffloadPolicy() if config.offload else OffloadPolicy(),
        "mp_policy": MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32) if half else MixedPrecisionPolicy(),
    }
    for block in model.blocks:
        fully_shard(block, **options)
    fully_shard(model, **options)


def local_rows(model: GPT) -> dict[str, Tensor]:
    """This device's rows of every parameter, by name."""
    return {name: weight.to_local() for name, weight in model.named_parameters() if isinstance(weight, DTensor)}


def flatten_rows(model: GPT, rates: Mapping[str, float]) -> Flat:
    """Flat buffers with a copy of this device's rows: FSDP keeps its own memory, and the engine copies to and fro."""
    return copy_flat(local_rows(model), rates)[0]


class FSDPEngine(EagerEngine):
    """`flat` has this device's rows. They are copied to the modules after an update, and gradients from them before it."""

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        self.group = Group.current()
        self.copies = self.group.size
        # Between a forward pass and the next backward pass the model has whole weights instead of these.
        self._sharded = {name: weight for name, weight in model.named_parameters() if isinstance(weight, DTensor)}
        self._whole = layout(self._sharded)  # a DTensor has the shape of the whole

    @classmethod
    def flat_buffers(cls, model: GPT, rates: Mapping[str, float], config: TrainConfig) -> Flat:
        """Shards the model first. ValueError for a config that cannot be sharded."""
        shard(model, config)
        return flatten_rows(model, rates)

    @torch.no_grad()
    def update(self, lr: float) -> None:
        clip(self.flat.grads, self.config.clip, self.group.norm)
        self.optimizer.step(lr, self.config)
        self.publish()

    @torch.no_grad()
    def publish(self) -> None:
        """Copies the weights of the flat buffer to the modules."""
        for module in (self.model, *self.model.blocks):
            module.reshard()  # type: ignore[operator,union-attr]  # or whole weights would outlive their rows
        for name, place in self._cut(self.flat.weights).items():
            self._sharded[name].to_local().copy_(place)

    def named_tensors(self, buffer: Tensor) -> dict[str, Tensor]:
        cut, found = self._cut(buffer), {}
        for name, weight in self._sharded.items():
            piece = DTensor.from_local(
                cut[name], weight.device_mesh, weight.placements, shape=weight.shape, stride=weight.stride()
            )
            found[name] = piece.full_tensor()
        return found

    def gather(self, buffer: Tensor) -> Tensor:
        whole = torch.zeros(self._whole.size, device=buffer.device)
        for name, piece in self.named_tensors(buffer).items():
            self._whole.view(whole, name).copy_(piece)
        return whole

    def scatter(self, buffer: Tensor) -> Tensor:
        mine = torch.zeros_like(self.flat.weights)
        for name, place in self._cut(mine).items():
            place.copy_(self._mine(self._whole.view(buffer, name), place))
        return mine

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        for name, place in self._cut(self.flat.weights).items():
            place.copy_(self._mine(weights[name], place))
        self.publish()

    def _mine(self, whole: Tensor, place: Tensor) -> Tensor:
        """This rank's rows of a tensor. Rows are dealt in the order of ranks; only the last ranks may have fewer, or none."""
        each = -(-whole.size(0) // self.group.size)
        return whole[each * self.group.rank :][: place.size(0)]

    def _cut(self, buffer: Tensor) -> dict[str, Tensor]:
        return super().named_tensors(buffer)

    def _exchange(self, last: bool) -> AbstractContextManager[object]:
        self.model.set_requires_gradient_sync(last)  # type: ignore[operator]
        return nullcontext()

    def _collect(self) -> None:
        places = self._cut(self.flat.grads)
        for name, weight in self._sharded.items():
            if isinstance(weight.grad, DTensor):
                places[name].add_(weight.grad.to_local())
                weight.grad = None
