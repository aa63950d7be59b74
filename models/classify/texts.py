"""Labelled texts: rows of a CSV file, and their parts for training, validation and test."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Labelled = tuple[str, int]  # a text, and the index of its class


@dataclass(frozen=True)
class LabelledTexts:
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


def split_texts(texts: Iterable[Labelled], classes: tuple[str, ...], sizes: tuple[int, int, int]) -> LabelledTexts:
    """Disjoint parts of these sizes, drawn once. ValueError if there are too few texts."""
    every = list(texts)
    if len(every) < sum(sizes):
        raise ValueError(f"{len(every)} texts are too few for parts of {sizes}")
    drawn = [every[i] for i in np.random.default_rng(0).permutation(len(every))]
    first, second, third = sizes
    positive = "positive" if "positive" in classes else classes[-1]
    return LabelledTexts(classes, tuple(drawn[:first]), tuple(drawn[first : first + second]),
                         tuple(drawn[first + second : first + second + third]), positive)  # fmt: skip


def read_labelled(path: str | Path, text: str = "text", label: str = "label") -> tuple[list[Labelled], tuple[str, ...]]:
    """The texts of a CSV file in UTF-8 with two named columns, and the classes in the order of their names. A row without a text
    or without a label is left out.

    ValueError in one sentence for a file without these columns or with fewer than two classes.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        missing = [name for name in (text, label) if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{str(path)!r} has no column {missing[0]!r}; its columns are {', '.join(rows.fieldnames or ())}")
        found = [((row[text] or "").strip(), (row[label] or "").strip()) for row in rows]
    found = [(words, name) for words, name in found if words and name]
    classes = tuple(sorted({name for _, name in found}))
    if len(classes) < 2:
        raise ValueError(f"{str(path)!r} has the classes {classes}, but at least two are needed")
    return [(words, classes.index(name)) for words, name in found], classes


def read_parts(path: str | Path, text: str = "text", label: str = "label", share: float = 0.1) -> LabelledTexts:
    """The texts of a CSV file in three parts: a share for validation, as much for the test, the rest for training.

    ValueError in one sentence as in `read_labelled`, for a file that is no CSV in UTF-8, for a share outside (0, 0.5), and for so
    few texts that none is left for training.
    """
    if not 0 < share < 0.5:
        raise ValueError(f"share is {share!r}, but must be above 0 and below 0.5: validation and test have as much each")
    try:
        texts, classes = read_labelled(path, text, label)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is no CSV file in UTF-8: {error}") from error
    held = max(1, round(share * len(texts)))
    if len(texts) <= 2 * held:
        raise ValueError(f"{str(path)!r} has {len(texts)} labelled texts, but at least {2 * held + 1} are needed for three parts")
    return split_texts(texts, classes, (len(texts) - 2 * held, held, held))
