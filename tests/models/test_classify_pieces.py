"""Classification with a BPE whose size is a hyperparameter: under the laws of a Run, on the training texts alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("tokenizers")

from models.classify.pieces import Pieces
from models.classify.run import ClassifyRun, EncodedTexts
from models.classify.texts import LabelledTexts
from tests.models.laws import RunLaws
from tests.models.test_classify import DATA, TINY, make_texts

torch.set_num_threads(1)
BPE: dict[str, Any] = {"tokenizer": "bpe", "vocab_size": 280}


def make(overrides: Mapping[str, Any], horizon: int = 96) -> ClassifyRun:
    return ClassifyRun({**TINY, **BPE, **overrides}, 0, horizon, DATA)


class TestClassifyRunOfPieces(RunLaws):
    horizon, half = 96, 24
    busy = {"eval_every": 2, "patience": 30}

    def make(self, overrides: Mapping[str, Any]) -> ClassifyRun:
        return make(overrides)


def test_it_learns_with_any_size() -> None:
    for size in (257, 280):
        run = make({"vocab_size": size, "lr": 2e-2})
        assert run.advance(96)[0]["accuracy"] > 0.8
        assert run.model.tokens.weight.shape[0] == run.size.vocabulary == size


def test_the_size_is_a_hyperparameter_beside_characters() -> None:
    """Those of the configuration stand in the place of those of the texts; without them nothing changes."""
    assert ClassifyRun(TINY, 0, 9, DATA).data is DATA and ClassifyRun(TINY, 0, 9, DATA).size.vocabulary is None
    data = EncodedTexts(DATA.texts, 12, "bpe", 280)
    assert ClassifyRun({**TINY, "tokenizer": "char"}, 0, 9, data).data == DATA
    assert ClassifyRun({**TINY, "vocab_size": 270}, 0, 9, data).size.vocabulary == 270
    assert ClassifyRun({**TINY, "tokenizer": "bpe"}, 0, 9, data).size.vocabulary == 280
    assert make({}).data is make({"lr": 1e-3}).data  # encoded once


def test_only_the_training_texts_are_known() -> None:
    texts = make_texts()
    other = LabelledTexts(texts.classes, texts.train, tuple(("zzzzzzzz", label) for _, label in texts.valid), texts.test)
    known, same = (EncodedTexts(one, 12, "bpe", 280).alphabet for one in (texts, other))
    assert isinstance(known, Pieces) and isinstance(same, Pieces) and known.bpe is same.bpe
    ids = known.encode("zzzz")
    assert len({*ids[:4].tolist()}) == 1 and ids[4:].tolist() == [known.filling] * 8  # bytes, then what fills up
    assert len(known.encode("abcdef" * 9)) == 12 and known.filling not in known.encode("abcdef" * 9)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"tokenizer": "words"}, "tokenizer is 'words'; allowed are 'char', 'bpe'"),
        ({"vocab_size": None}, "vocab_size is None with tokenizer='bpe'"),
        ({"tokenizer": "char"}, "vocab_size is 280 with tokenizer='char'"),
        ({"vocab_size": 100}, "vocab_size is 100; allowed are whole numbers from 257 on"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        make(config)
    assert sentence in str(raised.value)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    run = make({"vocab_size": 270})
    run.advance(2)
    run.save(tmp_path / "two")
    with pytest.raises(ValueError, match="tokens"):
        make({}).load(tmp_path / "two")
