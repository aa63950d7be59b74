"""Searches over TaskSet's curves, and what two rules hand over at every mark of spent epochs.

    ASHA(GP)        the GP reads all rungs, as learning curves that decay
    FreezeThaw(GP)  the same GP, and by it what goes on: no scheduler beside it
    ASHA(Levelled)  what it did before (baselines.py)
    ASHA(Column)    the same without bringing levels together
    ASHA(Random)    the scheduler alone
    GP              whole trainings, no scheduler

What is handed over is chosen by its validation loss, and judged by the validation and test loss of the same checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from experiments.benchmark.tables import taskset_space
from experiments.curves.baselines import Column, Levelled
from experiments.curves.data import EPOCHS, RUNGS, Curves, curves_of
from hpo.executors import Simulator
from hpo.history import History
from hpo.job import Key
from hpo.loop import Stop
from hpo.optimizer import Optimizer
from hpo.optimizers.asha import ASHA
from hpo.optimizers.freezethaw import FreezeThaw
from hpo.optimizers.gp.sampler import GP
from hpo.optimizers.random import Random
from hpo.run import run
from hpo.space import Space
from hpo.study import Study

ETA = 3
SPENT = 30 * EPOCHS  # epochs of a search
MARKS = 10  # of them, evenly spaced
METHODS: dict[str, Callable[[Space, int], Optimizer]] = {
    "ASHA(GP)": lambda space, seed: ASHA(GP(space, seed=seed), RUNGS[0], EPOCHS, ETA),
    "FreezeThaw(GP)": lambda space, seed: FreezeThaw(GP(space, seed=seed), RUNGS[0], EPOCHS, ETA),
    "ASHA(Levelled)": lambda space, seed: ASHA(Levelled(space, seed=seed), RUNGS[0], EPOCHS, ETA),
    "ASHA(Column)": lambda space, seed: ASHA(Column(space, seed=seed), RUNGS[0], EPOCHS, ETA),
    "ASHA(Random)": lambda space, seed: ASHA(Random(space, seed=seed), RUNGS[0], EPOCHS, ETA),
    "GP": lambda space, seed: GP(space, seed=seed),
}
WHOLE = "GP"  # the one in which there is only one budget, so that the rules agree
RULES: dict[str, Callable[[History, Key], Any]] = {  # what is least at the result that is handed over
    "highest budget": lambda history, key: (-key[1], history.losses(key)),
    "any budget": lambda history, key: (history.losses(key), -key[1]),
}


def measure_search(source: str, seed: int, n: int, name: str) -> dict[str, Any]:
    """One search for n epochs: [budget, validation loss, test loss] by rule and mark, None where nothing has succeeded."""
    curves, space = curves_of(source), taskset_space()
    study = Study(METHODS[name](space, seed), unit="epochs", horizon=EPOCHS)
    study.optimizer.enqueue(space.midpoint())  # the GP's first point is everybody's
    simulator = Simulator(lambda config, until, _: float(curves.at(config)[0][until]))
    run(study, simulator, Stop(when=lambda history: simulator.now >= n))
    marks = [n * (i + 1) // MARKS for i in range(MARKS)]
    handed = {rule: [handed_over(curves, study.history, mark, rule) for mark in marks] for rule in RULES}
    return {"results": len(study.history.results), "marks": marks, "scale": curves.scale, "handed": handed}


def handed_over(curves: Curves, history: History, mark: int, rule: str) -> list[float] | None:
    """The budget, validation and test loss of what a rule takes of the results that were there at a mark."""
    keys = [key for key, spent in spent_epochs(history) if spent <= mark and not history.is_failure(key)]
    if not keys:
        return None
    key = min(keys, key=lambda key: RULES[rule](history, key))
    valid, test = curves.at(history.jobs[key].config)
    return [key[1], round(float(valid[key[1]]), 6), round(float(test[key[1]]), 6)]


def spent_epochs(history: History) -> Iterator[tuple[Key, int]]:
    """Finished keys in order, and the epochs that had been trained by then."""
    spent = 0
    for event in history.events:
        if event.kind == "finish":
            key = event.body["trial"], event.body["until"]
            source = history.jobs[key].source
            spent += key[1] - (source[1] if source is not None else 0)
            yield key, spent
