"""Every processor beside transformers' own: the same logits in, the same out."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from models.decoding.parameters import DecodingParameters
from models.decoding.processors import (
    cool,
    draw_tokens,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise,
    penalise_frequency,
    penalise_repetition,
    warp,
)

torch.set_num_threads(1)
EDGES = [0.0, -0.0, 1.0, -1.0, 1e-30, 30.0, -30.0, 1e4, -1e4, float("-inf")]
# Few different values, so that many tie; and any.
VALUES = st.one_of(st.sampled_from(EDGES), st.integers(-3, 3).map(float), st.floats(-50, 50, width=32))


@st.composite
def logits(draw: st.DrawFn) -> Tensor:
    """(B, V), with at least one finite value in each row."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 12)))
    found = torch.from_numpy(draw(arrays(np.float32, shape, elements=VALUES)))
    found[:, draw(st.integers(0, shape[1] - 1))] = draw(st.floats(-50, 50, width=32))
    return found


@st.composite
def ids_for(draw: st.DrawFn, rows: int, words: int) -> Tensor:
    return torch.from_numpy(draw(arrays(np.int64, (rows, draw(st.integers(1, 6))), elements=st.integers(0, words - 1))))


@pytest.fixture(scope="module", autouse=True)
def reference() -> object:
    return pytest.importorskip("transformers.generation.logits_process")


def theirs(name: str, *arguments: float) -> Callable[[Tensor, Tensor], Tensor]:
    from transformers.generation import logits_process

    return getattr(logits_process, name)(*arguments)


EMPTY = torch.zeros((1, 0), dtype=torch.int64)


def has_no_tie(ours: Tensor, other: Tensor, scores: Tensor) -> bool:
    """Whether no value that is left is also left out in a row: else which of the equal ones stays is a matter of order."""
    return not any(
        {*row[kept.isfinite()].tolist()} & {*row[~kept.isfinite()].tolist()}
        for each in (ours, other)
        for row, kept in zip(scores, each, strict=True)
    )


def assert_same_but_for_ties(ours: Tensor, other: Tensor, scores: Tensor) -> None:
    """Equal where no value is both kept and left out; else the same values are kept, as often."""
    if has_no_tie(ours, other, scores):
        assert torch.equal(ours, other)
    assert torch.equal(ours.sort(-1).values, other.sort(-1).values)


@given(logits(), st.data())
@settings(deadline=None, max_examples=200)
def test_repetition(scores: Tensor, data: st.DataObject) -> None:
    ids, penalty = data.draw(ids_for(*scores.shape)), data.draw(st.sampled_from([0.1, 0.5, 1.0, 1.2, 3.0, 1e6]))
    seen = torch.zeros(scores.shape, dtype=torch.bool).scatter(1, ids, True)
    expected = theirs("RepetitionPenaltyLogitsProcessor", penalty)(ids, scores)
    assert torch.equal(penalise_repetition(scores, seen, penalty), expected)


@given(logits(), st.one_of(st.floats(1e-3, 1e3), st.sampled_from([1e-30, 0.1, 1.0, 2.0, 1e30])))
@settings(deadline=None, max_examples=200)
def test_temperature(scores: Tensor, temperature: float) -> None:
    expected = theirs("TemperatureLogitsWarper", float(temperature))(EMPTY, scores)
    found = cool(scores, temperature)
    finite = (scores.max(-1).values / temperature).isfinite() & ~expected.isnan().any(-1)
    assert torch.equal(found[finite], expected[finite])
    assert not found.isnan().any() and torch.equal(found.max(-1).values.isfinite(), torch.ones(len(found), dtype=torch.bool))


@given(logits(), st.integers(1, 20))
@settings(deadline=None, max_examples=200)
def test_top_k(scores: Tensor, k: int) -> None:
    assert torch.equal(keep_top_k(scores, k), theirs("TopKLogitsWarper", k)(EMPTY, scores))


@given(logits(), st.one_of(st.floats(1e-6, 1), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9, 0.999, 1.0, 1e-300])))
@settings(deadline=None, max_examples=300)
def test_top_p(scores: Tensor, p: float) -> None:
    assert_same_but_for_ties(keep_top_p(scores, p), theirs("TopPLogitsWarper", p)(EMPTY, scores), scores)


@given(logits(), st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.5, 1.0])))
@settings(deadline=None, max_examples=200)
def test_min_p(scores: Tensor, p: float) -> None:
    expected = theirs("MinPLogitsWarper", p)(EMPTY, scores)
    assert torch.equal(keep_min_p(scores, p), expected)


@given(logits(), st.floats(0.1, 3), st.integers(1, 12), st.floats(0.01, 0.99), st.floats(0.01, 0.9))
@settings(deadline=None, max_examples=200)
def test_all_filters_come_in_transformers_order(scores: Tensor, temperature: float, k: int, p: float, least: float) -> None:
    expected = scores
    for name, value in (("Temperature", temperature), ("TopK", k), ("TopP", p), ("MinP", least)):
        expected = theirs(f"{name}LogitsWarper", value)(EMPTY, expected)
    found = warp(scores, DecodingParameters(temperature=temperature, top_k=k, top_p=p, min_p=least))
    assert_same_but_for_ties(found, expected, cool(scores, temperature))


@given(logits(), st.data())
@settings(deadline=None, max_examples=100)
def test_frequency_and_presence_are_openais_formula(scores: Tensor, data: st.DataObject) -> None:
    counts = torch.from_numpy(data.draw(arrays(np.float32, tuple(scores.shape), elements=st.integers(0, 5).map(float))))
    frequency, presence = (data.draw(st.floats(-2, 2, width=32)) for _ in range(2))
    found = penalise_frequency(scores, counts, frequency, presence)
    for (row, word), mu in np.ndenumerate(scores.numpy()):
        c = float(counts[row, word])
        expected = np.float32(mu) - np.float32(c * frequency) - np.float32((c > 0) * presence)
        assert np.isclose(found[row, word].item(), expected, rtol=1e-6, atol=1e-6) or found[row, word] == mu == -np.inf
    both = penalise(scores, DecodingParameters(frequency_penalty=frequency, presence_penalty=presence), None, counts)
    assert torch.equal(both, found) or (frequency == presence == 0 and torch.equal(both, scores))


def test_what_ties_at_the_edge_of_top_p_goes_from_the_end() -> None:
    """The lower id stays, so that the same token stays that temperature 0 takes."""
    assert keep_top_p(torch.zeros(1, 4), 0.5).isfinite().tolist() == [[True, True, False, False]]
    assert keep_top_p(torch.zeros(2, 4), 1e-9).isfinite().tolist() == [[True, False, False, False]] * 2


def test_the_filters_keep_the_smallest_sets() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    assert keep_top_k(logits, 2).isfinite().tolist() == [[False, True, False, True]]
    assert keep_top_p(logits, 0.74).isfinite().tolist() == [[False, True, False, True]]
    assert keep_top_p(logits, 0.76).isfinite().tolist() == [[False, True, True, True]]
    assert keep_min_p(logits, 0.25).isfinite().tolist() == [[False, True, True, True]]


@given(logits(), st.data())
@settings(deadline=None, max_examples=200)
def test_a_token_that_is_left_out_is_never_drawn(scores: Tensor, data: st.DataObject) -> None:
    last = 1 - 2.0**-52
    uniform = data.draw(arrays(np.float64, len(scores), elements=st.one_of(st.sampled_from([0.0, last]), st.floats(0, last))))
    found = draw_tokens(scores, torch.from_numpy(uniform))
    assert found.shape == (len(scores),)
    probability = torch.softmax(scores.double(), -1)
    assert (probability.gather(1, found[:, None]) > 0).all()
