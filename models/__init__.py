"""A GPT whose every size is a hyperparameter, and the run that trains it. Imports nothing of the tuner.

    config.py      the hyperparameters: names, defaults, what is allowed; split(flat mapping)
    cost.py        parameters, megabytes, FLOPs and training memory of a config, without building it
    gpt.py         the model, its first weights, generate
    optim.py       AdamW and SGD on one flat buffer, clipping
    schedule.py    the learning rate as a function of the step
    precision.py   autocast and the loss scaler
    seeds.py       seeds as functions of (seed, position)
    corpora.py     texts by name or path
    tokenizers.py  characters, GPT-2's BPE
    data.py        tokenised corpora, memory-mapped, and the sequences of a position
    budget.py      tokens, steps, epochs and FLOPs in whole training steps
    evaluate.py    the validation loss
    checkpoint.py  a checkpoint on disk
    train.py       TrainRun: advance, save, load
    sample.py      text from a checkpoint

`import models` loads none of them: torch comes with the first name that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.config import GPTConfig as GPTConfig
    from models.config import TrainConfig as TrainConfig
    from models.config import split as split
    from models.cost import Cost as Cost
    from models.data import Corpus as Corpus
    from models.data import load_corpus as load_corpus
    from models.gpt import GPT as GPT
    from models.gpt import generate as generate
    from models.sample import sample_text as sample_text
    from models.train import TrainRun as TrainRun

HOMES = {
    "GPTConfig": "config",
    "TrainConfig": "config",
    "split": "config",
    "Cost": "cost",
    "Corpus": "data",
    "load_corpus": "data",
    "GPT": "gpt",
    "generate": "gpt",
    "sample_text": "sample",
    "TrainRun": "train",
}

__all__ = [*HOMES]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'models' has no attribute {name!r}; it has {', '.join(HOMES)}")
    return getattr(import_module(f"models.{HOMES[name]}"), name)
