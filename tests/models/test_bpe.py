"""A BPE of a chosen size: what is encoded comes back, the size is kept to, and it knows only its own texts."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from models.data.bpe import BPE, BYTES, train_bpe

LINES = ("the king and the queen", "the kingdom of the queen", "a king is a king <end>") * 3


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(deadline=None, max_examples=100)
def test_every_text_comes_back(text: str) -> None:
    """Also letters of no training text, and a text that looks like a special token."""
    tokenizer = train_bpe(LINES, 280, ("<end>",))
    for one in (text, f"{text}<end>"):
        ids = tokenizer.encode(one)
        assert tokenizer.decode(ids) == one and 0 not in ids and ids.max(initial=0) < tokenizer.vocabulary


def test_the_vocabulary_is_of_the_size_and_larger_ones_write_less() -> None:
    sizes = [BYTES + 1, 264, 280]
    made = [train_bpe(LINES, size, ("<end>",)) for size in sizes]
    assert [one.vocabulary for one in made] == sizes
    lengths = [len(one.encode("the king and the queen")) for one in made]
    assert lengths[0] == 22 and lengths[0] > lengths[1] > lengths[2]
    assert BPE(["ab", "ab"], 1000).vocabulary == BYTES + 1  # one merge is all that there is


def test_it_is_trained_once_for_the_same_texts_and_size() -> None:
    assert train_bpe(LINES, 270) is train_bpe(tuple([*LINES]), 270)
    assert train_bpe(LINES, 270) is not train_bpe(LINES, 271) and train_bpe(LINES, 270) is not train_bpe(LINES[:1], 270)


@pytest.mark.parametrize("size", [0, 256, 300.0, True])
def test_a_size_that_does_not_hold_all_bytes_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=f"vocab_size is {size!r}; allowed are whole numbers from 257 on"):
        BPE(LINES, size, ("<end>",))


def test_an_id_that_is_no_token_is_refused() -> None:
    with pytest.raises(ValueError, match="a token is -1"):
        train_bpe(LINES, 280).decode([-1])


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "tokenizers":
            raise ModuleNotFoundError(name)
        return known(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match="pip install tokenizers"):
        BPE(LINES, 300)
