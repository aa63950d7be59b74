"""One driver writes a long study, three events a trial; then it is read by a new one, up to its next job."""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import median
from typing import Any

from experiments.storage.drivers import SPACE, parabola
from hpo import Random, Study

WINDOW = 300  # trials whose median is looked at
REPEATS = 3  # readings, of which the median counts


def write_study(url: str, trials: int) -> dict[str, Any]:
    """Milliseconds an event of processor time and of time, around parts of the study: append and refresh, and a third of what a
    random draw takes. A trial is pinned, started and finished."""
    study, stamps = Study(Random(SPACE), log=url), [(time.process_time(), time.perf_counter())]
    for i in range(trials):
        study.optimizer.enqueue({"x": i / trials, "y": 0.5})
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, parabola(job.config["x"], job.config["y"]))
        stamps.append((time.process_time(), time.perf_counter()))
    events = len(study.history)
    study.history.log.close()
    parts = [part for part in (trials // 10, trials * 3 // 10, trials) if part > 0]
    return {
        "events": events, "cpu_ms": {str(part): _window(stamps, part, 0) for part in parts},
        "ms": {str(part): _window(stamps, part, 1) for part in parts}, "seconds": round(stamps[-1][1] - stamps[0][1], 2),
        "cpu_seconds": round(stamps[-1][0] - stamps[0][0], 2),
    }  # fmt: skip


def _window(stamps: list[tuple[float, float]], part: int, clock: int) -> float:
    """The median of an event's milliseconds in the window that ends with this trial."""
    times = [stamp[clock] for stamp in stamps[max(0, part - WINDOW) : part + 1]]
    return round(1e3 * median(b - a for a, b in pairwise(times)) / 3, 3)


def read_study(url: str) -> dict[str, Any]:
    """Seconds, and seconds of processor time, until a new driver has read the study and knows its next job."""
    seconds, cpu = [], []
    for _ in range(REPEATS):
        at, worked = time.perf_counter(), time.process_time()
        study = Study(Random(SPACE), log=url)
        assert study.optimizer.decide(study.history) is not None
        seconds.append(time.perf_counter() - at)
        cpu.append(time.process_time() - worked)
        study.history.log.close()
    return {"read_seconds": round(median(seconds), 2), "read_cpu": round(median(cpu), 2)}


def measure_long_study(urls: tuple[str, str], trials: int) -> dict[str, Any]:
    return {**write_study(urls[0], trials), **read_study(urls[0])}
