"""What optimizers cost: seconds of whole runs and of single asks, ours and two peers side by side.

    run, n = 200          everything spent in ask and tell over a study of 200 evaluations
    ask, n = 500, 1000    one cold ask of a fresh optimizer that was told n random points in one go: its fit is in it

Each measurement has a spawned process of its own with one thread, which first plays a short study of another seed, so that
nobody is charged for imports and first calls. The contenders take turns within each repeat, so that whatever disturbs
the machine disturbs all of them; what is shown are medians over repeats, in wall-clock and in processor seconds, the ratio
of the medians to ours, and beside it the lowest and the highest ratio within a repeat. A measurement that runs into the
limit is stopped and shown as "> limit". Peers are measured as they come, without the shortcuts that their studies take.
"""

from __future__ import annotations

import datetime
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from experiments.benchmark import methods, runner
from experiments.benchmark.peers import Peer
from experiments.benchmark.records import TIMING
from experiments.benchmark.study import Clock, noise_seed, provenance, seed_globals
from experiments.benchmark.tasks import find_task
from experiments.ledger.children import Child
from experiments.ledger.ledger import Ledger
from experiments.ledger.lines import Record, read_lines
from experiments.ledger.measurement import Measurement
from hpo.rng import stream
from hpo.space import Config

OURS = "GP"
CONTENDERS = (OURS, "Optuna GP", "BoTorch")
WHAT = (("run", 200), ("ask", 500), ("ask", 1000))
ON = ("hartmann6", "mixed8")
WARM = 12  # evaluations of the short study before: more than any contender's first design at that budget


class Timed(NamedTuple):
    """One number to be measured."""

    what: str
    n: int
    task: str
    method: str
    repeat: int


# -- in the measuring process ------------------------------------------------------------------------------------------


def play_study(peer: Peer, task: str, seed: int, n: int, clock: Clock) -> None:
    """n evaluations of a task; asks and tells are on the clock."""
    for i in range(n):
        config = clock(peer.ask)
        value = find_task(task).observe(config, noise_seed(seed, i))
        clock(peer.tell, config, value)


def tell_points(peer: Peer, task: str, seed: int, n: int) -> None:
    """Tells a fresh optimizer n random points that it has not asked, in one go where it can."""
    space = find_task(task).space()
    rows = space.domain.random(stream(seed, n, "timing"), n)
    configs: list[Config] = [space.decode(row) for row in rows]
    values = [find_task(task).observe(config, noise_seed(seed, i)) for i, config in enumerate(configs)]
    add: Callable[..., None] | None = getattr(peer, "add", None)
    if add is not None:
        add(configs, values)
        return
    for config, value in zip(configs, values, strict=True):
        peer.tell(config, value)


def measure_in_child(pipe: Connection, m: Timed) -> None:
    """Warms up, says so, measures, and sends what it found."""
    try:
        method, space = methods.find(m.method), find_task(m.task).space()
        seed_globals(m.repeat)
        play_study(method.make(space, m.repeat + 1000, WARM, timed=True), m.task, m.repeat + 1000, WARM, Clock())
        peer, clock = method.make(space, m.repeat, m.n, timed=True), Clock()
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
        if m.what == "ask":
            tell_points(peer, m.task, m.repeat, m.n)
        pipe.send(True)
        if m.what == "ask":
            clock(peer.ask)
        else:
            play_study(peer, m.task, m.repeat, m.n, clock)
        pipe.send({"seconds": round(clock.seconds, 4), "cpu": round(clock.cpu, 4), **provenance(method, peer)})
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


# -- in the measuring command ------------------------------------------------------------------------------------------


def time_one(m: Timed, limit: float) -> Record:
    """The number; past the limit {"seconds": limit, "over": True}. RuntimeError if the process fails."""
    runner.single_threaded()
    child = Child(f"{m.method} on {m.task}", measure_in_child, m)
    try:
        child.receive()  # it is warm
        return {**child.receive(), "over": False} if child.pipe.poll(limit) else {"seconds": limit, "cpu": None, "over": True}
    finally:
        child.close()


def ledger_of_run(
    folder: Path, repeats: int, limit: float, on: Sequence[str], contenders: Sequence[str], what: Sequence[tuple[str, int]]
) -> Ledger:
    """Everything once a repeat, as one run: numbers of different runs are not compared."""
    run = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    every = [Timed(kind, n, task, name, r) for r in range(repeats) for kind, n in what for task in on for name in contenders]
    return Ledger(folder / TIMING, [_measurement(run, m, partial(_with_load, m, limit)) for m in every])


def _measurement(run: str, m: Timed, measure: Callable[[], Record]) -> Measurement:
    return Measurement({"run": run, **m._asdict()}, measure, methods.find(m.method).sources)


def _with_load(m: Timed, limit: float) -> Record:
    """A number, and what else the machine was doing before."""
    return {"limit": limit, "load": round(os.getloadavg()[0], 2), **time_one(m, limit)}


def measure_seconds(
    folder: Path,
    repeats: int,
    limit: float,
    say: Callable[[str], None],
    on: Sequence[str] = ON,
    contenders: Sequence[str] = CONTENDERS,
    what: Sequence[tuple[str, int]] = WHAT,
) -> int:
    """Measures everything, stores each number as it comes, and shows the medians; how many measurements failed."""
    absent = {name: methods.find(name).absence for name in contenders}
    for sentence in filter(None, absent.values()):
        say(sentence)
    chosen = [name for name in contenders if absent[name] is None]
    failed, _ = ledger_of_run(folder, repeats, limit, on, chosen, what).measure(say)
    for line in table_of_seconds(folder):
        say(line)
    return failed


def latest_run(folder: Path) -> list[Record]:
    """The lines of the last measuring run."""
    every = list(read_lines(folder / TIMING))
    return [line for line in every if line["run"] == every[-1]["run"]]


def is_outdated(line: Record) -> bool:
    """Whether the seconds of a line are older than the code."""
    m = Timed(line["what"], line["n"], line["task"], line["method"], line["repeat"])
    return not _measurement(line["run"], m, dict).is_current(line)


def table_of_seconds(folder: Path) -> list[str]:
    """One line a measurement and contender: median wall-clock and processor seconds, their ratio to ours, those of repeats."""
    groups: dict[tuple[str, int, str, str], list[Record]] = {}
    for line in latest_run(folder):
        groups.setdefault((line["what"], line["n"], line["task"], line["method"]), []).append(line)
    head = f"{'what':<5}{'n':>5}  {'task':<12}{'method':<12}{'seconds':>12}{'cpu':>12}{'ratio to ours':>16}{'of repeats':>16}"
    old = sum(is_outdated(line) for lines in groups.values() for line in lines)
    note = [f"{old} of these numbers {'is' if old == 1 else 'are'} older than the code."] if old else []
    return [head, *[_row(groups, key) for key in groups], *note]


def _row(groups: dict[tuple[str, int, str, str], list[Record]], key: tuple[str, int, str, str]) -> str:
    what, n, task, method = key
    seconds, over = median(groups[key], "seconds")
    cpu, unknown = median(groups[key], "cpu")
    own = groups.get((what, n, task, OURS))
    ratio = "" if own is None else f"{'> ' if over else ''}{seconds / median(own, 'seconds')[0]:.1f}"
    ratios = "" if own is None or method == OURS else ratio_range(groups[key], own)
    shown = "" if unknown else _seconds(cpu, False)
    cells = f"{_seconds(seconds, over):>12}{shown:>12}{ratio:>16}{ratios:>16}"
    return f"{what:<5}{n:>5}  {task:<12}{method:<12}{cells}".rstrip()


def ratio_range(mine: Sequence[Record], own: Sequence[Record]) -> str:
    """The lowest and the highest ratio to ours within a repeat, `5.9–6.8`; "" for fewer than two repeats of both.

    One that was stopped is a lower bound, and marked so; a repeat in which ours was stopped has no ratio.
    """
    base = {line["repeat"]: line["seconds"] for line in own if not line["over"]}
    ratios = [(line["seconds"] / base[line["repeat"]], line["over"]) for line in mine if line["repeat"] in base]
    if len(ratios) < 2:
        return ""
    ends = min(ratios), (max(ratios)[0], any(over for _, over in ratios))  # what was stopped may be above all others
    return "–".join(f"{'> ' if over else ''}{ratio:.1f}" for ratio, over in ends)


def median(lines: Sequence[Record], name: str) -> tuple[float, bool]:
    """The median of a number over repeats, and whether that is a lower bound only: a repeat that was stopped counts as
    slower than every other."""
    ordered = sorted(lines, key=lambda line: (line["over"], line["seconds"] if line["over"] else line[name]))
    middle = ordered[len(ordered) // 2]
    if any(line["over"] for line in ordered):  # no mean of a number and a bound: the upper of the two middle ones
        return (middle["limit"] if middle["over"] else middle[name]), middle["over"]
    return statistics.median(line[name] for line in ordered), False


def _seconds(seconds: float, over: bool) -> str:
    return f"{'> ' if over else ''}{seconds:.3g} s"
