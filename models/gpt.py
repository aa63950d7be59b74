"""A lean GPT: pre-norm blocks, learned positions, tanh GELU, fused attention (GPT-2, Radford et al. 2019).

    B sequences, T tokens (T <= context), H hidden, N heads, D = H / N, F inner width, V vocabulary

Dropout is asked for by passing a generator, never by a mode: `model(x)` is deterministic, `model(x, noise)` drops with
the bits of `noise`. There is no random state to save: whoever trains seeds the generator from the position.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import GPTConfig


def dropped(x: Tensor, p: float, noise: torch.Generator | None) -> Tensor:
    """x with each element zeroed with probability p and the rest scaled to keep the mean; x itself without noise.

    Four 16-bit draws come out of every 64-bit one, which is several times faster on CPU than bernoulli_. The price is
    that p is rounded to a multiple of 2^-16; the scale uses the rounded one, so the mean is kept exactly.
    """
    drop = min(65535, round(p * 65536))
    if noise is None or drop == 0:
        return x
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=noise)  # all 64 bits
    keep = draws.view(torch.int16)[: x.numel()].view(x.shape) >= drop - 32768
    return x * keep.to(x.dtype).mul_(65536 / (65536 - drop))


def attend(q: Tensor, k: Tensor, v: Tensor, p: float, noise: torch.Generator | None) -> Tensor:
    """Causal attention over (B, N, T, D) with dropout p on the attention weights.

    The fused kernel draws its dropout from the global generator. On CUDA that is the price of speed (the caller seeds
    it); on CPU threads share that generator and the kernel is no faster than the plain formula, which is used instead.
    """
    if noise is None or p == 0:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)
    scores = q @ k.transpose(-2, -1) / sqrt(q.size(-1))  # (B, N, T, T)
    future = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool, device=q.device).triu(1)
    weights = F.softmax(scores.masked_fill(future, float("-inf")), dim=-1)
    return dropped(weights, p, noise) @ v


class Block(nn.Module):
    """x + attention(norm(x)), then x + feedforward(norm(x)); (B, T, H) to (B, T, H)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, bias = config.hidden, config.bias
        self.heads, self.p, self.attention_p = config.heads, config.dropout, config.attention_dropout
        self.norm1 = nn.LayerNorm(width, config.norm_eps, bias=bias)
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.mix = nn.Linear(width, width, bias=bias)
        self.norm2 = nn.LayerNorm(width, config.norm_eps, bias=bias)
        self.up = nn.Linear(width, config.inner, bias=bias)
        self.down = nn.Linear(config.inner, width, bias=bias)

    def forward(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        b, t, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, N, T, D), without a copy
        y = attend(q, k, v, self.attention_p, noise).transpose(1, 2).reshape(b, t, width)
        x = x + dropped(self.mix(y), self.p, noise)
        y = self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x + dropped(y, self.p, noise)


def table(rows: int, width: int) -> nn.Embedding:
    """An embedding without first weights: drawing them on the meta device would import torch's compiler, a second."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


class GPT(nn.Module):
    """The whole model: token ids (B, T) to logits (B, T, V). Weights are a function of (config, seed).

    Building it leaves torch's global random state alone. ValueError if the config does not know its vocabulary.
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):  # no memory and no random numbers until `initialise`
            self.tokens = table(config.words, config.hidden)
            self.positions = table(config.context, config.hidden)
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(config.hidden, config.norm_eps, bias=config.bias)
            self.head = None if config.tie else nn.Linear(config.hidden, config.words, bias=False)
        self.to_empty(device="cpu")
        initialise(self, seed)

    def forward(self, ids: Tensor, noise: torch.Generator | None = None) -> Tensor:
        x = self.tokens(ids) + self.positions.weight[: ids.size(1)]  # (B, T, H)
        x = dropped(x, self.config.dropout, noise)
        for block in self.blocks:
            x = block(x, noise)
        output = self.tokens if self.head is None else self.head
        return F.linear(self.norm(x), output.weight)


@torch.no_grad()
def initialise(model: GPT, seed: int) -> None:
    """GPT-2's initial weights: N(0, 0.02^2), the two maps into the residual stream scaled by 1 / sqrt(2 L).

    Norms start at 1 and biases at 0. Drawn on the CPU, so that a seed means the same weights on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            residual = name.endswith(("mix.weight", "down.weight"))
            weight.normal_(0, 0.02 / sqrt(2 * model.config.layers) if residual else 0.02, generator=generator)
        else:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)


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
