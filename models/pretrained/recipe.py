"""Recipe: what a pretrained model is made of before it is trained, as plain values, so that a search can set any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from models.pretrained.adapters import add_lora
from models.pretrained.layers import freeze, group_parameters
from models.pretrained.load import load_causal, load_classifier


@dataclass(frozen=True)
class Recipe:
    """Of which weights, which part, and what of it is trained.

    model_name     see load.py: "smollm2", "minilm", a folder, a GGUF file, a hub's name
    num_layers     the first so many blocks are kept; None: all
    lora_rank      0: all weights that are not frozen are trained; else only adapters of this rank, by lora_alpha, lora_targets
                   and lora_dropout (adapters.py)
    freeze_layers, freeze_embeddings   what is not trained
    layer_decay    the factor on the rate from one block to the one below, for an optimizer of `group_parameters`; a Trainer makes
                   its own, with one rate for all, unless trainer.py's set_layer_rates says otherwise
    """

    model_name: str
    num_layers: int | None = None
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_targets: str = "attention"
    lora_dropout: float = 0.0
    freeze_layers: int = 0
    freeze_embeddings: bool = False
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.lora_rank and (self.freeze_layers or self.freeze_embeddings):
            raise ValueError("with lora_rank the model's own weights are frozen already; allowed is freeze_layers=0")

    @classmethod
    def split(cls, config: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The recipe in a configuration, and what else stands there."""
        own = {one.name for one in fields(cls)}
        recipe = cls(**{name: value for name, value in config.items() if name in own})
        return recipe, {name: value for name, value in config.items() if name not in own}

    def make_causal(self) -> Any:
        """A causal LM, ready for a training."""
        return self._prepare(load_causal(self.model_name, self.num_layers))

    def make_classifier(self, classes: int) -> Any:
        """A classifier with a fresh head, drawn from torch's random state."""
        return self._prepare(load_classifier(self.model_name, classes, self.num_layers))

    def _prepare(self, model: Any) -> Any:
        if self.lora_rank:
            return add_lora(model, self.lora_rank, self.lora_alpha, self.lora_targets, self.lora_dropout)
        freeze(model, self.freeze_layers, self.freeze_embeddings)
        return model

    def group_parameters(self, model: Any, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """What an optimizer takes."""
        return group_parameters(model, lr, weight_decay, self.layer_decay)
