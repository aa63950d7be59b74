"""An exponential average of the weights: its values, its use in evaluation, and checkpoints without one."""

from pathlib import Path

import torch

from models.average import Average
from tests.models.tiny import STEP, make

torch.set_num_threads(1)


def test_the_average_is_the_one_written_out() -> None:
    weights = torch.zeros(3)
    average, expected = Average(weights), torch.zeros(3)
    for t in range(1, 40):
        weights = torch.full((3,), float(t))
        average.update(weights, t, 0.8)
        decay = min(0.8, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(average.values, expected)


def test_what_is_evaluated_is_the_average_and_training_is_untouched() -> None:
    plain, averaged = make({}), make({"ema": 0.9, "eval_every": 10})
    plain_loss, averaged_loss = (run.advance(40 * STEP)[0]["loss"] for run in (plain, averaged))
    assert torch.equal(plain.flat.weights, averaged.flat.weights)
    assert averaged.average is not None and averaged_loss != plain_loss
    plain.flat.weights.copy_(averaged.average.values)
    assert plain.validation.loss() == averaged_loss


def test_an_average_that_a_checkpoint_lacks_starts_from_its_weights(tmp_path: Path) -> None:
    parent = make({})
    parent.advance(10 * STEP)
    parent.save(tmp_path / "parent")
    heir = make({"ema": 0.9})
    heir.load(tmp_path / "parent")
    assert heir.average is not None and torch.equal(heir.average.values, parent.flat.weights)
