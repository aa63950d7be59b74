"""The loss that training minimises: cross-entropy in nats per token, with label smoothing and z-loss if the config has them."""

import torch.nn.functional as F
from torch import Tensor

from models.config import TrainConfig


def token_loss(logits: Tensor, targets: Tensor, config: TrainConfig) -> Tensor:
    """The mean loss over tokens, from logits (..., V) and targets (...), computed in float32.

    z_loss adds its weight times the mean of (log sum exp logits)^2, which keeps logits from growing without bound (PaLM,
    Chowdhery et al. 2022, section 5).
    """
    rows = logits.flatten(0, -2).float()
    loss = F.cross_entropy(rows, targets.reshape(-1), label_smoothing=config.label_smoothing)
    return loss + config.z_loss * rows.logsumexp(-1).square().mean() if config.z_loss else loss
