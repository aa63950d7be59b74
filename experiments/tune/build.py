"""Makes the objective and loads the text that settings describe. Imports no torch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from experiments.job import GPTObjective
from experiments.tune.settings import TOKENIZERS, Settings

if TYPE_CHECKING:
    from models.data.batches import Corpus


def make_objective(settings: Settings) -> GPTObjective:
    """The objective that workers train."""
    return GPTObjective(
        settings.text,
        TOKENIZERS[settings.tokenizer],
        settings.context,
        device=settings.device,
        precision=settings.precision,
        engine=settings.engine,
        activation_checkpointing=settings.activation_checkpointing,
    )


def load_text(settings: Settings) -> Corpus:
    """The tokenised text. ValueError, FileNotFoundError or ModuleNotFoundError in one sentence if it is missing or too short."""
    from models.data.batches import check_length, load_corpus

    loaded = load_corpus(settings.text, TOKENIZERS[settings.tokenizer])
    check_length("training", loaded.train, settings.context, settings.text)
    check_length("validation", loaded.valid, settings.context, settings.text)
    return loaded


def text_digest(loaded: Corpus) -> str:
    """A digest of the tokens of a text, so that a study is not continued on another text."""
    hashed = hashlib.blake2b(digest_size=8)
    for part in (loaded.train, loaded.valid):
        hashed.update(str(len(part)).encode())
        hashed.update(part.tobytes())
    return hashed.hexdigest()
