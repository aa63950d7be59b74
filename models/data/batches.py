"""A corpus as two arrays of tokens, and the sequences that belong to a position in training.

The sequences of a step are a function of (seed, position) alone, where the position is the number of sequences trained on
before. So there is no state of the data to save, a batch is the same however it is cut into micro-batches, and a clone with
another batch size goes on where its parent stopped.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from models.data.cache import cached_tokens
from models.data.corpora import read_texts
from models.data.tokenizers import Tokenizer, make_tokenizer
from models.seeds import mix, splitmix64

TRAIN_SHARE = 0.9  # share of the tokens of a text without its own validation part; the rest, at its end, is for validation


@dataclass(frozen=True)
class Corpus:
    """Tokens to train on and to validate on: train (n,), valid (m,), unsigned integers below `vocabulary`."""

    name: str
    train: np.ndarray
    valid: np.ndarray
    tokenizer: Tokenizer

    @property
    def vocabulary(self) -> int:
        return self.tokenizer.vocabulary

    def encode(self, text: str) -> np.ndarray:
        return self.tokenizer.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        return self.tokenizer.decode(ids)


def load_corpus(name: str | Path = "shakespeare", tokenizer: str = "char", cache: str | Path | None = None) -> Corpus:
    """A corpus by name or path (see corpora.py), tokenised by "char" or "gpt2"; the second call reads the cache.

    Raises ValueError, OSError or ModuleNotFoundError in one sentence that says what to do.
    """
    name = str(name) if isinstance(name, Path) else name
    train_text, valid_text = read_texts(name)
    encoder = make_tokenizer(tokenizer, train_text + (valid_text or ""))
    train = cached_tokens(name, train_text, encoder, cache)
    if valid_text is not None:
        return Corpus(name, train, cached_tokens(name, valid_text, encoder, cache), encoder)
    cut = int(TRAIN_SHARE * len(train))
    return Corpus(name, train[:cut], train[cut:], encoder)


def check_length(part: str, tokens: np.ndarray, context: int, name: str) -> None:
    """ValueError unless a part of a corpus holds at least one sequence and its next token."""
    if len(tokens) <= context:
        raise ValueError(f"corpus {name!r} has {len(tokens)} {part} tokens, but context {context} needs {context + 1}")


def epoch_sequences(length: int, context: int) -> int:
    """Sequences in one pass over `length` tokens: as many as fit side by side, each with its next token."""
    return (length - 1) // context


def sampled_starts(length: int, context: int, seed: int, first: int, count: int) -> np.ndarray:
    """Where sequences first .. first + count - 1 start, each uniform over all places; int64 (count,).

    Sequence i hashes (seed, i) with splitmix64, a counter-based generator: it does not need the sequences before it.
    """
    counter = np.arange(first, first + count, dtype=np.uint64) + np.uint64(mix(seed, 0))
    return (splitmix64(counter) % np.uint64(length - context)).astype(np.int64)


@lru_cache(maxsize=4)
def _permutation(sequences: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=mix(seed, 1, epoch))).permutation(sequences)


def epoch_starts(length: int, context: int, seed: int, first: int, count: int) -> np.ndarray:
    """Where sequences first .. first + count - 1 start when every epoch sees each sequence once; int64 (count,).

    The order within epoch e follows from (seed, e). A batch may span two epochs; nothing is dropped.
    """
    per_epoch = epoch_sequences(length, context)
    epoch, place = np.divmod(np.arange(first, first + count), per_epoch)
    starts = np.empty(count, dtype=np.int64)
    for number in range(epoch[0], epoch[-1] + 1):
        here = epoch == number
        starts[here] = _permutation(per_epoch, seed, number)[place[here]] * context
    return starts


def validation_starts(length: int, context: int, eval_tokens: int) -> np.ndarray:
    """Where the validation sequences start; int64.

    If eval_tokens is smaller than the text, the sequences (at least one) are spread evenly over it. Otherwise they are side by
    side, so that each token except the first is predicted, and the last sequence begins early enough to be as long as the
    others (`overlap`).
    """
    if eval_tokens >= length - 1:
        return np.minimum(np.arange(0, length - 1, context), length - context - 1)
    count = min(max(1, eval_tokens // context), epoch_sequences(length, context))
    return np.linspace(0, length - context - 1, count).astype(np.int64)


def overlap(starts: np.ndarray, context: int) -> int:
    """How many tokens are predicted by the last of these sequences and by the one before it; they must count only once."""
    return max(0, int(starts[-2]) + context - int(starts[-1])) if len(starts) > 1 else 0


def sequences(tokens: np.ndarray, starts: np.ndarray, context: int) -> np.ndarray:
    """The sequences that start there, each with its next token: int64 (len(starts), context + 1)."""
    plain = tokens.view(np.ndarray)  # indexing a memmap as such costs more than the copy
    return plain[starts[:, None] + np.arange(context + 1)].astype(np.int64)
