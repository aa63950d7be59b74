"""The processes that train one model together, one a device: rank 0 decides, and all follow.

A process that torchrun has not started is a group of its own, in which every exchange is nothing at all.
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
        """That of this process; call `torch.distributed.init_process_group` first where there are several."""
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
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def norm(self, shard: Tensor) -> Tensor:
        """Length of the vector of which every process holds a part."""
        if self.size == 1:
            return length(shard)
        return self.sum(length(shard).double().square()).sqrt()


ALONE = Group()


@contextmanager
def process_group(kind: str = "cuda") -> Iterator[Group]:
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
