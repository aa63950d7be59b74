"""Tokenised texts on disk, which are used again unless they are damaged. Imports no torch.

A file is a .npy that anybody can read. Its name holds two digests: one of the text with its tokenizer, and one of the bytes of
the file, so that a file that was cut short or has flipped bits is noticed before it is used. A file appears whole or not at all.
"""

import hashlib
import logging
import os
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format

from models.data.tokenizers import Characters, Tokenizer
from models.files import atomic_write
from models.ownership import make_folder

LEFT_OVER = 86_400.0  # seconds; nobody is still writing a half-written file of this age
_log = logging.getLogger(__name__)


def cache_folder(cache: str | Path | None) -> Path:
    """Where tokenised corpora are kept: the argument, else $HPO_CACHE, else ~/.cache/hpo."""
    return Path(cache or os.environ.get("HPO_CACHE") or Path.home() / ".cache" / "hpo").expanduser()


def cached_tokens(name: str, text: str, tokenizer: Tokenizer, cache: str | Path | None) -> np.ndarray:
    """The tokens of a text (n,), memory-mapped. If the cache cannot be written, this is logged, and they are in memory."""
    opening = f"tokens-{tokenizer.name}-{_key(text, tokenizer)}"
    try:
        found = _find(cache_folder(cache), opening)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        found = None
    return _make(name, text, tokenizer, cache, opening) if found is None else found


def _key(text: str, tokenizer: Tokenizer) -> str:
    """The digest of a text and the tokenizer."""
    alphabet = tokenizer.characters if isinstance(tokenizer, Characters) else ""
    key = hashlib.blake2b(_bytes(f"{tokenizer.name}\0{len(alphabet)}\0{alphabet}"), digest_size=16)
    key.update(_bytes(text))
    return key.hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _header(tokens: np.ndarray) -> bytes:
    """The header of a .npy of these tokens."""
    made = BytesIO()
    format.write_array_header_1_0(made, format.header_data_from_array_1_0(tokens))
    return made.getvalue()


def _digest() -> Any:
    return hashlib.blake2b(digest_size=8)


def _find(folder: Path, opening: str) -> np.ndarray | None:
    """The tokens in the cache; None if they are not there. Damaged files are logged."""
    for path in folder.glob(f"{opening}-*.npy"):
        try:
            with open(path, "rb") as file:
                whole = path.stem.endswith(hashlib.file_digest(file, _digest).hexdigest())
            if whole:
                return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
        except OSError:
            continue  # gone meanwhile, or not ours to read
        _log.warning("%s is damaged, and its text is tokenised again", path)
    return None


def _make(name: str, text: str, tokenizer: Tokenizer, cache: str | Path | None, opening: str) -> np.ndarray:
    """Tokenises the text, and writes the tokens into the cache if possible."""
    if "\r" in text:
        _log.warning(
            "corpus %r has line ends with a carriage return, which are tokens like others: 'lf:%s' reads them as \\n", name, name
        )
    small = np.uint16 if tokenizer.vocabulary <= 1 << 16 else np.uint32
    tokens = tokenizer.encode(text).astype(small)
    parts = _header(tokens), tokens.data
    digest = _digest()
    for part in parts:
        digest.update(part)
    try:
        folder = cache_folder(cache)
        path = folder / f"{opening}-{digest.hexdigest()}.npy"
        make_folder(folder)
        with atomic_write(path) as half, open(half, "wb") as file:
            file.writelines(parts)
        _clear(folder, opening, path)
        return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
    except (OSError, RuntimeError, ValueError) as error:
        _log.warning("training goes on without a cache of the tokens of %r, which are made anew each time: %s", name, error)
        return tokens


def _clear(folder: Path, opening: str, path: Path) -> None:
    """Remove damaged files of the same text, and half-written files of processes that were killed."""
    damaged = [other for other in folder.glob(f"{opening}-*.npy") if other != path]
    halves = [half for half in folder.glob("tokens-*.tmp") if _age(half) > LEFT_OVER]
    for leftover in damaged + halves:
        with suppress(OSError):
            leftover.unlink()


def _age(path: Path) -> float:
    """Seconds since a file was last written; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
