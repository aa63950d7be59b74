"""A table of model shapes from 1M to 30B parameters, with parameters, FLOPs and memory of each. Imports no torch.

    python -m models.predict.shapes

If a shape is published, its source is given; the others are ours, with heads of 32 or 64 features. A label is the name of a
shape by its size; the count of parameters is computed, and `difference` says if the two are more than 5 % apart.

    GPT-2     Radford et al. 2019, table 2, as released; the heads are those of the released models
    GPT-3     Brown et al. 2020, table 2.1. It calls 24 layers of width 2048 with 24 heads of 128 its XL; these do not go
              together, and no shape here needs it. Its 13B has a width of 5140, which 40 heads do not divide: 5120 here.
              Context 2048, other attention in every second layer, which is not reproduced
    recipe    passed on with a width, heads and a batch for each device; 24 heads, width 1536 and batch 2 have the label 1.5B
              but no depth. At 12 H^2 for each layer this takes 50 layers; GPT-3 Large is the same with 24 (760M), and
              GPT-2's own 1.5B has 48 layers of width 1600

The vocabulary is GPT-2's, 50257, from 124M on, where tables are at most a third of all parameters; smaller shapes have 65
characters. Training is in bf16 with AdamW, tied tables, biases as in GPT-2; memory is predicted for one of `devices`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.config import split
from models.optimizers.rows import Kind
from models.predict.cost import flops_per_token, parameters
from models.predict.memory import Memory, memory

GPT2_WORDS, CHARACTERS = 50257, 65
CLOSE = 0.05  # how far a label may be from the count


@dataclass(frozen=True)
class Shape:
    """A model shape. `batch` is sequences on each device, `label` is parameters. On several devices everything is sharded and
    checkpointed."""

    name: str
    label: float
    layers: int
    hidden: int
    heads: int
    context: int
    batch: int
    source: str
    words: int = GPT2_WORDS
    devices: int = 1

    @property
    def config(self) -> dict[str, Any]:
        """The flat config of training it."""
        sizes = {"layers": self.layers, "hidden": self.hidden, "heads": self.heads, "context": self.context}
        batch: dict[str, Any] = {"batch": self.batch * self.devices, "micro_batch": self.batch}
        if self.devices > 1:
            batch |= {"sharding": "full", "activation_checkpointing": True}
        return {**sizes, **batch, "vocabulary": self.words, "bias": True, "activation": "gelu_tanh", "precision": "bf16"}

    @property
    def parameters(self) -> int:
        return parameters(split(self.config)[0])

    @property
    def flops_per_token(self) -> int:
        return flops_per_token(split(self.config)[0])

    @property
    def difference(self) -> float:
        """The share by which the count is above (below: negative) its label, if that is more than CLOSE; else 0."""
        share = self.parameters / self.label - 1
        return share if abs(share) > CLOSE else 0.0

    def memory(self, device: Kind = "cuda") -> Memory:
        """The predicted memory on one of its devices."""
        return memory(self.config, self.devices, device)


_ALL = (
    Shape("1M", 1e6, 5, 128, 4, 256, 64, "ours", CHARACTERS),
    Shape("3M", 3e6, 7, 192, 6, 256, 64, "ours", CHARACTERS),
    Shape("10M", 10e6, 6, 384, 6, 256, 64, "nanoGPT, train_shakespeare_char", CHARACTERS),
    Shape("30M", 30e6, 9, 512, 8, 256, 64, "ours", CHARACTERS),
    Shape("124M", 124e6, 12, 768, 12, 1024, 12, "GPT-2 small"),
    Shape("350M", 350e6, 24, 1024, 16, 1024, 8, "GPT-2 medium; GPT-3 medium has context 2048"),
    Shape("760M", 760e6, 24, 1536, 16, 2048, 4, "GPT-3 large", devices=8),
    Shape("774M", 774e6, 36, 1280, 20, 1024, 4, "GPT-2 large", devices=8),
    Shape("1.5B", 1.5e9, 50, 1536, 24, 1024, 2, "recipe: heads, width, batch; depth ours", devices=8),
    Shape("1.5B GPT-2", 1.5e9, 48, 1600, 25, 1024, 2, "GPT-2 XL", devices=8),
    Shape("2.7B", 2.7e9, 32, 2560, 32, 2048, 4, "GPT-3 2.7B", devices=8),
    Shape("6.7B", 6.7e9, 32, 4096, 32, 2048, 4, "GPT-3 6.7B", devices=16),
    Shape("13B", 13e9, 40, 5120, 40, 2048, 4, "GPT-3 13B, width 5120", devices=32),
    Shape("30B", 30e9, 48, 7168, 64, 2048, 5, "recipe: heads, layers, width, batch", devices=64),
)
SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in _ALL}


def shape_table() -> str:
    """All shapes as lines of text."""
    head = "shape       layers width heads context batch  parameters  FLOPs/token  devices  GB each  label  source"
    return "\n".join([head, *(_line(shape) for shape in SHAPES.values())])


def _line(shape: Shape) -> str:
    sizes = f"{shape.layers:6} {shape.hidden:5} {shape.heads:5} {shape.context:7} {shape.batch:5}"
    counts = f"{shape.parameters:15,} {shape.flops_per_token:9.2e} {shape.devices:7}"
    off = f"{shape.difference:+.0%}" if shape.difference else ""
    return f"{shape.name:11} {sizes} {counts} {shape.memory().peak / 1e9:9.2f} {off:>6}  {shape.source}"


if __name__ == "__main__":
    print(shape_table())
