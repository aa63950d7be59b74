"""GPT-2 in and out, against transformers: the same logits both ways, the same bits after a round trip."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import START, read, write_pretrained
from models.config import GPTConfig
from models.gpt import GPT
from models.huggingface import from_gpt2, to_gpt2

torch.set_num_threads(1)

SIZE: dict[str, Any] = {"vocab_size": 61, "n_positions": 24, "n_embd": 32, "n_layer": 2, "n_head": 4}
OURS: dict[str, Any] = {
    "vocabulary": 61,
    "context": 24,
    "hidden": 32,
    "layers": 2,
    "heads": 4,
    "activation": "gelu_tanh",
}
KINDS: list[dict[str, Any]] = [
    {},
    {"tie_word_embeddings": False},
    {"n_inner": 40, "layer_norm_epsilon": 1e-3, "resid_pdrop": 0.0, "embd_pdrop": 0.25, "attn_pdrop": 0.5},
    {"activation_function": "gelu"},
    {"activation_function": "gelu_pytorch_tanh", "n_layer": 11},
]


def shaken(model: Any, seed: int = 0) -> Any:
    """A model all of whose weights matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.2)
    return model.eval()


def theirs(**kind: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    return shaken(transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**SIZE, **kind})))


def ours(config: dict[str, Any], weights: dict[str, np.ndarray]) -> GPT:
    model = GPT(GPTConfig(**config))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model


def named(model: GPT) -> dict[str, np.ndarray]:
    return {name: weight.detach().numpy() for name, weight in model.named_parameters()}


@torch.no_grad()
def assert_same(one: GPT, other: Any) -> None:
    ids = torch.randint(61, (3, 24), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(one(ids), other(ids).logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one(ids[:, :5]), other(ids[:, :5]).logits, rtol=1e-5, atol=1e-5)


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype == np.float32 and array.shape == other[name].shape
        assert array.tobytes() == other[name].tobytes()


def edited(folder: Path, **changes: Any) -> None:
    """Change config.json."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small GPT-2 as we write it: needs no transformers."""
    config = GPTConfig(**OURS, bias=True)
    to_gpt2(tmp_path / "gpt2", config, named(shaken(GPT(config, 3))))
    return tmp_path / "gpt2"


@pytest.mark.parametrize("kind", KINDS)
def test_theirs_read_here_gives_their_logits(tmp_path: Path, kind: dict[str, Any]) -> None:
    model = theirs(**kind)
    model.save_pretrained(tmp_path)
    config, weights = from_gpt2(tmp_path)
    assert json.loads(json.dumps(config)) == config
    assert_same(ours(config, weights), model)


def test_the_config_is_theirs_in_our_words(tmp_path: Path) -> None:
    theirs(**KINDS[2]).save_pretrained(tmp_path)
    assert from_gpt2(str(tmp_path))[0] == {
        **OURS,
        "ff": 40,
        "norm_eps": 1e-3,
        "dropout": 0.0,
        "embedding_dropout": 0.25,
        "attention_dropout": 0.5,
        "init_std": 0.02,
        "tie": True,
        "bias": True,
    }


@pytest.mark.parametrize(
    "change", [{}, {"tie": False}, {"ff": 48, "norm_eps": 1e-3}, {"activation": "gelu"}, {"bias": False}]
)
def test_ours_read_there_gives_our_logits(tmp_path: Path, change: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    config = GPTConfig(**{**OURS, "bias": True, "dropout": 0.1, **change})
    model = shaken(GPT(config, 5))
    to_gpt2(tmp_path, config, named(model))
    loaded, info = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert_same(model, loaded.eval())
    assert (loaded.config.resid_pdrop, loaded.config.embd_pdrop, loaded.config.attn_pdrop) == (0.1, 0.1, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_changes_no_bit(tmp_path: Path, kind: dict[str, Any]) -> None:
    theirs(**kind).save_pretrained(tmp_path / "0")
    config, weights = from_gpt2(tmp_path / "0")
    to_gpt2(tmp_path / "1", GPTConfig(**config), weights)
    again, same = from_gpt2(tmp_path / "1")
    assert GPTConfig(**again) == GPTConfig(**{**config, "ff": GPTConfig(**config).inner})
    assert_equal(same, weights)
    to_gpt2(tmp_path / "2", GPTConfig(**again), {name: torch.from_numpy(array) for name, array in same.items()})
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "2").iterdir()) == ["config.json", "model.safetensors"]


def test_views_into_one_buffer_can_be_written(tmp_path: Path) -> None:
    config = GPTConfig(**OURS)
    model = shaken(GPT(config))
    buffer = torch.cat([weight.detach().reshape(-1) for weight in model.parameters()])
    parts = buffer.split([weight.numel() for weight in model.parameters()])
    views = {
        name: part.view(weight.shape) for (name, weight), part in zip(model.named_parameters(), parts, strict=True)
    }
    to_gpt2(tmp_path, config, views)
    written = from_gpt2(tmp_path)[1]
    assert_equal({name: written[name] for name in views}, named(model))
    assert not any(array.any() for name, array in written.items() if name.endswith("bias"))


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_files_of_the_hub_with_masks_and_copies_are_read(folder: Path, prefix: str) -> None:
    expected = from_gpt2(folder)[1]
    tensors = {name.replace("transformer.", prefix): t for name, t in load_file(folder / "model.safetensors").items()}
    for number in range(2):
        tensors[f"{prefix}h.{number}.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
        tensors[f"{prefix}h.{number}.attn.masked_bias"] = torch.tensor(-1e4)
    tensors["lm_head.weight"] = tensors[f"{prefix}wte.weight"].clone()
    save_file(tensors, folder / "model.safetensors")
    assert_equal(from_gpt2(folder)[1], expected)


def test_files_in_parts_are_read(tmp_path: Path) -> None:
    model = theirs(n_layer=4)
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert not (tmp_path / "model.safetensors").exists() and len(list(tmp_path.glob("*.safetensors"))) > 2
    assert_same(ours(*from_gpt2(tmp_path)), model)
    sorted(tmp_path.glob("*.safetensors"))[1].unlink()
    with pytest.raises(FileNotFoundError, match="there is no model-00002-of-"):
        from_gpt2(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"index.json is damaged: it has no weight_map"):
        from_gpt2(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_become_float32(folder: Path, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    table = from_gpt2(folder)[1]["tokens.weight"]
    assert table.dtype == np.float32
    assert np.array_equal(table, tensors["transformer.wte.weight"].float().numpy())


def test_what_was_read_is_ours_to_change(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    for array in from_gpt2(folder)[1].values():
        array[...] = 0
    assert (folder / "model.safetensors").read_bytes() == before


def test_what_was_read_is_a_checkpoint_to_start_from(folder: Path, tmp_path: Path) -> None:
    config, weights = from_gpt2(folder)
    write_pretrained(tmp_path / "start", weights)
    saved = read(tmp_path / "start")
    assert set(saved.weights) == {name for name, _ in GPT(GPTConfig(**config)).named_parameters()}
    assert_equal({name: saved.weights[name] for name in weights}, weights)
    assert (saved.state, saved.position) == ({}, dict(START))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "relu"}, "activation_function is 'relu', but must be one of"),
        ({"model_type": "gptj"}, "model_type is 'gptj', but only 'gpt2' can be read"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False, but only True"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"n_embd": None}, "hidden is None"),
        ({"n_head": 5}, "hidden is 32, but must be divisible by heads"),
        ({"resid_pdrop": 1.0}, "dropout is 1.0"),
        ({"n_positions": 23}, r"wpe.weight is \(24, 32\), but by its config must be \(23, 32\)"),
        ({"n_layer": 3}, "h.2.ln_1.weight is absent"),
        ({"n_layer": 1}, "h.1.attn.c_attn.bias is not a weight of"),
        ({"n_inner": 64}, r"h.0.mlp.c_fc.weight is \(32, 128\), but by its config must be \(32, 64\)"),
        ({"tie_word_embeddings": False}, "lm_head.weight is absent"),
    ],
)
def test_what_cannot_be_read_is_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    edited(folder, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        from_gpt2(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_head_that_is_not_the_table_is_not_tied(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "lm_head.weight": tensors["transformer.wte.weight"] + 1}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"lm_head.weight differs from wte.weight"):
        from_gpt2(folder)


def test_damaged_files_are_named(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for part in (b"", b"not safetensors", whole[:100], whole[:-1]):
        (folder / "model.safetensors").write_bytes(part)
        with pytest.raises(ValueError, match=r"gpt2: model.safetensors is damaged"):
            from_gpt2(folder)
    for text in ("", "{", "3"):
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"gpt2: config.json is damaged"):
            from_gpt2(folder)


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder /nowhere"):
        from_gpt2("/nowhere")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"there is no model.safetensors in"):
        from_gpt2(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no config.json in"):
        from_gpt2(folder)


def test_a_name_goes_through_the_library_of_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append(name)
        if name == "some/other":
            raise RuntimeError("no such repository\nand much more")
        return str(folder)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=download))
    assert_equal(from_gpt2("some/gpt-2")[1], from_gpt2(folder)[1])
    assert asked == ["some/gpt-2"]
    with pytest.raises(
        FileNotFoundError, match=r"no folder some/other, and the hub did not give it: no such repository$"
    ):
        from_gpt2("some/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match="no folder some/gpt-2, and the hub needs a library: pip install"):
        from_gpt2("some/gpt-2")


def test_neither_way_imports_transformers() -> None:
    import subprocess

    code = "import sys, models.huggingface; sys.exit('transformers' in sys.modules or 'huggingface_hub' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], check=False).returncode
        == 0
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": "rotary"}, "positions is 'rotary', but GPT-2 can say no other than 'learned'"),
        ({"norm": "rms"}, "norm is 'rms'"),
        ({"activation": "swiglu"}, "activation is 'swiglu', but GPT-2 can say no other than 'gelu_tanh' or 'gelu'"),
        ({"activation": "relu2"}, "activation is 'relu2'"),
        ({"kv_heads": 2}, "kv_heads is 2, but GPT-2 can say no other than heads, which is 4"),
        ({"qk_norm": True}, "qk_norm is True"),
        ({"parametrisation": "mup"}, "parametrisation is 'mup'"),
        ({"vocabulary": None}, "vocabulary is None"),
        ({"bias": True}, "blocks.0.norm1.bias is absent in the weights"),
        ({"layers": 1}, "blocks.1.norm1.weight is .* in the weights and absent in the config"),
        ({"context": 25}, r"positions.weight is \(24, 32\) in the weights and \(25, 32\) in the config"),
        ({"tie": False}, "head.weight is absent in the weights"),
    ],
)
def test_what_gpt2_cannot_say_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    weights = named(GPT(GPTConfig(**OURS)))
    with pytest.raises(ValueError, match=message) as caught:
        to_gpt2(tmp_path / "folder", GPTConfig(**{**OURS, **change}), weights)
    assert "\n" not in str(caught.value) and not (tmp_path / "folder").exists()
