"""Files as texts: what is taken as it stands, what is dropped, and how everything else is refused, in one sentence."""

import gzip
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from models.data.batches import check_length, load_corpus
from models.data.corpora import read_texts

MARK = "\ufeff"
LINES = "one\r\ntwo\rthree\n\r\nfour\r"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "text.txt"


def refused(path: Path, content: bytes) -> str:
    """The one sentence with which a file is refused: it names the path."""
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_texts(str(path))
    sentence = str(caught.value)
    assert sentence.startswith(f"corpus {str(path)!r} is ") and "\n" not in sentence and len(sentence) < 400
    return sentence


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(str.strip))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_taken_as_it_stands(tmp_path: Path, text: str) -> None:
    (tmp_path / "text.txt").write_bytes((MARK + text).encode())
    assert read_texts(str(tmp_path / "text.txt")) == (text, None)
    with_line_feeds = text.replace("\r\n", "\n").replace("\r", "\n")
    if with_line_feeds.strip():
        assert read_texts(f"lf:{tmp_path / 'text.txt'}") == (with_line_feeds, None)


def test_a_byte_order_mark_is_dropped_at_the_start_and_nowhere_else(file: Path) -> None:
    file.write_bytes(f"{MARK}first{MARK}second".encode())
    assert read_texts(str(file))[0] == f"first{MARK}second"
    with_mark = load_corpus(str(file), cache=file.parent)
    file.write_bytes(f"first{MARK}second".encode())
    assert with_mark.train.tolist() == load_corpus(str(file), cache=file.parent).train.tolist()
    assert refused(file, MARK.encode()).endswith("is empty")


def test_line_ends_are_kept_or_made_alike(file: Path) -> None:
    file.write_bytes(LINES.encode())
    assert read_texts(str(file))[0] == LINES
    assert read_texts(f"lf:{file}")[0] == "one\ntwo\nthree\n\nfour\n"
    assert load_corpus(f"lf:{file}", cache=file.parent).name == f"lf:{file}"


def test_line_ends_of_both_parts_are_made_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"train": {"text": ["a\r\n", "b\r"]}, "validation": {"text": ["c\r\n"]}}
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_: rows))
    assert read_texts("hf:a") == ("a\r\nb\r", "c\r\n")
    assert read_texts("lf:hf:a") == ("a\nb\n", "c\n")


ENCODINGS = {
    **dict.fromkeys(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"], "first\nline"),
    "latin-1": "first\ncaf\xe9 au lait",
    "cp1252": "first\na \u201cquote\u201d",
    "shift-jis": "first\n日本語",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_in_another_encoding_is_refused_with_the_place(file: Path, encoding: str) -> None:
    content = ENCODINGS[encoding].encode(encoding)
    sentence = refused(file, content)
    try:
        content.decode()
        place = content.index(0)
    except UnicodeDecodeError as error:
        place = error.start
    line = content[:place].count(b"\n") + 1
    assert "is not UTF-8 text: " in sentence and f" at byte {place}, in line {line}" in sentence
    if "utf" in encoding:
        assert "it looks like text in UTF-" in sentence or encoding == "utf-32-le"


def test_a_lone_surrogate_in_a_file_is_not_utf8(file: Path) -> None:
    assert "at byte 2, in line 1" in refused(file, b"ab" + "\ud800".encode("utf-8", "surrogatepass"))


def test_a_block_of_zeros_in_a_text_is_named(file: Path) -> None:
    """As a file looks whose machine lost its power while it was written."""
    assert "a zero byte at byte 6, in line 2" in refused(file, b"first\n" + bytes(4096))


def npz() -> bytes:
    made = io.BytesIO()
    np.savez(made, a=np.zeros(3))
    return made.getvalue()


def npy() -> bytes:
    made = io.BytesIO()
    np.save(made, np.arange(500, dtype=np.uint16))
    return made.getvalue()


def of_torch(legacy: bool = False) -> bytes:
    made = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, made, _use_new_zipfile_serialization=not legacy)
    return made.getvalue()


NANOGPT = "it looks like a .bin of nanoGPT, tokens without a header"
BINARY: dict[str, tuple[bytes, str]] = {
    "words.bin": (np.random.default_rng(0).integers(50257, size=5000, dtype=np.uint16).tobytes(), NANOGPT),
    "characters.bin": (np.random.default_rng(0).integers(65, size=5000, dtype=np.uint16).tobytes(), NANOGPT),
    "characters.data": (np.random.default_rng(0).integers(1, 65, size=500, dtype=np.uint16).tobytes(), "tokens of two bytes"),
    "tokens.npy": (npy(), "it looks like a .npy file of numpy"),
    "arrays.npz": (npz(), "it looks like an .npz file"),
    "model.pt": (of_torch(), "it looks like a file of torch.save"),
    "old.pt": (of_torch(legacy=True), "it looks like a pickle, as torch.save wrote"),
    "model.safetensors": (save({"w": np.zeros(300)}), "it looks like a safetensors file"),
    "text.gz": (gzip.compress(b"hello world " * 99), "it looks like data compressed by gzip"),
    "cut.zip": (npz()[:60], "it looks like a damaged zip file"),
    "noise": (np.random.default_rng(1).bytes(5000), "is not UTF-8 text"),
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("prefix", ["", "lf:"])
def test_what_is_no_text_is_refused_by_name(tmp_path: Path, name: str, prefix: str) -> None:
    content, words = BINARY[name]
    assert words in refused(tmp_path / name, content)
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        load_corpus(f"{prefix}{tmp_path / name}", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_text_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.bin"
    try:
        expected = content.decode().removeprefix(MARK)
    except UnicodeDecodeError:
        expected = ""
    if expected.strip() and "\0" not in expected:
        path.write_bytes(content)
        assert read_texts(str(path))[0] == expected
    else:
        refused(path, content)


def test_beginnings_alone_do_not_make_a_text_a_foreign_file(file: Path) -> None:
    for beginning in ("PAR1", "BZh", "%PDF", "GGUF", "PK\x03\x04"):
        file.write_text(beginning + " is how it begins")
        assert read_texts(str(file))[0].startswith(beginning)


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n \t", MARK.encode(), f"{MARK} \n".encode()])
def test_an_empty_text_is_refused(file: Path, content: bytes) -> None:
    assert refused(file, content).endswith("is empty")


@pytest.mark.parametrize("text", ["a", "aaaaaaaaaaaa", "one line without an end", "\n\n\nx", "日"])
def test_small_texts_are_corpora_and_short_ones_are_named(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    corpus = load_corpus(str(file), cache=file.parent / "cache")
    assert corpus.decode([*corpus.train, *corpus.valid]) == text
    for part, tokens in (("training", corpus.train), ("validation", corpus.valid)):
        with pytest.raises(ValueError, match=f"{file.name}' has {len(tokens)} {part} tokens, but context 64 needs 65"):
            check_length(part, tokens, 64, corpus.name)


def test_an_alphabet_of_more_than_two_bytes(file: Path) -> None:
    text = "".join(chr(code) for code in range(0x10000, 0x10000 + 70_000))
    file.write_text(text, encoding="utf-8")
    corpus = load_corpus(str(file), cache=file.parent / "cache")
    assert corpus.vocabulary == 70_000 and corpus.train.dtype == np.uint32
    assert corpus.decode([*corpus.train, *corpus.valid]) == text


def test_a_path_may_be_a_path(file: Path) -> None:
    file.write_text("text of a file")
    assert load_corpus(file, cache=file.parent / "cache").name == str(file)


@pytest.mark.parametrize("name", [None, 3, b"text.txt", ["text.txt"], "a\0b"])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match=r"^corpus is .*, but must be shakespeare, hf:PATH:CONFIG or a path"):
        load_corpus(name)


@pytest.mark.parametrize("name", ["nowhere.txt", "lf:nowhere.txt", "~no-such-user-here/text.txt", "", "lf:"])
def test_what_is_not_there_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        load_corpus(name)
    assert repr(name.removeprefix("lf:")) in str(caught.value) and "\n" not in str(caught.value)


def test_what_the_system_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^corpus '/x+' cannot be read: File name too long$"):
        load_corpus("/" + "x" * 5000)
    with pytest.raises(ValueError, match="is not a file"):
        load_corpus(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe' is not a file"):
        load_corpus(str(tmp_path / "pipe"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_of_others_is_named(file: Path) -> None:
    file.write_text("text")
    file.chmod(0)
    with pytest.raises(PermissionError, match=r"text\.txt' cannot be read: Permission denied$"):
        load_corpus(str(file))


OFFLINE = [ConnectionError("offline\nand more"), OSError(101, "Network is unreachable"), KeyError("train"), ValueError("")]


@pytest.mark.parametrize("error", OFFLINE)
def test_a_dataset_without_a_network_is_one_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=offline))
    with pytest.raises(ValueError, match=f"^corpus 'hf:some/text' cannot be loaded: {type(error).__name__}") as caught:
        load_corpus("hf:some/text")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match="needs datasets; install it with: pip install datasets"):
        load_corpus("hf:some/text")


@pytest.mark.parametrize("rows", [*({"train": {"text": [row]}} for row in (None, ["a"], 1)), {"train": {}}, {}])
def test_a_dataset_that_is_no_text_is_one_sentence(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_: rows))
    with pytest.raises(ValueError, match=r"^corpus 'hf:some/text' cannot be loaded: ") as caught:
        load_corpus("hf:some/text")
    assert "\n" not in str(caught.value)


def test_a_dataset_may_have_an_empty_validation_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"train": {"text": ["some text"]}, "validation": {"text": []}}
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_: rows))
    for _ in range(2):
        corpus = load_corpus("hf:some/text", cache=tmp_path)
        assert (len(corpus.train), len(corpus.valid)) == (9, 0)


def test_surrogates_of_a_dataset_are_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "lone \ud800 and \udfff" * 5
    rows = {"train": {"text": [text]}, "validation": {"text": [text]}}
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_: rows))
    for _ in range(2):
        corpus = load_corpus("hf:some/text", cache=tmp_path)
        assert corpus.decode(corpus.train) == corpus.decode(corpus.valid) == text
