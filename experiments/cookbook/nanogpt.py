"""nanoGPT's train.py, unmodified, tuned by what it prints: `hpo run nanogpt.toml`, with early stopping (ASHA's stopping variant).

Needs a checkout of nanoGPT with a prepared text, see nanogpt.toml. Beside nanoGPT's own rate, weight decay and beta2, and beside
the best configuration run by hand.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from hpo.commands.plan import CommandPlan

PLAN = Path(__file__).with_name("nanogpt.toml")
VARIABLE = "COOKBOOK_NANOGPT"
DEFAULT = {"learning_rate": 1e-3, "n_head": 4, "beta2": 0.99, "weight_decay": 0.1}
LAST = 240  # steps


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


def nanogpt(scale: Reduction) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        plan = CommandPlan.read(PLAN).amend({"cwd": str(find_nanogpt()), "folder": f"{folder}/trials", "log": f"{folder}/log.db",
                                             "trials": scale.trials, "seed": scale.seed})  # fmt: skip
        study = plan.search()
        steps = [read_last_step(Path(folder) / "trials" / str(trial)) for trial in study.history.trials]
        beside = {"by hand": run_by_hand(plan, study.best.config, f"{folder}/hand"),
                  "default": run_by_hand(plan, DEFAULT, f"{folder}/default")}  # fmt: skip
    ended = ", ".join(str(step) for step in sorted(steps) if step < LAST)
    facts = {"trials": len(steps), "ended early, at steps": ended, "best": format_config(study.best.config)}
    return Outcome("val loss", study.best.value, beside, facts=facts)
