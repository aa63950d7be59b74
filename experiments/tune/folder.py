"""The folder of a study: its lock, its settings, and the files beside the log.

log.sqlite     every event; a resumed study reads it
settings.toml  the settings, versions, and the digest of the text; usable with --config
search.json    what the log does not hold: whether the search is complete, and the judgements of finished configurations
best.json      the configuration that is handed over
best.ckpt      its checkpoint
sample.txt     text sampled from it
report.html    the report
checkpoints/   checkpoints of trials that may go on
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from experiments.tune.settings import Settings, read_toml

SETTINGS = "settings.toml"
TEXT = "text_digest"  # the entry of `made_with` that must not change


class Folder:
    """The folder of a study with settings of a kind. Anybody may read it; one process at a time may open it."""

    def __init__(self, path: str | Path, kind: type[Settings] = Settings) -> None:
        self.path, self.kind = Path(path), kind
        self._lock: TextIO | None = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # -- settings ------------------------------------------------------------------------------------------------------

    def read_settings(self) -> tuple[Settings | None, dict[str, str]]:
        """The settings of an earlier run, and the entries of `made_with`; None if there was no earlier run."""
        if not (self / SETTINGS).exists():
            return None, {}
        values, versions = read_toml(self / SETTINGS)
        return self.kind.of(values), versions

    def check(self, settings: Settings, made_with: Mapping[str, str]) -> None:
        """ValueError that names the differences from an earlier run."""
        earlier, versions = self.read_settings()
        if earlier is None:
            return
        changed = settings.differences(earlier)
        if not changed and versions.get(TEXT, made_with[TEXT]) != made_with[TEXT]:
            changed = [f"the content of the text {settings.text!r} has changed"]
        if changed:
            raise ValueError(
                f"the folder {str(self.path)!r} holds another study: {'; '.join(changed)}; give another --folder, or go "
                f"on with --config {self / SETTINGS}"
            )

    def open(self, settings: Settings, made_with: Mapping[str, str]) -> None:
        """Locks the folder until the process ends, and writes the settings down.

        ValueError in one sentence if it cannot be used, another process has it, or its settings differ.
        """
        self._take()
        self.check(settings, made_with)
        write_file(self / SETTINGS, settings.to_toml(made_with))

    def _take(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / ".lock", "w")  # noqa: SIM115  held until the process ends
        except OSError as error:
            raise ValueError(f"the folder {str(self.path)!r} cannot be used: {error.strerror or error}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another run is working in {str(self.path)!r}; wait for it, or give another --folder"
            ) from None

    def close(self) -> None:
        """Releases the folder for another process."""
        if self._lock is not None:
            self._lock.close()

    # -- search.json ---------------------------------------------------------------------------------------------------

    def read_search(self) -> dict[str, Any]:
        """The content of search.json; empty if there is no such file yet."""
        path = self / "search.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def update_search(self, **values: Any) -> None:
        """Adds entries to search.json."""
        write_file(self / "search.json", json.dumps({**self.read_search(), **values}, indent=2) + "\n")

    def is_complete(self, settings: Settings) -> bool:
        """Whether an earlier run has already used up the seconds or trials that these settings allow."""
        complete = self.read_search().get("complete")
        if complete is None or settings.seconds > complete["seconds"]:
            return False
        limit = complete["trials"]
        return limit is None or (settings.trials is not None and settings.trials <= limit)


def write_file(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    half = path.with_name(path.name + ".half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


def copy_file(source: Path, path: Path) -> None:
    """Copies a file, whole or not at all."""
    half = path.with_name(path.name + ".half")
    shutil.copyfile(source, half)
    os.replace(half, path)
