"""Executors: where jobs run. `EXECUTORS` maps a name to a class; what is listed passes the executor laws by being listed."""

from __future__ import annotations

from hpo.executors.base import Executor, Lost
from hpo.executors.inline import Inline
from hpo.executors.processes import Processes
from hpo.executors.simulator import Simulator
from hpo.executors.threads import Threads

EXECUTORS: dict[str, type[Inline] | type[Threads] | type[Processes]] = {
    "inline": Inline,
    "threads": Threads,
    "processes": Processes,
}

__all__ = ["EXECUTORS", "Executor", "Inline", "Lost", "Processes", "Simulator", "Threads"]
