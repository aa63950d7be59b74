"""nanoGPT's train.py, unmodified, tuned by what it prints: `hpo run nanogpt.toml`, with early stopping (ASHA's stopping variant).

Needs a checkout of nanoGPT with a prepared text, see nanogpt.toml. Beside nanoGPT's own rate, weight decay and beta2, and beside
the best configuration run by hand.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from experiments.cookbook.checkout import find_nanogpt, read_last_step, run_by_hand
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from hpo.commands.plan import CommandPlan

PLAN = Path(__file__).with_name("nanogpt.toml")
DEFAULT = {"learning_rate": 1e-3, "n_head": 4, "beta2": 0.99, "weight_decay": 0.1}
LAST = 240  # steps


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
