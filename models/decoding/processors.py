"""Decoding parameters as functions of logits: logits (B, V) in, logits (B, V) out, -inf where a token is left out.

    B rows of a batch, V words

The same as the logits processors of transformers, which tests compare them with; among tokens that tie, the lower id stays here.
Penalties of frequency and presence are those of OpenAI's reference: mu[j] - c[j] * frequency - (c[j] > 0) * presence.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.decoding.parameters import DecodingParameters

OUT = float("-inf")


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits of tokens that were seen (B, V), divided by the penalty where positive, else multiplied by it."""
    changed = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, changed, logits)


def penalise_frequency(logits: Tensor, counts: Tensor, frequency: float, presence: float) -> Tensor:
    """Logits less what tokens that were sampled counts (B, V) times lose."""
    return logits - counts * frequency - (counts > 0) * presence


def cool(logits: Tensor, temperature: float) -> Tensor:
    """Logits over a temperature above 0. If it is so small that a row overflows, only its most likely tokens are left."""
    cooled = logits / temperature
    highest = logits.max(-1, keepdim=True).values
    overflows = ~(highest / temperature).isfinite() | cooled.isnan().any(-1, keepdim=True)
    return torch.where(overflows, torch.where(logits == highest, 0.0, OUT), cooled)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """The k highest of each row, and what ties with the last of them."""
    kth = logits.topk(min(k, logits.size(-1))).values[:, -1:]
    return logits.masked_fill(logits < kth, OUT)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The smallest set of the most likely tokens that has a probability of at least p; never less than one token."""
    ordered, order = logits.sort(descending=True, stable=True)
    # Summed from the least likely on, as in transformers, so that both round alike: out is what all less likely ones and the
    # token itself do not raise above 1 - p.
    mass = F.softmax(ordered.flip(-1), dim=-1).cumsum(-1).flip(-1)
    out = mass <= 1 - p
    out[:, 0] = False
    return logits.masked_fill(out.scatter(-1, order, out), OUT)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Tokens with at least p times the probability of the row's most likely one."""
    probability = F.softmax(logits, dim=-1)
    return logits.masked_fill(probability < p * probability.max(-1, keepdim=True).values, OUT)


def penalise(logits: Tensor, parameters: DecodingParameters, seen: Tensor | None, counts: Tensor | None) -> Tensor:
    """Logits after all penalties; seen and counts (B, V) are read only where a penalty needs them."""
    if parameters.repetition_penalty != 1 and seen is not None:
        logits = penalise_repetition(logits, seen, parameters.repetition_penalty)
    if parameters.has_count_penalty and counts is not None:
        logits = penalise_frequency(logits, counts, parameters.frequency_penalty, parameters.presence_penalty)
    return logits


def warp(logits: Tensor, parameters: DecodingParameters) -> Tensor:
    """Logits after temperature (which must be above 0) and all filters."""
    logits = cool(logits, parameters.temperature) if parameters.temperature != 1 else logits
    if parameters.top_k is not None:
        logits = keep_top_k(logits, parameters.top_k)
    if parameters.top_p < 1:
        logits = keep_top_p(logits, parameters.top_p)
    return keep_min_p(logits, parameters.min_p) if parameters.min_p > 0 else logits


def draw_tokens(logits: Tensor, uniform: Tensor) -> Tensor:
    """A token of each row (B,), with the probabilities of its logits, by numbers (B,) in [0, 1 - 2^-52]: the first token at
    which the distribution function exceeds the number. float64, in which a vocabulary's sum does not lose the rare tokens."""
    cumulative = F.softmax(logits.double(), dim=-1).cumsum(-1)
    return torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True).squeeze(-1)
