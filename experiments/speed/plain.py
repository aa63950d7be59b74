"""The loop of nanoGPT's train.py: around the model of a checkout of karpathy/nanoGPT, or around a plain one in its style."""

from __future__ import annotations

import importlib.util
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.speed.judging import CONFIG, count, synchronise, validation_loss
from experiments.speed.sizes import STEPS, Size, text
from models.schedule import lr_at


class Plain:
    """The loop of nanoGPT's train.py around a model of its interface: model(x, y) gives (logits, loss)."""

    def __init__(self, size: Size, device: str, precision: str, compiled: bool, model: nn.Module) -> None:
        self.size, self.device, self.corpus = size, torch.device(device), text()
        self.model = self.raw = model.to(self.device)
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        self.optimizer = self._optimizer()
        if compiled:
            self.model = torch.compile(self.model)  # type: ignore[assignment]
        kind = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self.context: Any = nullcontext() if kind is None else torch.autocast(self.device.type, dtype=kind)
        self.rng, self.step = torch.Generator().manual_seed(0), 0
        self.batch = self._batch()

    def _optimizer(self) -> torch.optim.Optimizer:
        decayed = [p for p in self.model.parameters() if p.dim() >= 2]
        others = [p for p in self.model.parameters() if p.dim() < 2]
        groups = [{"params": decayed, "weight_decay": CONFIG.weight_decay}, {"params": others, "weight_decay": 0.0}]
        fused = {"fused": True} if self.device.type == "cuda" else {}
        return torch.optim.AdamW(groups, lr=CONFIG.lr, betas=(CONFIG.beta1, CONFIG.beta2), eps=CONFIG.eps, **fused)

    def _batch(self) -> tuple[Tensor, Tensor]:
        t, data = self.size.context, self.corpus.train
        starts = torch.randint(len(data) - t, (self.size.micro or self.size.batch,), generator=self.rng)
        x = torch.stack([torch.from_numpy(data[i : i + t].astype(np.int64)) for i in starts])
        y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + t].astype(np.int64)) for i in starts])
        if self.device.type == "cpu":
            return x, y
        return tuple(z.pin_memory().to(self.device, non_blocking=True) for z in (x, y))  # type: ignore[return-value]

    def steps(self, n: int) -> None:
        accumulation = self.size.batch // (self.size.micro or self.size.batch)
        for _ in range(n):
            for group in self.optimizer.param_groups:
                group["lr"] = lr_at(self.step, STEPS, CONFIG)
            for _ in range(accumulation):
                with self.context:
                    loss = self.model(*self.batch)[1] / accumulation
                self.batch = self._batch()
                loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CONFIG.clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            if self.step % 10 == 0:  # its log_interval
                loss.item()
        synchronise(self.device)

    def loss(self) -> float:
        def logits(ids: Tensor) -> Tensor:
            return self.raw(ids[:, :-1], ids[:, 1:].contiguous())[0]  # type: ignore[no-any-return]

        return validation_loss(logits, self.corpus, self.size.context, self.device)

    @property
    def parameters(self) -> int:
        return count(self.raw)


def nano_gpt(size: Size, folder: Path) -> nn.Module:
    """The model of a checkout of nanoGPT."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    if spec is None or spec.loader is None or not (folder / "model.py").is_file():
        raise FileNotFoundError(f"there is no model.py in {folder}, which should be a checkout of nanoGPT")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    vocabulary = size.vocabulary or text().vocabulary
    shape = {"n_layer": size.layers, "n_head": size.heads, "n_embd": size.hidden, "block_size": size.context}
    model: nn.Module = module.GPT(module.GPTConfig(**shape, vocab_size=vocabulary, dropout=0.0, bias=False))
    return model


class PlainBlock(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, width = size.heads, size.hidden
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, width = x.shape
        q, k, v = self.qkv(self.norms[0](x)).split(width, dim=2)
        q, k, v = (z.view(b, t, self.heads, width // self.heads).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(b, t, width))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class PlainGPT(nn.Module):
    """A GPT as everybody writes it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        torch.manual_seed(0)
        vocabulary = size.vocabulary or text().vocabulary
        self.tokens, self.positions = nn.Embedding(vocabulary, size.hidden), nn.Embedding(size.context, size.hidden)
        self.blocks = nn.ModuleList(PlainBlock(size) for _ in range(size.layers))
        self.norm, self.head = nn.LayerNorm(size.hidden, bias=False), nn.Linear(size.hidden, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, 0.0, 0.02 / (math.sqrt(2 * size.layers) if "out" in name or "down" in name else 1))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.tokens(x) + self.positions(torch.arange(x.size(1), device=x.device))
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h))
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), y.reshape(-1))
