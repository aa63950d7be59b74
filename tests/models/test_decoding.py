"""What may be asked of sampling, and what is refused by name before anything is computed."""

from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import GPTConfig
from models.decoding import RULES, _filtered, check_sampling, generate
from models.gpt import GPT
from tests.models.tiny import shaken

torch.set_num_threads(1)
MODEL = GPT(GPTConfig(layers=1, hidden=8, heads=2, vocabulary=11, context=6), 1)
START = torch.tensor([[3, 1]])
SMALLEST = GPTConfig(layers=1, hidden=8, heads=1, vocabulary=11, context=4)
MIDDLE = GPTConfig(layers=3, hidden=48, heads=6, vocabulary=97, context=33, norm_eps=1e-3)

NEVER: list[Any] = [nan, inf, -inf, True, False, "1", "", b"1", [1], (), {}, 1j, object(), np.array([1]), -(10**400)]
WRONG: dict[str, list[Any]] = {
    "tokens": [*NEVER, None, -1, 1.0, 0.5],
    "temperature": [*NEVER, None, -1, -1e-300, 10**400],
    "top_k": [*NEVER, 0, -1, 1.0, 2.5],
    "top_p": [*NEVER, 0, 0.0, -0.1, 1.0000001, 2, 10**400],
    "seed": [*NEVER, None, 1.0, 1 << 64, -(1 << 63) - 1],
    "words": [*NEVER, 0, -1, 12, 2.0],
}
RIGHT: dict[str, list[Any]] = {
    "tokens": [0, 3, np.int64(2)],
    "temperature": [0, 0.0, 1, 1e-320, 5e-324, 1e-30, 1e300, 10**300, np.float32(0.7), Fraction(1, 3), np.int32(2)],
    "top_k": [None, 1, 11, 10**30, np.int64(3)],
    "top_p": [None, 1e-300, 5e-324, 0.5, 1, 1.0, np.float64(0.9), Fraction(1, 2)],
    "seed": [0, -1, (1 << 64) - 1, np.int64(5)],
    "words": [None, 1, 11, np.int64(4)],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_is_not_allowed_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*, but must be ") as caught:
        generate(MODEL, START, **{"tokens": 2, name: value})
    assert "\n" not in str(caught.value)
    if name in RULES:
        with pytest.raises(ValueError, match=rf"^{name} is "):
            check_sampling(**{name: value})


@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in RIGHT.items()}))
@settings(deadline=None, max_examples=150)
def test_whatever_is_allowed_gives_tokens_of_the_vocabulary(given: dict[str, Any]) -> None:
    found = generate(MODEL, START, **given)
    assert found.shape == (1, 2 + int(given["tokens"])) and torch.equal(found[:, :2], START)
    assert found[:, 2:].lt(given["words"] or 11).all() and found.ge(0).all()
    assert torch.equal(found, generate(MODEL, START, **given))


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-42, 1e-38])
def test_a_temperature_near_zero_takes_the_most_likely_token(temperature: float) -> None:
    greedy = generate(MODEL, START, 20, temperature=0)
    assert torch.equal(generate(MODEL, START, 20, temperature=temperature), greedy)
    assert torch.equal(generate(MODEL, START, 20, temperature=temperature, top_k=3, top_p=0.9), greedy)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[-1]], "a token of the prompt is -1, but must be from 0 to 10"),
        ([[3, 11]], "a token of the prompt is 11"),
        ([[2**40]], "a token of the prompt is 1099511627776"),
        ([[]], "but must be whole numbers of shape"),
        ([1, 2], "but must be whole numbers of shape"),
        ([[1.0]], "but must be whole numbers of shape"),
        ([[True]], "but must be whole numbers of shape"),
    ],
)
def test_a_prompt_that_is_none_is_refused(ids: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(MODEL, torch.tensor(ids), 2)


@pytest.mark.parametrize("value", [nan, inf])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_a_diverged_model_says_so(value: float, temperature: float) -> None:
    model = GPT(MODEL.config, 1)
    with torch.no_grad():
        model.tokens.weight[0, 0] = value
    with pytest.raises(ValueError, match="logits are not finite"):
        generate(model, START, 2, temperature)


def test_generation_is_greedy_at_temperature_zero_and_top_k_one() -> None:
    model = shaken(MIDDLE)
    start = torch.tensor([[1, 2, 3], [4, 5, 6]])
    greedy = generate(model, start, 50, temperature=0)
    ids = start
    for _ in range(50):
        ids = torch.cat((ids, model(ids[:, -33:])[:, -1].argmax(-1, keepdim=True)), 1)
    assert torch.equal(greedy, ids)
    assert torch.equal(generate(model, start, 50, top_k=1), greedy)
    assert torch.equal(generate(model, start, 50, top_p=1e-9), greedy)


def test_generation_is_a_function_of_the_seed() -> None:
    model, start = shaken(MIDDLE), torch.tensor([[7]])
    first, same, other = (generate(model, start, 40, 1.0, None, None, seed) for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert first.shape == (1, 41)


def test_the_filters_keep_the_smallest_sets() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    assert _filtered(logits, 2, None).isfinite().tolist() == [[False, True, False, True]]
    assert _filtered(logits, None, 0.74).isfinite().tolist() == [[False, True, False, True]]
    assert _filtered(logits, None, 0.76).isfinite().tolist() == [[False, True, True, True]]
    assert _filtered(logits, 99, 1.0).isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": -1}, "tokens is -1"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"ids": torch.zeros(1, 0, dtype=torch.int64)}, "the prompt is empty"),
    ],
)
def test_what_cannot_be_sampled_is_refused(arguments: dict[str, Any], message: str) -> None:
    plain: dict[str, Any] = {"ids": torch.tensor([[1]]), "tokens": 2}
    with pytest.raises(ValueError, match=message):
        generate(GPT(SMALLEST), **{**plain, **arguments})
