"""The text of the programs: WikiText-2's valid part where the shared data are, else Shakespeare's works; and its tokens.

The guides train on WikiText-2's train part. Here the first nine tenths of the lines stand for it, and the rest is evaluated.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from experiments.cookbook.scale import LENGTH, VOCABULARY
from models.data.batches import TRAIN_SHARE, Corpus
from models.data.bpe import BPE
from models.data.corpora import read_texts

FILE = "corpora/wikitext2/valid.txt"
EVALUATED = 48  # texts
IGNORED = -100  # labels that count in no loss
END = "<end>"
Rows = list[dict[str, list[int]]]


def find_text() -> str:
    """The name of the text, as models.data.corpora reads it."""
    root = os.environ.get("HPO_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return str(path) if (path := Path(root) / FILE).exists() else "shakespeare"


@lru_cache(maxsize=1)
def load_parts(name: str) -> tuple[list[str], list[str], BPE]:
    """The lines to train on and those to evaluate, and a tokenizer of the first."""
    lines = [line.strip() for line in read_texts(name)[0].splitlines() if line.strip()]
    cut = int(TRAIN_SHARE * len(lines))
    return lines[:cut], lines[cut:], BPE(lines[:cut], VOCABULARY, (END,))


@lru_cache(maxsize=4)
def load_rows(texts: int) -> tuple[Rows, Rows]:
    """Texts for a Trainer, to train on and to evaluate: cut to LENGTH tokens, and filled up with what counts in no loss."""
    train, valid, tokenizer = load_parts(find_text())
    return [cut_row(line, tokenizer) for line in train[:texts]], [cut_row(line, tokenizer) for line in valid[:EVALUATED]]


def cut_row(line: str, tokenizer: BPE) -> dict[str, list[int]]:
    """One text as input_ids, attention_mask and labels."""
    ids = tokenizer.encode(line).tolist()[:LENGTH]
    left = LENGTH - len(ids)
    return {"input_ids": ids + [0] * left, "attention_mask": [1] * len(ids) + [0] * left, "labels": ids + [IGNORED] * left}


@lru_cache(maxsize=1)
def load_stream() -> Corpus:
    """The same text as one stream of tokens, for our own GPT."""
    train, valid, tokenizer = load_parts(find_text())
    train_ids, valid_ids = (tokenizer.encode("\n".join(part)).astype(np.uint16) for part in (train, valid))
    return Corpus(find_text(), train_ids, valid_ids, tokenizer)
