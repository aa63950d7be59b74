"""Half precision on a CPU, close to float32: one dtype goes into attention, norms are in float32. Denormal numbers are 0."""

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import gpt
from models.config import split
from models.gpt import GPT
from models.precision import context
from models.train import TrainRun
from tests.models.tiny import STEP, make

torch.set_num_threads(1)
CPU = torch.device("cpu")
FORMS = [
    {"norm": norm, "qk_norm": qk_norm, "positions": positions, "kv_heads": kv_heads}
    for norm in ("layer", "rms")
    for qk_norm in (False, True)
    for positions in ("learned", "rotary")
    for kv_heads in (2, 4)
]


def model_of(form: dict[str, Any]) -> GPT:
    sizes = {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 11, "context": 16, "init_std": 0.1, "bias": True}
    return GPT(split({**sizes, **form})[0], seed=1)


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("form", FORMS)
def test_queries_keys_and_values_are_of_one_dtype(
    precision: str, form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before autocast has had to make it so; and no norm sees an input that is not of the dtype of its weights."""
    attend, seen, normed = gpt.attend, set[torch.dtype](), set[tuple[torch.dtype, ...]]()

    def watched(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> Tensor:
        seen.update((q.dtype, k.dtype, v.dtype))
        return attend(q, k, v, *rest)

    monkeypatch.setattr(gpt, "attend", watched)
    model = model_of(form)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm | torch.nn.RMSNorm):
            module.register_forward_hook(lambda norm, x, y: normed.add((x[0].dtype, norm.weight.dtype, y.dtype)))
    with warnings.catch_warnings(), context(precision, CPU):
        warnings.simplefilter("error")  # torch warns of norms that mix dtypes, and falls back to a slower way
        model(torch.arange(32).view(2, 16) % 11)
    assert seen == {{"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert normed == {(torch.float32, torch.float32, torch.float32)}


@pytest.mark.parametrize("form", FORMS)
def test_results_are_close_to_those_of_float32(form: dict[str, Any]) -> None:
    model, ids = model_of(form), torch.randint(11, (4, 17), generator=torch.Generator().manual_seed(0))
    found = []
    for precision in ("float32", "bf16"):
        model.zero_grad()
        with context(precision, CPU):
            logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        found.append((loss.item(), torch.cat([weight.grad.flatten() for weight in model.parameters()])))
    (exact, gradient), (half, other) = found
    assert half == pytest.approx(exact, rel=1e-2)
    assert F.cosine_similarity(gradient, other, dim=0) > 0.999


@pytest.mark.parametrize("form", [{"norm": "rms", "qk_norm": True, "positions": "rotary"}, {"qk_norm": True, "kv_heads": 1}])
def test_training_ends_where_float32_does(form: dict[str, Any]) -> None:
    losses = [make({**form, "precision": precision}).advance(40 * STEP)[0]["loss"] for precision in ("float32", "bf16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


def denormal() -> float:
    return float((torch.tensor(1e-39) * 1.0).item())


@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_are_0_while_training_and_only_then(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = TrainRun._step

    def watched(run: TrainRun) -> None:
        seen.append(denormal())
        if len(seen) == 3:
            raise KeyboardInterrupt
        step(run)

    monkeypatch.setattr(TrainRun, "_step", watched)
    torch.set_flush_denormal(before)
    try:
        run = make({})
        run.advance(2 * STEP)
        assert (denormal() == 0) is before
        with pytest.raises(KeyboardInterrupt):
            run.advance(4 * STEP)
        assert (denormal() == 0) is before
    finally:
        torch.set_flush_denormal(False)
    assert seen == [0.0, 0.0, 0.0]
