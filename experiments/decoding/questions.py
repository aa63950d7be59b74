"""Lists that are asked for, with what is right: 59 topics, of which 24 are for searching and 35 are held out."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import numpy as np

from experiments.decoding.metrics import Question

FILE = Path(__file__).parent / "topics.toml"
SEARCH = 24
ORDER = 20  # the seed by which topics are shuffled, once for all


@cache
def load_questions() -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Those to search with, and those held out; topics that are alike may fall on either side, no topic on both."""
    topics = tomllib.loads(FILE.read_text(encoding="utf-8"))["topics"]
    every = [Question(topic, tuple(one.strip() for one in answers.split(","))) for topic, answers in topics.items()]
    order = np.random.default_rng(ORDER).permutation(len(every)).tolist()
    shuffled = [every[place] for place in order]
    return tuple(shuffled[:SEARCH]), tuple(shuffled[SEARCH:])
