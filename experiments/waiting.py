"""How long do 16 workers wait for their next job, if one driver asks for all of them and a training takes 2 seconds?

    python -m experiments.waiting                     # every optimizer, 480 trials each
    python -m experiments.waiting --only gp --lookahead 1
    python -m experiments.waiting --table             # only prints what experiments/results/waiting.jsonl holds

The driver is a server, and the workers queue for it. Trainings pass on a simulated clock: one to the horizon takes
2 s times U(0.5, 1.5), a part of one the same part of that. What the driver does between them (tell, stopping rules, the log,
ask) passes on the same clock, at the processor seconds that it takes: nothing is assumed of them, and a busy machine counts for
little. A worker that has finished gets its job as soon as the driver has come to it. What it waits for is counted apart: for
the driver, or because there was no job before another result (a rung or a generation that is not full). With a lookahead,
jobs are asked for before a worker is free, as `Processes(..., lookahead=16)` does it: then proposals know fewer results.
"""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.events import MAKERS, OBJECTIVES, bowl
from experiments.ledger import Data, Ledger, Measurement, Recheck, Results, Seconds, Table, conduct, new_app, use_data
from experiments.ledger.command import keep_lines
from experiments.ledger.environment import environment
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import STUDY, gp_rows
from hpo import Job, Key, Stop, Study, run
from hpo.executors import Simulator
from hpo.executors.base import Kept, Outcome
from hpo.logs import SQLiteLog
from hpo.rng import stream

RESULTS = Path(__file__).parent / "results" / "waiting.jsonl"
TRIALS, WORKERS, TRAINING = 480, 16, 2.0
MOST_JOBS = 2_000  # where trials are continued many times


class Queue(Simulator):
    """The simulator with a driver that takes time: workers that are free wait until it has submitted a job.

    lookahead   jobs that are taken while no worker is free
    clock       () -> seconds: of the driver's own time
    """

    def __init__(self, workers: int, horizon: int, lookahead: int = 0, clock: Any = time.process_time) -> None:
        super().__init__(bowl, workers)
        self.horizon, self.lookahead, self.clock = horizon, lookahead, clock
        self.driver = 0.0  # the simulated time up to which the driver has worked
        self.since = [0.0] * workers  # a heap: when every worker is or will be free
        self.results: list[tuple[float, int, Outcome]] = []  # a heap: by the time of the finish
        self.gaps: list[tuple[float, float]] = []  # when the driver had nothing to give although a worker might have been free
        self.waited = self.dry = self.trained = self.worked = 0.0
        self.mark = clock()

    @property
    def free(self) -> int:
        return self.workers + self.lookahead - len(self.results)

    def _work(self) -> None:
        """Lets the driver's time pass since it was looked at last."""
        spent = self.clock() - self.mark
        self.driver, self.worked = self.driver + spent, self.worked + spent

    def submit(self, job: Job, attempts: Mapping[Key, int] | None = None) -> None:
        self._work()
        begin = 0 if job.source is None else job.source[1]
        stretch = float(stream(0, job.trial, f"waiting {job.until}").uniform(0.5, 1.5))
        seconds = TRAINING * stretch * (job.until - begin) / self.horizon
        since = heapq.heappop(self.since)
        start = max(self.driver, since)
        dry = sum(max(0.0, min(end, start) - max(first, since)) for first, end in self.gaps if end > since)
        self.dry, self.waited, self.trained = self.dry + dry, self.waited + start - since - dry, self.trained + seconds
        heapq.heappush(self.since, start + seconds)
        self._count += 1
        heapq.heappush(self.results, (start + seconds, self._count, (job, self._result(job))))
        self.mark = self.clock()

    def wait(self, timeout: float | None = None) -> Outcome | None:
        self._work()
        finish, _, outcome = heapq.heappop(self.results)
        if finish > self.driver:
            if self.free > 1:  # beside the place that has just come free
                self.gaps.append((self.driver, finish))
            self.driver = finish
        self.kept.add(outcome[0].key)
        self.mark = self.clock()
        return outcome

    def drop_interim(self, key: Key, attempt: int) -> None:
        pass  # nothing is saved inside its jobs

    def refuse(self, key: Key, attempt: int) -> None:
        pass  # it tells no attempts apart

    def keep(self, read: Callable[[], Kept | None]) -> None:
        kept = read()
        if kept is not None:
            self.kept &= {*kept, *(outcome[0].key for _, _, outcome in self.results)}

    def drop(self, keys: Collection[Key]) -> None:
        self.kept.difference_update(keys)

    def close(self) -> None:
        self.results.clear()


def measure_waiting(name: str, trials: int, workers: int, lookahead: int) -> dict[str, Any]:
    """One study: the shares of the workers' time in which they wait for the driver, and in which there is no job for them."""
    with tempfile.TemporaryDirectory() as folder:
        optimizer = MAKERS[name](4 * trials)
        study = Study(optimizer, objectives=OBJECTIVES["one"], log=SQLiteLog(Path(folder) / "study.sqlite"))
        queue = Queue(workers, study.header.horizon, lookahead)
        done = run(study, queue, Stop(when=lambda history: len(history.trials) >= trials or len(history.jobs) >= MOST_JOBS))
        study.history.log.close()
    whole = queue.waited + queue.dry + queue.trained
    return {
        "started": len(done.jobs), "asked": len(done.trials), "share": round(queue.waited / whole, 4),
        "dry": round(queue.dry / whole, 4),
        "driver_ms": round(1e3 * queue.worked / len(done.jobs), 2), "simulated": round(queue.driver, 1),
        **environment("numpy", "scipy"), "date": time.strftime("%F"),
    }  # fmt: skip


def waiting_measurement(method: str, trials: int, workers: int, lookahead: int) -> Measurement:
    """One study by one optimizer."""
    key = {"method": method, "trials": trials, "workers": workers, "lookahead": lookahead}
    sources = ("experiments.waiting:measure_waiting", f"experiments.events:MAKERS[{method}]", *STUDY, *gp_rows().values())
    measure = partial(measure_waiting, method, trials, workers, lookahead)
    return Measurement(key, measure, sources, group=f"{method} {lookahead}")


def open_waiting(path: Path, wanted: Sequence[Measurement] = ()) -> Ledger:
    """What is wanted; without anything wanted, what the file has."""
    if wanted:
        return Ledger(path, wanted)
    fields = ("method", "trials", "workers", "lookahead")
    return Ledger.of_file(path, fields, lambda *key: waiting_measurement(*key) if key[0] in MAKERS else None)


def waiting_table(ledger: Ledger) -> str:
    """The last measurement of every method that the file has, the longest wait last."""
    head = ["method", "trials", "jobs", "workers", "lookahead", "driver's ms a job", "wait for asks", "no job to do"]
    lines = sorted(open_waiting(ledger.path).latest().values(), key=lambda line: line["share"])
    rows = [[line["method"], line["asked"], f"{line['started']:,}", line["workers"], line["lookahead"],
             f"{line['driver_ms']:.2f}", f"{line['share']:.2%}", f"{line['dry']:.2%}"] for line in lines]  # fmt: skip
    return markdown_table(head, rows)


app = new_app()


@app.command(help=keep_lines(__doc__))
def main(
    trials: Annotated[int, typer.Option(min=1, help="of every study")] = TRIALS,
    workers: Annotated[int, typer.Option(min=1)] = WORKERS,
    lookahead: Annotated[int, typer.Option(min=0, help="jobs that are asked for before a worker is free")] = 0,
    only: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(MAKERS)}; may come several times")] = None,
    table: Table = False, recheck: Recheck = False, seconds: Seconds = float("inf"), results: Results = RESULTS,
    data: Data = None,
) -> None:  # fmt: skip
    if unknown := [name for name in only or () if name not in MAKERS]:
        raise typer.BadParameter(f"{unknown[0]!r} came; allowed are {list(MAKERS)}")
    use_data(data)
    names = [] if table or recheck else only or list(MAKERS)
    conduct(open_waiting(results, [waiting_measurement(name, trials, workers, lookahead) for name in names]), waiting_table,
            table, recheck, seconds)  # fmt: skip


if __name__ == "__main__":
    app()
