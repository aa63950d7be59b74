"""Where the shared data lie, and the one way in which a test says that it needs some of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "HPO_DATA"
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def folder() -> Path:
    """$HPO_DATA, or shared/data beside the checkout; it need not exist."""
    return Path(os.environ.get(VARIABLE) or BESIDE)


def data(name: str) -> Path:
    """The path of a file of the shared data; where it is absent the test skips, and says what brings it."""
    path = folder() / name
    if not path.exists():
        pytest.skip(f"{name} is not there under {folder()}; {VARIABLE}=<folder of the shared data> brings it")
    return path
