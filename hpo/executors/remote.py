"""Checkpoints behind a URL of fsspec: s3://, gs://, sftp://, ... A checkpoint is there whole or not at all.

A Run saves into a temporary folder of this machine, from where the checkpoint goes to the other place, and loads from there. A
checkpoint that is a folder goes as one file: MAGIC, then a tar of it.
"""

from __future__ import annotations

import atexit
import os
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from hpo.executors.base import Stamp
from hpo.executors.checkpoints import NAME, Checkpoints, clear_temporary, read_stamp, remove
from hpo.executors.faults import describe, storage
from hpo.job import Key
from hpo.values import format_value

MAGIC = b"hpo: a folder as tar\n"
MEMORY = "memory"  # whose readers of one file, at once, share their place in it, unless they ask for all of it
WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss"}  # where what is sent is seen once all is there


def open_checkpoints(folder: str | Path | None, shared: bool = False) -> Checkpoints:
    """The checkpoints in a folder, behind a URL, or (None) in a temporary folder. ValueError in a sentence for a URL that cannot
    be used; if processes are to share them, also for memory:// of this process."""
    if not isinstance(folder, str) or "://" not in folder:
        if isinstance(folder, Path) and folder.parts and folder.parts[0].endswith(":"):
            raise ValueError(f"folder is {format_value(folder)}; a URL is given as a string, since a path loses its //")
        return Checkpoints(folder)
    if shared and folder.startswith("memory:"):
        raise ValueError(f"folder is {folder!r}, which other processes do not see; allowed are a path and another URL")
    return RemoteCheckpoints(folder)


class RemoteCheckpoints(Checkpoints):
    """Checkpoints under the same names as in a folder, behind a URL. `folder` is a temporary one of this machine.

    Nobody can say there whether the process lives that has left something half-written. So this goes when the place is next
    looked through (`keep`), and with it what could not be deleted before.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            system, root = self._place
            system.makedirs(root, exist_ok=True)
        except Exception as error:
            raise ValueError(f"folder is {url!r}, which cannot be used: {describe(error)}") from error
        super().__init__(None)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "url": self.url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self.folder.is_dir():  # on another machine than the sender's
            clear_temporary()
            self._open_temporary()
            self.temporary = True
            atexit.register(self.close)

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system, and the folder in it."""
        from fsspec.core import url_to_fs

        system, root = url_to_fs(self.url)
        return system, root.rstrip("/")

    def _address(self, path: Path) -> str:
        return f"{self._place[1]}/{path.name}"

    def has(self, path: Path) -> bool:
        with self._reach():
            self._place[0].invalidate_cache()
            return bool(self._place[0].exists(self._address(path)))

    def store(self, path: Path) -> None:
        system, address = self._place[0], self._address(path)
        packed = path.with_name(f"{path.name}.{os.getpid()}.half")
        try:
            if path.is_dir():
                _pack(path, packed)
            else:
                path.rename(packed)
            with self._reach():
                if self.url.partition(":")[0] in WHOLE:
                    system.put_file(str(packed), address)
                else:
                    system.put_file(str(packed), f"{address}.{os.getpid()}.half")
                    system.mv(f"{address}.{os.getpid()}.half", address)
        finally:
            remove(path)
            remove(packed)

    @contextmanager
    def fetch(self, path: Path) -> Iterator[Path]:
        folder = self.folder / f"{path.name}.{os.getpid()}.half.{secrets.token_hex(4)}.tmp"  # other jobs may load it too
        folder.mkdir()
        try:
            with storage(f"loading {path.name}"):
                self._get(path, folder)
            yield folder / path.name
        finally:
            remove(folder)

    def _get(self, path: Path, folder: Path) -> None:
        """Brings a checkpoint into a folder, if it is there."""
        there = folder / "sent"
        with suppress(FileNotFoundError), self._reach():
            if self.url.partition(":")[0] == MEMORY:
                there.write_bytes(self._place[0].cat_file(self._address(path)))
            else:
                self._place[0].get_file(self._address(path), str(there))
            with there.open("rb") as file:
                is_packed = file.read(len(MAGIC)) == MAGIC
                if is_packed:
                    with tarfile.open(fileobj=file, mode="r|") as tar:
                        tar.extractall(folder / path.name, filter="data")
            if not is_packed:
                there.rename(folder / path.name)

    def discard(self, key: Key, attempt: int, process: int) -> None:
        for path in self.folder.glob(f"*.{process}.half*"):
            remove(path)
        for path in (self.path(key, attempt), self.interim_path(key, attempt)):
            self._remove(path.with_name(f"{path.name}.{process}.half"))

    def list_names(self) -> list[str]:
        try:
            with self._reach():
                self._place[0].invalidate_cache()
                entries = self._place[0].ls(self._place[1], detail=True)
        except FileNotFoundError:  # nothing has been written yet
            entries = []
        sizes = {entry["name"].rpartition("/")[2]: int(entry["size"] or 0) for entry in entries}
        self._sizes = {name: size for name, size in sizes.items() if NAME.fullmatch(name)}
        return list(self._sizes)

    def measure(self) -> dict[Stamp, int]:
        found = {name: read_stamp(name) for name in self.list_names()}
        return {stamp: self._sizes[name] for name, stamp in found.items() if stamp is not None}

    def _remove(self, path: Path) -> None:
        with suppress(OSError), self._reach():
            self._place[0].rm_file(self._address(path))

    @contextmanager
    def _reach(self) -> Iterator[None]:
        """Whatever goes wrong with the place is an OSError that names it."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            raise OSError(f"{self.url}: {describe(error)}") from error


def _pack(folder: Path, file: Path) -> None:
    with file.open("wb") as out:
        out.write(MAGIC)
        with tarfile.open(fileobj=out, mode="w|") as tar:
            tar.add(folder, arcname=".")
