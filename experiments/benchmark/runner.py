"""Which studies are missing, and the processes that run them.

Work goes seed by seed, within a seed the cheapest method first, so that an interrupted run is balanced. Every study runs
in a spawned process with one thread, at a low priority; only this process writes. A study that fails is reported and
run again next time; a method whose packages cannot be imported is passed over with one sentence.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from experiments.benchmark.methods import Absent, Method
from experiments.benchmark.records import file_of, first_two, ledger_of, measurement
from experiments.benchmark.study import Plan, run
from experiments.ledger.children import limit_threads
from experiments.ledger.lines import Record, append_line

NICE = 5
STUDIES = 40  # a process is replaced after so many, in case a peer leaks memory

Say = Callable[[str], None]


def plans(tasks: Sequence[str], chosen: Sequence[Method], seeds: int | None, n: int, first: int = 0) -> list[Plan]:
    """Every study in order of work: by seed from the first on, then by method in the order given, then by task."""
    most = max((method.seeds for method in chosen), default=0)
    return [
        Plan(task, method.name, first + seed, n)
        for seed in range(most if seeds is None else min(seeds, most))
        for method in chosen
        if seed < method.seeds
        for task in tasks
    ]


def list_missing(every: Sequence[Plan], folder: Path) -> list[Plan]:
    """The studies without a line that counts."""
    names = {one.name for m in {plan.method for plan in every} for one in ledger_of(folder, m, every).list_missing()}
    return [plan for plan in every if measurement(plan).name in names]


def single_threaded() -> None:
    """Processes that are spawned from here on use one thread each, and hash strings alike: SMAC's sets have an order then."""
    limit_threads()
    os.environ["PYTHONHASHSEED"] = "0"


def pool(workers: int) -> ProcessPoolExecutor:
    """Spawned processes with one thread each, at a low priority."""
    single_threaded()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, max_tasks_per_child=STUDIES)


def _begin() -> None:
    """What a new process does first: the command alone answers to Ctrl-C, and no process outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@dataclass
class Work:
    """The queue of a run: what is left, what failed, which methods turned out not to be importable."""

    left: list[Plan]
    folder: Path
    say: Say
    step: Callable[[], None] = lambda: None  # called when a study has ended
    deadline: float = float("inf")
    done: int = 0
    failed: int = 0
    passed: set[str] = field(default_factory=set)

    def take(self) -> Plan | None:
        """The next study; None if none is left or the time is up."""
        while self.left and time.monotonic() < self.deadline:
            plan = self.left.pop(0)
            if plan.method not in self.passed:
                return plan
        return None

    def finish(self, plan: Plan, future: Future[Record]) -> None:
        """Stores what a study left, or says why it left nothing."""
        title = f"{plan.method} on {plan.task}, seed {plan.seed}"
        self.step()
        try:
            record = future.result()
        except Absent as error:
            if plan.method not in self.passed:
                self.passed.add(plan.method)
                self.say(str(error))
            return
        except BrokenProcessPool:
            self.failed += 1
            self.say(f"{title}: its process died")
            return
        except Exception as error:
            self.failed += 1
            self.say(f"{title}: failed with {type(error).__name__}: {error}")
            return
        append_line(file_of(self.folder, plan.method), measurement(plan).line(record))
        self.done += 1
        regret = next((value for value in reversed(record["regret"]) if value is not None), None)
        self.say(f"{title}: regret {regret}, asks {record['ask_seconds']:.1f} s ({len(self.left)} left)")


def run_queue(work: Work, workers: int) -> None:
    """Runs the queue. A process that dies takes the studies that ran beside it along; they are counted as failed."""
    while (plan := work.take()) is not None:
        work.left.insert(0, plan)
        with pool(workers) as processes:
            try:
                _drive(work, processes, workers)
            except KeyboardInterrupt:
                for process in multiprocessing.active_children():
                    process.kill()  # else the pool would wait for studies that nobody wants any more
                raise


def _drive(work: Work, processes: ProcessPoolExecutor, workers: int) -> None:
    """Keeps every process busy until the queue is empty or a process has died."""
    running: dict[Future[Record], Plan] = {}
    broken = False
    while True:
        for plan in _several(work, 0 if broken else workers - len(running)):
            try:
                running[processes.submit(run, plan)] = plan
            except BrokenProcessPool:
                work.left.insert(0, plan)
                broken = True
                break
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            work.finish(running.pop(future), future)
            broken = broken or isinstance(future.exception(), BrokenProcessPool)


def _several(work: Work, count: int) -> Iterator[Plan]:
    for _ in range(count):
        plan = work.take()
        if plan is None:
            return
        yield plan


def recheck_studies(folder: Path, chosen: Sequence[Method], tasks: Sequence[str], say: Say) -> int:
    """Whether recorded runs come out the same here; how many do not.

    Of a peer, the two lowest seeds are run again, on a task each. Of ours, where lines were made by older sources, the lowest
    seed of every task and each of those sources: where every value is the same, its older lines count again.
    """
    differ = 0
    with pool(1) as processes:
        for method in chosen:
            ledger = ledger_of(folder, method.name)
            older = [(one, line) for one, line in ledger.samples() if one.key["task"] in tasks]
            samples = older or first_two(folder, method.name, tasks)
            if not samples:
                say(f"{method.name}: nothing is recorded on these tasks")
            differ += ledger.recheck(say, samples, lambda one: processes.submit(one.run).result())
    return differ
