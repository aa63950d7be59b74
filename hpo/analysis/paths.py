"""Files that a user asks for: a bad path is refused in a sentence before anything is computed, and a file is written whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hpo.values import format_value

PICTURES = (".png", ".svg", ".pdf")


def check_file(path: str | Path, suffixes: Sequence[str] = ()) -> Path:
    """The path of a file that can be written. TypeError for anything but a path, ValueError for a folder or a suffix that is not
    in `suffixes`, FileNotFoundError if its folder does not exist."""
    ends = f" that ends in one of {', '.join(suffixes)}" if suffixes else ""
    if not isinstance(path, str | Path):
        raise TypeError(f"path is {format_value(path)}; allowed is the path of a file{ends}")
    found = Path(path)
    if found.is_dir():
        raise ValueError(f"path is {str(path)!r}, which is a folder; allowed is the path of a file{ends}")
    if suffixes and found.suffix.lower() not in suffixes:
        raise ValueError(f"path is {str(path)!r}; allowed is the path of a file{ends}")
    if not found.parent.is_dir():
        lack = f"there is no {str(found.parent)!r}"
        raise FileNotFoundError(f"path is {str(path)!r}; allowed is a file in a folder that exists, and {lack}")
    return found


def check_picture(path: str | Path | None) -> None:
    """Refuses a path where no figure can be saved, as `check_file` does. None is allowed: then nothing is saved."""
    if path is not None:
        check_file(path, PICTURES)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all. OSError that names the file if it cannot be written."""
    half = path.with_name(path.name + ".half")
    try:
        half.write_bytes(content)
        os.replace(half, path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
