"""What a run shows while it goes on: a line after each result and, on a terminal, how far the search is."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from hpo.display import Lines
from hpo.watchers import Watch

DUMB = ("", "dumb", "unknown")  # terminals on which nothing can be drawn anew


def is_terminal(stream: TextIO) -> bool:
    """Whether a picture can be drawn anew on a stream."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in DUMB
    except (AttributeError, ValueError):  # it has no such method, or is closed
        return False


def make_display() -> Watch:
    """Lines on stdout; where it is a terminal, with how far the search is below them."""
    if not is_terminal(sys.stdout):
        return Lines()
    from hpo.live import LiveDisplay, LivePicture

    return LiveDisplay(LivePicture(whole=False), lines=True)
