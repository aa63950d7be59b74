"""The table of the weights optimizers: every row says what its class does, and a new one is its class and its row."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from models.config import TrainConfig, split
from models.engines.distributed.fsdp import shard
from models.flat import copy_flat, flatten
from models.gpt import GPT
from models.mup import rates
from models.optimizers.base import Optimizer, Rate, descend, make_optimizer, scale_rate
from models.optimizers.rows import OPTIMIZERS, OptimizerRow
from models.predict.memory import memory
from models.predict.state import moment_floats
from tests.models import test_calibrate, test_operations
from tests.models.test_optimizers_laws import (  # noqa: F401  # all of them are run with the `config` below
    test_a_rate_given_as_a_tensor_is_the_rate_given_as_a_number,
    test_a_small_regression_is_learned,
    test_a_step_reads_no_tensor_back,
    test_absurd_rates_do_not_raise,
    test_another_optimizers_state_starts_from_zero,
    test_gradients_are_only_read,
    test_hyperparameters_are_those_of_each_step,
    test_padding_stays_zero,
    test_rates_multiply_the_learning_rate,
    test_state_and_updates_continue_bit_for_bit,
    test_state_is_named_and_counted,
    test_the_same_model_without_blocks_or_vectors,
    test_vectors_do_not_decay_and_matrices_do_by_rate_times_decay,
)
from tests.models.tiny import STEP, make

SMALL: dict[str, Any] = {"layers": 2, "hidden": 24, "heads": 4, "vocabulary": 19, "context": 21, "activation": "swiglu"}


class Signum(Optimizer):
    """The sign of a momentum (Bernstein et al. 2018): not one of ours, to be added here."""

    moments = ("signum",)

    def _update(self, lr: Rate, config: TrainConfig) -> None:
        momentum = self.state["signum"].lerp_(self.flat.grads, 1 - config.momentum)
        for one in self.flat.segments:
            part = slice(one.start, one.stop)
            update = momentum[part].sign()
            descend(self.flat.weights[part], update, scale_rate(lr, one.rate), one.decay(config.weight_decay))


SIGNUM = OptimizerRow(
    "tests.models.test_optimizers_rows:Signum",
    reads=("momentum",),
    moments=lambda shapes, training, device: shapes.size,
    passes=9,
    operations=lambda shapes: 13,
)
NAMES = [*OPTIMIZERS, "signum"]


@pytest.fixture(autouse=True)
def _signum(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(OPTIMIZERS, "signum", SIGNUM)
    yield


@pytest.fixture(params=[0.0, 0.01])
def config(request: pytest.FixtureRequest) -> TrainConfig:
    return TrainConfig(optimizer="signum", hypergradient=request.param)


def test_it_trains_and_its_checkpoints_are_its_own(tmp_path: Any) -> None:
    run, resumed = make({"optimizer": "signum"}), make({"optimizer": "signum"})
    run.advance(6 * STEP)
    run.save(tmp_path / "half")
    run.advance(12 * STEP)
    resumed.load(tmp_path / "half")
    resumed.advance(12 * STEP)
    assert torch.equal(run.flat.weights, resumed.flat.weights)


def test_configs_know_the_names_of_the_table_and_no_others() -> None:
    assert split({"optimizer": "signum"})[1].optimizer == "signum"
    for wrong in ("adam", ["adamw"], None):
        with pytest.raises(ValueError, match="but must be one of adamw, sgd, lion, muon, adafactor, signum"):
            split({"optimizer": wrong})


class Reader:
    """A config that notes which of its fields are read."""

    def __init__(self, config: TrainConfig) -> None:
        self._config, self.seen = config, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.seen.add(name)
        return getattr(self._config, name)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_is_what_the_row_says(name: str) -> None:
    flat = flatten(GPT(split(SMALL)[0]))
    reader: Any = Reader(TrainConfig(optimizer=name, hypergradient=0.01))
    optimizer = make_optimizer(flat, reader)
    optimizer.step(1e-3, reader)
    assert reader.seen - {"optimizer"} == {*OPTIMIZERS[name].reads, "weight_decay", "hypergradient"}


@pytest.mark.parametrize("beta1", [0.9, 0.0])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_is_what_the_row_says(name: str, beta1: float) -> None:
    size, training = split({**SMALL, "optimizer": name, "beta1": beta1})
    optimizer = make_optimizer(flatten(GPT(size)), training)
    kept = sum(value.numel() for value in optimizer.state.values())
    scratch = sum(value.numel() for name, value in vars(optimizer).items() if name == "_scratch")
    assert moment_floats(size, training) == kept + scratch
    more = memory({**SMALL, "optimizer": name, "beta1": beta1}).moments
    assert more == 4 * (kept + scratch)


@pytest.mark.parametrize("name", NAMES)
def test_what_may_be_sharded_updates_a_part_as_it_updates_the_whole(name: str) -> None:
    """Each half of the rows of a matrix by itself; and what needs the whole is refused by name."""
    size, training = split({**SMALL, "optimizer": name, "sharding": "full"})
    if not OPTIMIZERS[name].shardable:
        with pytest.raises(ValueError, match=f"optimizer is '{name}', but sharding 'full' needs adamw, sgd, lion or signum"):
            shard(GPT(size), training)
        return
    whole = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
    gradients = torch.randn(3, 32, 16, generator=torch.Generator().manual_seed(1))

    def train(rows: slice) -> torch.Tensor:
        flat, plan = copy_flat({"blocks.0.weight": whole[rows]})
        optimizer = make_optimizer(flat, training)
        for gradient in gradients:
            plan.view(flat.grads, "blocks.0.weight").copy_(gradient[rows])
            optimizer.step(1e-2, training)
        return plan.view(flat.weights, "blocks.0.weight")

    assert torch.equal(train(slice(0, 32)), torch.cat([train(slice(0, 16)), train(slice(16, 32))]))


def test_what_is_not_called_shardable_is_not() -> None:
    """Or the law above would be kept by calling nothing shardable."""
    assert [name for name, row in OPTIMIZERS.items() if not row.shardable] == ["muon", "adafactor"]


@pytest.mark.filterwarnings("ignore")
def test_its_operations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    test_operations.test_operations_are_those_that_are_called({"optimizer": "signum"}, False, monkeypatch)
    told = test_calibrate.predict({**test_calibrate.SMALL, "optimizer": "signum"}, test_calibrate.MADE_UP)
    adamw = test_calibrate.predict(test_calibrate.SMALL, test_calibrate.MADE_UP)
    assert told.parts["update"] == pytest.approx(9 / 11 * adamw.parts["update"])


def test_widths_multiply_its_rate_as_its_row_says() -> None:
    size = split({**SMALL, "parametrisation": "mup", "base_hidden": 6})[0]
    assert rates(size, "signum") == rates(size, "adamw") != rates(size, "sgd")
