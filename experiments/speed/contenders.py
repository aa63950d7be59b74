"""The loops that are measured, behind one face: `steps(n)` trains n steps, `loss()` judges, `parameters` counts.

ours       models.train.TrainRun, by engine
nanoGPT    the model of a checkout of karpathy/nanoGPT (its `model.py`), in the loop of its train.py
plain      a model and a loop in that style (plain.py), for machines without a checkout
trainer    transformers.Trainer with GPT2LMHeadModel (trainer.py)

All of them have the same shapes, optimizer, schedule and clipping, and the same text; GPT2LMHeadModel has biases besides.
The activation is GELU, or with `tanh` its approximation, which for GPT2LMHeadModel is `gelu_new`, what it has if nobody asks
for another. Where one has choices of its own (fused AdamW on CUDA, the data loader), it has those of its authors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from experiments.speed.judging import JUDGED, count, synchronise
from experiments.speed.plain import Plain, PlainGPT, nano_gpt
from experiments.speed.sizes import STEPS, TRAINING, Size, text
from experiments.speed.trainer import Trainer
from models.precision import without_denormals
from models.train import TrainRun


class Contender(Protocol):
    def steps(self, n: int) -> None: ...

    def loss(self) -> float: ...

    @property
    def parameters(self) -> int: ...


class OurLoop:
    """Our loop; `engine` as in models/engines/engine.py."""

    def __init__(self, size: Size, device: str, precision: str, engine: str, tanh: bool = False) -> None:
        flat = {**size.config(), **TRAINING, "precision": precision, "eval_tokens": JUDGED}
        flat["activation"] = "gelu_tanh" if tanh else "gelu"
        self.run = TrainRun(flat, 0, STEPS, text(), "steps", device, engine=engine)

    def steps(self, n: int) -> None:
        with without_denormals(self.run.device):  # as `advance` does
            for _ in range(n):
                self.run._step()
        synchronise(self.run.device)

    def loss(self) -> float:
        return self.run.validation.loss()

    @property
    def parameters(self) -> int:
        return count(self.run.model)


def import_contender(name: str) -> None:
    """Imports what a contender is made of, which is not part of its first step."""
    if name.startswith("trainer"):
        import transformers

        _ = transformers.Trainer, transformers.TrainingArguments, transformers.GPT2LMHeadModel  # they load when first named


def make(name: str, size: Size, device: str, precision: str, nanogpt: Path | None) -> Contender:
    """A contender by its name: ours, nanoGPT, plain or trainer, and after it `compile`, `graph` or `tanh`."""
    who, *how = name.split()
    tanh, compiled = "tanh" in how, "compile" in how
    if who == "ours":
        engine = "graph" if "graph" in how else "compile" if compiled else "eager"
        return OurLoop(size, device, precision, engine, tanh)
    if who == "trainer":
        return Trainer(size, device, precision, compiled, tanh)
    if who == "nanoGPT":
        if nanogpt is None:
            raise ValueError("nanoGPT needs --nanogpt, the folder of a checkout of it")
        return Plain(size, device, precision, compiled, nano_gpt(size, nanogpt))
    return Plain(size, device, precision, compiled, PlainGPT(size))
