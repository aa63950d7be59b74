"""The weights of a checkpoint for a model, and the vocabulary that a model needs for a corpus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models import checkpoint as checkpoints
from models.config import GPTConfig
from models.data.batches import Corpus
from models.flat import layout
from models.gpt import GPT

AVERAGE = "average"  # the name under which a checkpoint holds the average of the weights


def fit_vocabulary(config: GPTConfig, corpus: Corpus) -> GPTConfig:
    """The config, with the vocabulary of the corpus if it has none; ValueError if its own is too small."""
    if config.vocabulary is None:
        return replace(config, vocabulary=corpus.vocabulary)
    if config.vocabulary < corpus.vocabulary:
        raise ValueError(f"vocabulary is {config.vocabulary}, but corpus {corpus.name!r} needs {corpus.vocabulary}")
    return config


def checkpoint_weights(model: GPT, saved: checkpoints.Checkpoint, path: str | Path) -> dict[str, Tensor]:
    """The weights of a checkpoint; ValueError that names file and parameter if they do not fit the model."""
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    checkpoints.check_fits(path, saved, shapes)
    weights = {name: torch.from_numpy(saved.weights[name]) for name in shapes}
    there, here = saved.state[AVERAGE].shape if AVERAGE in saved.state else None, (layout(weights).size,)
    if there is not None and there != here:
        raise ValueError(f"checkpoint {path} does not fit: {AVERAGE} is {there} in the file and {here} in the model")
    return weights
