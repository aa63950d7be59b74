"""Keeps the measurements of a machine in the cache folder."""

import json
import os
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

from models.calibrate.calibration import calibrate
from models.calibrate.machine import Machine
from models.data.cache import cache_folder


def machine(device: str = "cpu", threads: int = 1, cache: str | Path | None = None) -> Machine:
    """The machine as it was measured earlier with this torch, from the cache folder; else measured now and stored there."""
    path = machine_path(device, threads, cache)
    found = read_machine(path)
    if found is None:
        found = calibrate(device, threads)
        write_machine(path, found)
    return found


def machine_path(device: str = "cpu", threads: int = 1, cache: str | Path | None = None) -> Path:
    """The file of a device and a number of threads."""
    return cache_folder(cache) / f"machine-{device.replace(':', '-')}-{threads}.json"


def read_machine(path: Path) -> Machine | None:
    """The stored machine; None if there is none, or if another version of this code or of torch wrote it."""
    if not path.exists():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    current = stored.keys() == {one.name for one in fields(Machine)} and stored["torch"] == version("torch")
    return Machine(**stored) if current else None


def write_machine(path: Path, found: Machine) -> None:
    """Stores a machine; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}.tmp")
    half.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    os.replace(half, path)
