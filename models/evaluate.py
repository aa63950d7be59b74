"""The validation loss: nats per token over a fixed set of sequences, the same for every config with the same context; and the
accuracy, the share of tokens that were the likeliest.

If `eval_tokens` is smaller than the text, sequences are spread evenly over it; otherwise each token except the first counts
once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp

import torch
import torch.nn.functional as F

from models.config import TrainConfig
from models.data.batches import Corpus, overlap, sequences, validation_starts
from models.engines.distributed.group import ALONE, Group
from models.gpt import GPT
from models.precision import context as precision_context
from models.stopping import FALLING

LOGITS = 1 << 24  # elements of logits in one pass, 64 MB in float32: fits a cache-poor CPU and any GPU
TOKENS = 4096  # tokens in one pass; more are no faster on one core
COUNTED_ELSEWHERE = -100  # a target that cross_entropy ignores


LARGEST = 700.0  # exp of more is no number


@dataclass(frozen=True)
class Evaluation:
    """What a validation found: nats a token, and the share of right tokens."""

    loss: float
    accuracy: float

    @property
    def perplexity(self) -> float:
        """exp(loss), infinite where that is no number."""
        return exp(self.loss) if not self.loss >= LARGEST else float("inf")

    def negate_rising(self, metric: str) -> float:
        """A metric, negative where higher is better."""
        value = float(getattr(self, metric))
        return value if metric in FALLING else -value


class Validation:
    """The validation sequences of a corpus on a device: ids int64 (n, context + 1). In a group, each process has a share."""

    def __init__(
        self, corpus: Corpus, model: GPT, config: TrainConfig, device: torch.device, group: Group = ALONE
    ) -> None:
        length = model.config.context
        starts = validation_starts(len(corpus.valid), length, config.eval_tokens)
        again = overlap(starts, length)  # of the last sequence
        self.group, self.tokens = group, len(starts) * length - again
        self._again = again if (len(starts) - 1) % group.size == group.rank else 0
        self.ids = torch.from_numpy(sequences(corpus.valid, starts[group.rank :: group.size], length)).to(device)
        self.chunk = max(1, min(TOKENS, LOGITS // model.config.words) // length)
        self.model, self.precision, self.device = model, config.precision, device

    def loss(self) -> float:
        """The mean cross-entropy."""
        return self.measure().loss

    @torch.no_grad()
    def measure(self) -> Evaluation:
        """Mean cross-entropy without dropout or label smoothing, summed in float64, and accuracy. Does not change the model."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        right = torch.zeros((), dtype=torch.float64, device=self.device)
        for ids, targets in zip(self.ids.split(self.chunk), self._targets(), strict=True):
            with precision_context(self.precision, self.device):
                logits = self.model(ids[:, :-1])
            total += F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum")
            right += (logits.argmax(-1) == targets).sum()
        return Evaluation(self.group.sum(total).item() / self.tokens, self.group.sum(right).item() / self.tokens)

    def _targets(self) -> Iterator[torch.Tensor]:
        """The targets of each pass; tokens that another sequence predicts too are marked, so that they count once."""
        parts = self.ids[:, 1:].split(self.chunk)
        yield from parts[:-1]
        last = parts[-1]
        if self._again:
            last = last.clone()
            last[-1, : self._again] = COUNTED_ELSEWHERE
        yield last
