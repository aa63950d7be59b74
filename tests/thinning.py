"""Cases of one kind, of which the first are run every time and the others by `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def thin(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """The cases in their order; all behind the first `count` are marked slow."""
    return [one if index < count else pytest.param(one, marks=pytest.mark.slow) for index, one in enumerate(cases)]
