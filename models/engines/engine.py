"""The protocol of an engine, and the engines by name. An engine carries out a step; all give equal values up to rounding.
Imports no torch.

    eager     one operation after the other (eager.py); in float32 and one thread of a CPU, the passes of cpu/ if they know
              every option of the configuration
    graph     CUDA only: a step is recorded once and then launched as one (graph.py)
    compile   torch.compile (compile.py)

    adding one     write its class in its own file, most often a subclass of eager.EagerEngine, and its row in ENGINES

choice.py chooses the class that carries a training out: one of these, the one in cpu/ or, with several processes, one in
distributed/. A step reads only token ids and the learning rate from the host; guard.py says when anything is read back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from models.config import GPTConfig, TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from models.flat import Flat
    from models.gpt import GPT
    from models.optimizers.base import Optimizer


class Engine(Protocol):
    """Forward pass, backward pass and update of a model whose weights and gradients are in flat buffers (flat.py).

    A step is a `clear`, a `gradient` for each micro-batch, and one `update`. Buffers like `flat.weights` (moments, averages)
    hold this process's part of the model; `gather` makes the whole model of them, and `scatter` does the reverse.
    """

    def __init__(self, model: GPT, flat: Flat, optimizer: Optimizer, config: TrainConfig) -> None: ...

    @classmethod
    def flat_buffers(cls, model: GPT, rates: Mapping[str, float], config: TrainConfig) -> Flat:
        """The weights of a model in the buffers that this engine uses; `rates` as in flat.flatten."""
        ...

    def clear(self) -> None:
        """Set the gradient to zero; called before the first `gradient` of a step."""
        ...

    def gradient(self, ids: Tensor, share: float, scale: float, seed: int, last: bool = True) -> Tensor:
        """Add share x scale x the gradient of the mean loss of ids (b, T + 1) to `flat.grads`; returns share x the loss, ().

        `seed` is for dropout; `last` says that this is the last call in this step. The result is valid until the next call.
        """
        ...

    def update(self, lr: float) -> None:
        """Clip the gradient and update the weights at learning rate lr."""
        ...

    def publish(self) -> None:
        """Called after `flat.weights` has changed: gives the weights to the model, unless its parameters are views of them."""
        ...

    def named_tensors(self, buffer: Tensor) -> dict[str, Tensor]:
        """The part of a buffer like `flat.weights` that belongs to each parameter of the whole model."""
        ...

    def gather(self, buffer: Tensor) -> Tensor:
        """The buffer of the whole model, from this process's part, a buffer like `flat.weights`."""
        ...

    def scatter(self, buffer: Tensor) -> Tensor:
        """This process's part of a buffer of the whole model: the inverse of `gather`."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of the whole model, by name."""
        ...


@dataclass(frozen=True)
class EngineRow:
    """What can be known about an engine without importing its code.

    code      "module:Class" of its Engine
    refuses   why it cannot carry out a configuration on a device, as the end of "engine is 'name', but ..."; None if it can
    """

    code: str
    refuses: Callable[[str, GPTConfig, TrainConfig], str | None] = lambda device, size, training: None

    def load(self) -> type[Engine]:
        """The engine's class; this imports torch."""
        module, _, name = self.code.partition(":")
        found: Any = getattr(import_module(module), name)
        return found  # type: ignore[no-any-return]


def _refuse_graph(device: str, size: GPTConfig, training: TrainConfig) -> str | None:
    if not device.startswith("cuda"):
        return f"CUDA graphs need a CUDA device, and this run is on {device}"
    if training.activation_checkpointing and size.has_dropout:
        again = "the bits that are drawn a second time cannot be recorded"
        return f"must be eager or compile for activation_checkpointing with dropout: {again}"
    return None


ENGINES: Mapping[str, EngineRow] = {
    "eager": EngineRow("models.engines.eager:EagerEngine"),
    "graph": EngineRow("models.engines.graph:GraphEngine", _refuse_graph),
    "compile": EngineRow("models.engines.compile:CompileEngine"),
}
"""How a step of training is carried out."""


def check_engine(name: str, device: str, size: GPTConfig, training: TrainConfig) -> None:
    """ValueError for an unknown name, and if the engine cannot carry out a configuration on a device ("cpu", "cuda:1")."""
    if name not in ENGINES:
        raise ValueError(f"engine is {name!r}, but must be one of {', '.join(ENGINES)}")
    if reason := ENGINES[name].refuses(device, size, training):
        raise ValueError(f"engine is {name!r}, but {reason}")
