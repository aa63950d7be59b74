"""How text is sampled from a model, as one frozen dataclass of plain values. Imports no torch.

A search over decoding has these names in its space, and passes a configuration on: DecodingParameters(**config).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Integral, Real
from typing import Any

from models.rules import Rule


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number that a float can hold."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple | list) and all(isinstance(one, str) for one in value))


def _are_stops(value: Any) -> bool:
    return value is None or (_is_list_of_texts(value) and all(value) and value != "")


def _store_stops(value: Any) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _bounded(low: float, high: float) -> Rule:
    return Rule(lambda v: _is_number(v) and low <= v <= high, f"a number in [{low:g}, {high:g}]", float)


# What each parameter may be, the same in words, and the plain type that is stored.
RULES: Mapping[str, Rule] = {
    "max_tokens": Rule(lambda v: _is_whole(v) and v >= 0, "a whole number of at least 0", int),
    "temperature": Rule(
        lambda v: _is_number(v) and v >= 0, "a finite number of at least 0 (0 takes the most likely token)", float
    ),
    "top_k": Rule(
        lambda v: v is None or (_is_whole(v) and v >= 1),
        "a whole number of at least 1, or None",
        lambda v: None if v is None else int(v),
    ),
    "top_p": Rule(lambda v: _is_number(v) and 0 < v <= 1, "a number in (0, 1]", float),
    "min_p": _bounded(0, 1),
    "frequency_penalty": _bounded(-2, 2),
    "presence_penalty": _bounded(-2, 2),
    # Within these bounds no float32 logit overflows by it.
    "repetition_penalty": Rule(lambda v: _is_number(v) and 1e-30 <= v <= 1e30, "a number in [1e-30, 1e+30] (1 is off)", float),
    "stop": Rule(_are_stops, "a text or a list of texts, none of them empty, or None", _store_stops),
}
SEED = Rule(lambda v: _is_whole(v) and -(1 << 63) <= v < 1 << 64, "a whole number of at most 64 bits", int)


@dataclass(frozen=True)
class DecodingParameters:
    """How tokens are chosen, and when a text ends. ValueError in one sentence for a value that is not allowed.

    max_tokens           a text has at most so many tokens behind its prompt
    temperature          divides the logits; 0 takes the most likely token, the first of several
    top_k                the k most likely tokens are left, and what ties with the last of them (Fan et al. 2018); None: all
    top_p                the smallest set of tokens with at least this probability (nucleus, Holtzman et al. 2020)
    min_p                tokens with at least this share of the most likely one's probability (Nguyen et al. 2024)
    frequency_penalty    times the number of times that a token was sampled is subtracted from its logit (OpenAI's reference)
    presence_penalty     is subtracted from the logit of every token that was sampled (likewise)
    repetition_penalty   divides positive logits of tokens that were sampled or stand in the prompt, and multiplies negative
                         ones (CTRL, Keskar et al. 2019)
    stop                 a text ends before the first of these texts

    Penalties come first, then temperature, top_k, top_p and min_p, as in transformers.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] | list[str] | str | None = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, RULES[field.name].check(field.name, getattr(self, field.name)))

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts, as they are stored."""
        return _store_stops(self.stop)

    @property
    def has_penalty(self) -> bool:
        """Whether what was sampled changes what is sampled next."""
        return self.has_count_penalty or self.repetition_penalty != 1

    @property
    def has_count_penalty(self) -> bool:
        """Whether it matters how often a token was sampled."""
        return self.frequency_penalty != 0 or self.presence_penalty != 0


DECODING_NAMES = tuple(field.name for field in fields(DecodingParameters))


def split_decoding(config: Mapping[str, Any]) -> tuple[DecodingParameters, dict[str, Any]]:
    """The decoding parameters of a configuration, and what else it has, such as a prompt."""
    rest = {name: value for name, value in config.items() if name not in DECODING_NAMES}
    return DecodingParameters(**{name: config[name] for name in DECODING_NAMES if name in config}), rest
