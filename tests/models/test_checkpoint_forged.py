"""Forged checkpoints: the digest is right, and the header lies. Each is refused by name, or read at its word."""

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from models.checkpoint import DTYPES, START, Checkpoint, read, write
from tests.models.test_checkpoint import floats, refused, resealed, same
from tests.models.tiny import STEP, make


def forged(entries: Any, data: bytes, padding: int | None = None, position: str = "{}") -> bytes:
    """A file with a right digest around any header; `entries` are (name, value) pairs, or the text that they would be."""
    metadata = json.dumps({"digest": "0" * 8, "checkpoint": "2", "position": position}, separators=(",", ":"))
    text = entries if isinstance(entries, str) else "".join(f",{json.dumps(name)}:{json.dumps(one)}" for name, one in entries)
    header = f'{{"__metadata__":{metadata}{text}}}'.encode()
    header += b" " * (-(8 + len(header)) % 64 if padding is None else padding)
    return resealed(len(header).to_bytes(8, "little") + header + data)


def entry(dtype: Any, shape: Any, start: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


ODD = st.sampled_from([-1, 0, 1, 2, 3, 4, 8, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30, True, None, 1.0, "2", [], {}])
WORDS = ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F33", "", None, 4, ["F32"]]
ENTRIES = st.one_of(
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(WORDS),
            "shape": st.lists(ODD, max_size=4) | ODD,
            "data_offsets": st.lists(st.integers(-8, 40) | ODD, min_size=1, max_size=3) | ODD,
        },
        optional={"more": st.just(1)},
    ),
    ODD.map(lambda odd: {"shape": odd}),
)


SIZES = {"F64": 8, "F32": 4, "F16": 2, "U8": 1}
NAMES = st.sampled_from(["a", "b", "c", "state/a", "state/b", "\n", "é"])


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[list[tuple[str, Any]], bytes]:
    """Arrays side by side, of which a few facts may then be changed."""
    arrays = draw(st.lists(st.tuples(st.sampled_from(sorted(SIZES)), NAMES, st.lists(st.integers(0, 3), max_size=3)), max_size=4))
    if draw(st.booleans()):
        arrays.sort(key=lambda array: (-SIZES[array[0]], array[1]))
    pairs: list[tuple[str, Any]] = []
    place = 0
    for word, name, shape in arrays:
        size = int(np.prod(shape, dtype=int)) * SIZES[word]
        pairs.append((name, entry(word, shape, place, place + size)))
        place += size
    for _ in range(draw(st.integers(0, 2)) if pairs else 0):
        number = draw(st.integers(0, len(pairs) - 1))
        name, one = pairs[number]
        lying = {**one, "shape": [*one["shape"], draw(ODD)]} if isinstance(one.get("shape"), list) else one
        pairs[number] = name, draw(st.sampled_from([lying, draw(ENTRIES)]))
        if draw(st.booleans()):
            pairs.append((draw(st.sampled_from([name, "z"])), draw(st.sampled_from([one, draw(ENTRIES)]))))
    length = draw(st.sampled_from([place, place, place, 0, place + 1, 64]))
    return pairs, draw(st.binary(min_size=length, max_size=length))


def says(pairs: list[tuple[str, Any]], data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What a header says, taken at its word."""
    said = {}
    for name, one in pairs:
        start, end = one["data_offsets"]
        said[name] = (DTYPES[one["dtype"]].str, tuple(one["shape"]), data[start:end])
    return said


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(laid_out(), st.sampled_from([None, None, None, 0, 1, 63]))
def test_a_forged_header_is_refused_by_name_or_read_at_its_word(
    tmp_path: Path, file: tuple[list[tuple[str, Any]], bytes], padding: int | None
) -> None:
    pairs, data = file
    path = tmp_path / "forged"
    path.write_bytes(forged(pairs, data, padding))
    try:
        found = read(path)
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 400
        return
    arrays = {**found.weights, **{"state/" + name: array for name, array in found.state.items()}}
    assert {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()} == says(pairs, data)
    assert len(arrays) == len(pairs) and sum(array.nbytes for array in arrays.values()) == len(data)
    for array in arrays.values():
        assert array.flags.aligned and array.flags.c_contiguous
    theirs = load_file(path)  # another reader of the same format
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == {name: a.shape for name, a in arrays.items()}
    write(tmp_path / "again", found)
    assert same(read(tmp_path / "again"), found)


SIXTEEN = bytes(range(16))
FORGERIES: dict[str, tuple[Any, bytes]] = {
    "from the end": ([("a", entry("F32", [2], -8, 16))], SIXTEEN),
    "a step": ([("a", {"dtype": "F32", "shape": [2], "data_offsets": [0, 16, 2]})], SIXTEEN),
    "a guessed axis": ([("a", entry("F32", [-1], 0, 16))], SIXTEEN),
    "two guesses": ([("a", entry("F32", [-2, -2], 0, 16))], SIXTEEN),
    "the same bytes twice": ([("a", entry("F32", [4], 0, 16)), ("b", entry("F32", [4], 0, 16))], SIXTEEN),
    "half of another": ([("a", entry("F32", [4], 0, 16)), ("b", entry("F32", [2], 8, 16))], SIXTEEN),
    "a gap": ([("a", entry("F32", [1], 0, 4)), ("b", entry("F32", [1], 12, 16))], SIXTEEN),
    "bytes of nobody": ([("a", entry("F32", [2], 0, 8))], SIXTEEN),
    "beyond the end": ([("a", entry("F32", [8], 0, 32))], SIXTEEN),
    "far beyond": ([("a", entry("F32", [2**61], 0, 2**63))], SIXTEEN),
    "a product of 0 modulo 2**64": ([("a", entry("U8", [2**32, 2**32], 0, 0))], b""),
    "no elements of a huge array": ([("a", entry("U8", [0, 2**80], 0, 0))], b""),
    "too many axes": ([("a", entry("U8", [1] * 65, 0, 1))], b"a"),
    "many large axes": ([("a", entry("U8", [10**4000] * 200, 0, 1))], b"a"),
    "a name twice": ([("a", entry("F32", [4], 0, 16)), ("a", entry("F32", [4], 0, 16))], SIXTEEN),
    "crooked": ([("a", entry("U8", [1], 0, 1)), ("b", entry("F32", [1], 1, 5))], bytes(5)),
    "true as a length": ([("a", entry("U8", [True], 0, 1))], b"a"),
    "a real length": ([("a", entry("U8", [1.0], 0, 1))], b"a"),
    "true as an offset": ([("a", entry("U8", [1], False, True))], b"a"),
    "no dtype": ([("a", {"shape": [1], "data_offsets": [0, 1]})], b"a"),
    "no such dtype": ([("a" * 10**5, entry("F8\n" * 10**5, [1], 0, 1))], b"a"),
    "deep": ("," + '"a":' + "[" * 10**5, b""),
    "deep and closed": ("," + '"a":' + "[" * 10**5 + "]" * 10**5, b""),
    "a number of many digits": (',"a":' + "9" * 10**5, b""),
    "metadata twice": (',"__metadata__":{"checkpoint":"2","position":"{}"}', b""),
    "no object": ("}[", b""),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_by_name(tmp_path: Path, name: str) -> None:
    sentence = refused(tmp_path / "file", forged(*FORGERIES[name]))
    assert "is damaged or not a checkpoint" in sentence and len(sentence) < 400 and sentence.isprintable()


@pytest.mark.parametrize("filling", ["[],", "{},", '"a",', "0,", "[[],[]],"])
def test_a_header_of_megabytes_is_refused_before_it_is_parsed(tmp_path: Path, filling: str) -> None:
    """Parsed, it would take some thirty times its size."""
    (tmp_path / "file").write_bytes(forged(',"a":[' + filling * (5_000_000 // len(filling)) + "0]", b""))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="its header is said to end at byte"):
            read(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_header_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a checkpoint cannot hold 1 arrays and this position: its header is of"):
        write(tmp_path / "file", Checkpoint({"w": floats(1)}, {}, {"words": "x" * 5_000_000}))
    assert os.listdir(tmp_path) == []


LIES: list[Any] = [None, -1, 1.5, "3", "x\n" * 500, True, 10**400, 2**63]
LIES += [[], [1], ["a", 0], [0, 0, "a"], {}, {"a": 1}, {"best": "a"}]
HONEST: dict[str, list[Any]] = {
    "steps": [0, 2**62],
    "updates": [0, 1.5, -1],
    "train_loss": [None, 0, 1.5, -1, float("nan"), float("inf")],
    "diverged": [True, False],
    "scaler": [None, [65536.0, 3]],
    "guard": [[0, 20, 0.5]],
    "stopping": [None, {}, {"best": 1.5, "waited": 3}],
    "noise": [{}, {"signal": 0.1, "variance": -0.1, "weight": 0.5, "decay": 0.99}],
}


@pytest.mark.parametrize("name", [*HONEST, "tokens", "skipped"])
def test_a_position_that_is_none_is_refused_by_name(tmp_path: Path, name: str) -> None:
    honest = HONEST.get(name, HONEST["steps"])
    lies = [lie for lie in LIES if not any(lie is one or (type(lie) is type(one) and lie == one) for one in honest)]
    for value in [*honest, *(lies if name not in ("updates", "train_loss") else [lie for lie in lies if lie not in (-1, 1.5)])]:
        write(tmp_path / "file", Checkpoint({"w": floats(2)}, {}, {**START, name: value}))
        if value in honest:
            read(tmp_path / "file")
            continue
        with pytest.raises(ValueError, match=rf"file is damaged or not a checkpoint: {name} of its position is") as caught:
            read(tmp_path / "file")
        assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_a_run_takes_a_forged_checkpoint_whole_or_refuses_it_unchanged(tmp_path: Path) -> None:
    """Whatever stands in a position or in the state: no traceback of another kind, and no half of it."""
    config = {"ema": 0.9, "noise_every": 2, "patience": 2, "eval_every": 1}
    run = make(config)
    run.advance(4 * STEP)
    run.save(tmp_path / "true")
    true = read(tmp_path / "true")
    positions = [{name: one for name, one in true.position.items() if name != other} for other in true.position]
    positions += [{**true.position, name: lie} for name in true.position for lie in LIES]
    states = [{**true.state, name: np.zeros(3, np.float32)} for name in true.state]
    forged = [Checkpoint(true.weights, true.state, one) for one in positions]
    forged += [Checkpoint(true.weights, state, true.position) for state in states]
    taken = 0
    for checkpoint in forged:
        write(tmp_path / "forged", checkpoint)
        other = make(config)
        other.save(tmp_path / "before")
        try:
            other.load(tmp_path / "forged")
        except ValueError as error:
            assert str(tmp_path / "forged") in str(error) and "\n" not in str(error)
            other.save(tmp_path / "after")
            assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes()
        else:
            taken += 1
            other._step()
            other._metrics(1.0, 1.0)
    assert 0 < taken < len(forged) / 2


@pytest.mark.parametrize("position", ["[]", "[[1,2]]", "3", '{"steps":1,"steps":2}', "", "{", "null"])
def test_a_position_that_is_no_object_is_refused(tmp_path: Path, position: str) -> None:
    data = forged([("w", entry("F32", [1], 0, 4))], bytes(4), position=position)
    assert "damaged" in refused(tmp_path / "file", data)
    (tmp_path / "file").write_bytes(forged([("w", entry("F32", [1], 0, 4))], bytes(4), position='{"steps":1}'))
    assert read(tmp_path / "file").position == {"steps": 1}
