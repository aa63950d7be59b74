"""The number of operations of a step against those that are called."""

from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from models.calibrate.steps import run_of
from models.engines.cpu import engine as cpu
from models.engines.cpu.kernels import library
from models.optimizers.rows import OPTIMIZERS
from models.predict.activations import ActivationTerms
from models.predict.layout import DeviceLayout
from models.predict.operations import pass_operations, update_operations

SMALL = {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 65, "context": 64, "batch": 8, "eval_tokens": 512}


class Calls(TorchDispatchMode):
    """Counts the operations of torch; as a library, those of the kernels."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(library(), name)

        def counted(*args: Any) -> Any:
            self.count += 1
            return kernel(*args)

        return counted


EXTRAS: list[dict[str, Any]] = [
    {}, {"norm": "rms", "positions": "rotary"}, {"qk_norm": True, "kv_heads": 1}, {"dropout": 0.1, "bias": True},
    {"activation": "swiglu", "layer_dropout": 0.1}, {"z_loss": 1e-4, "label_smoothing": 0.1}, {"attention_dropout": 0.1},
    {"qk_norm": True, "norm": "rms", "positions": "rotary"}, {"micro_batch": 2}, {"embedding_dropout": 0.1},
    {"activation_checkpointing": True}, {"activation_checkpointing": True, "norm": "rms", "positions": "rotary"},
    *({"optimizer": name} for name in OPTIMIZERS), {"optimizer": "lion", "hypergradient": 0.1, "ema": 0.9},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("extra", [*EXTRAS, {"precision": "bf16", "activation": "swiglu"}])
def test_operations_are_those_that_are_called(
    extra: dict[str, Any], kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels and library() is None:
        pytest.skip("there is no C compiler for the kernels")
    calls = Calls()
    monkeypatch.setattr(cpu, "library", lambda: calls if kernels else None)
    run = run_of({**SMALL, **extra}, "cpu", 1)
    run._step()  # the first one makes buffers, too
    calls.count = 0
    with calls:
        run._step()
    passes = sum(pass_operations(ActivationTerms(run.size, run.config, DeviceLayout.of(run.config), kernels=kernels)))
    counted = run.accumulation * passes + update_operations(run.size, run.config)
    assert counted == pytest.approx(calls.count, rel=0.1)
