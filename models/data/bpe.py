"""A byte-level BPE with a vocabulary of a chosen size, trained on texts by the library tokenizers. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from models.data.tokenizers import check_ids

BYTES = 256  # tokens of single bytes, so that every text can be written
KEPT = 8  # tokenizers that a process remembers


class BPE:
    """Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019), a Tokenizer as models/data/tokenizers.py has them.

    texts        to be trained on
    vocab_size   tokens: the special ones, a token for each byte, and as many merges as there is room for. Few or short texts have
                 fewer merges, and `vocabulary` is then smaller
    special      texts of tokens that no text is encoded to; theirs are the first ids

    ModuleNotFoundError without tokenizers. ValueError for a vocab_size that does not hold all bytes.
    """

    name = "bpe"

    def __init__(self, texts: Iterable[str], vocab_size: int, special: tuple[str, ...] = ()) -> None:
        least = BYTES + len(special)
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < least:
            raise ValueError(f"vocab_size is {vocab_size!r}; allowed are whole numbers from {least} on")
        try:
            from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        except ModuleNotFoundError:
            raise ModuleNotFoundError("a BPE needs the package tokenizers; install it with: pip install tokenizers") from None
        self._made: Any = Tokenizer(models.BPE())
        self._made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._made.decoder = decoders.ByteLevel()
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[*special], initial_alphabet=letters,
                                      show_progress=False)  # fmt: skip
        self._made.train_from_iterator(texts, trainer)
        self._made.encode_special_tokens = True  # a text that looks like a special token is a text

    @property
    def vocabulary(self) -> int:
        return int(self._made.get_vocab_size())

    def encode(self, text: str) -> np.ndarray:
        """Token ids (n,) as int64."""
        return np.array(self._made.encode(text).ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids, without special tokens; ValueError for an id that is no token."""
        return str(self._made.decode(check_ids(ids, self.vocabulary)))


@lru_cache(maxsize=KEPT)
def train_bpe(texts: tuple[str, ...], vocab_size: int, special: tuple[str, ...] = ()) -> BPE:
    """The tokenizer of texts with a size; trained once in a process for the same texts and size."""
    return BPE(texts, vocab_size, special)
