"""Completions of texts by a model in this process and its tokenizer."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from models.decoding.completion import Completion
from models.decoding.parameters import DecodingParameters
from models.decoding.sampler import generate
from models.files import short
from models.gpt import GPT


class Codec(Protocol):
    """Makes texts ids and ids texts: a tokenizer of models/data, a Corpus, or any other."""

    def encode(self, text: str) -> Any: ...
    def decode(self, ids: Iterable[int]) -> str: ...


class Completer:
    """A CompletionModel of a GPT: prompts are texts. Arguments are those of `generate`.

    The tokenizer's vocabulary may be smaller than the model's; `words` then keeps the rest from being sampled.
    """

    def __init__(self, model: GPT, tokenizer: Codec, words: int | None = None, end: int | None = None, batch: int = 32) -> None:
        self.model, self.tokenizer, self.words, self.end, self.batch = model, tokenizer, words, end, batch

    def complete(
        self, prompts: Sequence[str], parameters: DecodingParameters, seeds: int | Sequence[int] = 0
    ) -> list[Completion]:
        """A completion of every prompt, in their order. ValueError as in `generate`, for a text that cannot be encoded, and for a
        single text instead of a list."""
        if isinstance(prompts, str):
            raise ValueError(f"prompts is {short(prompts)!r}, but must be a list of texts, even of one")
        ids = [self.tokenizer.encode(prompt) for prompt in prompts]
        return generate(self.model, ids, parameters, seeds, self.words, self.end, self.tokenizer.decode, self.batch)

    def count_tokens(self, text: str) -> int:
        """The tokens of a text."""
        return len(self.tokenizer.encode(text))
