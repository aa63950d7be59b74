"""Which line a warning points to: the first one on the call stack that is outside of this package."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)


def stack_level() -> int:
    """`stacklevel` for a warning that our caller gives: 1 is the caller's own line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((HERE, "<string>")):
        level, frame = level + 1, frame.f_back
    return level
