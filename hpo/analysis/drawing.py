"""An empty figure, and a saved one. Figures are narrow: as wide as a column of text, in which their letters are as large."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.analysis.paths import PICTURES, check_file, write_whole
from surrogates.style import STYLE

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.5  # inches
SMALL = 9  # points, the smallest font size
DPI = 200


@contextmanager
def house_style() -> Iterator[None]:
    """A context in which every figure gets the common style. ModuleNotFoundError in a sentence without Matplotlib."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise ModuleNotFoundError("figures are drawn by Matplotlib, which is not installed: pip install matplotlib") from None
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(height: float, rows: int = 1, columns: int = 1, share: bool = True) -> tuple[Figure, list[Axes]]:
    """An empty figure and its panels, row by row. By default the panels share the axis of values."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, sharey=share).flat)


def add_legend(figure: Figure, columns: int = 2) -> None:
    """Puts the legend above the picture, where it covers no data."""
    handles, labels = [], []
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, fontsize=SMALL, handlelength=1.6, columnspacing=1.2,
        borderaxespad=0.2,
    )  # fmt: skip


def save_figure(figure: Figure, path: str | Path) -> None:
    """Saves a figure, whole or not at all, as its suffix says: .png, .svg, .pdf. Others are refused as in `check_file`."""
    file, buffer = check_file(path, PICTURES), io.BytesIO()
    with house_style():
        figure.savefig(buffer, format=file.suffix[1:].lower(), dpi=DPI)
    write_whole(file, buffer.getvalue())
