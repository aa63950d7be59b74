"""The checkpoint's file: what it holds, what it refuses, and that it is there whole or not at all."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as safetensors
from safetensors.torch import load_file

from models import checkpoint as checkpoints
from models import files
from models.checkpoint import DIGITS, START, Checkpoint, check_fits, read, write, write_pretrained

ROOT = Path(__file__).resolve().parents[2]


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def example() -> Checkpoint:
    weights = {"tokens.weight": floats(3, 4), "norm.weight": floats(4, seed=1)}
    state = {"first": floats(17, seed=2), "count": np.array(5), "rows": floats(2, 1, 3, seed=3)}
    position = {
        "steps": 7,
        "train_loss": float("nan"),
        "best": None,
        "scaler": [65536.0, 3],
        "é\n": True,
        "tokens": 10**15,
    }
    return Checkpoint(weights, state, position)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "example"
    write(path, example())
    return path.read_bytes()


def resealed(data: bytes) -> bytes:
    """The bytes with the digest that goes with them."""
    digest = zlib.crc32(data[DIGITS.stop :], zlib.crc32(data[: DIGITS.start]))
    return data[: DIGITS.start] + b"%08x" % digest + data[DIGITS.stop :]


def refused(path: Path, data: bytes) -> str:
    """The one sentence with which bytes are refused."""
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def same(first: Checkpoint, second: Checkpoint) -> bool:
    def plain(checkpoint: Checkpoint) -> Any:
        groups = (checkpoint.weights, checkpoint.state)
        arrays = [{name: (a.dtype.str, a.shape, a.tobytes()) for name, a in group.items()} for group in groups]
        return arrays, json.dumps(checkpoint.position, sort_keys=True)

    return plain(first) == plain(second)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "new folder" / "file", example())
    assert same(read(tmp_path / "new folder" / "file"), example())
    assert os.listdir(tmp_path / "new folder") == ["file"]


def test_anybody_reads_the_weights_with_safetensors(tmp_path: Path) -> None:
    write(tmp_path / "file", example())
    tensors = load_file(tmp_path / "file")
    for name, array in example().weights.items():
        assert torch.equal(tensors[name], torch.from_numpy(array))
    assert set(tensors) == {"tokens.weight", "norm.weight", "state/first", "state/count", "state/rows"}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint16, np.bool_, ">f4"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (5, 3)])
def test_any_plain_dtype_and_shape(tmp_path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    array = floats(*shape).astype(dtype) if shape else np.array(3, dtype)
    write(tmp_path / "file", Checkpoint({"w": floats(3)}, {"x": array, "odd": np.zeros(3, np.uint8)}, {}))
    found = read(tmp_path / "file").state["x"]
    assert found.shape == array.shape and found.dtype == array.dtype.newbyteorder("<")
    assert np.array_equal(found, array)
    assert load_file(tmp_path / "file")["state/x"].shape == shape


def test_a_view_of_foreign_order_is_written_as_it_looks(tmp_path: Path) -> None:
    array = floats(4, 6)
    write(tmp_path / "file", Checkpoint({"w": array.T[::2]}, {}, {}))
    assert np.array_equal(read(tmp_path / "file").weights["w"], array.T[::2])


def test_equal_states_give_equal_files_whatever_the_order(tmp_path: Path, whole: bytes) -> None:
    one = example()
    parts: list[Any] = [one.weights, one.state, one.position]
    turned = [dict(reversed(part.items())) for part in parts]
    write(tmp_path / "turned", Checkpoint(*turned))
    assert (tmp_path / "turned").read_bytes() == whole
    write(tmp_path / "copy", read(tmp_path / "turned"))
    assert (tmp_path / "copy").read_bytes() == whole


def test_arrays_are_aligned_private_and_writable(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(whole)
    saved = read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for array in [*saved.weights.values(), *saved.state.values()]:
            assert array.flags.aligned
            torch.from_numpy(array).zero_()
    assert path.read_bytes() == whole
    write(path, saved)  # over the very file that is mapped
    assert not read(path).weights["tokens.weight"].any()


def test_empty_text_and_truncated_files_are_damaged(tmp_path: Path, whole: bytes) -> None:
    for data in (b"", b"\0", b"not a checkpoint", b"\0" * 4096, whole + b"\0", whole * 2, b"\xff" * 500):
        assert "damaged" in refused(tmp_path / "file", data)
    for end in range(1, len(whole), 7):
        assert "damaged" in refused(tmp_path / "file", whole[:end])
        assert "damaged" in refused(tmp_path / "file", whole[:end] + bytes(len(whole) - end))


def test_every_fifth_bit_of_the_header_matters(tmp_path: Path, whole: bytes) -> None:
    end = 8 + int.from_bytes(whole[:8], "little")
    for bit in range(0, 8 * end, 5):  # 5 and 8 have no common factor: all bits of a byte have their turn
        place, data = bit // 8, bytearray(whole)
        data[place] ^= 1 << bit % 8
        assert "damaged" in refused(tmp_path / "file", bytes(data)), f"bit {bit}"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bits_anywhere_are_damage(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    flips = data.draw(st.sets(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=3))
    flipped = bytearray(whole)
    for bit in flips:
        flipped[bit // 8] ^= 1 << bit % 8
    assert "damaged" in refused(tmp_path / "file", bytes(flipped))


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1, 100, 500, 10**6])
def test_a_header_that_lies_about_its_length_is_damage_even_when_sealed(
    tmp_path: Path, whole: bytes, length: int
) -> None:
    lying = length.to_bytes(8, "little") + whole[8:]
    assert "damaged" in refused(tmp_path / "file", lying)
    assert "damaged" in refused(tmp_path / "file", resealed(lying))


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b'"F32"', b'"F33"'),
        (b'"F32"', b'"F64"'),
        (b'"shape":[3,4]', b'"shape":[3,5]'),
        (b'"shape":[3,4]', b'"shapf":[3,4]'),
        (b'"shape":[3,4]', b'"shape":"34" '),
        (b'"data_offsets":[', b'"data_offsets":7'),
        (b'"position":"{', b'"position":"['),
        (b'"position":', b'"posision":'),
        (b'"checkpoint":', b'"checkpoimt":'),
    ],
)
def test_a_sealed_header_that_makes_no_sense_is_refused_too(
    tmp_path: Path, whole: bytes, there: bytes, instead: bytes
) -> None:
    assert there in whole and len(there) == len(instead)
    assert "damaged" in refused(tmp_path / "file", resealed(whole.replace(there, instead)))
    assert same_bytes_are_read(tmp_path / "file", resealed(whole))


def same_bytes_are_read(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    return same(read(path), example())


def test_files_of_other_versions_are_no_checkpoints_of_this(tmp_path: Path, whole: bytes) -> None:
    np.savez(tmp_path / "old.npz", weights=floats(3))
    sentence = refused(tmp_path / "old.npz", (tmp_path / "old.npz").read_bytes())
    assert sentence.endswith("is not a checkpoint of this version: it is an .npz file, as earlier versions wrote")
    later = resealed(whole.replace(b'"checkpoint":"2"', b'"checkpoint":"3"'))
    assert "its format is 3, and this version reads 2" in refused(tmp_path / "later", later)


def of_torch(legacy: bool) -> bytes:
    made = BytesIO()
    torch.save({"w": torch.zeros(3)}, made, _use_new_zipfile_serialization=not legacy)
    return made.getvalue()


STRANGERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "safetensors": (lambda: safetensors({"w": floats(3)}), "a safetensors file"),
    "torch": (lambda: of_torch(False), "a file of torch.save"),
    "old torch": (lambda: of_torch(True), "a pickle, as torch.save wrote"),
    "cut torch": (lambda: of_torch(False)[:300], "a damaged zip file"),
    "gguf": (lambda: b"GGUF" + bytes(99), "a GGUF file"),
    "gzip": (lambda: gzip.compress(bytes(99)), "data compressed by gzip"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_files_of_others_are_called_what_they_are(tmp_path: Path, name: str) -> None:
    content, words = STRANGERS[name]
    sentence = refused(tmp_path / "file", content())
    assert "not a checkpoint" in sentence and f"it looks like {words}" in sentence and "npz" not in sentence


@pytest.mark.parametrize("dtype", [np.complex64, np.object_, "S3", "M8[s]"])
def test_a_foreign_dtype_is_refused_and_the_old_file_stays(tmp_path: Path, whole: bytes, dtype: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="file cannot hold state/x: its dtype is"):
        write(path, Checkpoint({}, {"x": np.zeros(2, dtype)}, {}))
    assert path.read_bytes() == whole and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["state/first", "__metadata__"])
def test_names_of_the_format_are_no_names_of_weights(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"a weight called {name}"):
        write(tmp_path / "file", Checkpoint({name: floats(2)}, {}, {}))


def test_what_does_not_fit_is_named() -> None:
    shapes: dict[str, tuple[int, ...]] = {"tokens.weight": (3, 4), "norm.weight": (4,)}
    one = example()
    whole = Checkpoint(one.weights, one.state, {**START, **one.position})
    check_fits("X", whole, shapes)
    for name in START:
        lacking = {other: value for other, value in whole.position.items() if other != name}
        with pytest.raises(ValueError, match=f"checkpoint X does not fit: its position has no {name}"):
            check_fits("X", Checkpoint(whole.weights, whole.state, lacking), shapes)
    others: list[tuple[dict[str, tuple[int, ...]], str]] = [
        ({"tokens.weight": (3, 8)}, "tokens.weight is (3, 4) in the file and (3, 8) in the model"),
        ({"head.weight": (3, 4)}, "head.weight is absent in the file and (3, 4) in the model"),
    ]
    for change, sentence in others:
        with pytest.raises(ValueError) as caught:
            check_fits("X", example(), {**shapes, **change})
        assert str(caught.value) == f"checkpoint X does not fit: {sentence}"
    with pytest.raises(ValueError, match=r"norm.weight is \(4,\) in the file and absent in the model"):
        check_fits("X", example(), {"tokens.weight": (3, 4)})


def test_weights_from_elsewhere_stand_at_the_start(tmp_path: Path) -> None:
    write_pretrained(tmp_path / "file", example().weights)
    assert same(read(tmp_path / "file"), Checkpoint(example().weights, {}, dict(START)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*nowhere"):
        read(tmp_path / "nowhere")


def test_what_the_system_refuses_is_one_sentence_with_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"^checkpoint \S*folder cannot be read: Is a directory$"):
        read(tmp_path / "folder")
    with pytest.raises(OSError, match=r"^\S*folder cannot be written: Is a directory$"):
        write(tmp_path / "folder", example())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^\S*file/below cannot be written: "):
        write(tmp_path / "file" / "below", example())

    def forbid(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "some name")

    monkeypatch.setattr(files.os, "fsync", forbid)
    with pytest.raises(PermissionError, match=r"^\S*mine cannot be written: Permission denied$"):
        write(tmp_path / "mine", example())
    monkeypatch.setattr(checkpoints.np, "memmap", forbid)
    with pytest.raises(PermissionError, match=r"^checkpoint \S*mine cannot be read: Permission denied$"):
        read(tmp_path / "mine")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_without_permission(tmp_path: Path) -> None:
    write(tmp_path / "file", example())
    (tmp_path / "file").chmod(0)
    with pytest.raises(PermissionError, match="file cannot be read: Permission denied"):
        read(tmp_path / "file")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="other cannot be written: Permission denied"):
        write(tmp_path / "other", example())
    tmp_path.chmod(0o700)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(whole)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="file cannot be written: No space left"):
            patch.setattr(files.os, step, full)
            write(path, Checkpoint({"w": floats(9)}, {}, {}))
        assert path.read_bytes() == whole and os.listdir(tmp_path) == ["file"]


WRITER = """
import sys, numpy as np
from models.checkpoint import Checkpoint, write
for number in range(10**9):
    write(sys.argv[1], Checkpoint({"w": np.full(4_000_000, number, np.float32)}, {}, {"number": number}))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_killed_in_the_middle_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    in_the_middle = 0
    for round in range(4):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT)
        try:
            wait_for_half(tmp_path, path, later=round)
        finally:
            process.kill()
            process.wait()
        halves = list(tmp_path.glob("file.*.tmp"))
        in_the_middle += bool(halves)
        saved = read(path)
        assert np.array_equal(saved.weights["w"], np.full(4_000_000, saved.position["number"], np.float32))
        for half in halves:
            half.unlink()
    assert in_the_middle


def wait_for_half(folder: Path, path: Path, later: int) -> None:
    """Return while a process is writing beside a file that is there already, `later` files after its first."""
    ends, seen = time.monotonic() + 900, set()
    while time.monotonic() < ends:
        halves = {name for name in os.listdir(folder) if name.endswith(".tmp")} if path.exists() else set()
        seen |= halves
        if halves and len(seen) > later:
            return
    raise AssertionError("no half-written file was ever seen")
