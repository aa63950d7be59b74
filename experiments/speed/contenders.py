"""The loops that are measured, behind one face: `steps(n)` trains n steps, `loss()` judges, `parameters` counts.

ours       models.train.TrainRun, by engine
nanoGPT    the model of a checkout of karpathy/nanoGPT (its `model.py`), in the loop of its train.py
plain      a model and a loop in that style, written here, for machines without a checkout
trainer    transformers.Trainer with GPT2LMHeadModel

All of them have the same shapes, optimizer, schedule and clipping, and the same text; GPT2LMHeadModel has biases besides.
The activation is GELU, or with `tanh` its approximation, which for GPT2LMHeadModel is `gelu_new`, what it has if nobody asks
for another. Where one has choices of its own (fused AdamW on CUDA, the data loader), it has those of its authors.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.speed.sizes import STEPS, TRAINING, Size, text
from models.config import TrainConfig
from models.data.batches import sequences, validation_starts
from models.precision import without_denormals
from models.schedule import lr_at
from models.train import TrainRun

JUDGED = 64 * 1024  # validation tokens
FOREVER = 10**7  # steps; the Trainer wants a number
CONFIG = TrainConfig(**TRAINING)


class Contender(Protocol):
    def steps(self, n: int) -> None: ...

    def loss(self) -> float: ...

    @property
    def parameters(self) -> int: ...


class Ours:
    """Our loop; `engine` as in models/engines/engine.py."""

    def __init__(self, size: Size, device: str, precision: str, engine: str, tanh: bool = False) -> None:
        flat = {**size.config(), **TRAINING, "precision": precision, "eval_tokens": JUDGED}
        flat["activation"] = "gelu_tanh" if tanh else "gelu"
        self.run = TrainRun(flat, 0, STEPS, text(), "steps", device, engine=engine)

    def steps(self, n: int) -> None:
        with without_denormals(self.run.device):  # as `advance` does
            for _ in range(n):
                self.run._step()
        synchronise(self.run.device)

    def loss(self) -> float:
        return self.run.validation.loss()

    @property
    def parameters(self) -> int:
        return count(self.run.model)


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
                nn.init.normal_(
                    weight, 0.0, 0.02 / (math.sqrt(2 * size.layers) if "out" in name or "down" in name else 1)
                )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.tokens(x) + self.positions(torch.arange(x.size(1), device=x.device))
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h))
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), y.reshape(-1))


class Trainer:
    """transformers.Trainer, which trains in a thread of its own and waits there between two calls of `steps`."""

    def __init__(self, size: Size, device: str, precision: str, compiled: bool, tanh: bool = False) -> None:
        import transformers

        self.size, self.device, self.corpus = size, torch.device(device), text()
        torch.manual_seed(0)
        shape: dict[str, Any] = {"n_layer": size.layers, "n_head": size.heads, "n_embd": size.hidden, "n_positions": size.context}
        drops: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        vocabulary = size.vocabulary or self.corpus.vocabulary
        config = transformers.GPT2Config(
            **shape, **drops, vocab_size=vocabulary, activation_function="gelu_new" if tanh else "gelu",
            use_cache=False, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        self.model = transformers.GPT2LMHeadModel(config)
        arguments = transformers.TrainingArguments(
            output_dir=tempfile.mkdtemp(prefix="speed-"),
            per_device_train_batch_size=size.micro or size.batch,
            gradient_accumulation_steps=size.batch // (size.micro or size.batch),
            max_steps=FOREVER, learning_rate=CONFIG.lr, weight_decay=CONFIG.weight_decay, adam_beta1=CONFIG.beta1,
            adam_beta2=CONFIG.beta2, adam_epsilon=CONFIG.eps, max_grad_norm=CONFIG.clip,
            logging_strategy="no", save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=self.device.type == "cpu", bf16=precision == "bf16", fp16=precision == "fp16", torch_compile=compiled,
            seed=0,
        )  # fmt: skip
        self.wanted: SimpleQueue[int] = SimpleQueue()
        self.done: SimpleQueue[BaseException | None] = SimpleQueue()
        gate = _gate(transformers.TrainerCallback, self.wanted, self.done)
        data = Sequences(self.corpus.train, size)
        self.trainer = _scheduled(transformers.Trainer)(self.model, arguments, train_dataset=data, callbacks=[gate])
        threading.Thread(target=self._train, daemon=True).start()

    def _train(self) -> None:
        torch.set_num_threads(1)
        try:
            self.trainer.train()
            self.done.put(RuntimeError("the Trainer ended by itself"))
        except BaseException as error:
            self.done.put(error)

    def steps(self, n: int) -> None:
        self.wanted.put(n)
        error = self.done.get()
        if error is not None:
            raise error
        synchronise(self.device)

    def loss(self) -> float:
        self.model.eval()
        loss = validation_loss(lambda ids: self.model(ids[:, :-1]).logits, self.corpus, self.size.context, self.device)
        self.model.train()
        return loss

    @property
    def parameters(self) -> int:
        return count(self.model)


def _scheduled(base: type) -> Any:
    """A Trainer with the schedule of all contenders."""

    class Scheduled(base):  # type: ignore[misc]
        def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
            moved = optimizer or self.optimizer
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(moved, lambda step: lr_at(step, STEPS, CONFIG) / CONFIG.lr)
            return self.lr_scheduler

    return Scheduled


def _gate(base: type, wanted: SimpleQueue[int], done: SimpleQueue[BaseException | None]) -> Any:
    """A callback that lets as many steps through as are wanted, and says when they are done."""

    class Gate(base):  # type: ignore[misc]
        left = 0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if self.left == 0:
                self.left = wanted.get()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.left -= 1
            if self.left == 0:
                done.put(None)

    return Gate()


class Sequences(torch.utils.data.Dataset[Mapping[str, Tensor]]):
    """Every place of a text as a sequence; labels are the ids, which the model shifts."""

    def __init__(self, tokens: np.ndarray, size: Size) -> None:
        self.tokens, self.context = tokens, size.context

    def __len__(self) -> int:
        return len(self.tokens) - self.context

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        ids = torch.from_numpy(self.tokens[i : i + self.context].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


# -- what they share -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def validation_loss(logits: Callable[[Tensor], Tensor], corpus: Any, context: int, device: torch.device) -> float:
    """Nats per token over the validation sequences on which ours is judged as well."""
    starts = validation_starts(len(corpus.valid), context, JUDGED)
    every = torch.from_numpy(sequences(corpus.valid, starts, context)).to(device)
    total = sum(
        F.cross_entropy(logits(ids).flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum").double().item()
        for ids in every.split(max(1, 4096 // context))
    )
    return total / (every.size(0) * context)


def count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def import_contender(name: str) -> None:
    """Imports what a contender is made of, which is not part of its first step."""
    if name.startswith("trainer"):
        import transformers

        _ = transformers.Trainer, transformers.TrainingArguments, transformers.GPT2LMHeadModel  # they load when first named


def make(name: str, size: Size, device: str, precision: str, nanogpt: Path | None) -> Contender:
    """A contender by its name: ours, nanoGPT, plain or trainer, and after it `compile`, `graph` or `tanh`."""
    who, *how = name.split()
    tanh, compiled = "tanh" in how, "compile" in how
    if who == "ours":
        engine = "graph" if "graph" in how else "compile" if compiled else "eager"
        return Ours(size, device, precision, engine, tanh)
    if who == "trainer":
        return Trainer(size, device, precision, compiled, tanh)
    if who == "nanoGPT":
        if nanogpt is None:
            raise ValueError("nanoGPT needs --nanogpt, the folder of a checkout of it")
        return Plain(size, device, precision, compiled, nano_gpt(size, nanogpt))
    return Plain(size, device, precision, compiled, PlainGPT(size))
