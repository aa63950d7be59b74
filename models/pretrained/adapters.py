"""Low-rank adapters (LoRA, Hu et al. 2022) by peft: the model's own weights stay as they are, W + (alpha / rank) B A is used."""

from __future__ import annotations

from typing import Any

from torch import nn

from models.pretrained.layers import find_layers

# Which matrices get an adapter. Families call the projections of attention differently.
ATTENTION = ("q_proj", "v_proj", "query", "value", "c_attn")  # Llama and kin; BERT; GPT-2, where one matrix holds all three
TARGETS = ("attention", "all")


def add_lora(model: nn.Module, rank: int, alpha: float = 16.0, targets: str = "attention", dropout: float = 0.0) -> Any:
    """The model with adapters of a rank, which alone are trained, and with them a fresh head of a classifier.

    alpha     the adapters' output is scaled by alpha / rank
    targets   "attention": the projections of queries and values; "all": every matrix of the blocks
    dropout   of what goes into an adapter

    ModuleNotFoundError without peft, ValueError for what is not allowed.
    """
    _refuse(rank, alpha, targets, dropout)
    try:
        import peft
    except ModuleNotFoundError:
        raise ModuleNotFoundError("adapters need the package peft; install it with: pip install 'hpo-lm[hf]'") from None
    kind = "SEQ_CLS" if "SequenceClassification" in type(model).__name__ else "CAUSAL_LM"
    found = find_matrices(model, targets)
    return peft.get_peft_model(model, peft.LoraConfig(  # type: ignore[arg-type]
        task_type=kind, r=rank, lora_alpha=alpha, target_modules=found, lora_dropout=dropout,  # type: ignore[arg-type]
        fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in model.modules()),
    ))  # fmt: skip


def find_matrices(model: nn.Module, targets: str) -> list[str]:
    """The full names of the matrices of the blocks that get an adapter. ValueError for a model that has none of that name."""
    names = {id(module): name for name, module in model.named_modules()}
    inside = [names[id(module)] for module in find_layers(model).modules() if _is_matrix(module)]
    found = [name for name in inside if targets == "all" or name.rpartition(".")[2] in ATTENTION]
    if not found:
        raise ValueError(f"the blocks of {type(model).__name__} have no matrix named {', '.join(ATTENTION)}; allowed is 'all'")
    return found


def _is_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _refuse(rank: Any, alpha: Any, targets: Any, dropout: Any) -> None:
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise ValueError(f"lora_rank is {rank!r}; allowed are whole numbers from 1 on")
    if not alpha > 0:
        raise ValueError(f"lora_alpha is {alpha!r}; allowed are numbers above 0")
    if targets not in TARGETS:
        raise ValueError(f"lora_targets is {targets!r}; allowed are {', '.join(map(repr, TARGETS))}")
    if not 0 <= dropout < 1:
        raise ValueError(f"lora_dropout is {dropout!r}; allowed is from 0 to below 1")
