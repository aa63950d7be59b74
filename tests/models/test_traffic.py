"""The bytes of elementwise work against those that torch's calls read and write."""

import random
import warnings
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.calibrate.steps import autograd_run_of
from models.predict import traffic
from models.predict.activations import ActivationTerms
from models.predict.layout import DeviceLayout
from tests.models.test_cost import drawn

torch.set_num_threads(1)
SMALL = {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 65, "context": 64, "batch": 8, "eval_tokens": 64}
NOT_COUNTED = ("mm", "addmm", "bmm", "_unsafe_view", "detach", "empty", "empty_like", "new_empty")  # products, and no work
LOSS = ("_log_softmax", "nll_loss", "logsumexp")
EXTRAS: list[dict[str, Any]] = [
    {}, {"norm": "rms"}, {"positions": "rotary"}, {"qk_norm": True}, {"qk_norm": True, "norm": "rms", "positions": "rotary"},
    {"activation": "swiglu"}, {"activation": "relu2"}, {"kv_heads": 2}, {"bias": True}, {"tie": False, "vocabulary": 2000},
    {"kv_heads": 1, "positions": "rotary"}, {"vocabulary": 2000}, {"layer_dropout": 0.1},
]  # fmt: skip


class Bytes(TorchDispatchMode):
    """Adds up what every operation reads and writes."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        view = any(one.alias_info is not None and not one.alias_info.is_write for one in func._schema.returns)
        fused = name.startswith("_scaled_dot_product")
        if not (view or fused or name in NOT_COUNTED or name.startswith(LOSS)):
            arrays = tree_leaves((args, kwargs or {}, out))
            self.count += sum(one.numel() * one.element_size() for one in arrays if isinstance(one, torch.Tensor))
        return out


def counted(config: dict[str, Any]) -> tuple[int, int]:
    """(by the formula, counted) of one forward and backward pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RMSNorm on a CPU is not fused under autocast
        run = autograd_run_of(config, "cpu", 1)
        ids = torch.zeros(run.config.micro, run.size.context + 1, dtype=torch.int64)
        with Bytes() as found:
            run.engine.gradient(ids, 1.0, 1.0, seed=3)
    return traffic.autograd_bytes(ActivationTerms(run.size, run.config, DeviceLayout.of(run.config), kernels=False)), found.count


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("extra", EXTRAS)
def test_elementwise_bytes_are_those_of_the_operations(extra: dict[str, Any], again: bool, precision: str) -> None:
    formula, real = counted({**SMALL, **extra, "activation_checkpointing": again, "precision": precision})
    assert formula == pytest.approx(real, rel=0.15)


def test_elementwise_bytes_of_random_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MASK", 6.5)  # floats that a mask's operations read and write, without the time of its bits
    for number in range(400, 460):
        config = {**drawn(random.Random(number)), "z_loss": 0.0, "label_smoothing": 0.0, "optimizer": "sgd"}
        formula, real = counted(config)
        assert formula == pytest.approx(real, rel=0.2), config
