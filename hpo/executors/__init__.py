"""Executors: where jobs run. `EXECUTORS` maps a name to a class; what is listed passes the executor laws by being listed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpo.executors.base import Executor, Lost
from hpo.executors.batch import Batch, Slurm
from hpo.executors.batch_system import BatchSystem
from hpo.executors.checkpoints import standing_name
from hpo.executors.devices import WorkerResources, worker_resources
from hpo.executors.distant import Distant
from hpo.executors.futures import Futures
from hpo.executors.inline import Inline
from hpo.executors.processes import Processes
from hpo.executors.ray import Ray
from hpo.executors.simulator import Simulator
from hpo.executors.threads import Threads
from hpo.objective import Objective
from hpo.values import format_value

# Each takes (objective, horizon, folder); what else its constructor takes are its options.
EXECUTORS: dict[str, Callable[..., Executor]] = {
    "inline": Inline, "threads": Threads, "processes": Processes, "ray": Ray, "slurm": Slurm, "batch": Batch,
    "futures": Futures,
}  # fmt: skip


def executor_options(name: str) -> list[str]:
    """The options of a listed executor. ValueError for a name that is not listed."""
    if not isinstance(name, str) or name not in EXECUTORS:
        raise ValueError(f"unknown executor {format_value(name)}; allowed are {list(EXECUTORS)}")
    return list(inspect.signature(EXECUTORS[name]).parameters)[3:]


def is_distant(name: str) -> bool:
    """Whether a listed executor's workers may be on other machines, so that their checkpoints need a folder that all see."""
    made = EXECUTORS[name]
    return isinstance(made, type) and issubclass(made, Distant)


def make_executor(
    name: str, objective: Objective, horizon: int = 1, folder: str | Path | None = None, options: Mapping[str, Any] | None = None
) -> Executor:
    """An executor by name. An option that is None is left to it. ValueError for one that it does not have."""
    allowed = executor_options(name)
    given = {option: value for option, value in (options or {}).items() if value is not None}
    if "workers" not in allowed and given.get("workers") == 1:
        del given["workers"]  # that is what it has
    for option in given:
        if option not in allowed:
            others = [other for other in EXECUTORS if option in executor_options(other)]
            instead = f"those that have it are {others}" if others else f"allowed are {allowed}"
            raise ValueError(f"the {name} executor has no option {option!r}; {instead}")
    return EXECUTORS[name](objective, horizon, folder, **given)


__all__ = [
    "EXECUTORS", "Batch", "BatchSystem", "Executor", "Futures", "Inline", "Lost", "Processes", "Ray", "Simulator", "Slurm",
    "Threads", "WorkerResources", "executor_options", "is_distant", "make_executor", "standing_name", "worker_resources",
]  # fmt: skip
