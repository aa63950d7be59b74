"""Text out of a model: tokens sampled one after the other."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.gpt import GPT


def _filtered(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits (B, V) with -inf outside the top_k highest and outside the smallest set of probability >= top_p."""
    if top_k is not None:
        kth = logits.topk(min(top_k, logits.size(-1))).values[:, -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p is not None:
        ordered, order = logits.sort(descending=True)
        probability = F.softmax(ordered, dim=-1)
        # A token is out once those before it already reach top_p: the first is never out.
        out = probability.cumsum(-1) - probability >= top_p
        logits = logits.masked_fill(out.scatter(-1, order, out), float("-inf"))
    return logits


def _check_sampling(tokens: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    if tokens < 0:
        raise ValueError(f"tokens is {tokens}, but must be at least 0")
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}, but must be at least 0 (0 takes the most likely token)")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}, but must be at least 1, or None")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}, but must be in (0, 1], or None")


@torch.no_grad()
def generate(
    model: GPT,
    ids: Tensor,
    tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    words: int | None = None,
) -> Tensor:
    """Continue ids (B, T >= 1) by `tokens` sampled tokens; returns (B, T + tokens). A function of its arguments.

    temperature divides the logits, 0 takes the most likely token; top_k keeps the k most likely (Fan et al. 2018),
    top_p the smallest set of at least that probability (nucleus, Holtzman et al. 2020). Only the first `words` ids are
    sampled (None: all), for a vocabulary padded beyond its tokenizer. Raises ValueError by name.
    """
    _check_sampling(tokens, temperature, top_k, top_p)
    if ids.size(1) < 1:
        raise ValueError("the prompt is empty, but must hold at least one token")
    generator = torch.Generator(ids.device).manual_seed(seed)
    for _ in range(tokens):
        logits = model(ids[:, -model.config.context :])[:, -1, :words].float()  # (B, V)
        if temperature == 0:
            following = logits.argmax(-1, keepdim=True)
        else:
            weights = F.softmax(_filtered(logits / temperature, top_k, top_p), dim=-1)
            following = torch.multinomial(weights, 1, generator=generator)
        ids = torch.cat((ids, following), dim=1)
    return ids
