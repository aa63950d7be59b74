"""A checkpoint on disk: one safetensors file, sealed by a digest. Imports no torch.

It holds weights, everything else that training remembers (the state: moments, averages), and the position. It holds no
hyperparameters: a run sets those from its own config. Weights have their own names and shapes in the file, so
`safetensors.torch.load_file(path)` reads them anywhere:

    8 bytes            length of the header, little-endian
    header             {"__metadata__": {"digest": "0a1b2c3d", "checkpoint": "2", "position": "{...}"},
                        "tokens.weight": {"dtype": "F32", "shape": [256, 64], "data_offsets": [0, 65536]}, ...,
                        "state/first": {...}, ...}, then spaces up to a multiple of 64 bytes
    data               the arrays, widest items first and then by name, without gaps

The format itself has no checksum. The digest is the CRC-32 of all bytes of the file except its own, so a flipped bit is found
wherever it is. It does not protect against forgery: whatever the header says about lengths, shapes and offsets is checked
before it is used, and a file is read only if it has the layout that `write` gives it. Equal checkpoints give equal files (the
library writes its metadata in random order, which is one reason for our own layout), and a file appears under its name whole
or not at all.
"""

import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.files import atomic_write, kind, short

FORMAT = 2  # 1 was an .npz file
STATE = "state/"  # prefix of the names of all arrays that are not weights
OPENING = b'{"__metadata__":{"digest":"'  # of every header, so that the digest is found before anything is parsed
DIGITS = slice(8 + len(OPENING), 8 + len(OPENING) + 8)  # where the digest is in the file
ALIGN = 64  # bytes; the data starts at a multiple of it
DTYPES = {
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (8, 4, 2)},
    **{f"{letter.upper()}{8 * size}": np.dtype(f"<{letter}{size}") for letter in "iu" for size in (8, 4, 2, 1)},
    "BOOL": np.dtype(bool),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LONGEST = 1 << 22  # bytes of a header, enough for some 40,000 arrays
AXES = 64  # the most axes of an array, which is numpy's own limit
# What numpy and json raise for malformed bytes.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError)
# The position of a run that has not trained; checkpoints of foreign weights have it.
START: Mapping[str, Any] = {
    "steps": 0,
    "tokens": 0,
    "skipped": 0,
    "updates": 0,
    "diverged": False,
    "train_loss": 0.0,
    "scaler": None,
}


@dataclass(frozen=True)
class Checkpoint:
    """`weights` by the names of the model's parameters, `state` by the trainer's own; `position` is plain JSON values."""

    weights: Mapping[str, np.ndarray]
    state: Mapping[str, np.ndarray]
    position: Mapping[str, Any]


def write(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write atomically and durably, without a copy of the arrays in memory.

    ValueError for a name or a dtype that the format lacks; OSError that names the file if the system refuses, and then
    the file is as before.
    """
    arrays = _named(path, checkpoint)
    header = _header(arrays, checkpoint.position)
    with atomic_write(path) as half, open(half, "xb") as file:
        file.write(header)
        digest = _sealed(header)
        for array in arrays.values():
            data = array.reshape(-1).view(np.uint8).data
            digest = zlib.crc32(data, digest)
            file.write(data)
        file.seek(DIGITS.start)
        file.write(b"%08x" % digest)


def write_pretrained(path: str | Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write weights from elsewhere as the checkpoint of a run that has not trained yet. A run that loads it fine-tunes them."""
    write(path, Checkpoint(weights, {}, START))


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint. Its arrays lie in a private memory map of the file: writable, and the file does not change.

    FileNotFoundError if there is none, OSError that names the file if the system refuses it; ValueError that names the
    file if it is damaged or not a checkpoint of this version.
    """
    try:
        data = _map(path)
        if data[8 : DIGITS.start].tobytes() != OPENING:
            raise _explain_foreign(path, data[:4096].tobytes())
        if data[DIGITS].tobytes() != b"%08x" % _sealed(data.data):
            raise ValueError("its bytes are not those that were written")
        return _parsed(data)
    except NotOurs as error:
        raise ValueError(f"checkpoint {path} is not a checkpoint of this version: {error}") from error
    except DAMAGE as error:
        raise ValueError(f"checkpoint {path} is damaged or not a checkpoint: {error}") from error


def check_fits(path: str | Path, checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """ValueError, which names the file, if a checkpoint does not fit a model's shapes (it names the first parameter that
    differs), or if its position lacks an entry."""
    for name in [*shapes, *checkpoint.weights]:
        here = tuple(shapes[name]) if name in shapes else "absent"
        there = checkpoint.weights[name].shape if name in checkpoint.weights else "absent"
        if here != there:
            raise ValueError(f"checkpoint {path} does not fit: {short(name)} is {there} in the file and {here} in the model")
    lacking = [name for name in START if name not in checkpoint.position]
    if lacking:
        raise ValueError(f"checkpoint {path} does not fit: its position has no {lacking[0]}")


class NotOurs(Exception):
    """A file that seems whole, but was written by another version."""


def _named(path: str | Path, checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Name in the file -> array, little-endian and contiguous, in the order of the file."""
    wrong = [name for name in checkpoint.weights if name.startswith(STATE) or name == "__metadata__"]
    if wrong:
        raise ValueError(f"checkpoint {path} cannot hold a weight called {wrong[0]}: the name is the format's own")
    named = {**checkpoint.weights, **{STATE + name: array for name, array in checkpoint.state.items()}}
    for name, array in named.items():
        little = array.dtype.newbyteorder("<")
        if little not in NAMES:
            raise ValueError(f"checkpoint {path} cannot hold {name}: its dtype is {array.dtype}, not one of {_plain()}")
        named[name] = array.astype(little, order="C", copy=False)
    return dict(sorted(named.items(), key=lambda pair: (-pair[1].itemsize, pair[0])))  # in this order every array is aligned


def _plain() -> str:
    return ", ".join(dtype.name for dtype in NAMES)


def _header(arrays: Mapping[str, np.ndarray], position: Mapping[str, Any]) -> bytes:
    """The start of the file up to the data, with a digest of zeros."""
    said = json.dumps(dict(position), sort_keys=True)
    entries: dict[str, Any] = {"__metadata__": {"digest": "0" * 8, "checkpoint": str(FORMAT), "position": said}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        entries[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGN)
    if 8 + len(text) > LONGEST:
        raise ValueError(f"a checkpoint cannot hold {len(arrays)} arrays and this position: its header is of {len(text)} bytes")
    return len(text).to_bytes(8, "little") + text


def _sealed(data: bytes | memoryview) -> int:
    """The digest of a file, or of its first part: CRC-32 of all bytes but its own digits.

    In most zlibs it is faster than BLAKE2b. It finds every single flipped bit and every burst of up to 32 bits; other damage
    goes unnoticed once in 4e9 cases. It guards against accidents, not against forgery.
    """
    return zlib.crc32(data[DIGITS.stop :], zlib.crc32(data[: DIGITS.start]))


def _map(path: str | Path) -> np.ndarray:
    """The bytes of a file, mapped privately."""
    try:
        return np.asarray(np.memmap(path, np.uint8, "c"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no checkpoint {path}") from error
    except OSError as error:
        raise type(error)(f"checkpoint {path} cannot be read: {error.strerror or error}") from error


def _explain_foreign(path: str | Path, start: bytes) -> Exception:
    """The error for a file without our digest: it is another kind of file, or damaged."""
    found = kind(path, start)
    if found == "an .npz file":
        return NotOurs("it is an .npz file, as earlier versions wrote")
    return ValueError("its header does not start with a digest" + ("" if found is None else f", and it looks like {found}"))


def _parsed(data: np.ndarray) -> Checkpoint:
    """The checkpoint in bytes whose digest is right; one of DAMAGE if they still differ from what `write` would write."""
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if start > min(len(data), LONGEST) or start % ALIGN:
        raise ValueError(f"its header is said to end at byte {start} of {len(data)}")
    entries = _object(data[8:start].tobytes(), "header")
    metadata = entries.pop("__metadata__")
    if metadata["checkpoint"] != str(FORMAT):
        raise NotOurs(f"its format is {short(metadata['checkpoint'])}, and this version reads {FORMAT}")
    arrays = _arrays(data[start:], entries)
    weights = {name: array for name, array in arrays.items() if not name.startswith(STATE)}
    state = {name.removeprefix(STATE): array for name, array in arrays.items() if name.startswith(STATE)}
    return Checkpoint(weights, state, _position(metadata["position"]))


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    """The JSON object in a text, in which no name may occur twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        named = dict(pairs)
        if len(named) < len(pairs):
            raise ValueError(f"a name stands twice in its {what}")
        return named

    found = json.loads(text, object_pairs_hook=unique)
    if not isinstance(found, dict):
        raise ValueError(f"its {what} is no JSON object")
    return found


def _arrays(data: np.ndarray, entries: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Views of the arrays, which fill the data from its first byte to its last, in the order of `write`."""
    arrays: dict[str, np.ndarray] = {}
    place, before = 0, (-math.inf, "")
    for name, entry in entries.items():
        dtype, size = _checked(name, entry, place)
        here = (-dtype.itemsize, name)
        if here <= before:
            raise ValueError(f"{short(name)} is not where its width and name belong")
        if place + size > len(data):
            raise ValueError(f"{short(name)} ends at byte {short(place + size)} of its {len(data)} bytes of data")
        arrays[name] = data[place : place + size].view(dtype).reshape(entry["shape"])
        place, before = place + size, here
    if place != len(data):
        raise ValueError(f"its arrays end at byte {place} of its {len(data)} bytes of data")
    return arrays


def _checked(name: str, entry: Any, place: int) -> tuple[np.dtype[Any], int]:
    """Type and bytes of an array that must start at `place`; one of DAMAGE if its entry does not say so."""
    if set(entry) != {"dtype", "shape", "data_offsets"} or type(entry["dtype"]) is not str or entry["dtype"] not in DTYPES:
        raise ValueError(f"{short(name)} is described as {short(entry)}")
    dtype, shape, offsets = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if type(shape) is not list or len(shape) > AXES or any(type(axis) is not int or not 0 <= axis < 1 << 63 for axis in shape):
        raise ValueError(f"{short(name)} has the shape {short(shape)}")
    size = math.prod(shape) * dtype.itemsize
    if type(offsets) is not list or any(type(end) is not int for end in offsets) or offsets != [place, place + size]:
        raise ValueError(f"{short(name)} of shape {short(shape)} lies at {short(offsets)}, and must start at {place}")
    return dtype, size


def _position(text: str) -> dict[str, Any]:
    position = _object(text, "position")
    for name, (holds, words) in FORMS.items():
        if name in position and not holds(position[name]):
            raise ValueError(f"{name} of its position is {short(position[name])}, but must be {words}")
    return position


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 1 << 63)


def _is_row(value: Any, *kinds: Callable[[Any], bool]) -> bool:
    return type(value) is list and len(value) == len(kinds) and all(holds(one) for holds, one in zip(kinds, value, strict=True))


def _is_table(value: Any, **kinds: Callable[[Any], bool]) -> bool:
    return type(value) is dict and all(name in kinds and kinds[name](one) for name, one in value.items())


# The entries of a position: what each may be, and the same in words.
FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("steps", "tokens", "skipped"), (_is_count, "a whole number of at least 0")),
    "updates": (_is_number, "a number"),
    "train_loss": (lambda v: v is None or _is_number(v), "a number, or null"),
    "diverged": (lambda v: type(v) is bool, "true or false"),
    "scaler": (lambda v: v is None or _is_row(v, _is_number, _is_count), "a number and a count, or null"),
    "guard": (lambda v: _is_row(v, _is_count, _is_count, _is_number), "two counts and a number"),
    "curve": (
        lambda v: type(v) is list and all(_is_row(point, _is_count, _is_number) for point in v),
        "rows of a count and a number",
    ),
    "stopping": (lambda v: v is None or _is_table(v, best=_is_number, waited=_is_count), "best and waited, or null"),
    "noise": (
        lambda v: _is_table(v, **dict.fromkeys(("signal", "variance", "weight"), _is_number), decay=_is_decay),
        "signal, variance, weight and decay",
    ),
}


def _is_decay(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1
