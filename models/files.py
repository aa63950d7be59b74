"""Files that appear whole or not at all, and a guess at the kind of a foreign file. Imports no torch."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A context that gives a new name beside `path` to write to. The file there is then made durable and renamed to `path`.

    If anything is raised meanwhile, `path` is as before; an OSError names it in one sentence.
    """
    path = Path(path)
    half = path.with_name(f"{path.name}.{token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield half
        with open(half, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(half, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            half.unlink()
        if isinstance(error, OSError):
            raise type(error)(f"{path} cannot be written: {error.strerror or error}") from error
        raise


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, if the system allows a folder to be opened."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# The first bytes of kinds of files.
BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe\0\0", "text in UTF-32"),
    (b"\0\0\xfe\xff", "text in UTF-32"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"\x93NUMPY", "a .npy file of numpy"),
    (b"PK\x03\x04", "a zip file"),
    (b"\x1f\x8b", "data compressed by gzip"),
    (b"BZh", "data compressed by bzip2"),
    (b"\xfd7zXZ\0", "data compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "data compressed by zstd"),
    (b"\x80\x02", "a pickle, as torch.save wrote before it wrote zip files"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"GGUF", "a GGUF file"),
    (b"SQLite format 3\0", "an SQLite file"),
    (b"%PDF", "a PDF file"),
    (b"\x7fELF", "a program"),
)


def kind(path: str | Path, start: bytes) -> str | None:
    """What a file seems to be by its first bytes; None if they do not tell."""
    if start[:4] == b"PK\x03\x04":
        return _kind_of_zip(path)
    if start[8:9] == b"{" and b'"dtype"' in start[:4096] and int.from_bytes(start[:8], "little") < 1 << 32:
        return "a safetensors file"
    return next((words for beginning, words in BEGINNINGS if start.startswith(beginning)), None)


def _kind_of_zip(path: str | Path) -> str:
    """torch.save and numpy.savez write zip files, too."""
    try:
        with zipfile.ZipFile(path) as opened:
            names = opened.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return "a damaged zip file"
    if any(name.endswith("/data.pkl") for name in names):
        return "a file of torch.save"
    return "an .npz file" if names and all(name.endswith(".npy") for name in names) else "a zip file"


def short(value: Any) -> str:
    """A value from a file in a few characters on one line, for a quotation in a sentence."""
    said = value if isinstance(value, str) and value.isascii() and value.isprintable() else ascii(value)
    return said if len(said) <= 60 else said[:57] + "..."
