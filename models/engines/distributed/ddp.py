"""Everything on every device: torch's DistributedDataParallel."""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from models.config import TrainConfig
from models.dropout import Noise
from models.engines.distributed.group import Group
from models.engines.eager import EagerEngine
from models.flat import Flat
from models.gpt import GPT
from models.optimizers.base import Optimizer


class DDPEngine(EagerEngine):
    """Gradients are averaged while the backward pass goes on."""

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        self.copies = Group.current().size
        self.parallel = DistributedDataParallel(model, broadcast_buffers=False)

    def _forward(self, ids: Tensor, noise: Noise) -> Tensor:
        return self.parallel(ids, noise)  # type: ignore[no-any-return]

    def _exchange(self, last: bool) -> AbstractContextManager[object]:
        return nullcontext() if last else self.parallel.no_sync()
