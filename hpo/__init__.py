"""hpo: one ask-tell protocol in which an optimizer is a pure function of a history.

job.py          Job, Result, Header: what ask returns, what tell takes, the first event of a log
values.py       what is a plain value, a number, the same value; what JSON holds
parameters/     Float, Int, Categorical, Const; where they stand in the unit cube
space.py        Space: named parameters, conditions, constraints; and the same space as arrays
constraints.py  which configurations are feasible: constraints over one configuration, or over columns of many
history.py      History: start, finish, lost, add, enqueue; what every optimizer reads
upgrade.py      reads older logs as logs of this version: renamed options, added options, moved code
fold.py         state that depends on the order of events (rungs, slots, generations), kept up to date at every start
optimizer.py    Optimizer (ask, tell, a pure propose), Sampler, Scheduler
optimizers/     one file an optimizer; OPTIMIZERS, make, register; Finals wraps any of them
registry.py     resolve: a class by "package.module:Class" or "./file.py:Class"
logs/           where events live: memory, SQLite, PostgreSQL, MySQL; open_log by path, URL or log
objective.py    f(config), f(config, report) or a Run factory, as one Run protocol
executors/      where jobs run: inline, threads, processes, a simulated clock
forks.py        ends a child process that an objective has forked as soon as the objective returns in it
objects.py      choices that JSON cannot hold: objectives get the objects, logs the names
study.py        Study: header, history and optimizer together; best, pareto, recommend, dataframe, importance, plot, report
trial.py        Trial: one finished key in a form for people
analysis/       what a history says: importance, figures, snapshot, the report's page
ancestry.py     lineage and schedule of a trial: the checkpoints and the hyperparameters that made it
retention.py    which checkpoints must stay, and which may be deleted
ranking.py      Ranking: successes by budget, in order, with the front of each
bounds.py       bounds on what results report (an option `constraints`); the successes that keep them
metrics.py      what results report under a name
pareto.py       fronts; orders within a front: crowding, epsilon-nets
stopping.py     when a search turns to its finals
stop_rules.py   rules by which a study stops itself: a target, no improvement, what a model says is left to gain
table.py        the rows and columns of the dataframe; frames.py finds the line that a warning shows
arguments.py    what people type, brought into one form or refused in a sentence
failures.py     when a run ends because of what fails; lineage.py trains a missing source again; signals.py ends cleanly
watchers.py     Watcher: who is told of each start and each result of a run
display.py      prints a line after every finish; live.py draws how far a study is, where terminal.py says that it can be
follow.py       a study that others drive, read as it grows: what `hpo watch` shows
shortcuts.py    llamatune, simple_pbt: a whole search in one call, as guides have it
tuner.py        Tuner: a search in the words of managed tuning services
searches.py     grid, random, Bayesian and genetic search as small classes with run(objective)
run.py          run, minimize, maximize
loop.py         the one loop of a driver, beside any number of others; Stop: when it ends
leases.py       which drivers live; processes.py tells whether the process of one is gone
attempts.py     which attempt of a job is in flight with which driver, and whose checkpoint stands; limits.py what ends a search
files.py        deletes checkpoints once no driver can name them any more; disk.py also for lack of space
load.py         load: a study from its file alone
queue.py        what was enqueued and not yet taken; failed trials again
cli/            the command `hpo`
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo.analysis.importance import Importance
    from hpo.executors import EXECUTORS, Executor, Inline, Lost, Processes, Simulator, Threads, worker_resources
    from hpo.history import History
    from hpo.job import Header, Job, Key, Note, Result
    from hpo.load import load
    from hpo.logs import LOGS, Collision, Event, Log, MemoryLog, SQLiteLog, SQLLog, open_log
    from hpo.loop import Stop
    from hpo.objective import Run
    from hpo.optimizer import Draft, Optimizer, Sampler, Scheduler
    from hpo.optimizers import (
        ASHA,
        BOHB,
        CMAES,
        DEHB,
        GP,
        KDE,
        NSGA2,
        OPTIMIZERS,
        PASHA,
        PB2,
        PBT,
        TPE,
        ASHAStopping,
        DifferentialEvolution,
        Factors,
        FreezeThaw,
        Genetic,
        Grid,
        Hyperband,
        LlamaTune,
        Manual,
        MedianStopping,
        Narrowing,
        PatienceStopping,
        PercentileStopping,
        Random,
        RandomForest,
        RegularizedEvolution,
        Replay,
        SimplePBT,
        Sobol,
        Steps,
        SuccessiveHalving,
        make,
        register,
    )
    from hpo.optimizers.finals import Finals
    from hpo.parameters import Integer, Real
    from hpo.priors import Around
    from hpo.rng import stream
    from hpo.run import maximize, minimize, run
    from hpo.searches import BayesianSearch, GeneticSearch, GridSearch, RandomSearch
    from hpo.shortcuts import llamatune, simple_pbt
    from hpo.space import Categorical, Const, Float, Int, Space, Vectorised
    from hpo.stop_rules import ExpectedImprovementPerCost, NoImprovement, RegretBound, StopRule, Target
    from hpo.stopping import Turn
    from hpo.study import Study
    from hpo.trial import Trial
    from hpo.tuner import Tuner

# Where each name stands. It is imported when it is asked for: a worker needs few, and most of them load much of scipy.
PLACES = {
    "hpo.analysis.importance": "Importance",
    "hpo.executors": "EXECUTORS Executor Inline Lost Processes Simulator Threads worker_resources",
    "hpo.history": "History",
    "hpo.job": "Header Job Key Note Result",
    "hpo.load": "load",
    "hpo.logs": "LOGS Collision Event Log MemoryLog SQLiteLog SQLLog open_log",
    "hpo.loop": "Stop",
    "hpo.objective": "Run",
    "hpo.optimizer": "Draft Optimizer Sampler Scheduler",
    "hpo.optimizers": (
        "ASHA BOHB CMAES DEHB GP KDE NSGA2 OPTIMIZERS PASHA PB2 PBT TPE ASHAStopping DifferentialEvolution "
        "Factors FreezeThaw Genetic Grid Hyperband LlamaTune Manual MedianStopping Narrowing PatienceStopping "
        "PercentileStopping Random RandomForest RegularizedEvolution Replay SimplePBT Sobol Steps "
        "SuccessiveHalving make register"
    ),
    "hpo.optimizers.finals": "Finals",
    "hpo.parameters": "Integer Real",
    "hpo.priors": "Around",
    "hpo.rng": "stream",
    "hpo.run": "maximize minimize run",
    "hpo.searches": "BayesianSearch GeneticSearch GridSearch RandomSearch",
    "hpo.shortcuts": "llamatune simple_pbt",
    "hpo.space": "Categorical Const Float Int Space Vectorised",
    "hpo.stop_rules": "ExpectedImprovementPerCost NoImprovement RegretBound StopRule Target",
    "hpo.stopping": "Turn",
    "hpo.study": "Study",
    "hpo.trial": "Trial",
    "hpo.tuner": "Tuner",
}

_MODULES = {name: module for module, names in PLACES.items() for name in names.split()}


def _find(name: str) -> Any:
    """A public name, or a module of this package, that nobody has asked for before. AttributeError if there is none."""
    if name in _MODULES:
        found = getattr(import_module(_MODULES[name]), name)
    elif not name.startswith("_") and find_spec(f"hpo.{name}"):
        found = import_module(f"hpo.{name}")
    else:
        raise AttributeError(f"module 'hpo' has no attribute {name!r}")
    globals()[name] = found
    return found


class _Package(ModuleType):
    """Importing the modules hpo.run and hpo.load leaves `hpo.run` and `hpo.load` what they are: functions."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _MODULES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


def __dir__() -> list[str]:
    """For completion: the public names, whether they were asked for or not."""
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # there every name is known
    __getattr__ = _find
    sys.modules[__name__].__class__ = _Package

__all__ = [
    "ASHA", "BOHB", "CMAES", "DEHB", "EXECUTORS", "GP", "KDE", "LOGS", "NSGA2", "OPTIMIZERS", "PASHA", "PB2", "PBT",
    "TPE", "ASHAStopping", "Around", "BayesianSearch", "Categorical", "Collision", "Const", "DifferentialEvolution",
    "Draft", "Event", "Executor", "ExpectedImprovementPerCost", "Factors", "Finals", "Float", "FreezeThaw", "Genetic",
    "GeneticSearch", "Grid", "GridSearch", "Header", "History", "Hyperband", "Importance", "Inline", "Int", "Integer",
    "Job", "Key", "LlamaTune", "Log", "Lost", "Manual", "MedianStopping", "MemoryLog", "Narrowing", "NoImprovement",
    "Note", "Optimizer", "PatienceStopping", "PercentileStopping", "Processes", "Random", "RandomForest", "RandomSearch", "Real",
    "RegretBound", "RegularizedEvolution", "Replay", "Result", "Run", "SQLLog", "SQLiteLog", "Sampler", "Scheduler", "SimplePBT",
    "Simulator", "Sobol", "Space", "Steps", "Stop", "StopRule", "Study", "SuccessiveHalving", "Target", "Threads", "Trial",
    "Tuner", "Turn", "Vectorised", "llamatune", "load", "make", "maximize", "minimize", "open_log", "register", "run",
    "simple_pbt", "stream", "worker_resources",
]  # fmt: skip
