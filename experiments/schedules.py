"""Every learning-rate schedule over tokens, at two batch sizes, as one figure.

    python -m experiments.schedules                   # draws models/schedules.svg anew, the figure of models/README.md

The rates are those of the loop (models/schedule.py). The same versions give the same bytes: identifiers are salted with
a constant, and neither date nor version is written.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.budget import Budget
from models.config import TrainConfig
from models.schedule import SHAPES, lr_at_tokens, warmup_steps
from surrogates.style import BLUE, MUTED, ORANGE, STYLE

COMMAND = "python -m experiments.schedules"
TARGET = Path(__file__).resolve().parent.parent / "models" / "schedules.svg"
HORIZON, POINTS = 4_096_000, 250  # tokens; points a curve, one a step of the larger batch
BATCHES = {"4,096 tokens a step": 4_096, "16,384 tokens a step": 16_384}  # 1,000 and 250 steps
WARMUP, FLOOR, RATE = 50, 0.1, 0.95  # in steps, so that the batch sizes differ; of lr; a hundredth of the training
COLOURS, BAND = (BLUE, ORANGE), "#eef1f2"


def curve(config: TrainConfig, step_tokens: int) -> tuple[list[float], list[float]]:
    """Millions of tokens and the rates there, as shares of lr."""
    budget = Budget("tokens", HORIZON, step_tokens, epoch_tokens=HORIZON, flops_per_token=1)
    tokens = [HORIZON * point // POINTS for point in range(POINTS + 1)]
    return [at / 1e6 for at in tokens], [lr_at_tokens(at, budget, config) / config.lr for at in tokens]


def panel(axes: Axes, schedule: str) -> None:
    """One schedule: a line a batch size, the warm-up of the smaller batch as a band, the floor dashed."""
    config = TrainConfig(schedule=schedule, warmup=WARMUP, final_lr=FLOOR)
    warm = warmup_steps(HORIZON // min(BATCHES.values()), config) * min(BATCHES.values())
    axes.axvspan(0, warm / 1e6, color=BAND, linewidth=0)
    if schedule != "constant":
        axes.axhline(FLOOR, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    for colour, (label, size) in zip(COLOURS, BATCHES.items(), strict=True):
        axes.plot(*curve(config, size), color=colour, linewidth=1.6, label=label)
        if schedule == "exponential":
            rated = TrainConfig(schedule=schedule, warmup=WARMUP, final_lr=FLOOR, decay_rate=RATE)
            axes.plot(*curve(rated, size), color=colour, linewidth=1.2, linestyle=(0, (1.5, 1.5)))
    axes.set_title(schedule, loc="left")
    axes.set_ylim(0, 1.05)
    axes.set_xlim(0, HORIZON / 1e6)


def remarks(panels: dict[str, Axes]) -> None:
    """What the marks mean, once each."""
    small: dict[str, Any] = {"fontsize": 9, "color": MUTED}
    panels["constant"].text(0.95, 0.04, "warm-up: 50 steps of either", **small)
    panels["linear"].text(0.95, 0.03, "floor: final_lr = 0.1", **small)
    panels["exponential"].text(
        1.35, 0.80, "solid: no decay_rate\ndotted: decay_rate 0.95\nevery 0.01 of all steps", **small
    )
    panels["wsd"].text(1.0, 0.22, "decay_fraction = 0.2", **small)


def figure() -> Figure:
    """Small multiples: six panels with common axes."""
    made = Figure(figsize=(10, 5.4), layout="constrained")
    grid = list(made.subplots(2, 3, sharex=True, sharey=True).ravel())
    panels = dict(zip(SHAPES, grid, strict=True))
    for schedule, axes in panels.items():
        panel(axes, schedule)
    remarks(panels)
    made.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    made.supxlabel("million tokens", fontsize=10)
    made.supylabel("learning rate / lr", fontsize=10)
    return made


def draw_schedules() -> bytes:
    """The figure's file."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "schedules", "axes.titlesize": 11}):
        figure().savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Draw every learning-rate schedule over tokens.")
    parser.add_argument("--to", type=Path, default=TARGET, help="the SVG file to write")
    path = parser.parse_args(arguments).to
    path.write_bytes(draw_schedules())
    print(path)


if __name__ == "__main__":
    main()
