"""What an acquisition may say of itself beside its scores: attributes that it has or leaves out."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class LogScaled(Protocol):
    """log_scale = True: scores are logarithms of a worth, so that terms may be added to them."""

    @property
    def log_scale(self) -> bool: ...


@runtime_checkable
class Several(Protocol):
    """several = True: it takes more than one objective."""

    @property
    def several(self) -> bool: ...


@runtime_checkable
class Stochastic(Protocol):
    """is_draw = True: a score is a draw, of which an average would be none (Thompson)."""

    @property
    def is_draw(self) -> bool: ...


def is_logarithmic(acquisition: Any) -> bool:
    """Whether scores are said to be logarithms."""
    return isinstance(acquisition, LogScaled) and bool(acquisition.log_scale)


def is_multi_objective(acquisition: Any) -> bool:
    """Whether it is said to take more than one objective."""
    return isinstance(acquisition, Several) and bool(acquisition.several)


def is_draw(acquisition: Any) -> bool:
    """Whether its scores are said to be draws."""
    return isinstance(acquisition, Stochastic) and bool(acquisition.is_draw)
