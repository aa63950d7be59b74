"""How a step is carried out: operation by operation, as a CUDA graph, or compiled. The values are the same up to rounding.

    eager     one operation after the other; by one thread of a CPU in float32, the passes of engines/cpu/
    graph     CUDA only, and not yet run on a device: forward and backward pass are recorded once and then launched as one,
              and so is the update, because what a small model waits for are launches
    compile   torch.compile; the first step waits for it, less where another trial of the same shapes filled the cache on
              disk. Sizes are compiled in, the learning rate is not

What a step reads of the host are the token ids and the learning rate; guard.py says when anything is read back.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

import torch
from torch import Tensor

from models.config import GPTConfig, TrainConfig
from models.dropout import GLOBAL, Noise
from models.flat import Flat, clip, view
from models.gpt import GPT
from models.loss import token_loss
from models.optimizers.base import Optimizer
from models.precision import context

SHAPES = 1 << 20  # that may be compiled in a process: more than any trains
WARM = 3  # passes before a recording, in which libraries allocate what they need


class Engine:
    """Eager. `gradient` adds a micro-batch's gradient to `flat.grads`; `update` clips it and moves the weights.

    `copies` is the number of processes whose gradients are averaged (parallel.py).
    """

    copies = 1

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        self.model, self.flat, self.optimizer, self.config = model, flat, optimizer, config
        self.device = flat.weights.device
        self._own = torch.Generator() if model.config.drops and self._private else None

    @property
    def _private(self) -> bool:
        """Whether dropout draws from a generator of this run alone, which threads do not share."""
        return self.device.type == "cpu"

    def clear(self) -> None:
        """Before the first `gradient` of a step."""
        self.flat.grads.zero_()

    def gradient(self, ids: Tensor, share: float, scale: float, seed: int, last: bool = True) -> Tensor:
        """Add share x the gradient of the mean loss of ids (b, T + 1), times scale; returns share x the loss.

        `seed` is that of dropout; `last` says that no more is added in this step. The result is valid until the next call.
        """
        with self._seeded(seed), self._together(last):
            loss = self._loss(ids, self._noise()) * share
            (loss if scale * self.copies == 1 else loss * (scale * self.copies)).backward()
        if last:
            self._collect()
        return loss.detach()

    @torch.no_grad()
    def update(self, lr: float) -> None:
        """Clip the gradient and update the weights at learning rate lr."""
        clip(self.flat.grads, self.config.clip)
        self.optimizer.step(lr, self.config)

    def spread(self) -> None:
        """After `flat.weights` changed: the model takes them over, where they do not lie in it."""

    def named(self, buffer: Tensor) -> dict[str, Tensor]:
        """A buffer like `flat.weights`, cut into what belongs to each parameter of the whole model."""
        return {name: view(buffer, place) for name, place in self.flat.places.items()}

    def laid_out(self, buffer: Tensor) -> Tensor:
        """A buffer like `flat.weights` as that of the whole model."""
        return buffer

    def part(self, buffer: Tensor) -> Tensor:
        """This process's part of a buffer of the whole model: the inverse of `laid_out`."""
        return buffer

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of the whole model, by name."""
        for name, place in self.named(self.flat.weights).items():
            place.copy_(weights[name])

    def _together(self, last: bool) -> AbstractContextManager[object]:
        """Where a backward pass exchanges gradients with other processes, if it is the last of a step."""
        return nullcontext()

    def _collect(self) -> None:
        """After the last backward pass of a step: gradients come to `flat.grads`, if they do not lie there."""

    def _noise(self) -> Noise:
        return (self._own or GLOBAL) if self.model.config.drops else None

    def _seeded(self, seed: int) -> AbstractContextManager[object]:
        """What follows draws its dropout from this seed."""
        if self._own is not None:
            self._own.manual_seed(seed)
        elif self.model.config.drops and self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.model.config.drops:
            return _borrowed(seed)
        return nullcontext()

    def _loss(self, ids: Tensor, noise: Noise) -> Tensor:
        with context(self.config.precision, self.device):
            logits = self._forward(ids[:, :-1], noise)
        return token_loss(logits, ids[:, 1:], self.config)

    def _forward(self, ids: Tensor, noise: Noise) -> Tensor:
        return self.model(ids, noise)  # type: ignore[no-any-return]


class _borrowed:
    """The global generator of the CPU, seeded within and as it was afterwards."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.before = torch.get_rng_state()
        torch.default_generator.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.before)


class Compiled(Engine):
    """The loss is compiled, and with it its gradient; the update is a few kernels as it is.

    Every shape is compiled, in whatever number of trials a process has trained: torch goes on without its compiler, and
    without a word, from the ninth on otherwise.
    """

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        limits = import_module("torch._dynamo.config")
        for name in ("recompile_limit", "accumulated_recompile_limit"):
            setattr(limits, name, max(SHAPES, getattr(limits, name)))
        self._compiled = torch.compile(super()._loss, dynamic=False)

    @property
    def _private(self) -> bool:
        return False  # a generator cannot be passed into what is compiled

    def _loss(self, ids: Tensor, noise: Noise) -> Tensor:
        return self._compiled(ids, noise)


class Graph(Engine):
    """Recordings: forward and backward pass of a micro-batch, one for each shape; clipping and the update."""

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None:
        super().__init__(model, flat, optimizer, config)
        self._passes: dict[torch.Size, tuple[Tensor, torch.cuda.CUDAGraph]] = {}  # by shape: the ids it reads
        self._share = torch.ones((), device=self.device)  # of the batch, times the scale of fp16
        self._lr = torch.zeros((), device=self.device)
        self._result = torch.zeros((), device=self.device)
        self._move: torch.cuda.CUDAGraph | None = None

    def gradient(self, ids: Tensor, share: float, scale: float, seed: int, last: bool = True) -> Tensor:
        self._share.fill_(share * scale)
        with self._seeded(seed):
            if ids.shape not in self._passes:
                place = ids.clone()
                self._passes[ids.shape] = place, self._recorded(lambda: self._forward_backward(place), [self.flat.grads])
                self._seeded(seed)  # again: the recording drew
            place, graph = self._passes[ids.shape]
            place.copy_(ids, non_blocking=True)
            graph.replay()
        return self._result * (1 / scale)

    @torch.no_grad()
    def update(self, lr: float) -> None:
        self._lr.fill_(lr)
        if self._move is None:
            changed = [self.flat.weights, self.flat.grads, self.optimizer.updates, *self.optimizer.state.values()]
            self._move = self._recorded(self._clip_and_step, changed)
        self._move.replay()

    def _forward_backward(self, ids: Tensor) -> None:
        loss = self._loss(ids, self._noise()) * self._share
        loss.backward()
        self._result.copy_(loss.detach())

    def _clip_and_step(self) -> None:
        clip(self.flat.grads, self.config.clip)
        self.optimizer.step(self._lr, self.config)

    def _recorded(self, work: Callable[[], None], changes: list[Tensor]) -> torch.cuda.CUDAGraph:
        """A graph of work(), with what it changes put back as it was."""
        before = [tensor.clone() for tensor in changes]
        stream = torch.cuda.Stream(self.device)  # of this device: torch's own for recordings is of the first that recorded
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


def check(name: str, device: torch.device, size: GPTConfig, config: TrainConfig) -> None:
    """ValueError for a name that is none, where the device has none of it, or for what it cannot carry out."""
    if name not in ENGINES:
        raise ValueError(f"engine is {name!r}, but must be one of {', '.join(ENGINES)}")
    if name == "graph" and device.type != "cuda":
        raise ValueError(f"engine is 'graph', but CUDA graphs need a CUDA device, and this run is on {device}")
    if name == "graph" and config.activation_checkpointing and size.drops:
        raise ValueError(
            "engine is 'graph', but must be eager or compile for activation_checkpointing with dropout: the bits that are"
            " drawn a second time cannot be recorded"
        )


ENGINES: Mapping[str, type[Engine]] = {"eager": Engine, "graph": Graph, "compile": Compiled}
