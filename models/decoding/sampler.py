"""Continues prompts token by token, many at once.

What is written behind a prompt is a function of (model, prompt, parameters, seed) up to rounding: it does not depend on the other
prompts of the batch, nor on its place among them. The random number of a token is a hash of (seed, prompt, how many tokens came
before), so that two prompts with one seed draw different numbers.

A text that grows beyond the model's context slides: the model then sees its last `context` tokens, at positions from 0, as in a
pass without a cache. Every token costs a pass from there on, since keys and values of deeper layers depend on what has been left
behind.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from models.decoding.cache import KeyValueCache
from models.decoding.completion import Completion, spread_seeds
from models.decoding.parameters import SEED, DecodingParameters
from models.decoding.processors import draw_tokens, penalise, warp
from models.gpt import GPT
from models.seeds import mix

Decode = Callable[[Sequence[int]], str]
CROWD = 0.75  # rows that have ended are taken out of a cache when no more than this share of its rows goes on
BITS = 52


@dataclass
class Row:
    """A prompt and what was written behind it so far."""

    prompt: list[int]
    seed: int  # of its random numbers: a hash of the caller's and of the prompt
    tokens: list[int] = field(default_factory=list)
    text: str | None = None
    reason: Literal["stop", "length"] = "length"

    @property
    def length(self) -> int:
        """Tokens of the prompt and behind it."""
        return len(self.prompt) + len(self.tokens)

    @property
    def uniform(self) -> float:
        """The random number of the next token, in [0, 1 - 2^-52]."""
        return (mix(self.seed, len(self.tokens)) >> (64 - BITS)) * 2.0**-BITS

    def last(self, count: int) -> list[int]:
        """At most so many tokens at the end."""
        return (self.prompt + self.tokens)[-count:]

    def has_ended(self, parameters: DecodingParameters, end: int | None, decode: Decode | None) -> bool:
        """Whether the token that was written last ended the text; if so, the reason and the text are set."""
        at_end = self.tokens[-1] == end
        shown = self.tokens[:-1] if at_end else self.tokens
        if decode is not None and parameters.stops:
            text = decode(shown)
            cuts = [place for place in map(text.find, parameters.stops) if place >= 0]
            if cuts:
                self.text, self.reason = text[: min(cuts)], "stop"
                return True
        if at_end or len(self.tokens) == parameters.max_tokens:
            self.text = None if decode is None else decode(shown)
            self.reason = "stop" if at_end else "length"
            return True
        return False


@torch.inference_mode()
def generate(
    model: GPT,
    prompts: Tensor | Sequence[Sequence[int] | np.ndarray],
    parameters: DecodingParameters | None = None,
    seeds: int | Sequence[int] = 0,
    words: int | None = None,
    end: int | None = None,
    decode: Decode | None = None,
    batch: int = 32,
) -> list[Completion]:
    """A completion of every prompt, which is at least one token id each; prompts may have different lengths.

    parameters  None: the defaults
    seeds       one for each prompt, or one for all; completions of equal prompts differ by their seeds alone
    words       only the first so many ids are sampled (None: all), for a vocabulary padded beyond its tokenizer
    end         the id that ends a text, which the completion's text does not show
    decode      makes ids a text; without it a Completion has no text, and stop texts are refused
    batch       prompts that are continued at once; it changes time and memory, and no result but by rounding

    ValueError in one sentence for an argument that is not allowed, and for a model whose logits are not finite.
    """
    parameters = DecodingParameters() if parameters is None else parameters
    if parameters.stops and decode is None:
        raise ValueError("stop texts are given, but tokens cannot be decoded here: give decode as well")
    _check_whole("batch", batch, 1, None)
    vocabulary = model.config.words
    if words is not None:
        _check_whole("words", words, 1, vocabulary)
    if end is not None:
        _check_whole("end", end, 0, vocabulary - 1)
    listed = list_prompts(prompts, vocabulary)
    each = [SEED.check("seed", seed) for seed in spread_seeds(seeds, len(listed))]
    rows = [Row(prompt, mix(seed, _hash(prompt))) for prompt, seed in zip(listed, each, strict=True)]
    order = sorted(rows, key=lambda row: len(row.prompt))
    for first in range(0, len(order), batch):
        if parameters.max_tokens:
            _continue_rows(model, order[first : first + batch], parameters, words, end, decode)
    nothing = None if decode is None else ""
    return [Completion(row.text if row.tokens else nothing, row.reason, tuple(row.tokens)) for row in rows]


def _continue_rows(
    model: GPT, rows: Sequence[Row], parameters: DecodingParameters, words: int | None, end: int | None, decode: Decode | None
) -> None:
    """Writes behind every row until it has ended."""
    reader, occurrences = Reader(model, rows, parameters.max_tokens), Occurrences(model, rows, parameters)
    live = list(range(len(rows)))
    while live:
        logits = reader.read(live)[:, :words].float()
        if not logits.isfinite().all():
            raise ValueError("the model's logits are not finite, so that no token can be sampled: has its training diverged?")
        tokens = _choose(logits, parameters, occurrences, live, [rows[row].uniform for row in live])
        occurrences.count(live, tokens)
        for row, token in zip(live, tokens.tolist(), strict=True):
            rows[row].tokens.append(token)
        live = [row for row in live if not rows[row].has_ended(parameters, end, decode)]


def _choose(
    logits: Tensor, parameters: DecodingParameters, occurrences: "Occurrences", live: Sequence[int], uniform: Sequence[float]
) -> Tensor:
    """The next token of each row (B,)."""
    logits = penalise(logits, parameters, *occurrences.recall(live, logits.size(-1)))
    if parameters.temperature == 0:
        return logits.argmax(-1)
    return draw_tokens(warp(logits, parameters), torch.tensor(uniform, dtype=torch.float64, device=logits.device))


class Occurrences:
    """Which tokens stand in each row, prompt included, and how often each was sampled; only what the penalties need."""

    def __init__(self, model: GPT, rows: Sequence[Row], parameters: DecodingParameters) -> None:
        shape, device = (len(rows), model.config.words), model.tokens.weight.device
        self.seen = torch.zeros(shape, dtype=torch.bool, device=device) if parameters.repetition_penalty != 1 else None
        self.counts = torch.zeros(shape, device=device) if parameters.has_count_penalty else None
        if self.seen is not None:
            for place, row in enumerate(rows):
                self.seen[place, torch.tensor(row.prompt, device=device)] = True

    def count(self, live: Sequence[int], tokens: Tensor) -> None:
        """A token (B,) was sampled in each of these rows."""
        places = torch.tensor(live, device=tokens.device)
        if self.seen is not None:
            self.seen[places, tokens] = True
        if self.counts is not None:
            self.counts[places, tokens] += 1

    def recall(self, live: Sequence[int], words: int) -> tuple[Tensor | None, Tensor | None]:
        """Of these rows: which of the first `words` tokens stand there, and how often each was sampled."""
        seen, counts = (
            None if one is None else (one if len(live) == len(one) else one[torch.tensor(live, device=one.device)])[:, :words]
            for one in (self.seen, self.counts)
        )
        return seen, counts


class Reader:
    """The logits behind each of some rows, which grow by a token between two calls.

    A cache holds rows that fit into the context. What all rows begin with, such as the examples of a prompt, is read once.
    """

    def __init__(self, model: GPT, rows: Sequence[Row], room: int) -> None:
        self.model, self.rows, self.context = model, rows, model.config.context
        self.device = model.tokens.weight.device
        longest = min(max(len(row.prompt) for row in rows), self.context)
        self.cache = KeyValueCache(model, min(self.context, longest + room - 1))
        self.held: list[int] = []  # rows in the cache, in its order

    def read(self, live: Sequence[int]) -> Tensor:
        """Logits (B, V) behind these rows, in their order; on the first call behind all prompts."""
        if not self.held and not any(self.rows[row].tokens for row in live):
            return self._begin()
        inside = [row for row in live if self.rows[row].length <= self.context]
        outside = [row for row in live if self.rows[row].length > self.context]
        parts = [self._step(inside)] if inside else []
        if outside:
            parts.append(self.model(self._stack([self.rows[row].last(self.context) for row in outside]))[:, -1])
        if len(parts) == 1:
            return parts[0]
        places = {row: place for place, row in enumerate([*inside, *outside])}
        return torch.cat(parts)[[places[row] for row in live]]

    def _begin(self) -> Tensor:
        windows = [row.last(self.context) for row in self.rows]
        self.held = list(range(len(windows)))
        same = _count_shared(windows) if len(windows) > 1 else 0
        if same:
            self.cache.extend(self._stack([windows[0][:same]]))
        if len(windows) > 1:
            self.cache.select([0] * len(windows))
        new = [window[same:] for window in windows]
        widest = max(map(len, new))
        return self.cache.extend(self._stack([[*one, *[0] * (widest - len(one))] for one in new]), [len(one) for one in new])

    def _step(self, inside: Sequence[int]) -> Tensor:
        goes_on = set(inside)
        if len(inside) <= CROWD * len(self.held) or any(self.rows[row].length > self.context for row in self.held):
            self.cache.select([place for place, row in enumerate(self.held) if row in goes_on])
            self.held = [row for row in self.held if row in goes_on]
        last = self._stack([[self.rows[row].tokens[-1]] for row in self.held])
        logits = self.cache.extend(last, [int(row in goes_on) for row in self.held])
        if len(inside) == len(self.held):
            return logits
        return logits[[place for place, row in enumerate(self.held) if row in goes_on]]

    def _stack(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self.device)


def _count_shared(windows: Sequence[Sequence[int]]) -> int:
    """How many tokens all begin with, so that each has one more."""
    same = sum(1 for _ in takewhile(lambda column: len({*column}) == 1, zip(*windows, strict=False)))
    return min(same, min(map(len, windows)) - 1)


def list_prompts(prompts: Tensor | Sequence[Sequence[int] | np.ndarray], vocabulary: int) -> list[list[int]]:
    """Prompts as lists of ids. ValueError in one sentence for one that is empty or has what is no token."""
    return [_list_ids(prompt, vocabulary) for prompt in prompts]


def _list_ids(prompt: Any, vocabulary: int) -> list[int]:
    ids = prompt.cpu().numpy() if isinstance(prompt, Tensor) else np.asarray(prompt)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(f"a prompt is {ids.dtype} of shape {ids.shape}, but must be a list of whole numbers")
    if not ids.size:
        raise ValueError("the prompt is empty, but must hold at least one token")
    outside = ids[(ids < 0) | (ids >= vocabulary)]
    if outside.size:
        raise ValueError(f"a token of the prompt is {outside[0]}, but must be from 0 to {vocabulary - 1}")
    return [int(one) for one in ids.tolist()]


def _check_whole(name: str, value: Any, low: int, high: int | None) -> None:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (is_whole and value >= low and (high is None or value <= high)):
        allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} is {value!r}, but must be a whole number {allowed}")


def _hash(prompt: Sequence[int]) -> int:
    return int.from_bytes(hashlib.blake2b(np.asarray(prompt, "<i8").tobytes(), digest_size=8).digest(), "little")

