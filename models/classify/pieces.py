"""Tokens of a BPE whose vocabulary has a chosen size, for texts of one length."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from models.data.bpe import train_bpe

FILLING = "<filling>"  # the token that fills up, which no text has


class Pieces:
    """A BPE of `vocab_size` tokens, trained on the training texts. Every text can be written in it: single bytes are tokens."""

    def __init__(self, texts: Iterable[str], length: int, vocab_size: int) -> None:
        self.length, self.bpe = length, train_bpe(tuple(texts), vocab_size, (FILLING,))
        self.filling = 0  # the first token is the special one

    @property
    def vocabulary(self) -> int:
        return self.bpe.vocabulary

    def encode(self, text: str) -> np.ndarray:
        """The first `length` tokens as ids (length,), filled up at the right."""
        ids = self.bpe.encode(text)[: self.length]
        return np.pad(ids, (0, self.length - len(ids)), constant_values=self.filling)
