"""The table of engines: what it refuses, and what every engine of it has."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from models.config import split
from models.engines import engine as engines
from models.engines.cpu.engine import CPUEngine
from models.engines.distributed.ddp import DDPEngine
from models.engines.distributed.fsdp import FSDPEngine
from models.engines.eager import EagerEngine
from models.engines.engine import ENGINES, Engine, EngineRow, check_engine
from tests.models.tiny import STEP, make

torch.set_num_threads(1)


def test_unknown_and_impossible_engines_are_refused() -> None:
    with pytest.raises(ValueError, match="engine is 'turbo', but must be one of eager, graph, compile"):
        make({}, engine="turbo")
    with pytest.raises(ValueError, match="engine is 'graph', but CUDA graphs need a CUDA device, and this run is on cpu"):
        make({}, engine="graph")
    size, training = split({"activation_checkpointing": True, "dropout": 0.1})
    with pytest.raises(ValueError, match="must be eager or compile for activation_checkpointing with dropout"):
        check_engine("graph", "cuda:0", size, training)
    check_engine("graph", "cuda:0", *split({"activation_checkpointing": True}))


CLASSES = [*(row.load() for row in ENGINES.values()), CPUEngine, DDPEngine, FSDPEngine]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_engine_has_what_the_protocol_asks_for(kind: type[Engine]) -> None:
    asked = {name for name in vars(Engine) if not name.startswith("_")}
    assert len(asked) == 9
    for name in asked:
        assert getattr(kind, name) is not getattr(Engine, name), name  # the protocol's own do nothing


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, models.engines.engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Halves(EagerEngine):
    """A toy: an eager engine whose rate is half as high."""

    def update(self, lr: float) -> None:
        super().update(lr / 2)


def test_an_engine_is_added_by_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = EngineRow(f"{__name__}:Halves", lambda device, size, training: "must be another with a clip" if training.clip else None)
    monkeypatch.setitem(engines.ENGINES, "halves", row)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine is 'halves', but must be another with a clip"):
        make({}, engine="halves")

    def weights(engine: str, lr: float) -> Tensor:
        run = make({"clip": 0.0, "lr": lr, "activation_checkpointing": True}, engine=engine)  # the eager one in any case
        run.advance(5 * STEP)
        return run.flat.weights

    assert torch.equal(weights("halves", 2e-2), weights("eager", 1e-2))
