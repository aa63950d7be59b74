"""A GPT with a head for classes.

Attention is causal and texts are filled up at their right, so that no real token sees the filling; the head reads the mean over
real tokens.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import skip_init  # draws nothing from the global generator

from models.config import GPTConfig
from models.dropout import Noise
from models.gpt import GPT


class Classifier(GPT):
    """A GPT whose head reads the mean of a text's features: ids (B, T) to logits (B, C). The head begins at zero."""

    def __init__(self, config: GPTConfig, classes: int, filling: int, seed: int) -> None:
        super().__init__(config, seed)
        self.verdict, self.filling = skip_init(nn.Linear, config.hidden, classes), filling
        nn.init.zeros_(self.verdict.weight)
        nn.init.zeros_(self.verdict.bias)

    def forward(self, ids: Tensor, noise: Noise = None) -> Tensor:
        real = (ids != self.filling).unsqueeze(-1)  # (B, T, 1); no text is empty
        logits: Tensor = self.verdict((self.features(ids, noise) * real).sum(1) / real.sum(1))
        return logits
