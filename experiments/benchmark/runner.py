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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from experiments.benchmark import store
from experiments.benchmark.methods import Absent, Method
from experiments.benchmark.study import Plan, run

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
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


def missing(every: Sequence[Plan], folder: Path) -> list[Plan]:
    """The studies without a counting record."""
    there = {found for method in {plan.method for plan in every} for found in store.of(folder, method)}
    return [plan for plan in every if (plan.task, plan.method, plan.seed, plan.n) not in there]


def single_threaded() -> None:
    """The processes that are spawned from here on use one thread each: their libraries read this when they are loaded.

    They hash strings alike too: SMAC's proposals depend on the order of its sets.
    """
    for variable in THREADS:
        os.environ[variable] = "1"
    os.environ["PYTHONHASHSEED"] = "0"


def pool(workers: int) -> ProcessPoolExecutor:
    """Spawned processes with one thread each, at a low priority."""
    single_threaded()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_settle, max_tasks_per_child=STUDIES)


def _settle() -> None:
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

    def next(self) -> Plan | None:
        """The next study; None if none is left or the time is up."""
        while self.left and time.monotonic() < self.deadline:
            plan = self.left.pop(0)
            if plan.method not in self.passed:
                return plan
        return None

    def finish(self, plan: Plan, future: Future[store.Record]) -> None:
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
        store.append(self.folder / f"{store.slug(plan.method)}.jsonl", record)
        self.done += 1
        regret = next((value for value in reversed(record["regret"]) if value is not None), None)
        self.say(f"{title}: regret {regret}, asks {record['ask_seconds']:.1f} s ({len(self.left)} left)")


def go(work: Work, workers: int) -> None:
    """Runs the queue. A process that dies takes the studies that ran beside it along; they are counted as failed."""
    while (plan := work.next()) is not None:
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
    running: dict[Future[store.Record], Plan] = {}
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
        plan = work.next()
        if plan is None:
            return
        yield plan


def clean(folder: Path, names: Iterable[str], say: Say) -> None:
    """Drops older lines where every study of theirs was made anew."""
    for name in sorted(names):
        if dropped := store.clean(folder, name):
            say(f"{name}: {dropped} older lines replaced")
