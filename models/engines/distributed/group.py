"""The processes that train one model together, one a device: rank 0 decides, and all follow.

A process that torchrun has not started is a group of one, in which exchanges do nothing.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from models.norms import length


@dataclass(frozen=True)
class Group:
    """Rank in [0, size)."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "Group":
        """The group of this process. With several processes, call `torch.distributed.init_process_group` first."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, value: Any) -> Any:
        """The value that rank 0 has, on every rank: plain Python."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Waits until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def norm(self, shard: Tensor) -> Tensor:
        """The length of a vector; every process holds a part of it."""
        if self.size == 1:
            return length(shard)
        return self.sum(length(shard).double().square()).sqrt()


ALONE = Group()


@contextmanager
def process_group(kind: str = "cuda") -> Iterator[Group]:
    """The group of the processes that torchrun started; without torchrun, a group of one."""
    if "RANK" not in os.environ:
        yield Group()
        return
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Group.current()
    finally:
        gc.collect()  # models in reference cycles hold the group, and its threads would go on
        dist.destroy_process_group()
