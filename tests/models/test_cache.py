"""The cache of tokens: believed only where it is whole, and never in the way."""

import errno
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import files
from models.data import cache as caches
from models.data.batches import Corpus, load_corpus

TEXT = "the quick brown fox jumps over the lazy dog\n" * 40
MADE_ANEW = "is damaged, and its text is tokenised again"
WITHOUT = "training goes on without a cache of the tokens"
forbidding = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(TEXT)
    return str(tmp_path / "text.txt")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def whole(corpus: Corpus) -> bool:
    return corpus.decode(corpus.train) + corpus.decode(corpus.valid) == TEXT


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged since the last time, each of it one line."""
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    assert not any("\n" in line for line in lines)
    return lines


def only_file(cache: Path) -> Path:
    (file,) = cache.iterdir()
    return file


def test_a_whole_file_is_read_without_a_word(text: str, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        corpus = load_corpus(text, cache=cache)
        assert whole(corpus) and isinstance(corpus.train, np.memmap)
    assert said(caplog) == []
    assert np.array_equal(np.load(only_file(cache)), [*corpus.train, *corpus.valid])  # anybody reads it


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A flipped bit, a lost end, an end of zeros, or other bytes."""
    where, bit, other = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 7)), draw(st.binary(max_size=300))

    def flipped(content: bytes, place: int) -> bytes:
        return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]

    kinds: dict[str, Callable[[bytes, int], bytes]] = {
        "bit": flipped,
        "cut": lambda content, place: content[:place],
        "zeros": lambda content, place: content[:place] + bytes(len(content) - place),
        "foreign": lambda content, place: other,
    }
    kind = draw(st.sampled_from(sorted(kinds)))
    return lambda content: kinds[kind](content, int(where * len(content)))


@given(damages())
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_found_said_and_mended(
    caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    with TemporaryDirectory() as folder:
        text, cache = str(Path(folder) / "text.txt"), Path(folder) / "cache"
        Path(text).write_text(TEXT)
        tokens = load_corpus(text, cache=cache).train
        file = only_file(cache)
        content = file.read_bytes()
        damaged = damage(content)
        file.unlink()
        file.write_bytes(damaged)
        assert np.array_equal(load_corpus(text, cache=cache).train, tokens)
        assert said(caplog) == ([f"{file} {MADE_ANEW}"] if damaged != content else [])
        assert whole(load_corpus(text, cache=cache)) and said(caplog) == [] and only_file(cache) == file


@pytest.mark.parametrize("kept", [0, 1, 60, 128, 200, -1])
def test_a_file_that_lost_its_end_is_made_anew_and_said(
    kept: int, text: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_corpus(text, cache=cache)
    file = only_file(cache)
    content = file.read_bytes()
    os.truncate(file, kept if kept >= 0 else len(content) - 1)
    assert whole(load_corpus(text, cache=cache)) and said(caplog) == [f"{file} {MADE_ANEW}"]
    assert only_file(cache).read_bytes() == content


def test_tokens_that_were_exchanged_are_not_believed(text: str, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The right length and type, a readable file, and other tokens."""
    tokens = load_corpus(text, cache=cache).train
    file = only_file(cache)
    full = np.load(file)
    for wrong in (full[::-1], full.astype(np.uint32), np.zeros_like(full), full[:-1], full[None], full.astype(np.float64)):
        file.unlink()
        np.save(file, wrong)
        assert np.array_equal(load_corpus(text, cache=cache).train, tokens)
        assert said(caplog) == [f"{file} {MADE_ANEW}"]


def test_it_is_on_disk_before_it_has_its_name(text: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loses its power between the two must not keep a name without bytes."""
    order: list[str] = []
    real = {"fsync": os.fsync, "replace": os.replace}
    for name, call in real.items():
        monkeypatch.setattr(files.os, name, lambda *a, name=name, call=call: (order.append(name), call(*a))[1])
    load_corpus(text, cache=cache)
    assert order[:2] == ["fsync", "replace"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("step", ["open", "fsync", "replace", "mkdir"])
def test_a_disk_that_refuses_is_no_obstacle(
    step: str, number: int, text: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    owner = {"open": caches, "fsync": files.os, "replace": files.os, "mkdir": files.Path}[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, refuse, raising=step != "open")
        assert whole(load_corpus(text, cache=cache))
    (line,) = said(caplog)
    assert WITHOUT in line and os.strerror(number) in line and str(cache) in line
    assert not cache.exists() or list(cache.iterdir()) == []
    assert whole(load_corpus(text, cache=cache)) and said(caplog) == [] and only_file(cache)


@pytest.mark.parametrize("place", ["a file", "/proc/nowhere", "~no-such-user-here/cache", "x" * 5000])
def test_a_cache_that_cannot_be_is_no_obstacle(
    place: str, text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if place == "a file":
        (tmp_path / "file").touch()
        place = str(tmp_path / "file")
    assert whole(load_corpus(text, cache=place))
    (line,) = said(caplog)
    assert WITHOUT in line


def test_without_a_home_it_goes_on(text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HPO_CACHE", raising=False)
    monkeypatch.setattr(caches.Path, "home", homeless)
    assert whole(load_corpus(text))
    (line,) = said(caplog)
    assert WITHOUT in line


@forbidding
def test_a_cache_that_may_only_be_read(text: str, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_corpus(text, cache=cache)
    file = only_file(cache)
    cache.chmod(0o500)
    try:
        assert whole(load_corpus(text, cache=cache)) and said(caplog) == []
        os.truncate(file, 100)
        assert whole(load_corpus(text, cache=cache))
        assert [MADE_ANEW in line or WITHOUT in line for line in said(caplog)] == [True, True]
        file.chmod(0)
        assert whole(load_corpus(text, cache=cache))
    finally:
        cache.chmod(0o700)


def _load(path: str, cache: str) -> bool:
    return whole(load_corpus(path, cache=cache))


def test_many_processes_meet_a_damaged_file(text: str, cache: Path) -> None:
    load_corpus(text, cache=cache)
    os.truncate(only_file(cache), 50)
    with get_context("spawn").Pool(3) as pool:
        assert all(pool.starmap(_load, [(text, str(cache))] * 6))
    assert only_file(cache).suffix == ".npy"


def test_another_text_has_another_file(text: str, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_corpus(text, cache=cache)
    Path(text).write_text("other " * 100)
    corpus = load_corpus(text, cache=cache)
    assert corpus.decode(corpus.train).startswith("other other")
    assert len(list(cache.iterdir())) == 2 and said(caplog) == []


def test_halves_of_the_dead_go_and_those_of_the_living_stay(text: str, cache: Path) -> None:
    cache.mkdir()
    for name in ("tokens-old.tmp", "tokens-new.tmp", "theirs.tmp"):
        (cache / name).touch()
    for name in ("tokens-old.tmp", "theirs.tmp"):
        os.utime(cache / name, (0, 0))
    load_corpus(text, cache=cache)
    assert {path.name for path in cache.iterdir() if path.suffix == ".tmp"} == {"tokens-new.tmp", "theirs.tmp"}


def test_what_is_said_reaches_a_user_in_one_line(text: str, cache: Path) -> None:
    load_corpus(text, cache=cache)
    os.truncate(only_file(cache), 10)
    code = f"from models.data.batches import load_corpus; load_corpus({text!r}, cache={str(cache)!r})"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"\S+ {MADE_ANEW}\n", done.stderr)


@pytest.mark.parametrize("change", [lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("\n", "\r")])
def test_carriage_returns_are_said_once(
    change: Callable[[str], str], text: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path(text).write_bytes(change(TEXT).encode())
    load_corpus(text, cache=cache)
    (line,) = said(caplog)
    assert "carriage return" in line and f"'lf:{text}'" in line
    load_corpus(text, cache=cache)
    assert said(caplog) == []
    assert whole(load_corpus(f"lf:{text}", cache=cache)) and said(caplog) == []


def test_it_logs_as_a_warning(text: str, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_corpus(text, cache=cache)
    os.truncate(only_file(cache), 10)
    load_corpus(text, cache=cache)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
