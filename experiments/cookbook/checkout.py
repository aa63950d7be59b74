"""A checkout of nanoGPT with a prepared text, and what its train.py prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.commands.plan import CommandPlan

VARIABLE = "COOKBOOK_NANOGPT"


def find_nanogpt() -> Path:
    """The checkout. FileNotFoundError in one sentence where there is none, or no prepared text in it."""
    place = Path(os.environ.get(VARIABLE, "nanoGPT"))
    if not (place / "data" / "shakespeare_char" / "train.bin").exists():
        raise FileNotFoundError(f"{str(place)!r} is no checkout of nanoGPT with a prepared text; {VARIABLE} names one")
    return place.absolute()


def run_by_hand(plan: CommandPlan, config: Mapping[str, Any], folder: str) -> float:
    """The last validation loss that train.py prints when somebody types these hyperparameters."""
    flags = [f"--{name}={value}" for name, value in config.items()]
    words = [word.replace("{folder}", folder) for word in shlex.split(str(plan.command)) if word != "{flags}"]
    printed = subprocess.run([*words, *flags], cwd=plan.cwd, capture_output=True, text=True, check=True).stdout
    return float(re.findall(r"val loss (\S+)", printed)[-1])


def read_last_step(folder: Path) -> int:
    """How far a trial came, by its own output."""
    return max(int(step) for step in re.findall(r"step (\d+):", (folder / "stdout.txt").read_text()))
