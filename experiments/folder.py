"""The folder of a study: its lock, its settings, and what stands in it beside the log.

log.sqlite     every event; what resuming reads
settings.toml  the settings, versions, and the digest of the text; usable with --config
search.json    what the log does not say: whether the search is complete, and how who reached the end was judged
best.json      the configuration that is handed over
best.ckpt      its checkpoint
sample.txt     text sampled from it
report.html    the report
checkpoints/   of trials that may go on
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.settings import Settings, read_toml

TEXT = "text_digest"  # the entry of `made_with` that must not change


class Folder:
    """Opened by one process at a time. ValueError in one sentence if another has it or its settings differ."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / ".lock", "w")  # noqa: SIM115  held until the process ends
        except OSError as error:
            raise ValueError(f"the folder {str(path)!r} cannot be used: {error.strerror or error}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another run is working in {str(path)!r}; wait for it, or give another --folder"
            ) from None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # -- settings ------------------------------------------------------------------------------------------------------

    def adopt(self, settings: Settings, made_with: Mapping[str, str]) -> Settings:
        """The settings with which to go on, written down; ValueError that names what differs from an earlier run."""
        stored, versions = self._stored()
        if stored is None:
            done = settings.completed()
            write(self / "settings.toml", done.to_toml(made_with))
            return done
        done = settings.completed(stored)
        changed = done.differences(stored)
        if not changed and versions.get(TEXT, made_with[TEXT]) != made_with[TEXT]:
            changed = [f"the content of the text {settings.text!r} has changed"]
        if changed:
            raise ValueError(
                f"the folder {str(self.path)!r} holds another study: {'; '.join(changed)}; give another --folder, or go "
                f"on with --config {self / 'settings.toml'}"
            )
        write(self / "settings.toml", done.to_toml(made_with))
        return done

    def _stored(self) -> tuple[Settings | None, dict[str, str]]:
        if not (self / "settings.toml").exists():
            return None, {}
        values, versions = read_toml(self / "settings.toml")
        return Settings.of(values), versions

    # -- what the log does not say -------------------------------------------------------------------------------------

    def remembered(self) -> dict[str, Any]:
        """search.json; empty before there is one."""
        path = self / "search.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def remember(self, **values: Any) -> None:
        """Adds to search.json."""
        write(self / "search.json", json.dumps({**self.remembered(), **values}, indent=2) + "\n")

    def finished(self, settings: Settings) -> bool:
        """Whether an earlier run has already used up the seconds or trials that these settings allow."""
        complete = self.remembered().get("complete")
        if complete is None or settings.seconds > complete["seconds"]:
            return False
        limit = complete["trials"]
        return limit is None or (settings.trials is not None and settings.trials <= limit)


def write(path: Path, text: str) -> None:
    """All of a file or nothing of it."""
    half = path.with_name(path.name + ".half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


def copy(source: Path, path: Path) -> None:
    """A copy that is there whole or not at all."""
    half = path.with_name(path.name + ".half")
    shutil.copyfile(source, half)
    os.replace(half, path)
