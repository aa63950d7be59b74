"""CUDA graphs: forward and backward pass are recorded once and then launched together, and so is the update. A small model
spends most of its time on launches."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.config import TrainConfig
from models.engines.eager import EagerEngine
from models.flat import Flat, clip
from models.gpt import GPT
from models.optimizers.base import Optimizer

WARM = 3  # passes before a recording, so that libraries have allocated their memory


class GraphEngine(EagerEngine):
    """Keeps a recording of forward and backward pass for each shape of a micro-batch, and one of clipping and update."""

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        self._passes: dict[torch.Size, tuple[Tensor, torch.cuda.CUDAGraph]] = {}  # by shape; with the ids it reads
        self._share = torch.ones((), device=self.device)  # the micro-batch's share of the batch, times the loss scale of fp16
        self._lr = torch.zeros((), device=self.device)
        self._result = torch.zeros((), device=self.device)
        self._move: torch.cuda.CUDAGraph | None = None

    def gradient(self, ids: Tensor, share: float, scale: float, seed: int, last: bool = True) -> Tensor:
        self._share.fill_(share * scale)
        with self._seed_dropout(seed):
            if ids.shape not in self._passes:
                place = ids.clone()
                self._passes[ids.shape] = place, self._record(lambda: self._forward_backward(place), [self.flat.grads])
                self._seed_dropout(seed)  # again, because the recording has drawn
            place, graph = self._passes[ids.shape]
            place.copy_(ids, non_blocking=True)
            graph.replay()
        return self._result * (1 / scale)

    @torch.no_grad()
    def update(self, lr: float) -> None:
        self._lr.fill_(lr)
        if self._move is None:
            changed = [self.flat.weights, self.flat.grads, self.optimizer.updates, *self.optimizer.state.values()]
            self._move = self._record(self._clip_and_step, changed)
        self._move.replay()

    def _forward_backward(self, ids: Tensor) -> None:
        loss = self._loss(ids, self._noise()) * self._share
        loss.backward()
        self._result.copy_(loss.detach())

    def _clip_and_step(self) -> None:
        clip(self.flat.grads, self.config.clip)
        self.optimizer.step(self._lr, self.config)

    def _record(self, work: Callable[[], None], changes: list[Tensor]) -> torch.cuda.CUDAGraph:
        """A graph of work(). The tensors in `changes`, which the recording changes, are restored."""
        before = [tensor.clone() for tensor in changes]
        stream = torch.cuda.Stream(self.device)  # torch's own belongs to the device that recorded first
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                work()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            work()
        for tensor, old in zip(changes, before, strict=True):
            tensor.copy_(old)
        return graph
