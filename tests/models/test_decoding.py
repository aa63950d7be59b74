"""What may be asked of decoding, what is refused by name, and what does not depend on what: batch, cache, place."""

from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import GPTConfig
from models.data.tokenizers import Characters
from models.decoding.completer import Completer
from models.decoding.completion import Completion
from models.decoding.parameters import DECODING_NAMES, RULES, DecodingParameters, split_decoding
from models.decoding.sampler import generate
from models.gpt import GPT
from tests.models.tiny import shaken

torch.set_num_threads(1)
MODEL = GPT(GPTConfig(layers=1, hidden=8, heads=2, vocabulary=11, context=6), 1)
START = torch.tensor([[3, 1]])
MIDDLE = GPTConfig(layers=3, hidden=48, heads=6, vocabulary=97, context=33, norm_eps=1e-3)
LETTERS = Characters("".join(chr(97 + place) for place in range(26)))
WRITER = shaken(GPTConfig(layers=2, hidden=16, heads=2, vocabulary=26, context=16))

NEVER: list[Any] = [nan, inf, -inf, True, False, b"1", 1j, object(), np.array([1]), -(10**400)]
WRONG: dict[str, list[Any]] = {
    "max_tokens": [*NEVER, "1", [1], {}, None, -1, 1.0, 0.5],
    "temperature": [*NEVER, "1", [1], {}, None, -1, -1e-300, 10**400],
    "top_k": [*NEVER, "1", [1], {}, 0, -1, 1.0, 2.5],
    "top_p": [*NEVER, "1", [1], {}, None, 0, 0.0, -0.1, 1.0000001, 2, 10**400],
    "min_p": [*NEVER, "1", [1], {}, None, -0.1, 1.1],
    "frequency_penalty": [*NEVER, "1", [1], {}, None, -2.1, 2.1],
    "presence_penalty": [*NEVER, "1", [1], {}, None, -2.1, 2.1],
    "repetition_penalty": [*NEVER, "1", [1], {}, None, 0, 0.0, -1, 1e-300, 1e300],
    "stop": [*NEVER, 1, "", [""], ["a", ""], ["a", 1], {"a": 1}],
}
RIGHT: dict[str, list[Any]] = {
    "max_tokens": [0, 3, np.int64(2)],
    "temperature": [0, 0.0, 1, 1e-320, 5e-324, 1e-30, 1e300, 10**300, np.float32(0.7), Fraction(1, 3), np.int32(2)],
    "top_k": [None, 1, 11, 10**30, np.int64(3)],
    "top_p": [1e-300, 5e-324, 0.5, 1, 1.0, np.float64(0.9), Fraction(1, 2)],
    "min_p": [0, 1, 1.0, 1e-300, np.float64(0.3)],
    "frequency_penalty": [-2, 0, 2.0, np.float32(0.5)],
    "presence_penalty": [-2, 0, 2.0, Fraction(1, 2)],
    "repetition_penalty": [1, 1e-30, 1e30, 1.3],
    "stop": [None, (), []],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_is_not_allowed_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is (.|\n)*, but must be ") as caught:
        DecodingParameters(**{name: value})
    assert "\n" not in str(caught.value)


@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in RIGHT.items()}), st.sampled_from([None, 1, 4]))
@settings(deadline=None, max_examples=100)
def test_whatever_is_allowed_gives_tokens_of_the_vocabulary(given: dict[str, Any], words: int | None) -> None:
    parameters = DecodingParameters(**given)
    (found,) = generate(MODEL, START, parameters, words=words)
    assert found.tokens is not None and len(found.tokens) == int(given["max_tokens"])
    assert all(0 <= token < (words or 11) for token in found.tokens)
    assert [found] == generate(MODEL, START, parameters, words=words)


def test_parameters_are_plain_values_whatever_a_search_gives() -> None:
    given = {"max_tokens": np.int64(5), "temperature": np.float32(0.5), "top_k": np.int8(3), "stop": ["a"], "prompt": "p"}
    found, rest = split_decoding(given)
    assert found == DecodingParameters(max_tokens=5, temperature=0.5, top_k=3, stop="a") and rest == {"prompt": "p"}
    assert [type(getattr(found, name)) for name in ("max_tokens", "temperature", "top_k", "stop")] == [int, float, int, tuple]
    assert {*RULES} == {*DECODING_NAMES} == {*WRONG} == {*RIGHT}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"words": 12}, "^words is 12, but must be a whole number from 1 to 11$"),
        ({"words": 0}, "^words is 0, "),
        ({"end": 11}, "^end is 11, but must be a whole number from 0 to 10$"),
        ({"batch": 0}, "^batch is 0, but must be a whole number of at least 1$"),
        ({"batch": True}, "^batch is True, "),
        ({"seeds": [1, 2]}, "^seeds are 2, but must be one for each of 1 prompts"),
        ({"seeds": 1 << 64}, "^seed is 18446744073709551616, but must be a whole number of at most 64 bits"),
        ({"seeds": 1.0}, "^seed is 1.0"),
        ({"parameters": DecodingParameters(stop="a")}, "^stop texts are given, but tokens cannot be decoded"),
    ],
)
def test_arguments_are_refused_in_one_sentence(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(MODEL, START, **given)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([[-1]], "a token of the prompt is -1, but must be from 0 to 10"),
        ([[3], [3, 11]], "a token of the prompt is 11"),
        ([[2**40]], "a token of the prompt is 1099511627776"),
        ([[1], []], "the prompt is empty"),
        ([1, 2], "but must be a list of whole numbers"),
        ([[1.0]], "but must be a list of whole numbers"),
        ([[True]], "but must be a list of whole numbers"),
        (["ab"], "but must be a list of whole numbers"),
    ],
)
def test_a_prompt_that_is_none_is_refused(prompts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(MODEL, prompts)
    if not any(isinstance(one, str) for one in prompts) and len(prompts) == 1:
        with pytest.raises(ValueError, match=message):
            generate(MODEL, torch.tensor(prompts))


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-42, 1e-38])
def test_a_temperature_near_zero_takes_the_most_likely_token(temperature: float) -> None:
    greedy = generate(MODEL, START, DecodingParameters(20, 0))
    assert generate(MODEL, START, DecodingParameters(20, temperature)) == greedy
    assert generate(MODEL, START, DecodingParameters(20, temperature, top_k=3, top_p=0.9, min_p=0.1)) == greedy


@pytest.mark.parametrize("value", [nan, inf])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_a_diverged_model_says_so(value: float, temperature: float) -> None:
    model = GPT(MODEL.config, 1)
    with torch.no_grad():
        model.tokens.weight[0, 0] = value
    with pytest.raises(ValueError, match="logits are not finite"):
        generate(model, START, DecodingParameters(2, temperature))


def tokens_of(found: list[Completion]) -> list[list[int]]:
    return [list(one.tokens or ()) for one in found]


def test_generation_is_greedy_at_temperature_zero_far_beyond_the_context() -> None:
    model, prompts = shaken(MIDDLE), [[1, 2, 3], [4, 5, 6, 7, 8], list(range(40)), [9]]
    expected = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        for _ in range(50):
            ids = torch.cat((ids, model(ids[:, -33:])[:, -1].argmax(-1, keepdim=True)), 1)
        expected.append(ids[0, len(prompt) :].tolist())
    for how in ({"temperature": 0}, {"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):
        assert tokens_of(generate(model, prompts, DecodingParameters(max_tokens=50, **how))) == expected  # type: ignore[arg-type]


def test_generation_is_a_function_of_the_seed() -> None:
    model, parameters = shaken(MIDDLE), DecodingParameters(40)
    first, same, other = (generate(model, [[7]], parameters, seed) for seed in (0, 0, 1))
    assert first == same and first != other
    assert tokens_of(generate(model, [[7]] * 2, parameters, [0, 1])) == tokens_of([*first, *other])
    two = generate(model, [[7], [8]], parameters)
    assert two[0] == first[0] and two[0] != two[1]


KINDS: dict[str, dict[str, Any]] = {
    "classic": {"bias": True},
    "modern": {"positions": "rotary", "kv_heads": 2, "norm": "rms", "activation": "swiglu", "qk_norm": True, "tie": False},
    "mup": {"parametrisation": "mup", "base_layers": 1, "kv_heads": 1, "activation": "relu2"},
}
MODELS = {
    name: shaken(GPTConfig(layers=2, hidden=24, heads=4, vocabulary=19, context=12, **kind)) for name, kind in KINDS.items()
}


@given(
    st.sampled_from(sorted(MODELS)),
    st.lists(st.lists(st.integers(0, 18), min_size=1, max_size=15), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(0, 20),
    st.sampled_from([{}, {"repetition_penalty": 1.3}, {"frequency_penalty": 0.7, "presence_penalty": -0.5}, {"temperature": 0}]),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=40)
def test_a_completion_does_not_depend_on_its_batch(
    name: str, prompts: list[list[int]], batch: int, tokens: int, given: dict[str, Any], seed: int
) -> None:
    """Nor on its place, nor on where other texts end, whether they fit into the context or not."""
    parameters = DecodingParameters(max_tokens=tokens, **given)
    alone = [generate(MODELS[name], [prompt], parameters, seed, end=3)[0] for prompt in prompts]
    assert generate(MODELS[name], prompts, parameters, seed, end=3, batch=batch) == alone
    assert generate(MODELS[name], prompts[::-1], parameters, seed, end=3) == alone[::-1]


def test_sampled_tokens_have_the_models_probabilities() -> None:
    """Chi-squared of 4,000 draws of one token, with seeds one after the other."""
    parameters = DecodingParameters(max_tokens=1, temperature=0.7, top_k=6)
    found = generate(MODEL, [[3, 1]] * 4000, parameters, list(range(4000)), batch=1000)
    logits = MODEL(START)[0, -1].detach() / 0.7
    kept = logits.topk(6).indices
    expected = torch.zeros(11).index_put((kept,), torch.softmax(logits[kept], 0)) * 4000
    counts = torch.bincount(torch.tensor(tokens_of(found)).flatten(), minlength=11)
    assert counts[expected == 0].sum() == 0
    assert float(((counts - expected) ** 2 / expected)[expected > 0].sum()) < 20.5  # 0.999 at five degrees of freedom


def test_a_text_ends_at_the_end_or_before_a_stop_text() -> None:
    writer, plain = Completer(WRITER, LETTERS), DecodingParameters(max_tokens=12, temperature=0)
    (whole,) = writer.complete(["abc"], plain)
    assert whole.text is not None and len(whole.text) == 12 and whole.reason == "length"
    for first in range(12):
        stop = whole.text[first : first + 3]
        (cut,) = writer.complete(["abc"], DecodingParameters(max_tokens=12, temperature=0, stop=["#", stop]))
        place = whole.text.find(stop)
        assert (cut.text, cut.reason) == (whole.text[:place], "stop")
        assert len(cut.tokens or ()) == place + len(stop)
    end = int(LETTERS.encode(whole.text[4])[0])
    (ended,) = Completer(WRITER, LETTERS, end=end).complete(["abc"], plain)
    assert (ended.text, ended.reason) == (whole.text[: whole.text.find(whole.text[4])], "stop")
    assert writer.complete(["abc"], DecodingParameters(max_tokens=0)) == [Completion("", "length", ())]
    assert writer.complete([], plain) == [] and writer.count_tokens("abc") == 3


class Syllables:
    """A tokenizer whose tokens are of one to three letters, so that a stop text begins and ends within tokens."""

    PIECES = [chr(97 + place) * (1 + place % 3) + "x" * (place % 2) for place in range(26)]

    def encode(self, text: str) -> list[int]:
        return [self.PIECES.index(word) for word in text.split()]

    def decode(self, ids: Any) -> str:
        return "".join(self.PIECES[one] for one in ids)


def test_a_stop_text_may_begin_and_end_within_tokens() -> None:
    """The text ends with the first token that completes a stop text, and what that token has before and behind it is cut."""
    writer = Completer(WRITER, Syllables(), words=26)
    parameters = DecodingParameters(max_tokens=10, temperature=1.0)
    (whole,) = writer.complete(["a"], parameters, seeds=4)
    assert whole.text is not None and whole.tokens is not None and len(whole.text) > len(whole.tokens)
    for first in range(len(whole.text) - 3):
        stop = whole.text[first : first + 4]
        (cut,) = writer.complete(["a"], DecodingParameters(max_tokens=10, temperature=1.0, stop=stop), seeds=4)
        place = whole.text.find(stop)
        count = next(n for n in range(11) if stop in Syllables().decode(whole.tokens[:n]))
        assert (cut.text, cut.reason, cut.tokens) == (whole.text[:place], "stop", whole.tokens[:count])


def test_one_text_is_no_list_of_prompts() -> None:
    """Whose letters would be prompts."""
    with pytest.raises(ValueError, match="prompts is 'abc', but must be a list of texts, even of one"):
        Completer(WRITER, LETTERS).complete("abc", DecodingParameters())


def test_penalties_change_what_is_written() -> None:
    """Greedily, until every letter was written once, no letter comes twice under the largest penalties."""
    found = {}
    for how in ({}, {"frequency_penalty": 2.0, "presence_penalty": 2.0}, {"repetition_penalty": 1e6}):
        (one,) = generate(WRITER, [[0]], DecodingParameters(max_tokens=15, temperature=0, **how))
        found[str(how)] = len({*(one.tokens or ())})
    plain, counted, repeated = found.values()
    assert plain < counted and plain < repeated == 15
