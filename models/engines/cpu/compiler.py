"""Finds the C compiler for kernels.c, and whether it may be used. Imports no torch."""

from __future__ import annotations

import os
import shlex
import shutil


def is_enabled() -> bool:
    """Whether HPO_KERNELS allows the kernels; ValueError if it is neither on nor off."""
    switch = os.environ.get("HPO_KERNELS", "on")
    if switch not in ("on", "off"):
        raise ValueError(f"HPO_KERNELS is {switch!r}, but must be on or off")
    return switch == "on"


def compiler() -> list[str]:
    """The compiler's command: $CC, else cc. FileNotFoundError if there is none, ValueError if a quotation in it does not end."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"there is no C compiler {command[0]!r}")
    return command
