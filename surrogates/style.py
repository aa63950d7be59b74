"""How every figure of the house looks. Colours are Okabe and Ito's: people with any colour vision can tell them apart.

STYLE is for `matplotlib.rc_context`; this module imports nothing.
"""

from __future__ import annotations

from typing import Any

INK, MUTED, GRID = "#1d2327", "#5d6870", "#e7e8e6"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#9aa5ad"

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "figure.facecolor": "white",
}
