"""One study: a method on a task from one seed, and the line that is kept of it.

    values[i]    what was observed at evaluation i, 7 significant digits; null: the run diverged
    regret[i]    true loss of the incumbent after evaluation i, minus the best known; null: there is none yet
                 noise-free: the incumbent is the lowest observed
                 noisy: it is what the method recommends, asked at evaluations 10, 25, 50, 75, ... and the last, and
                 carried on in between (null before the first)
    ask_seconds, tell_seconds, recommend_seconds   wall-clock totals; ask_cpu, tell_cpu: seconds of processor time
    ask_seconds_at   the asks' total after each checkpoint
    task_digest      names the definition of the task; digest: our sources that decide, where the method is ours; both are
                     the ledger's

A study whose optimizer has nothing left to ask ends before its n evaluations; its lists are shorter then. A value that
is not finite is told as nan. Each evaluation of a study has noise of its own, whose seed comes from (seed, evaluation).
"""

from __future__ import annotations

import math
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from experiments.benchmark import methods, peers
from experiments.benchmark.methods import Method
from experiments.benchmark.peers import Exhausted, Peer
from experiments.benchmark.tasks import Task, find_task
from experiments.ledger.digest import ROOT
from hpo.space import Config

CHECKPOINTS = (25, 50, 100)  # evaluations whose regret stands in `regret_at`
FIRST, EVERY = 10, 25  # when a noisy task's recommendation is asked for


@dataclass
class Clock:
    """Seconds spent in one kind of call."""

    seconds: float = 0.0
    cpu: float = 0.0

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return call(*arguments)
        finally:
            self.seconds += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu


@dataclass(frozen=True)
class Plan:
    """A study by its names, as it is queued and looked up."""

    task: str
    method: str
    seed: int
    n: int


def run(plan: Plan) -> dict[str, Any]:
    """One study; its record as JSON values. methods.Absent where the method's packages cannot be imported."""
    return run_study(find_task(plan.task), methods.find(plan.method), plan.seed, plan.n)


def run_study(task: Task, method: Method, seed: int, n: int) -> dict[str, Any]:
    """One study of n evaluations. Raises ValueError if the method asks for something outside the space."""
    seed_globals(seed)
    space = task.space()
    peer = method.make(space, seed, n)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    ask, tell, recommend = Clock(), Clock(), Clock()
    trace, at = Observed(task, n), {}
    for i in range(n):
        try:
            config = space.check(ask(peer.ask))
        except Exhausted:
            break
        value = float(task.observe(config, noise_seed(seed, i)))
        tell(peer.tell, config, value if math.isfinite(value) else math.nan)
        trace.add(config, value, lambda: recommend(peer.best))
        if i + 1 in trace.checkpoints:
            at[str(i + 1)] = round(ask.seconds, 4)
    seconds = {
        "ask_seconds": ask.seconds, "ask_cpu": ask.cpu, "tell_seconds": tell.seconds, "tell_cpu": tell.cpu,
        "recommend_seconds": recommend.seconds,
    }  # fmt: skip
    named = {"task": task.name, "method": method.name, "seed": seed, "n": n}
    spent = {**{name: round(value, 4) for name, value in seconds.items()}, "ask_seconds_at": at}
    return {**named, **trace.record(), **spent, **provenance(method, peer)}


class Observed:
    """What was observed, and how good the incumbent really was after every evaluation."""

    def __init__(self, task: Task, n: int) -> None:
        self.task, self.noisy = task, task.noise is not None
        self.checkpoints = {i for i in range(1, n + 1) if i in (FIRST, n) or i % EVERY == 0}
        self.values: list[float] = []
        self.regret: list[float] = []
        self._lowest = math.inf

    def add(self, config: Config, value: float, recommend: Callable[[], Config]) -> None:
        """One evaluation; `recommend` is called where a noisy task's checkpoint is reached."""
        self.values.append(value)
        self.regret.append(self.regret[-1] if self.regret else math.nan)
        lower = math.isfinite(value) and value < self._lowest
        self._lowest = value if lower else self._lowest
        if not self.noisy and lower:
            self.regret[-1] = self._true(config)
        elif self.noisy and len(self.values) in self.checkpoints and math.isfinite(self._lowest):
            self.regret[-1] = self._true(recommend())

    def _true(self, config: Config) -> float:
        return float(self.task.true(config)) - self.task.best

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        at = {str(i): round_value(self.regret[i - 1]) for i in CHECKPOINTS if i <= len(self.regret)}
        return {
            "values": [round_value(value) for value in self.values],
            "regret_at": at,
            "regret": [round_value(value) for value in self.regret],
        }


def round_value(value: float) -> float | None:
    """7 significant digits; None for what is no number."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


def noise_seed(seed: int, evaluation: int) -> int:
    """The seed of an evaluation's noise."""
    return int(np.random.SeedSequence([seed, evaluation]).generate_state(1)[0])


def seed_globals(seed: int) -> None:
    """Seeds the global generators, which some peers draw from, so that no study depends on the one before."""
    random.seed(seed)
    np.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def provenance(method: Method, peer: Peer) -> dict[str, Any]:
    """What a record depends on beside the code: versions, machine, and for ours the revision."""
    packages = {"python": platform.python_version(), **peers.package_versions("numpy", "scipy", "torch"), **peer.versions()}
    machine = {"processor": platform.processor(), "machine": platform.machine()}
    own = {"git": revision()} if method.is_ours else {}
    return {"versions": packages, "machine": machine, **own}


@cache
def revision() -> dict[str, Any] | None:
    """The commit, and whether the sources that decide differ from it; None outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--", "hpo", "surrogates"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
