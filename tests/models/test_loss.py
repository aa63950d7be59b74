"""What training minimises: smoothed cross-entropy and z-loss."""

import pytest
import torch
import torch.nn.functional as F

from models.config import TrainConfig
from models.loss import token_loss
from models.train import TrainRun
from tests.models.tiny import STEP, make

torch.set_num_threads(1)


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_cross_entropy_and_the_size_of_the_normaliser(z_loss: float, smoothing: float) -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    targets = torch.tensor([[0, 1, 2], [3, 4, 0]])
    shares = (1 - smoothing) * F.one_hot(targets, 5) + smoothing / 5
    normaliser = logits.exp().sum(-1).log()
    expected = (normaliser - (shares * logits).sum(-1)).mean() + z_loss * normaliser.square().mean()
    mine = token_loss(logits, targets, TrainConfig(z_loss=z_loss, label_smoothing=smoothing))
    torch.testing.assert_close(mine, expected)


def test_z_loss_keeps_the_normaliser_near_one() -> None:
    def normaliser(run: TrainRun) -> float:
        run.advance(60 * STEP)
        with torch.no_grad():
            return float(run.model(run.validation.ids[:, :-1]).logsumexp(-1).abs().mean())

    assert normaliser(make({"z_loss": 0.1, "lr": 3e-2})) < 0.5 * normaliser(make({"lr": 3e-2}))
