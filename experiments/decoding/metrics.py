"""How good a text is, given what is right: from 0 to 1, higher is better. Imports no torch.

A metric is any function f(text, question) -> number; a user's own stands beside these.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

ASKED = 10  # items that a list is asked to have
EDGES = " \t\"'`*_.,;:!?()[]{}<>|-–—"


@dataclass(frozen=True)
class Question:
    """What is asked, and its right answers, each of which is right by itself."""

    text: str
    answers: tuple[str, ...]


Metric = Callable[[str, Question], float]


def exact_match(text: str, question: Question) -> float:
    """1 if the text is one of the answers, but for case, articles, punctuation and spaces (SQuAD, Rajpurkar et al. 2016)."""
    return float(normalise_answer(text) in map(normalise_answer, question.answers))


def normalise_answer(text: str) -> str:
    """Lower case, without articles, punctuation and doubled spaces."""
    kept = "".join(c for c in text.lower() if c.isalnum() or c.isspace())
    return " ".join(word for word in kept.split() if word not in ("a", "an", "the"))


def rouge(text: str, references: Sequence[str], kind: str) -> float:
    """The F-measure of ROUGE-1, -2 or -L (Lin 2004), of several references the best; kind is "1", "2" or "l".

    Words are runs of a-z and 0-9 in lower case, without stemming, as in the package rouge-score, with which tests compare it.
    """
    found = _words(text)
    return max((_overlap(found, _words(one), kind) for one in references), default=0.0)


def _words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


def _overlap(found: list[str], right: list[str], kind: str) -> float:
    if kind == "l":
        shared, sizes = float(_longest_common(found, right)), (len(found), len(right))
    else:
        mine, others = (Counter(ngrams(words, int(kind))) for words in (found, right))
        shared, sizes = float((mine & others).total()), (mine.total(), others.total())
    if not shared:
        return 0.0
    precision, recall = shared / sizes[0], shared / sizes[1]
    return 2 * precision * recall / (precision + recall)


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence, row by row."""
    row = [0] * (len(b) + 1)
    for one in a:
        above = row
        row = [0]
        for place, other in enumerate(b):
            row.append(above[place] + 1 if one == other else max(above[place + 1], row[-1]))
    return row[-1]


def rouge_1(text: str, question: Question) -> float:
    """ROUGE-1 against the answers."""
    return rouge(text, question.answers, "1")


def rouge_2(text: str, question: Question) -> float:
    """ROUGE-2 against the answers."""
    return rouge(text, question.answers, "2")


def rouge_l(text: str, question: Question) -> float:
    """ROUGE-L against the answers."""
    return rouge(text, question.answers, "l")


def list_f1(text: str, question: Question) -> float:
    """F1 of a list, as TREC judges list questions (Voorhees 2003).

    Precision is the share of items that are right and new, so that an item that comes again is wrong. Recall is the share of the
    items that were asked for, or of all answers if they are fewer.
    """
    right, items = count_right(text, question)
    asked = min(ASKED, len({singular(one) for one in question.answers}))
    if not right:
        return 0.0
    precision, recall = right / items, min(right / asked, 1.0)
    return 2 * precision * recall / (precision + recall)


def count_right(text: str, question: Question) -> tuple[int, int]:
    """Different right items of a list that commas part, and all its items."""
    items = list_items(text)
    return len({*items} & {singular(answer) for answer in question.answers}), len(items)


def list_items(text: str) -> list[str]:
    """The items of a list that commas part, in one form."""
    return [one for one in map(singular, re.split(r"[,;\n]", text)) if one]


def singular(item: str) -> str:
    """An item without case, articles, signs around it, "and" before it and the s of a plural."""
    item = re.sub(r"^(and|or|the|an|a)\s+", "", re.sub(r"^[\d.)\s]+", "", item.lower()).strip(EDGES)).strip(EDGES)
    if item.endswith("ies") and len(item) > 4:
        return item[:-3] + "y"
    if re.search(r"(s|x|z|ch|sh|to)es$", item):
        return item[:-2]
    return item[:-1] if item.endswith("s") and not item.endswith("ss") else item


def ngrams(items: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of n items."""
    return [tuple(items[place : place + n]) for place in range(len(items) - n + 1)]


def distinct_n(texts: Sequence[str], n: int) -> float:
    """The share of n-grams of words in a text that are different ones (Li et al. 2016), the mean over texts; a text that is too
    short for one counts as 1."""
    shares = []
    for text in texts:
        found = ngrams(_words(text), n)
        shares.append(len({*found}) / len(found) if found else 1.0)
    return sum(shares) / len(shares)


METRICS: Mapping[str, Metric] = {
    "exact_match": exact_match, "rouge_1": rouge_1, "rouge_2": rouge_2, "rouge_l": rouge_l, "list_f1": list_f1,
}  # fmt: skip
