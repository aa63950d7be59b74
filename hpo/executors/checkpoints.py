"""A folder of checkpoints by key. A checkpoint is there whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from hpo.job import Key

NAME = re.compile(r"(\d+-\d+\.ckpt)(\.\d+\.half)?(\.[0-9a-f]{8}\.tmp)?")  # what a dead process left of it, too


class Checkpoints:
    """`<trial>-<until>.ckpt` in one folder; a temporary folder, gone with `close`, if none is given."""

    def __init__(self, folder: str | Path | None) -> None:
        self.temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="hpo-") if folder is None else folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, key: Key) -> Path:
        """Where the checkpoint of a key stands."""
        return self.folder / f"{key[0]}-{key[1]}.ckpt"

    def drop(self, keys: Iterable[Key]) -> None:
        """Deletes the checkpoints of these keys, where there are any."""
        for key in keys:
            remove(self.path(key))

    def keep(self, keys: Iterable[Key]) -> None:
        """Deletes every checkpoint of another key, and what a dead process left half-written of one."""
        wanted = {self.path(key).name for key in keys}
        for entry in os.scandir(self.folder):
            match = NAME.fullmatch(entry.name)
            if match is not None and match[1] not in wanted:
                remove(Path(entry.path))

    def close(self) -> None:
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def publish(half: Path, path: Path) -> None:
    """Makes a half-written checkpoint (a file or a folder) durable under its name: flushed, then renamed."""
    for file in [half] if half.is_file() else [p for p in half.rglob("*") if p.is_file()]:
        _flush(file)
    if path.is_dir():  # a rename replaces a file, but not a folder
        shutil.rmtree(path)
    os.replace(half, path)
    _flush(path.parent)


def remove(path: Path) -> None:
    """Deletes a file or a folder, whichever is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
