"""The look of figures on paper-white: ink, muted axes, a pale grid, no frame on two sides. Colours are Okabe and Ito's."""

from __future__ import annotations

from typing import Any

INK, MUTED, GRID = "#1d2327", "#5d6870", "#e7e8e6"
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
STYLE: dict[Any, Any] = {
    "text.color": INK, "axes.edgecolor": MUTED, "axes.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "xtick.color": MUTED, "ytick.color": MUTED,
    "legend.frameon": False, "figure.facecolor": "white",
}  # fmt: skip
