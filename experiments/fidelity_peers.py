"""Methods of other projects in the comparison of early stopping; fidelity.txt says how to make the environment that they need.

    Syne Tune ASHA   its ASHA over random configurations: the stopping variant
    Syne Tune BOHB   its ASHA over kernel densities
    Syne Tune CQR    its ASHA over gradient-boosted trees with conformal quantiles (Salinas et al. 2023)
    DEHB (authors)   DEHB by its authors; it trains every configuration from nothing

All options keep their defaults but the lowest and the highest budget: 2 and 50 epochs, as everywhere. What had to be decided:

Diverged   A loss is told as at most that of guessing: both compute with losses, and infinity is none.
Seeds      Syne Tune draws random configurations from numpy's global generator, so that is seeded as well.
Budgets    DEHB asks for 5.6 and 16.7 epochs, which are rounded. Syne Tune is told of every epoch, and stops a trial behind it.
Scale      DEHB searches a unit cube, which is that of our space, with its logarithms. Syne Tune has logarithmic ranges; its
           kernel densities are over the values themselves all the same.
"""

from __future__ import annotations

import datetime
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from experiments.benchmark.peers import package_versions
from experiments.benchmark.tables import WORST
from experiments.curves.data import EPOCHS, RUNGS, Curves
from hpo import Float, Space

INSTALL = "it has an environment of its own, which experiments/fidelity.txt says how to make"
Epochs = Iterator[tuple[int, float]]  # the number of a trial and the loss of an epoch, in the order in which they were trained


@dataclass(frozen=True)
class PeerSearch:
    """A method: its endless search, the packages that decide what it proposes, and for how many whole trainings it searches."""

    search: Callable[[Curves, Space, int], Epochs]
    packages: tuple[str, ...]
    wholes: int = 100

    @property
    def is_here(self) -> bool:
        """Whether its packages are installed."""
        return len(package_versions(*self.packages)) == len(self.packages)


def syne_tune_epochs(name: str, curves: Curves, space: Space, seed: int) -> Epochs:
    """One of Syne Tune's schedulers, driven as its Tuner drives it with one worker."""
    from syne_tune import config_space as ranges
    from syne_tune.backend.trial_status import Trial
    from syne_tune.optimizer import baselines
    from syne_tune.optimizer.scheduler import SchedulerDecision

    logging.getLogger("syne_tune").setLevel(logging.ERROR)
    np.random.seed(seed)
    searched = {
        key: (ranges.loguniform if spec.log else ranges.uniform)(spec.lo, spec.hi)
        for key, spec in space.parameters.items()
        if isinstance(spec, Float)
    }
    options = {"metric": "loss", "time_attr": "epoch", "max_t": EPOCHS, "grace_period": RUNGS[0], "random_seed": seed}
    scheduler, number = getattr(baselines, name)(searched, **options), 0
    while True:
        trial = Trial(number, scheduler.suggest().config, datetime.datetime.now())
        scheduler.on_trial_add(trial)
        losses = np.minimum(curves.at(trial.config)[0], WORST)
        for epoch in range(1, EPOCHS + 1):
            yield number, float(losses[epoch])
            said = scheduler.on_trial_result(trial, {"loss": float(losses[epoch]), "epoch": epoch})
            if said != SchedulerDecision.CONTINUE:
                break
        scheduler.on_trial_remove(trial)
        number += 1


def dehb_epochs(curves: Curves, space: Space, seed: int) -> Epochs:
    """DEHB by its authors, by ask and tell."""
    from dehb import DEHB

    options = {"min_fidelity": RUNGS[0], "max_fidelity": EPOCHS, "n_workers": 1, "seed": seed, "save_freq": "end"}
    with tempfile.TemporaryDirectory() as folder:
        optimizer, number = DEHB(dimensions=len(space.columns), output_path=folder, **options), 0
        while True:
            job = optimizer.ask()
            losses, until = np.minimum(curves.at(space.decode(job["config"]))[0], WORST), round(job["fidelity"])
            yield from ((number, float(loss)) for loss in losses[1 : until + 1])
            optimizer.tell(job, {"fitness": float(losses[until]), "cost": until})
            number += 1


OTHERS: dict[str, PeerSearch] = {
    "Syne Tune ASHA": PeerSearch(partial(syne_tune_epochs, "ASHA"), ("syne-tune", "numpy")),
    "Syne Tune BOHB": PeerSearch(partial(syne_tune_epochs, "BOHB"), ("syne-tune", "numpy", "statsmodels"), wholes=30),
    "Syne Tune CQR": PeerSearch(partial(syne_tune_epochs, "ASHACQR"), ("syne-tune", "numpy", "scikit-learn"), wholes=30),
    "DEHB (authors)": PeerSearch(dehb_epochs, ("dehb", "numpy")),
}
