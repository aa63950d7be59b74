"""A lean GPT, classic or modern by its config: pre-norm blocks, causal attention, feed-forward (GPT-2, Radford et al. 2019).

    B sequences, T tokens (T <= context), H hidden, N heads, K heads of keys and values, D = H / N, F inner width, V words

Dropout is switched on by passing noise (dropout.py), never by a mode: `model(x)` is deterministic, `model(x, noise)` drops
by the bits of the noise. There is no random state to save: the training seeds the generator from the position.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import GPTConfig
from models.dropout import Noise, attend_and_drop, drop_path, dropout
from models.mup import attention_scale, branch_scale, first_sd, output_scale
from models.recompute import recompute

Angles = tuple[Tensor, Tensor] | None  # cosines and sines (T, D/2) of rotary positions

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu2": lambda x: F.relu(x).square(),
    "swiglu": lambda x: F.silu(x[..., : x.size(-1) // 2]) * x[..., x.size(-1) // 2 :],  # gate, value
}


def normaliser(config: GPTConfig, width: int) -> nn.Module:
    """LayerNorm or RMSNorm over the last `width` features."""
    if config.norm == "rms":
        return nn.RMSNorm(width, config.norm_eps)
    return nn.LayerNorm(width, config.norm_eps, bias=config.bias)


def rotary_angles(config: GPTConfig, device: torch.device) -> Angles:
    """Angles of every position and pair of features; None if positions are learned. Rotary: Su et al. 2021, eq. 15."""
    if config.positions != "rotary":
        return None
    pairs = torch.arange(0, config.head, 2, device=device, dtype=torch.float64) / config.head
    angles = torch.arange(config.context, device=device)[:, None] * config.rotary_base**-pairs
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, angles: Angles) -> Tensor:
    """x (B, N, T, D), where each pair of features d and d + D/2 is rotated by the angle of its position."""
    if angles is None:
        return x
    cos, sin = (a[: x.size(-2)].to(x.dtype) for a in angles)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feedforward(norm(x)); (B, T, H) to (B, T, H)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config, self.scale, self.branch = config, attention_scale(config), branch_scale(config)
        width, bias = config.hidden, config.bias
        self.norm1 = normaliser(config, width)
        self.qkv = nn.Linear(width, sum(qkv_rows(config)), bias=bias)
        self.qnorm = normaliser(config, config.head) if config.qk_norm else None
        self.knorm = normaliser(config, config.head) if config.qk_norm else None
        self.mix = nn.Linear(width, width, bias=bias)
        self.norm2 = normaliser(config, width)
        self.up = nn.Linear(width, sum(up_rows(config)), bias=bias)
        self.down = nn.Linear(config.inner, width, bias=bias)

    def forward(self, x: Tensor, angles: Angles, noise: Noise) -> Tensor:
        y = self.attention_output(self.qkv(self.norm1(x)), angles, noise)
        x = self._add_branch(x, noise, self.mix(y))
        return self._add_branch(x, noise, self.down(ACTIVATIONS[self.config.activation](self.up(self.norm2(x)))))

    def attention_output(self, qkv: Tensor, angles: Angles, noise: Noise) -> Tensor:
        """From queries, keys and values (B, T, (N + 2 K) D) to (B, T, H), before the output map."""
        b, t, _ = qkv.shape
        q, k, v = (
            part.view(b, t, -1, self.config.head).transpose(1, 2) for part in qkv.split(qkv_rows(self.config), dim=-1)
        )  # (B, N or K, T, D), without a copy
        if self.qnorm is not None and self.knorm is not None:
            # To float32 and back: under autocast the weights of a norm are float32, and values have the type that the map gives.
            q, k = self.qnorm(q.float()).to(v.dtype), self.knorm(k.float()).to(v.dtype)
        q, k = rotate(q, angles), rotate(k, angles)
        if self.config.keys != self.config.heads:  # a group of heads shares a key and a value
            k, v = (one.repeat_interleave(self.config.heads // self.config.keys, dim=1) for one in (k, v))
        y = attend(q, k, v, self.scale, self.config.attention_dropout, noise)
        return y.transpose(1, 2).reshape(b, t, -1)

    def _add_branch(self, x: Tensor, noise: Noise, y: Tensor) -> Tensor:
        y = dropout(y, self.config.dropout, noise)
        y = drop_path(y, self.config.layer_dropout, noise)
        return x + y if self.branch == 1 else torch.add(x, y, alpha=self.branch)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, p: float, noise: Noise) -> Tensor:
    """Causal attention over (B, N, T, D) with dropout p on the attention weights."""
    if noise is not None and p > 0:
        return attend_and_drop(q, k, v, scale, p, noise)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)


def qkv_rows(config: GPTConfig) -> tuple[int, int, int]:
    """Rows of each matrix in the map to queries, keys and values."""
    return config.hidden, config.keys * config.head, config.keys * config.head


def up_rows(config: GPTConfig) -> tuple[int, ...]:
    """Rows of each matrix in the map into the feed-forward part; with a gate there are two, gate and value."""
    return (config.inner, config.inner) if config.activation == "swiglu" else (config.inner,)


def embedding_table(rows: int, width: int) -> nn.Embedding:
    """An embedding without initial weights: drawing them on the meta device would import torch's compiler, for a second."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


class GPT(nn.Module):
    """The whole model: token ids (B, T) to logits (B, T, V). Weights are a function of (config, seed).

    Building it does not change torch's global random state. ValueError if the config does not know its vocabulary.
    `splits` has, for parameters that consist of several matrices, one below another, the rows of each.
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config, self.scale = config, output_scale(config)
        self.again = False  # whether activations of a block are computed again in its backward pass
        with torch.device("meta"):  # no memory and no random numbers until `initialise`
            self.tokens = embedding_table(config.words, config.hidden)
            self.positions = embedding_table(config.context, config.hidden) if config.positions == "learned" else None
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
            self.norm = normaliser(config, config.hidden)
            self.head = None if config.tie else nn.Linear(config.hidden, config.words, bias=False)
        # As `to_empty` does, but that asks for a tensor like one on the meta device, for which torch imports sympy: a second.
        super()._apply(lambda weight: torch.empty(weight.shape, dtype=weight.dtype))
        initialise(self, seed)
        self.angles = rotary_angles(config, torch.device("cpu"))
        parts = {"qkv": qkv_rows(config), "up": up_rows(config)}
        self.splits = {f"blocks.{i}.{name}.weight": rows for i in range(config.layers) for name, rows in parts.items()}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "GPT":
        """Moves the angles as well. They are not a buffer: they are not saved, and stay float32."""
        super()._apply(fn, recurse)
        if getattr(self, "angles", None) is not None:
            self.angles = rotary_angles(self.config, self.tokens.weight.device)
        return self

    def forward(self, ids: Tensor, noise: Noise = None) -> Tensor:
        x = self.features(ids, noise)
        if self.scale != 1:
            x = x * self.scale
        return F.linear(x, (self.tokens if self.head is None else self.head).weight)

    def features(self, ids: Tensor, noise: Noise = None) -> Tensor:
        """What the output map reads: (B, T, H)."""
        x = self.tokens(ids)  # (B, T, H)
        if self.positions is not None:
            x = x + self.positions.weight[: ids.size(1)]
        x = dropout(x, self.config.embedded_dropout, noise)
        for block in self.blocks:
            if self.again:
                x = recompute(partial(block, angles=self.angles, noise=noise), x, noise)
            else:
                x = block(x, self.angles, noise)
        normed: Tensor = self.norm(x)
        return normed


@torch.no_grad()
def initialise(model: GPT, seed: int) -> None:
    """Sets the initial weights of GPT-2 or of mup: matrices normal (mup.py has the sizes), norms 1, biases 0.

    Drawn on the CPU, so that a seed means the same weights on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            weight.normal_(0, first_sd(model.config, name), generator=generator)
        else:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
