"""The validation loss: nats per token over a fixed set of sequences, the same for every config of a context."""

import torch
import torch.nn.functional as F

from models.config import TrainConfig
from models.data import Corpus, sequences, validation_starts
from models.gpt import GPT
from models.group import ALONE, Group
from models.precision import context as precision_context

LOGITS = 1 << 24  # elements of logits in one pass, 64 MB in float32: fits a cache-poor CPU and any GPU
TOKENS = 4096  # and tokens in one pass, more are no faster on one core


class Validation:
    """The validation sequences of a corpus, ready on a device: ids int64 (n, context + 1), a share for each of a group."""

    def __init__(
        self, corpus: Corpus, model: GPT, config: TrainConfig, device: torch.device, group: Group = ALONE
    ) -> None:
        length = model.config.context
        starts = validation_starts(len(corpus.valid), length, config.eval_tokens)
        self.group, self.tokens = group, len(starts) * length
        self.ids = torch.from_numpy(sequences(corpus.valid, starts[group.rank :: group.size], length)).to(device)
        self.chunk = max(1, min(TOKENS, LOGITS // model.config.words) // length)
        self.model, self.precision, self.device = model, config.precision, device

    @torch.no_grad()
    def loss(self) -> float:
        """Mean cross-entropy without dropout or label smoothing, summed in float64; changes nothing in the model."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for ids in self.ids.split(self.chunk):
            with precision_context(self.precision, self.device):
                logits = self.model(ids[:, :-1])
            total += F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum")
        return self.group.sum(total).item() / self.tokens
