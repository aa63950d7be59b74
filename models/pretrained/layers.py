"""The blocks of a model of transformers: which they are, the first n of them, frozen ones, and rates that fall with depth."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def find_layers(model: nn.Module) -> nn.ModuleList:
    """The list of blocks: the modules of transformers' GPT-2, Llama, BERT and their kin hold exactly one list of that length.

    ValueError for a model without one.
    """
    count = int(model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"{type(model).__name__} has no list of {count} layers")


def keep_layers(model: nn.Module, count: int, name: str = "the model") -> None:
    """Keeps the first `count` blocks, in place. Tied weights stay tied. ValueError if there are fewer."""
    layers = find_layers(model)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(layers):
        raise ValueError(f"num_layers is {count!r}, but {name} has {len(layers)} layers; allowed are 1 to {len(layers)}")
    del layers[count:]
    config: Any = model.config
    config.num_hidden_layers = count
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = list(config.layer_types)[:count]


def freeze(model: nn.Module, layers: int = 0, embeddings: bool = False) -> None:
    """The first `layers` blocks, and the embeddings, are trained no more. An output matrix that is tied to the embeddings is one
    with them. ValueError if there are fewer blocks, or if nothing would be left to train."""
    blocks = find_layers(model)
    if isinstance(layers, bool) or not isinstance(layers, int) or not 0 <= layers <= len(blocks):
        raise ValueError(f"freeze_layers is {layers!r}; allowed are 0 to {len(blocks)}")
    for block in blocks[:layers]:
        block.requires_grad_(False)
    if embeddings:
        for parameter in list_embeddings(model):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"freeze_layers is {layers}, with the embeddings frozen: nothing is left to train")


def list_embeddings(model: nn.Module) -> list[nn.Parameter]:
    """What is before the first block: the parameters of every table of embeddings, and of a norm beside it."""
    inside = {id(one) for one in find_layers(model).parameters()}
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    beside = [child for module in model.modules() for child in module.children()
              if isinstance(child, nn.LayerNorm) and any(isinstance(other, nn.Embedding) for other in module.children())
              and not any(isinstance(other, nn.ModuleList) for other in module.children())]  # fmt: skip
    return [one for module in (*tables, *beside) for one in module.parameters() if id(one) not in inside]


def group_parameters(model: nn.Module, lr: float, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Groups for an optimizer, of what is to be trained. The rate of a block is lr times `layer_decay` to the power of the number
    of blocks above it, plus one for the head (ELECTRA, Clark et al. 2020, "layerwise lr decay"); embeddings have the lowest. Only
    matrices outside the embeddings decay. ValueError for a layer_decay outside (0, 1].
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay is {layer_decay}; allowed is above 0 up to 1")
    blocks, embeddings = find_layers(model), {id(one) for one in list_embeddings(model)}
    depths = {id(one): depth for depth, block in enumerate(blocks, 1) for one in block.parameters()}
    depths |= dict.fromkeys(embeddings, 0)
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for parameter in model.parameters():  # each once, however many names it has
        if parameter.requires_grad:
            is_decayed = parameter.ndim >= 2 and id(parameter) not in embeddings
            groups.setdefault((depths.get(id(parameter), len(blocks) + 1), is_decayed), []).append(parameter)
    top = len(blocks) + 1
    return [
        {"params": params, "lr": lr * layer_decay ** (top - depth), "weight_decay": weight_decay if is_decayed else 0.0}
        for (depth, is_decayed), params in sorted(groups.items())
    ]
