"""The front as a table, and the sentences that say how it was measured and whether it holds."""

from __future__ import annotations

from statistics import median

from experiments.front.record import Point, Quartiles, Record
from experiments.job import flat
from hpo.analysis.lines import short
from hpo.values import inflect, quantity

HEAD = (
    "trial", "loss", "kB", "ms in the search", "ms again", "ms a token", "layers", "hidden", "heads", "ff_ratio", "batch",
    "optimizer", "lr", "verdict",
)  # fmt: skip
WIDTH = 200  # columns of an output that is no terminal


def front_rows(record: Record) -> list[list[str]]:
    """A row for each member of the front by either measurement, the smallest first, and one for the default where it is none;
    cells as in HEAD."""
    usual = record.default
    points = record.listed_points
    return [_row(point) for point in [*points, *([usual] if usual is not None and usual not in points else [])]]


def show_table(record: Record) -> None:
    """Prints the table on a terminal, with members that hold in bold."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    for name in HEAD:
        table.add_column(name, justify="left" if name in ("trial", "verdict", "optimizer") else "right", no_wrap=True)
    for row in front_rows(record):
        table.add_row(*row, style="bold" if row[-1] == "holds" else "dim")
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)


def _row(point: Point) -> list[str]:
    config = flat(point.config)
    shape = [short(config[name]) for name in ("layers", "hidden", "heads", "ff_ratio", "batch", "optimizer", "lr")]
    times = [_spread(point.ms), _spread(point.again), _spread(point.token)]
    name = f"{point.trial}, the default" if point.is_default else str(point.trial)
    return [name, f"{point.loss:.3f}", f"{point.bytes / 1e3:.0f}", *times, *shape, verdict(point)]


def _spread(ms: Quartiles | None) -> str:
    """`0.35 [0.34, 0.41]`: the median and the quartiles."""
    return "" if ms is None else f"{ms[1]:.3f} [{ms[0]:.3f}, {ms[2]:.3f}]"


def verdict(point: Point) -> str:
    """In words, what the second measurement says of a point."""
    if point.again is None:
        return "not measured again"
    if point.dominated_by is None:
        return "holds" if point.is_member else "missed by the search"
    return f"dominated by {point.dominated_by}" + (", but close" if point.is_close else "")


def sentences(record: Record) -> list[str]:
    """What was searched, what a time is, and whether the front holds."""
    whole, members = len(record.points), record.members
    failed = f", {quantity(record.failed, 'results')} failed" if record.failed else ""
    said = [
        f"{quantity(record.trials, 'trials')} in {record.seconds:.0f} s{failed}; {whole} trained to {record.until:,} tokens, of "
        f"which {len(members)} {'is' if len(members) == 1 else 'are'} on the front of loss, bytes and time"
    ]
    if not record.measured:
        return said
    how, settings = record.measured, record.settings
    where = f"{how['device']}, {how['precision']}, {quantity(how['threads'], 'threads')}, torch {how['torch']}"
    said += [
        f"ms: a forward pass over {how['batch']} x {how['context']} tokens on {where}; median and quartiles of "
        f"{settings['repeats']} passes once for each shape in the search, and again of {how['repeats']} passes of all shapes "
        f"({how['shapes']}) in turns, after {how['warmup']} that do not count",
        f"a token: the next one behind {how['context']} tokens, "
        f"{'with' if how.get('cache') else 'without'} a cache of keys and values",
    ]
    return [*said, _drift(record), _verdicts(record)]


def _drift(record: Record) -> str:
    """How much the second measurement differs from the first, where a pass always follows one of the same model."""
    both = [point for point in record.points if point.again is not None]
    ratios = [100 * (point.time[1] / point.ms[1] - 1) for point in both]
    ends = f"{min(ratios):+.0f} % to {max(ratios):+.0f} % (median {median(ratios):+.0f} %)"
    return f"the times of a pass in turns differ from those by itself, in the search, by {ends}: compare within a column only"


def _verdicts(record: Record) -> str:
    members, more = record.members, [str(point.trial) for point in record.listed_points if not point.is_member]
    fallen = [point for point in members if point.dominated_by is not None]
    missed = f"; {inflect(len(more), 'trials')} {', '.join(more)} would be on it, too" if more else ""
    if not fallen:
        return f"the front holds: measured again, none of its {quantity(len(members), 'members')} is dominated{missed}"
    close = sum(point.is_close for point in fallen)
    which = ", ".join(str(point.trial) for point in fallen)
    those = f"of the {quantity(len(members), 'members')} {len(fallen)} {'is' if len(fallen) == 1 else 'are'} dominated"
    near = f"; with {close} of them the quartiles overlap, so time does not tell the two apart" if close else ""
    return f"the front does not hold as a whole: measured again, {those} ({inflect(len(fallen), 'trials')} {which}){near}{missed}"
