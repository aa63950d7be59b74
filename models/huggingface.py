"""Reads and writes GPT-2 of Hugging Face: config.json and safetensors. Imports no transformers.

    config, weights = from_gpt2("openai-community/gpt2")      # or a folder
    checkpoint.write_pretrained("gpt2.ckpt", weights)         # which a TrainRun with this config loads and tunes
    to_gpt2("folder", GPTConfig(**config), weights)           # which GPT2LMHeadModel.from_pretrained loads

Both models are the same function, so only names differ, and their Conv1D keeps matrices transposed.
"""

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from models.config import GPTConfig
from models.files import atomic_write, short

# Ours -> theirs: hyperparameters, the parts of a block, and activations.
FIELDS = {
    "vocabulary": "vocab_size",
    "context": "n_positions",
    "hidden": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "dropout": "resid_pdrop",
    "embedding_dropout": "embd_pdrop",
    "attention_dropout": "attn_pdrop",
    "norm_eps": "layer_norm_epsilon",
    "init_std": "initializer_range",
    "tie": "tie_word_embeddings",
}
PARTS = {
    "norm1": "ln_1",
    "qkv": "attn.c_attn",
    "mix": "attn.c_proj",
    "norm2": "ln_2",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
OUTSIDE = {"tokens": "wte", "positions": "wpe", "norm": "ln_f", "head": "lm_head"}  # the blocks
ACTIVATIONS = {"gelu_tanh": "gelu_new", "gelu": "gelu"}
# Defaults of GPT2Config, which a config.json may leave out.
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "resid_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
    "model_type": "gpt2",
}
# The only values for which their attention is the same as ours.
PLAIN = {
    "model_type": "gpt2",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
SAYABLE: Mapping[str, tuple[Any, ...]] = {
    "positions": ("learned",),
    "norm": ("layer",),
    "activation": tuple(ACTIVATIONS),
    "qk_norm": (False,),
    "parametrisation": ("standard",),
}
MASK = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # the causal mask, which old files carry along
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
WANTED = ["config.json", "model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
END_OF_TEXT = 50256  # GPT-2's


def from_gpt2(source: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The hyperparameters and float32 weights, under our names, of a GPT-2 in a folder or on the hub.

    The tensors may be of any float type and in several files, with the prefix "transformer." or without.
    Errors are one sentence each: FileNotFoundError if there is no such model; ValueError that names the source and what is
    damaged, or a value in GPT-2's config that our model does not have; ModuleNotFoundError if the hub's library is needed and
    missing.
    """
    folder = _folder(source)
    try:
        config = _our_config(_json(folder / "config.json"))
        ours, tensors = GPTConfig(**config), _tensors(folder)
        if ours.layers > len(tensors):  # before anything of that length is made
            raise ValueError(f"n_layer is {short(ours.layers)}, but there are {len(tensors)} tensors")
        return config, _our_weights(tensors, _shapes(ours))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"GPT-2 {source}: {error}") from error


def to_gpt2(folder: str | Path, config: GPTConfig, weights: Mapping[str, np.ndarray | Tensor]) -> None:
    """Write config.json and model.safetensors for `transformers.GPT2LMHeadModel.from_pretrained(folder)`.

    Biases that the model does not have are written as zeros, which gives the same function. Layer dropout is left out, like
    everything else that only matters in training. ValueError, in one sentence that names it, for a field that GPT-2 does not
    have, and for a weight that is missing, has another shape, or is not in the config's model; nothing is written then.
    """
    _check_sayable(config)
    tensors = _their_weights(config, weights)
    with atomic_write(Path(folder) / "model.safetensors") as half:
        save_file(tensors, half, {"format": "pt"})
    with atomic_write(Path(folder) / "config.json") as half:
        half.write_text(json.dumps(_their_config(config), indent=2) + "\n", encoding="utf-8")


def _folder(source: str | Path) -> Path:
    """The folder of a model; if there is no such folder, the hub's library fetches it."""
    if Path(source).is_dir():
        return Path(source)
    if not HUB_NAME.fullmatch(str(source)):
        raise FileNotFoundError(f"there is no folder {source}")
    try:
        hub = import_module("huggingface_hub")
    except ImportError as error:
        raise ModuleNotFoundError(
            f"there is no folder {source}, and the hub needs a library: pip install huggingface_hub"
        ) from error
    try:
        return Path(hub.snapshot_download(str(source), allow_patterns=WANTED))
    except Exception as error:  # the library and its network may raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(f"there is no folder {source}, and the hub did not give it: {reason}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"it holds {short(found)}, but must hold an object")
        return found
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no {path.name} in {path.parent}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error


def _our_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """Our hyperparameters from config.json; ValueError for an option that our model does not have."""
    for name, only in PLAIN.items():
        if given.get(name, only) != only:
            raise ValueError(f"{name} is {short(repr(given[name]))}, but only {only!r} can be read")
    theirs = {**DEFAULTS, **given}
    names = {"gelu_pytorch_tanh": "gelu_tanh", **{name: ours for ours, name in ACTIVATIONS.items()}}
    activation = theirs["activation_function"]
    if not isinstance(activation, str) or activation not in names:
        raise ValueError(f"activation_function is {short(repr(activation))}, but must be one of {', '.join(names)}")
    return {
        **{ours: theirs[name] for ours, name in FIELDS.items()},
        "ff": theirs["n_inner"],  # None means the same in both
        "activation": names[activation],
        "bias": True,
    }


def _their_config(config: GPTConfig) -> dict[str, Any]:
    dropout = config.embedded_dropout
    end = END_OF_TEXT if config.words > END_OF_TEXT else None
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{theirs: getattr(config, ours) for ours, theirs in FIELDS.items()},
        "vocab_size": config.words,
        "embd_pdrop": dropout,
        "n_inner": config.inner,
        "activation_function": ACTIVATIONS[config.activation],
        "bos_token_id": end,
        "eos_token_id": end,
    }


def _check_sayable(config: GPTConfig) -> None:
    """ValueError that names the first field with a value that no GPT-2 has."""
    for name, values in SAYABLE.items():
        if getattr(config, name) not in values:
            only = " or ".join(repr(value) for value in values)
            raise ValueError(f"{name} is {getattr(config, name)!r}, but GPT-2 can say no other than {only}")
    if config.keys != config.heads:
        raise ValueError(f"kv_heads is {config.keys}, but GPT-2 can say no other than heads, which is {config.heads}")


def _shapes(config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of all weights by our names, with biases everywhere, in the order of the model."""
    width, inner = config.hidden, config.inner
    parts: dict[str, tuple[int, ...]] = {
        "norm1": (width,),
        "qkv": (3 * width, width),
        "mix": (width, width),
        "norm2": (width,),
        "up": (inner, width),
        "down": (width, inner),
    }
    with_bias = {f"blocks.{i}.{part}": shape for i in range(config.layers) for part, shape in parts.items()}
    shapes: dict[str, tuple[int, ...]] = {
        "tokens.weight": (config.words, width),
        "positions.weight": (config.context, width),
    }
    for name, shape in {**with_bias, "norm": (width,)}.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes if config.tie else {**shapes, "head.weight": shapes["tokens.weight"]}


def _theirs(name: str) -> str:
    """Their name for a weight of ours, without the prefix."""
    place, _, kind = name.rpartition(".")
    if place.startswith("blocks."):
        _, number, part = place.split(".")
        return f"h.{number}.{PARTS[part]}.{kind}"
    return f"{OUTSIDE[place]}.{kind}"


def _is_turned(name: str, shape: tuple[int, ...]) -> bool:
    """Whether their model keeps a weight transposed."""
    return name.startswith("blocks.") and len(shape) == 2


def _tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors, or of the files in its index, by their names without the prefix."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if not whole.is_file() and not index.exists():
        raise FileNotFoundError(f"there is no model.safetensors in {folder}")
    files = ["model.safetensors"] if whole.is_file() else _shards(index)
    tensors: dict[str, Tensor] = {}
    for file in files:
        if not (folder / file).is_file():
            raise FileNotFoundError(f"there is no {short(file)} in {folder}, which {index.name} names")
        for name, tensor in _opened(folder / file).items():
            if name in tensors:
                raise ValueError(f"{short(name)} stands there twice, with the prefix and without or in two files")
            tensors[name] = tensor
    return tensors


def _opened(path: Path) -> dict[str, Tensor]:
    """The tensors of one file by their names without the prefix; no name may occur twice."""
    try:
        with safe_open(path, framework="pt") as opened:
            names = list(opened.keys())
            plain = [name.removeprefix("transformer.") for name in names]
            if len(set(plain)) < len(plain):
                raise ValueError(f"{path.name} holds a tensor twice, with the prefix and without")
            return {ours: opened.get_tensor(name) for ours, name in zip(plain, names, strict=True)}
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error.strerror or error}") from error


def _shards(index: Path) -> list[str]:
    """The files that an index names."""
    try:
        files = sorted({Path(file).name for file in _json(index)["weight_map"].values()})
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{index.name} is damaged: it has no weight_map") from error
    if any("\0" in file or len(file) > 255 for file in files):
        raise ValueError(f"{index.name} is damaged: its weight_map names no files")
    return files


def _our_weights(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Our weights from their tensors; ValueError if one is missing, has another shape, or is unknown."""
    weights = {}
    for name, shape in shapes.items():
        theirs, turned = _theirs(name), _is_turned(name, shape)
        expected = shape[::-1] if turned else shape
        found = tuple(tensors[theirs].shape) if theirs in tensors else "absent"
        if found != expected:
            raise ValueError(f"{theirs} is {found}, but by its config must be {short(expected)}")
        if not tensors[theirs].is_floating_point():
            raise ValueError(f"{theirs} is of {tensors[theirs].dtype}, but must be of real numbers")
        tensor = tensors[theirs].float()
        weights[name] = np.ascontiguousarray((tensor.T if turned else tensor).numpy())
    _check_nothing_is_lost(tensors, {_theirs(name) for name in shapes})
    return weights


def _check_nothing_is_lost(tensors: Mapping[str, Tensor], read: set[str]) -> None:
    """ValueError for a tensor that was not read, unless it is a mask or a copy of the token table."""
    for name in sorted(set(tensors) - read):
        copy = name == "lm_head.weight"
        if copy and not torch.equal(tensors[name], tensors["wte.weight"]):
            raise ValueError("lm_head.weight differs from wte.weight, but by its config the two are tied")
        if not copy and not MASK.fullmatch(name):
            raise ValueError(f"{name} is not a weight of a GPT-2 language model")


def _their_weights(config: GPTConfig, weights: Mapping[str, np.ndarray | Tensor]) -> dict[str, np.ndarray]:
    """Their tensors, with the prefix, from our weights; ValueError if one is missing, has another shape, or is unknown."""
    shapes = _shapes(config)
    ours = {name: shape for name, shape in shapes.items() if config.bias or not name.endswith(".bias")}
    tensors = {}
    for name in [*ours, *weights]:
        here = ours.get(name, "absent")
        there = tuple(weights[name].shape) if name in weights else "absent"
        if here != there:
            raise ValueError(f"{name} is {there} in the weights and {here} in the config")
    for name, shape in shapes.items():
        array = _float32(weights[name]) if name in ours else np.zeros(shape, np.float32)
        place = _theirs(name) if name == "head.weight" else f"transformer.{_theirs(name)}"
        tensors[place] = np.ascontiguousarray(array.T if _is_turned(name, shape) else array)
    return tensors


def _float32(weight: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(weight, Tensor):
        return weight.detach().cpu().float().numpy()
    return np.asarray(weight, np.float32)
