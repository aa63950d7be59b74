"""Text sampled from a checkpoint and its config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models import checkpoint as checkpoints
from models.config import split
from models.data.batches import Corpus
from models.decoding.parameters import SEED, DecodingParameters
from models.decoding.sampler import generate
from models.device import open_device
from models.flat import layout
from models.gpt import GPT
from models.weights import AVERAGE, checkpoint_weights, fit_vocabulary


def load_model(path: str | Path, config: Mapping[str, Any], corpus: Corpus, device: str = "cpu") -> GPT:
    """The model of a checkpoint on a device. If the checkpoint holds an average of the weights, the model has it, as it had in
    evaluations. ValueError that names the file if it is damaged or does not fit the config."""
    model, saved = GPT(fit_vocabulary(split(config)[0], corpus)).to(open_device(device)), checkpoints.read(path)
    weights = checkpoint_weights(model, saved, path)
    if AVERAGE in saved.state:
        plan, average = layout(weights), torch.from_numpy(saved.state[AVERAGE])
        weights = {name: plan.view(average, name) for name in weights}
    model.load_state_dict(weights)
    return model


def sample_text(
    path: str | Path,
    config: Mapping[str, Any],
    corpus: Corpus,
    prompt: str | None = None,
    parameters: DecodingParameters | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> str:
    """The prompt and what is sampled behind it; by default 300 tokens at a temperature of 0.8. The same call gives the same text.

    Without a prompt the text starts from the first token of the training text. ValueError as in `load_model` and
    `decoding.sampler.generate`, and for a prompt that is empty or that the corpus cannot encode.
    """
    if parameters is None:
        parameters = DecodingParameters(max_tokens=300, temperature=0.8)
    SEED.check("seed", seed)
    if prompt is not None and not isinstance(prompt, str):
        raise ValueError(f"prompt is {prompt!r}, but must be text, or None")
    model = load_model(path, config, corpus, device)
    start = corpus.train[:1] if prompt is None else corpus.encode(prompt)
    (found,) = generate(model, [start], parameters, seed, corpus.vocabulary, decode=corpus.decode)
    return f"{corpus.decode(start.tolist())}{found.text}"
