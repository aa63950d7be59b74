"""Characters as tokens, for texts of one length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from models.data.tokenizers import Characters

FILLING, UNKNOWN = "\0", "\ufffd"  # the characters that fill up, and that stand for those of no training text


class Alphabet:
    """Characters that occur at least twice in the training texts; all others are UNKNOWN."""

    def __init__(self, texts: Iterable[str], length: int) -> None:
        counts = Counter(letter for text in texts for letter in text)
        self.length = length
        self.letters = {letter for letter, count in counts.items() if count > 1} - {FILLING}
        self.characters = Characters("".join(self.letters) + FILLING + UNKNOWN)
        self.filling = int(self.characters.encode(FILLING)[0])

    @property
    def vocabulary(self) -> int:
        return self.characters.vocabulary

    def encode(self, text: str) -> np.ndarray:
        """The first `length` characters as ids (length,), filled up at the right."""
        letters = [letter if letter in self.letters else UNKNOWN for letter in text[: self.length]]
        return self.characters.encode("".join(letters).ljust(self.length, FILLING))
