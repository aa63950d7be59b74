"""A GPT whose every size is a hyperparameter, and the run that trains it. Imports nothing of the tuner.

models/README.md explains what each file is for.

`import models` loads nothing: torch is imported with the first name that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.config import GPTConfig as GPTConfig
    from models.config import TrainConfig as TrainConfig
    from models.config import split as split
    from models.data.batches import Corpus as Corpus
    from models.data.batches import load_corpus as load_corpus
    from models.decoding.completer import Completer as Completer
    from models.decoding.parameters import DecodingParameters as DecodingParameters
    from models.decoding.sampler import generate as generate
    from models.gpt import GPT as GPT
    from models.inference import compare_inference as compare_inference
    from models.inference import measure_inference as measure_inference
    from models.inference import weight_bytes as weight_bytes
    from models.predict.cost import Cost as Cost
    from models.sample import sample_text as sample_text
    from models.train import TrainRun as TrainRun

HOMES = {
    "GPTConfig": "config",
    "TrainConfig": "config",
    "split": "config",
    "Cost": "predict.cost",
    "Corpus": "data.batches",
    "load_corpus": "data.batches",
    "GPT": "gpt",
    "Completer": "decoding.completer",
    "DecodingParameters": "decoding.parameters",
    "generate": "decoding.sampler",
    "compare_inference": "inference",
    "measure_inference": "inference",
    "weight_bytes": "inference",
    "sample_text": "sample",
    "TrainRun": "train",
}

__all__ = [*HOMES]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'models' has no attribute {name!r}; it has {', '.join(HOMES)}")
    return getattr(import_module(f"models.{HOMES[name]}"), name)
