"""The processes that train one model together, one a device: rank 0 decides, and all follow.

A process that torchrun has not started is a group of its own, in which every exchange is nothing at all.
"""

from dataclasses import dataclass
from typing import Any

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

    def told(self, value: Any) -> Any:
        """What rank 0 says, on every rank: plain Python values."""
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
