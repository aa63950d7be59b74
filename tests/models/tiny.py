"""A tiny corpus, a tiny run and a model whose every weight matters, for whoever tests training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.config import GPTConfig
from models.data.batches import Corpus
from models.data.tokenizers import Characters
from models.gpt import GPT
from models.train import TrainRun

TINY: Mapping[str, Any] = {
    "layers": 1, "hidden": 16, "heads": 2, "context": 8, "batch": 4, "eval_tokens": 64, "lr": 1e-2, "warmup": 3,
}  # fmt: skip
STEP = 8 * 4  # tokens


def make_corpus(size: int = 2000) -> Corpus:
    """Text of a simple pattern with some noise, in memory."""
    noise = np.random.default_rng(0)
    text = "".join("abcdefgh"[(i + int(noise.integers(2))) % 8] for i in range(size))
    tokenizer = Characters(text)
    ids, cut = tokenizer.encode(text).astype(np.uint16), int(0.9 * size)
    return Corpus("pattern", ids[:cut], ids[cut:], tokenizer)


CORPUS = make_corpus()


def make(
    overrides: Mapping[str, Any], seed: int = 0, horizon: int = 60 * STEP, unit: str = "tokens", engine: str = "eager",
    folder: Path | None = None,
) -> TrainRun:  # fmt: skip
    return TrainRun({**TINY, **overrides}, seed, horizon, CORPUS, unit, engine=engine, folder=folder)


def shaken(config: GPTConfig) -> GPT:
    """A model all of whose weights matter: biases and norms moved away from 0 and 1, the rest large."""
    model, generator = GPT(config, seed=1), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return model
