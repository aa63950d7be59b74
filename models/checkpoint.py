"""A checkpoint on disk: one .npz file of flat float32 arrays and a JSON header. Imports no torch.

It holds weights, moments, the loss scale and the position. It holds no hyperparameters: a run sets those from its own
config. The format has no pickles, every array carries a CRC, and a file appears under its name whole or not at all.
"""

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

FORMAT = 1
# What numpy, zipfile and json raise on bytes that are not what they should be.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile, RuntimeError)
Places = Mapping[str, tuple[int, tuple[int, ...]]]  # parameter -> (offset, shape) in the flat arrays


@dataclass(frozen=True)
class Checkpoint:
    """`arrays` has "weights" and one entry a moment, all (size,) float32; `position` is plain JSON values."""

    places: Places
    arrays: Mapping[str, np.ndarray]
    position: Mapping[str, Any]


def write(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write atomically and durably: a temporary file beside it, fsync, rename, fsync of the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"format": FORMAT, "places": dict(checkpoint.places), "position": dict(checkpoint.position)})
    entries = {"header": np.frombuffer(header.encode(), dtype=np.uint8), **checkpoint.arrays}
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".tmp", delete=False) as file:
        try:
            _write_arrays(file, entries)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
    _sync_folder(path.parent)


def _write_arrays(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """The layout of np.savez (.npy files in a plain zip, with CRCs) but undated: equal states give equal files."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system allows a folder to be opened."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint. FileNotFoundError if there is none; ValueError that names the file if it is damaged."""
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}, but this version reads {FORMAT}")
        places = {name: (int(offset), tuple(shape)) for name, (offset, shape) in header["places"].items()}
        return Checkpoint(places, arrays, header["position"])
    except DAMAGE as error:
        raise ValueError(f"checkpoint {path} is damaged or not a checkpoint: {error}") from error


def check_fits(path: str | Path, checkpoint: Checkpoint, places: Places) -> None:
    """ValueError that names the file and the first parameter by which a checkpoint differs from a model's places."""
    for name in [*places, *checkpoint.places]:
        here, there = places.get(name), checkpoint.places.get(name)
        if here != there:
            model, file = (place[1] if place else "absent" for place in (here, there))
            raise ValueError(f"checkpoint {path} does not fit: {name} is {file} in the file and {model} in the model")
    sizes = {array.shape for array in checkpoint.arrays.values()}
    if "weights" not in checkpoint.arrays or len(sizes) != 1:
        raise ValueError(f"checkpoint {path} does not fit: its arrays have shapes {sorted(sizes)}, not one for all")
