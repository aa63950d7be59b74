"""Keys and values of the tokens that a model has read, so that the next token costs one token and not a pass over all.

    B rows, T new tokens, S places in the cache, N heads, K heads of keys and values, G = N / K, D features of a head

Row b holds its tokens at places 0 to lengths[b] - 1, and what stands behind them is never attended to. So rows of different
lengths stand side by side, each at its own positions, and a row's logits are those of a pass over it alone, up to rounding.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.gpt import ACTIVATIONS, GPT, Block, qkv_rows

Turn = tuple[Tensor, Tensor] | None  # cosines and sines of new tokens, (B or 1, 1, T, D/2)


class KeyValueCache:
    """What a model has read of some rows, each at most `capacity` tokens (not more than its context). Grows no gradients.

    The first rows read the same tokens: `KeyValueCache(model, capacity)` begins with one empty row, `select` copies rows,
    leaves some out, or repeats them.
    """

    def __init__(self, model: GPT, capacity: int) -> None:
        if not 1 <= capacity <= model.config.context:
            raise ValueError(f"capacity is {capacity}, but must be from 1 to {model.config.context}, the model's context")
        self.model, self.capacity = model, capacity
        self.device = model.tokens.weight.device
        self.lengths: list[int] = [0]
        self.keys: list[Tensor] = []  # of each block (B, K, S, D), made when the first tokens come, in their type
        self.values: list[Tensor] = []

    def select(self, rows: Sequence[int]) -> None:
        """Keeps the rows at these places, in this order; a place may be named several times."""
        self.lengths = [self.lengths[row] for row in rows]
        index = torch.tensor(rows, dtype=torch.int64, device=self.device)
        self.keys = [one.index_select(0, index) for one in self.keys]
        self.values = [one.index_select(0, index) for one in self.values]

    @torch.inference_mode()
    def extend(self, ids: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """Reads ids (B, T) behind what each row holds, and returns the logits (B, V) behind each row's last.

        Of row b the first counts[b] tokens are read (None: all); what is behind them only fills the rectangle. A row of count 0
        stays as it is, and its logits mean nothing.
        """
        rows, new = ids.shape
        counts = [new] * rows if counts is None else counts
        starts = self.lengths
        if max(starts) + new > self.capacity:
            raise ValueError(f"{max(starts)} tokens are held and {new} come, but the cache has room for {self.capacity}")
        place = _Place(starts, new, self.device)
        x = self.model.tokens(ids)  # (B, T, H)
        if self.model.positions is not None:
            x = x + self.model.positions(place.positions)
        turn = self._find_turn(place)
        for layer, block in enumerate(self.model.blocks):
            assert isinstance(block, Block)
            x = self._read_block(layer, block, x, turn, place)
        self.lengths = [start + count for start, count in zip(starts, counts, strict=True)]
        last = x[:, -1] if new == 1 else x[torch.arange(rows), torch.tensor(counts) - 1]  # (B, H)
        last = self.model.norm(last) if self.model.scale == 1 else self.model.norm(last) * self.model.scale
        return F.linear(last, (self.model.tokens if self.model.head is None else self.model.head).weight)

    def _find_turn(self, place: "_Place") -> Turn:
        angles = self.model.angles
        return None if angles is None else (angles[0][place.positions][:, None], angles[1][place.positions][:, None])

    def _read_block(self, layer: int, block: Block, x: Tensor, turn: Turn, place: "_Place") -> Tensor:
        """As Block.forward, which knows no cache, without dropout."""
        y = self._attend(layer, block, block.qkv(block.norm1(x)), turn, place)
        x = torch.add(x, block.mix(y), alpha=block.branch)
        inner = ACTIVATIONS[block.config.activation](block.up(block.norm2(x)))
        return torch.add(x, block.down(inner), alpha=block.branch)

    def _attend(self, layer: int, block: Block, qkv: Tensor, turn: Turn, place: "_Place") -> Tensor:
        b, t, _ = qkv.shape
        config = block.config
        q, k, v = (part.view(b, t, -1, config.head).transpose(1, 2) for part in qkv.split(qkv_rows(config), dim=-1))
        if block.qnorm is not None and block.knorm is not None:  # to float32 and back, as in Block
            q, k = block.qnorm(q.float()).to(v.dtype), block.knorm(k.float()).to(v.dtype)
        q, k = _rotate(q, turn), _rotate(k, turn)
        k, v = self._store(layer, k, v, place)
        group = config.heads // config.keys
        # The G heads that share keys and values stand as G queries of one head: (B, K, G T, D), head by head.
        q = q.reshape(b, config.keys, group * t, config.head)
        mask = place.mask if place.mask is None or group == 1 or t == 1 else place.mask.repeat(1, 1, group, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=block.scale)
        return y.view(b, config.heads, t, config.head).transpose(1, 2).reshape(b, t, -1)

    def _store(self, layer: int, k: Tensor, v: Tensor, place: "_Place") -> tuple[Tensor, Tensor]:
        """Writes the new keys and values (B, K, T, D), and returns all that may be attended to."""
        if layer == len(self.keys):
            shape = (k.size(0), k.size(1), self.capacity, k.size(3))
            self.keys.append(k.new_zeros(shape))
            self.values.append(v.new_zeros(shape))
        keys, values = self.keys[layer], self.values[layer]
        if place.is_even:
            keys[:, :, place.start : place.end] = k
            values[:, :, place.start : place.end] = v
        else:
            index = place.positions[:, None, :, None].expand(k.shape)
            keys.scatter_(2, index, k)
            values.scatter_(2, index, v)
        return keys[:, :, : place.end], values[:, :, : place.end]


class _Place:
    """Where T new tokens of every row stand.

    positions (B or 1, T); `end` is one behind the last place of any row; mask (B or 1, 1, T, end) says what a new token attends
    to, None: everything before `end`.
    """

    def __init__(self, starts: Sequence[int], new: int, device: torch.device) -> None:
        self.start, self.end = min(starts), max(starts) + new
        self.is_even = self.start == max(starts)
        first = torch.tensor(starts[:1] if self.is_even else starts, device=device)
        self.positions = first[:, None] + torch.arange(new, device=device)
        self.mask = None
        if new > 1 or not self.is_even:
            self.mask = (torch.arange(self.end, device=device) <= self.positions[:, :, None])[:, None]


def _rotate(x: Tensor, turn: Turn) -> Tensor:
    """As gpt.rotate, at positions that may differ from row to row."""
    if turn is None:
        return x
    cos, sin = (one.to(x.dtype) for one in turn)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)
