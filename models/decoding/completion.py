"""A completion of a prompt, and the protocol of whatever completes prompts. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from models.decoding.parameters import DecodingParameters


@dataclass(frozen=True)
class Completion:
    """What was written behind a prompt.

    text     without the stop text that ended it; None if nobody could decode the tokens
    reason   "stop": a stop text or the end of the text came; "length": max_tokens were written
    tokens   the ids, with those that ended it; None from an endpoint, which does not tell
    """

    text: str | None
    reason: Literal["stop", "length"]
    tokens: tuple[int, ...] | None = None


class CompletionModel(Protocol):
    """What completes prompts: a model in this process or an endpoint elsewhere."""

    def complete(
        self, prompts: Sequence[str], parameters: DecodingParameters, seeds: int | Sequence[int] = 0
    ) -> list[Completion]:
        """A completion of every prompt, in their order. A seed for each, or one for all."""
        ...


def spread_seeds(seeds: int | Sequence[int], count: int) -> list[int]:
    """A seed for each of so many prompts. ValueError if there are more or fewer."""
    if isinstance(seeds, Sequence):
        if len(seeds) != count:
            raise ValueError(f"seeds are {len(seeds)}, but must be one for each of {count} prompts, or one whole number")
        return list(seeds)
    return [seeds] * count
