"""A causal LM by (layers, hidden, heads, ff width, vocabulary): GPT-2's shape has 124,439,808 parameters (guide A, 1).

Nothing is made smaller: the model is built without memory for its weights. Beside it the count that our formula predicts
without a model, and that of transformers' own GPT-2.
"""

from __future__ import annotations

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction
from models.config import GPTConfig
from models.gpt import GPT
from models.predict.cost import parameters


def parameter_count(scale: Reduction) -> Outcome:
    config = GPTConfig(layers=12, hidden=768, heads=12, ff=3072, vocabulary=50257, context=1024, bias=True)
    with torch.device("meta"):
        ours, theirs = GPT(config), GPT2LMHeadModel(GPT2Config(n_layer=12, n_embd=768, n_head=12, n_inner=3072))
    count = sum(one.numel() for one in ours.parameters())
    return Outcome("parameters", count, {"transformers": theirs.num_parameters(), "predicted": parameters(config)})
