"""One model over several devices, one process each, through torch's own DistributedDataParallel and FSDP.

    torchrun --nproc_per_node 2 my_script.py          # sets the addresses from which `together` makes the group

    with together("cuda") as group:                   # in my_script.py; "cuda" uses nccl, "cpu" gloo
        lead(factory, script)                         # rank 0 runs script(factory), all others do what its runs do

`factory(config, seed, horizon)` makes a TrainRun, on every rank; the one that the script gets is an objective of a study like
any other. Or every rank calls the same methods of its own TrainRun.

Every process takes its share of the sequences of a step, and gradients are averaged. With sharding "none" each device holds
everything (DDP). With "grads" and "full" it holds its rows of every weight, gradient and moment (FSDP), which is enough for
optimizers that update a weight by itself. Checkpoints hold the whole, whatever wrote them: a run may go on with another number
of devices and another sharding.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from models.config import TrainConfig
from models.dropout import Noise
from models.engines.distributed.group import Group
from models.engines.engine import Engine
from models.flat import Flat, clip, copied, layout
from models.gpt import GPT
from models.optimizers.base import Optimizer
from models.optimizers.rows import OPTIMIZERS
from models.precision import AUTOCAST

T = TypeVar("T")


@contextmanager
def together(kind: str = "cuda") -> Iterator[Group]:
    """The group of the processes that torchrun started; a group of one where it did not."""
    if "RANK" not in os.environ:
        yield Group()
        return
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Group.current()
    finally:
        gc.collect()  # models that are parts of cycles hold the group, whose threads would outlive it
        dist.destroy_process_group()


# -- everything on every device ------------------------------------------------------------------------------------------


class Replicated(Engine):
    """DDP: gradients are averaged while the backward pass goes on."""

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        self.copies = Group.current().size
        self.parallel = DistributedDataParallel(model, broadcast_buffers=False)

    def _forward(self, ids: Tensor, noise: Noise) -> Tensor:
        return self.parallel(ids, noise)  # type: ignore[no-any-return]

    def _together(self, last: bool) -> AbstractContextManager[object]:
        return nullcontext() if last else self.parallel.no_sync()


# -- a part on every device ----------------------------------------------------------------------------------------------


def shard(model: GPT, config: TrainConfig) -> None:
    """Split the weights of a model over the group, a block at a time. ValueError for what cannot be split."""
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


def rows(model: GPT) -> dict[str, Tensor]:
    """This device's rows of every parameter, by name."""
    return {name: weight.to_local() for name, weight in model.named_parameters() if isinstance(weight, DTensor)}


def flatten_rows(model: GPT, rates: Mapping[str, float]) -> Flat:
    """Flat buffers with a copy of this device's rows: FSDP keeps its own memory, `Sharded` copies to and fro."""
    return copied(rows(model), rates)[0]


class Sharded(Engine):
    """FSDP: `flat` are this device's rows; they go to the modules after an update, gradients come from there before it."""

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        self.group = Group.current()
        self.copies = self.group.size
        # Between a forward pass and the next backward pass the model shows whole weights in the place of these.
        self._sharded = {name: weight for name, weight in model.named_parameters() if isinstance(weight, DTensor)}
        self._whole = layout(self._sharded)  # shapes of DTensors are those of the whole

    @torch.no_grad()
    def update(self, lr: float) -> None:
        clip(self.flat.grads, self.config.clip, self.group.norm)
        self.optimizer.step(lr, self.config)
        self.spread()

    @torch.no_grad()
    def spread(self) -> None:
        """The modules take over the weights of the flat buffer."""
        for module in (self.model, *self.model.blocks):
            module.reshard()  # type: ignore[operator,union-attr]  # or whole weights would outlive their rows
        for name, place in self._cut(self.flat.weights).items():
            self._sharded[name].to_local().copy_(place)

    def named(self, buffer: Tensor) -> dict[str, Tensor]:
        cut, found = self._cut(buffer), {}
        for name, weight in self._sharded.items():
            piece = DTensor.from_local(
                cut[name], weight.device_mesh, weight.placements, shape=weight.shape, stride=weight.stride()
            )
            found[name] = piece.full_tensor()
        return found

    def laid_out(self, buffer: Tensor) -> Tensor:
        whole = torch.zeros(self._whole.size, device=buffer.device)
        for name, piece in self.named(buffer).items():
            self._whole.view(whole, name).copy_(piece)
        return whole

    def part(self, buffer: Tensor) -> Tensor:
        mine = torch.zeros_like(self.flat.weights)
        for name, place in self._cut(mine).items():
            place.copy_(self._mine(self._whole.view(buffer, name), place))
        return mine

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        for name, place in self._cut(self.flat.weights).items():
            place.copy_(self._mine(weights[name], place))
        self.spread()

    def _mine(self, whole: Tensor, place: Tensor) -> Tensor:
        """This rank's rows of a tensor: as many as fill all ranks but the last ones, in the order of ranks."""
        each = -(-whole.size(0) // self.group.size)
        return whole[each * self.group.rank :][: place.size(0)]

    def _cut(self, buffer: Tensor) -> dict[str, Tensor]:
        return super().named(buffer)

    def _together(self, last: bool) -> AbstractContextManager[object]:
        self.model.set_requires_gradient_sync(last)  # type: ignore[operator]
        return nullcontext()

    def _collect(self) -> None:
        places = self._cut(self.flat.grads)
        for name, weight in self._sharded.items():
            if isinstance(weight.grad, DTensor):
                places[name].add_(weight.grad.to_local())
                weight.grad = None


# -- rank 0 decides, all follow ------------------------------------------------------------------------------------------


class Run(Protocol):
    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]: ...

    def save(self, path: str | Path) -> None: ...

    def load(self, path: str | Path) -> None: ...

    def adopt(self, path: str | Path) -> None: ...


Factory = Callable[[Mapping[str, Any], int, int], Run]


class Led:
    """A run on all ranks; what is called here, on rank 0, is called everywhere."""

    def __init__(self, group: Group, number: int, run: Run) -> None:
        self.group, self.number, self.run = group, number, run

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        self.group.told((self.number, "advance", (until,)))
        return self.run.advance(until)

    def save(self, path: str | Path) -> None:
        self.group.told((self.number, "save", (str(path),)))
        self.run.save(path)

    def load(self, path: str | Path) -> None:
        self.group.told((self.number, "load", (str(path),)))
        self.run.load(path)

    def adopt(self, path: str | Path) -> None:
        self.group.told((self.number, "adopt", (str(path),)))
        self.run.adopt(path)


def lead(factory: Factory, script: Callable[[Factory], T]) -> T | None:
    """On rank 0, script(a factory whose runs run on all ranks) and what it returns; on the others None, at its end.

    A call that raises raises on every rank alike, because all have the same config, position and files; followers go on.
    """
    group = Group.current()
    if group.rank > 0:
        _follow(group, factory)
        return None
    made = 0

    def led(config: Mapping[str, Any], seed: int, horizon: int) -> Run:
        nonlocal made
        made += 1
        group.told((made, "make", (dict(config), seed, horizon)))
        return Led(group, made, factory(config, seed, horizon))

    try:
        return script(led)
    finally:
        group.told(None)


def _follow(group: Group, factory: Factory) -> None:
    runs: dict[int, Run] = {}
    while (call := group.told(None)) is not None:
        number, method, arguments = call
        try:
            if method == "make":
                runs[number] = factory(*arguments)
            elif number in runs:
                getattr(runs[number], method)(*arguments)
        except (ValueError, OSError):  # rank 0 raises the same
            continue
