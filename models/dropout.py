"""Dropout whose random bits follow from a seed: of activations, of attention weights, of whole branches.

`Noise` is the source of the bits. None means no dropout. A torch.Generator belongs to one run; it is used on a CPU, where
threads share the global generator. GLOBAL is the device's own generator, the only one that can be compiled or recorded; the
engine seeds it before every pass.

The bits of a micro-batch follow from the seed of the run and the number of its first sequence, so a training that was paused
draws the same bits. (transformers' Trainer draws from the global generator: its bits depend on all draws since the start.)
They do depend on `micro_batch`: two trainings that differ only in how a batch is cut draw different bits with the same
probabilities. Only without dropout do they agree up to rounding.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

GLOBAL: Final = "global"
Noise = torch.Generator | str | None


def mask(like: Tensor, p: float, noise: Noise) -> Tensor | None:
    """Factors in the shape of `like`: 0 with probability p, else the value that keeps the mean; None if nothing is dropped.

    With a generator, four 16-bit draws come out of every 64-bit one, which is several times faster on CPU than bernoulli_.
    The price is that p is rounded to a multiple of 2^-16; the scale uses the rounded one, so the mean is kept exactly.
    """
    drop = min(65535, round(p * 65536))
    if noise is None or drop == 0:
        return None
    if not isinstance(noise, torch.Generator):
        return F.dropout(torch.ones_like(like), p)
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
    draws.random_(-(2**63), None, generator=noise)  # all 64 bits
    keep = draws.view(torch.int16)[: like.numel()].view(like.shape) >= drop - 32768
    return keep.to(like.dtype).mul_(65536 / (65536 - drop))


def dropout(x: Tensor, p: float, noise: Noise) -> Tensor:
    """x with each element zeroed with probability p and the rest scaled to keep the mean; x itself without noise."""
    if noise is not None and not isinstance(noise, torch.Generator):
        return F.dropout(x, p)  # without an array of factors
    factors = mask(x, p, noise)
    return x if factors is None else x * factors


def branch_mask(y: Tensor, p: float, noise: Noise) -> Tensor | None:
    """Factors (B, 1, 1) on a branch (B, T, H) that leave it out of a sequence with probability p (Huang et al. 2016)."""
    return mask(y.new_empty(y.size(0), 1, 1), p, noise)


def drop_path(y: Tensor, p: float, noise: Noise) -> Tensor:
    """A branch (B, T, H), left out of a sequence with probability p, else scaled to keep the mean."""
    factors = branch_mask(y, p, noise)
    return y if factors is None else y * factors


def attend_and_drop(q: Tensor, k: Tensor, v: Tensor, scale: float, p: float, noise: Noise) -> Tensor:
    """Causal attention over (B, N, T, D) with dropout p on the attention weights.

    torch's fused kernel draws from the global generator. With another generator the plain formula is used, which on a CPU is
    as fast.
    """
    if not isinstance(noise, torch.Generator):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p, scale=scale)
    scores = q @ k.transpose(-2, -1) * scale  # (B, N, T, T)
    future = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool, device=q.device).triu(1)
    weights = F.softmax(scores.masked_fill(future, float("-inf")), dim=-1)
    return dropout(weights, p, noise) @ v
