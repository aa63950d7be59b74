"""A folder of checkpoints by key. A checkpoint is there whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from hpo.executors.base import Kept, Stamp
from hpo.executors.locks import FolderLock
from hpo.history import History
from hpo.job import Key

# trial, budget, attempt; whether it was saved inside the job; and what a dead process left of it
NAME = re.compile(r"(\d+)-(\d+)(?:\.(\d+))?\.ckpt(\.part)?(\.\d+\.half)?(\.[0-9a-f]{8}\.tmp)?")
TEMPORARY = "hpo-checkpoints-"  # first part of a temporary folder's name


def checkpoint_name(key: Key, attempt: int = 0) -> str:
    """The name of a key's file in the folder of checkpoints. Every attempt has its own, so that one which was given up, and goes
    on all the same, overwrites nothing."""
    return f"{key[0]}-{key[1]}.ckpt" if not attempt else f"{key[0]}-{key[1]}.{attempt}.ckpt"


def read_stamp(name: str) -> Stamp | None:
    """The key and the attempt of a checkpoint that stands, from its name; None for any other name."""
    match = NAME.fullmatch(name)
    found = None if match is None else ((int(match[1]), int(match[2])), int(match[3] or 0))
    return found if found is not None and checkpoint_name(*found) == name else None


def standing_name(history: History, key: Key) -> str:
    """The name of the file that holds a finished key's weights: that of the attempt whose result was recorded."""
    return checkpoint_name(key, history.attempts.accepted_attempt(key))


class Checkpoints:
    """`<trial>-<until>.ckpt`, of later attempts `<trial>-<until>.<attempt>.ckpt`, in one folder; a temporary one, gone with
    `close`, if none is given. What was saved inside a job ends in `.part`.

    If no other living process uses the folder, half-written files in it are deleted at the start; and so are the
    temporary folders that dead processes of this user left.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.temporary = folder is None
        self._sizes: dict[str, int] = {}  # bytes of what stands, by name, as far as it was measured
        self._lock: FolderLock | None = None
        if folder is None:
            clear_temporary()
            self._open_temporary()
            return
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self.folder)
        if self._lock.alone:
            self._clear_half()
            self._lock.share()

    def _open_temporary(self) -> None:
        while True:
            self.folder = Path(tempfile.mkdtemp(prefix=TEMPORARY))
            try:
                self._lock = FolderLock(self.folder)
            except FileNotFoundError:  # another process took it for a left one, before it was locked
                continue
            self._lock.share()
            if self.folder.exists():
                return
            self._lock.release()

    def __getstate__(self) -> dict[str, Any]:
        """In another process: the names of the files; the folder stays the sender's to lock and to delete."""
        return {"folder": self.folder, "temporary": False, "_lock": None, "_sizes": {}}

    def path(self, key: Key, attempt: int) -> Path:
        """Where the checkpoint that an attempt makes of a key stands."""
        return self.folder / checkpoint_name(key, attempt)

    def half(self, key: Key, attempt: int, process: int) -> Path:
        """Where a process writes the checkpoint of a key before it is published."""
        return self.folder / f"{checkpoint_name(key, attempt)}.{process}.half"

    def interim_path(self, key: Key, attempt: int) -> Path:
        """Where stands what an attempt saved before it came to its key."""
        return self.folder / f"{checkpoint_name(key, attempt)}.part"

    def find_interim(self, key: Key, attempt: int) -> Path | None:
        """What the last of the earlier attempts saved before it came to a key; None if none did."""
        paths = (self.interim_path(key, earlier) for earlier in reversed(range(attempt)))
        return next((path for path in paths if self.has(path)), None)

    def has(self, path: Path) -> bool:
        """Whether a checkpoint is where others find it."""
        return path.exists()

    def store(self, path: Path) -> None:
        """Puts what was published under one of these paths where others find it."""

    def fetch(self, path: Path) -> AbstractContextManager[Path]:
        """A context in which a checkpoint can be read under another path; without it there is nothing there."""
        return nullcontext(path)

    def drop_interim(self, key: Key, attempt: int) -> None:
        """Deletes what this attempt and earlier ones saved before they came to a key."""
        for one in range(attempt + 1):
            self._remove(self.interim_path(key, one))

    def drop(self, keys: Iterable[Key]) -> None:
        """Deletes the checkpoints that the first attempts at these keys made, where there are any."""
        for key in keys:
            self._remove(self.path(key, 0))

    def refuse(self, key: Key, attempt: int) -> None:
        """Deletes the checkpoint that one attempt made."""
        self._remove(self.path(key, attempt))

    def discard(self, key: Key, attempt: int, process: int) -> None:
        """Deletes the half-written checkpoint of a process that died."""
        for path in self.folder.glob(f"{self.half(key, attempt, process).name}*"):
            remove(path)

    def list_names(self) -> list[str]:
        """The names of all checkpoints in the folder, and of what was left half-written."""
        return [name for name in os.listdir(self.folder) if NAME.fullmatch(name)]

    def measure(self) -> dict[Stamp, int]:
        """The bytes of every checkpoint that stands. A published one does not change, so each is measured once."""
        found = {stamp: name for name in self.list_names() if (stamp := read_stamp(name)) is not None}
        self._sizes = {name: self._sizes.get(name) or measure_bytes(self.folder / name) for name in found.values()}
        return {stamp: self._sizes[name] for stamp, name in found.items()}

    def keep(self, kept: Kept, names: Iterable[str]) -> None:
        """Of these names deletes those of other keys, and those of other attempts than the one that is kept; of a key that has
        its checkpoint also what was saved before, and what a dead process left half-written."""
        for name in names:
            match = NAME.fullmatch(name)
            assert match is not None
            key, attempt = (int(match[1]), int(match[2])), int(match[3] or 0)
            if key not in kept or (kept[key] is not None and (any(match.groups()[3:]) or kept[key] != attempt)):
                self._remove(self.folder / name)

    def _remove(self, path: Path) -> None:
        remove(path)

    def _clear_half(self) -> None:
        for entry in os.scandir(self.folder):
            match = NAME.fullmatch(entry.name)
            if match is not None and (match[5] or match[6]):
                remove(Path(entry.path))

    def close(self) -> None:
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()


def clear_temporary() -> None:
    """Deletes the temporary folders of this user whose process is dead, and which hold nothing but checkpoints."""
    for entry in os.scandir(tempfile.gettempdir()):
        if not entry.name.startswith(TEMPORARY) or not entry.is_dir(follow_symlinks=False):
            continue
        try:
            if entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            lock = FolderLock(Path(entry.path))
        except OSError:  # gone meanwhile, or not ours to open
            continue
        if lock.alone and all(NAME.fullmatch(name) for name in os.listdir(entry.path)):
            shutil.rmtree(entry.path, ignore_errors=True)
        lock.release()


def publish(half: Path, path: Path) -> None:
    """Makes a half-written checkpoint (a file or a folder) durable under its name: flushed, then renamed."""
    for file in [half] if half.is_file() else [p for p in half.rglob("*") if p.is_file()]:
        _flush(file)
    if path.is_dir():  # a rename replaces a file, but not a folder
        shutil.rmtree(path)
    os.replace(half, path)
    _flush(path.parent)


def measure_bytes(path: Path) -> int:
    """The bytes of a file, or of all files in a folder; 0 for what is gone meanwhile."""
    try:
        return sum(map(measure_bytes, path.iterdir())) if path.is_dir() else path.stat().st_size
    except FileNotFoundError:
        return 0


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
