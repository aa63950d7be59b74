"""Measured inference: which calls count, what is made of their times, and that nothing of a model is changed by it.

No test looks at how long anything took: times come from a clock that the test makes.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from models.config import GPTConfig
from models.gpt import GPT
from models.inference import Inference, Spread, compare_inference, measure_inference, time_calls, weight_bytes
from models.predict.cost import cost
from tests.models.tiny import make, shaken

torch.set_num_threads(1)
SMALL = GPTConfig(layers=1, hidden=8, heads=2, vocabulary=11, context=6)
CPU = torch.device("cpu")


class Clock:
    """A clock that goes on only when something says that it took seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


def test_warm_up_does_not_count_and_calls_take_turns() -> None:
    clock = Clock()
    done: list[str] = []
    lasts = {"a": [9.0, 9.0, 1.0, 10.0, 3.0], "b": [8.0, 8.0, 2.0, 20.0, 4.0], "c": [7.0, 7.0, 3.0, 30.0, 5.0]}

    def call(name: str) -> None:
        clock.spend(lasts[name][done.count(name)])
        done.append(name)

    found = time_calls([partial(call, name) for name in lasts], [CPU] * 3, warmup=2, repeats=3, clock=clock)
    assert found == [seconds[2:] for seconds in lasts.values()]
    rounds = [tuple(done[first : first + 3]) for first in range(0, 15, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds) and len({*rounds}) > 1


def test_the_median_and_the_quartiles() -> None:
    assert Spread.of([4.0, 1.0, 100.0, 2.0, 3.0]) == Spread(median=3.0, low=2.0, high=4.0)
    assert Spread.of([1.0, 2.0]) == Spread(median=1.5, low=1.25, high=1.75)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


def test_a_measurement_is_made_of_the_clock_and_says_what_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, model, passes, tokens = Clock(), GPT(SMALL), iter([50.0, 1.0, 2.0, 6.0]), iter([50.0, 10.0, 20.0, 60.0])
    model.register_forward_pre_hook(lambda *_: clock.spend(next(passes)))
    monkeypatch.setattr("models.inference.read_token", lambda *_: clock.spend(next(tokens)))
    found = measure_inference(model, batch=3, context=4, warmup=1, repeats=3, clock=clock)
    assert (found.forward.low, found.forward.median, found.forward.high) == (1.5, 2.0, 4.0)
    assert (found.token.low, found.token.median, found.token.high) == (15.0, 20.0, 40.0)
    assert found.tokens_per_second == 3 * 4 / 2.0 and found.generated_per_second == 3 / 20.0
    assert replace(found, forward=Spread.of([0.0]), token=Spread.of([0.0])) == Inference(
        Spread.of([0.0]), Spread.of([0.0]), 3, 4, "cpu", "float32", 1, 1, 3, torch.__version__
    )


def watch(model: GPT) -> list[tuple[Any, ...]]:
    """What every pass of a model finds: shape, whether gradients are kept, threads, autocast."""
    found: list[tuple[Any, ...]] = []

    def note(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        grads = torch.is_grad_enabled()
        found.append((tuple(arguments[0].shape), grads, torch.get_num_threads(), torch.is_autocast_enabled("cpu")))

    model.register_forward_pre_hook(note)
    return found


@pytest.mark.parametrize(("precision", "autocast"), [("float32", False), ("bf16", True)])
def test_every_pass_is_a_whole_context_without_gradients(precision: str, autocast: bool) -> None:
    model = GPT(SMALL)
    seen = watch(model)
    measure_inference(model, batch=2, precision=precision, threads=2, warmup=1, repeats=4)
    assert seen == [((2, 6), False, 2, autocast)] * 5  # a token is no pass
    assert torch.get_num_threads() == 1


def test_models_that_are_compared_take_turns() -> None:
    models, order = [GPT(SMALL), GPT(replace(SMALL, context=5))], []
    for place, model in enumerate(models):
        model.register_forward_pre_hook(lambda *_, place=place: order.append(place))
    found = compare_inference(models, warmup=0, repeats=2)
    assert [sorted(order[first : first + 2]) for first in (0, 2)] == [[0, 1]] * 2
    assert [one.context for one in found] == [6, 5] and compare_inference([]) == []


def test_nothing_of_the_model_or_of_torch_is_changed() -> None:
    model = shaken(SMALL).train()
    model.blocks[0].eval()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    state, modes = torch.get_rng_state(), [part.training for part in model.modules()]
    ids = torch.arange(6)[None]
    logits = model(ids)
    measure_inference(model, warmup=0, repeats=1)
    measure_inference(model, precision="bf16", warmup=0, repeats=1)
    assert torch.equal(torch.get_rng_state(), state) and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert [part.training for part in model.modules()] == modes
    assert all(weight.grad is None and weight.requires_grad and weight.device == CPU for weight in model.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert torch.equal(model(ids), logits)
    model(ids).sum().backward()  # it can still be trained
    assert (torch.tensor(1e-39) * 1.0).item() != 0.0  # denormal numbers are numbers again


def test_what_was_set_is_set_back_after_an_error() -> None:
    model = GPT(SMALL)
    with torch.no_grad():
        model.tokens.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^the model's logits are not finite"):
        measure_inference(model, threads=2)
    assert torch.get_num_threads() == 1 and torch.is_grad_enabled() and (torch.tensor(1e-39) * 1.0).item() != 0.0


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("batch", 0, "a whole number of at least 1"),
        ("batch", 1.0, "a whole number of at least 1"),
        ("repeats", 0, "a whole number of at least 1"),
        ("warmup", -1, "a whole number of at least 0"),
        ("threads", True, "a whole number of at least 1"),
        ("context", 7, "a whole number from 1 to 6, the positions of the model"),
        ("context", 0, "a whole number from 1 to 6, the positions of the model"),
        ("precision", "fp8", "one of float32, bf16, fp16"),
        ("device", "tpu", "cpu, cuda or cuda:N"),
    ],
)
def test_what_is_not_allowed_is_refused_in_a_sentence(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is {value!r}, but must be {allowed}$"):
        measure_inference(GPT(SMALL), **{name: value})


def test_the_bytes_of_weights_are_those_that_are_predicted() -> None:
    for more in ({}, {"tie": False}, {"positions": "rotary", "norm": "rms"}):
        shape: dict[str, Any] = {"layers": 2, "hidden": 16, "heads": 2, "vocabulary": 11, "context": 6, **more}
        assert weight_bytes(GPT(GPTConfig(**shape))) == 4 * cost(shape).parameters
    assert weight_bytes(GPT(SMALL).bfloat16()) == 2 * sum(weight.numel() for weight in GPT(SMALL).parameters())
    run = make({})
    assert weight_bytes(run.model) == 4 * sum(weight.numel() for weight in run.model.parameters())  # views of one buffer


def test_what_is_held_once_counts_once_and_buffers_count() -> None:
    first, second = nn.Linear(3, 5, bias=False), nn.Linear(3, 5, bias=False)
    both = nn.Sequential(first, second)
    assert weight_bytes(both) == 2 * 60
    second.weight = nn.Parameter(first.weight.data)  # another parameter over the same memory
    assert weight_bytes(both) == 60
    both.register_buffer("mask", torch.zeros(8, dtype=torch.bool))
    assert weight_bytes(both) == 68
    with torch.device("meta"):
        assert weight_bytes(nn.Sequential(nn.Linear(3, 5, bias=False), nn.Linear(3, 5, bias=False))) == 120
