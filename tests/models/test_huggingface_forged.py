"""Forged files of a GPT-2 of others: what they say of sizes, types, names and files is checked before it is used."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from models.config import GPTConfig
from models.gpt import GPT
from models.huggingface import from_gpt2, to_gpt2
from tests.models.test_huggingface import OURS, edited, named, shaken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small GPT-2 as we write it."""
    config = GPTConfig(**OURS, bias=True)
    to_gpt2(tmp_path / "gpt2", config, named(shaken(GPT(config, 3))))
    return tmp_path / "gpt2"


def judged(folder: Path) -> dict[str, np.ndarray] | None:
    """The weights, or None where the folder is refused by name, in one sentence."""
    try:
        return from_gpt2(folder)[1]
    except (ValueError, FileNotFoundError) as error:
        assert str(folder) in str(error) and "\n" not in str(error) and len(str(error)) < 1000
        return None


ODD: list[Any] = [None, True, "32", "\ud800", [], [1], {}, -1, 0, 10**9, 2**63, 10**400, 1.5, float("nan"), float("inf")]
FIELDS_OF_SIZE = ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"]
FIELDS_OF_KIND = ["resid_pdrop", "attn_pdrop", "embd_pdrop", "layer_norm_epsilon", "initializer_range", "model_type"]


@pytest.mark.parametrize("name", [*FIELDS_OF_SIZE, *FIELDS_OF_KIND, "activation_function", "tie_word_embeddings"])
def test_no_value_of_a_config_is_a_traceback_or_takes_memory(folder: Path, name: str) -> None:
    """A billion layers are refused before a table of them is made."""
    for value in ODD:
        edited(folder, **{name: value})
        tracemalloc.start()
        try:
            found = judged(folder)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()
        assert found is None or value in (None, 1.5, 10**9, 2**63, 0, True), value


@pytest.mark.parametrize("text", ["[]", '[["n_layer", 2]]', "null", "[" * 10**5, '{"n_layer":' + "9" * 5000 + "}", "\udcff"])
def test_a_config_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=r"gpt2: config.json is damaged") as caught:
        from_gpt2(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@given(st.data())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_forged_header_of_tensors_is_refused_or_read_as_it_says(folder: Path, data: st.DataObject) -> None:
    path = folder / "model.safetensors"
    kept = folder / "whole"
    if not kept.exists():
        kept.write_bytes(path.read_bytes())
    whole = kept.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, content = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    name = data.draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
    number = st.sampled_from([-1, 0, 1, 4, 32, 61, 2**32, 2**63, len(content)])
    lies: dict[str, Any] = {
        "shape": data.draw(st.lists(number, max_size=3)),
        "data_offsets": data.draw(st.lists(number, min_size=2, max_size=2)),
        "dtype": data.draw(st.sampled_from(["F64", "I32", "U32", "BOOL", "C64", "F16", "X", None])),
    }
    lie = data.draw(st.sampled_from(sorted(lies)))
    forged = {**header, name: {**header[name], lie: lies[lie]}}
    text = json.dumps(forged).encode()
    length = data.draw(st.sampled_from([len(text), len(text) - 1, 0, 2**40, 2**63]))
    path.write_bytes(length.to_bytes(8, "little") + text + content)
    if judged(folder) is not None:
        assert forged == header and length == len(text)


def test_weights_that_are_no_real_numbers_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    for dtype in (torch.int32, torch.uint8, torch.bool, torch.complex64):
        save_file({**tensors, "transformer.wte.weight": torch.zeros(61, 32, dtype=dtype)}, folder / "model.safetensors")
        with pytest.raises(ValueError, match=rf"wte.weight is of {dtype}, but must be of real numbers"):
            from_gpt2(folder)


def test_a_tensor_that_stands_twice_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    twice = {**tensors, "wte.weight": tensors["transformer.wte.weight"] + 1}
    save_file(twice, folder / "model.safetensors")
    with pytest.raises(ValueError, match="holds a tensor twice"):
        from_gpt2(folder)
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    save_file({"wte.weight": twice["wte.weight"]}, folder / "b.safetensors")
    save_file(tensors, folder / "a.safetensors")
    index = {"weight_map": {"wte.weight": "a.safetensors", "wpe.weight": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="stands there twice"):
        from_gpt2(folder)


@pytest.mark.parametrize(
    "files", [{"a": ".."}, {"a": ""}, {"a": 3}, {"a": "x" * 5000}, {"a": "a\0b"}, {"a": "/etc/passwd"}, [], None, {"a": []}]
)
def test_an_index_that_names_no_files_is_refused(folder: Path, files: Any) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert judged(folder) is None


def test_a_folder_in_the_place_of_a_file_is_no_traceback(folder: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        (folder / name).mkdir()
        with pytest.raises(OSError, match=name) as caught:
            from_gpt2(folder)
        assert "\n" not in str(caught.value)
