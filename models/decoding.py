"""Text out of a model: tokens sampled one after the other."""

from collections.abc import Callable, Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.gpt import GPT


def _filtered(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits (B, V) with -inf outside the top_k highest and outside the smallest set of probability >= top_p."""
    if top_k is not None:
        kth = logits.topk(min(int(top_k), logits.size(-1))).values[:, -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p is not None:
        ordered, order = logits.sort(descending=True)
        probability = F.softmax(ordered, dim=-1)
        # A token is out if those before it already reach top_p. The first is never out, even if top_p is 0 in float32.
        out = probability.cumsum(-1) - probability >= float(top_p)
        out[:, 0] = False
        logits = logits.masked_fill(out.scatter(-1, order, out), float("-inf"))
    return logits


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number that a float can hold."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


# What each argument may be, and the same in words.
RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "tokens": (lambda v: _is_whole(v) and v >= 0, "a whole number of at least 0"),
    "temperature": (
        lambda v: _is_number(v) and v >= 0,
        "a finite number of at least 0 (0 takes the most likely token)",
    ),
    "top_k": (lambda v: v is None or (_is_whole(v) and v >= 1), "a whole number of at least 1, or None"),
    "top_p": (lambda v: v is None or (_is_number(v) and 0 < v <= 1), "a number in (0, 1], or None"),
    "seed": (lambda v: _is_whole(v) and -(1 << 63) <= v < 1 << 64, "a whole number of at most 64 bits"),
}


def check_sampling(**given: Any) -> None:
    """ValueError for an argument that RULES do not allow; it names what came and what is allowed."""
    for name, value in given.items():
        allows, words = RULES[name]
        if not allows(value):
            raise ValueError(f"{name} is {value!r}, but must be {words}")


def _check_ids(ids: Tensor, vocabulary: int, words: int | None) -> None:
    if words is not None and not (_is_whole(words) and 1 <= words <= vocabulary):
        raise ValueError(f"words is {words!r}, but must be a whole number from 1 to {vocabulary}, the vocabulary, or None")
    if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(f"ids are {ids.dtype} of shape {tuple(ids.shape)}, but must be whole numbers of shape (B, T)")
    if ids.size(1) < 1:
        raise ValueError("the prompt is empty, but must hold at least one token")
    outside = ids[(ids < 0) | (ids >= vocabulary)]
    if outside.numel():
        raise ValueError(f"a token of the prompt is {outside[0].item()}, but must be from 0 to {vocabulary - 1}")


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
    sampled (None: all), for a vocabulary padded beyond its tokenizer. Raises ValueError by name, and for a model whose
    logits are not finite.
    """
    check_sampling(tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    _check_ids(ids, model.config.words, words)
    generator = torch.Generator(ids.device).manual_seed(int(seed))
    for _ in range(int(tokens)):
        logits = model(ids[:, -model.config.context :])[:, -1, :words].float()  # (B, V)
        if not logits.isfinite().all():
            raise ValueError("the model's logits are not finite, so that no token can be sampled: has its training diverged?")
        if temperature == 0:
            following = logits.argmax(-1, keepdim=True)
        else:
            weights = F.softmax(_filtered(_cooled(logits, float(temperature)), top_k, top_p), dim=-1)
            following = torch.multinomial(weights, 1, generator=generator)
        ids = torch.cat((ids, following), dim=1)
    return ids


def _cooled(logits: Tensor, temperature: float) -> Tensor:
    """Logits over a temperature. If it is so small that they overflow, only the most likely token is left."""
    cooled = logits / temperature
    if cooled.isfinite().all():
        return cooled
    return torch.where(logits == logits.max(-1, keepdim=True).values, 0.0, float("-inf"))
