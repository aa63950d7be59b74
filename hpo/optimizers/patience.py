"""Patience: a trial stops when its own curve has not improved for a while (Prechelt 1998, as Keras's EarlyStopping has it)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.early_stopping import EarlyStopping, Entry, check_rungs, last_rung
from hpo.trial import first_objective, learning_curve
from hpo.values import is_finite


@dataclass(eq=False)
class PatienceStopping(EarlyStopping):
    """A trial is stopped at the first rung at which its curve's last `patience` evaluations were all no better than what was
    the best before, by more than `min_delta`. Other trials play no part.

    The curve is that of the first objective: every evaluation that was reported on the way, and the results at rungs. Another
    `metric` is known at rungs alone; where it is no objective, `direction` says what is better, "min" or "max". A value that is
    NaN is no improvement. An evaluation counts as in Keras (EarlyStopping, `patience` and `min_delta`); what differs is that
    a verdict falls at a rung, so that it is an event of the study. The last rung may be `max_resource`. On curves of 50 epochs,
    judged after each (experiments/stopping.py), three without a gain end most trials that would still have fallen, ten few.

        space = {"lr": (1e-3, 1.0, "log")}
        def objective(config, report):
            for epoch in range(1, 10):
                report(epoch, max(config["lr"], 1 / epoch))
            return config["lr"]
        patient = hpo.PatienceStopping(hpo.Random(space), patience=2, min_delta=0.01, rungs=(3, 6), max_resource=9)
        study = hpo.minimize(objective, space, patient, 12)
    """

    patience: int = 3
    min_delta: float = 0.0
    metric: str | None = None
    direction: str | None = None
    rungs: Sequence[int] = (1, 3, 9, 27)
    max_resource: int | None = None

    @property
    def _least(self) -> int:
        return last_rung(self.rungs)

    def _arrange(self, top: int) -> None:
        if type(self.patience) is not int or self.patience < 1:
            raise ValueError(f"patience is {self.patience!r}; allowed is an integer of at least 1")
        if not is_finite(self.min_delta) or self.min_delta < 0:
            raise ValueError(f"min_delta is {self.min_delta!r}; allowed is a finite number of at least 0")
        if not isinstance(self.metric, str | None) or self.metric == "":
            raise TypeError(f"metric is {self.metric!r}; allowed are the name of a metric and None, the first objective")
        if self.direction not in ("min", "max", None) or (self.direction and self.metric is None):
            raise ValueError(f"direction is {self.direction!r}; allowed are 'min' and 'max' beside a metric, and None")
        self._judged = check_rungs(self.rungs, top)
        self.rungs = tuple(self.rungs)

    def is_promising(self, history: History, key: Key, members: Sequence[Entry]) -> bool:
        return count_stale(self._values(history, key), self.min_delta) < self.patience

    def _values(self, history: History, key: Key) -> list[float]:
        """The trial's values up to a key, in order, as something to minimise."""
        first, objectives = first_objective(history), history.header.objectives
        name = first if self.metric is None else self.metric
        direction = self.direction or objectives.get(name)
        if direction is None:
            raise ValueError(f"the metric {name!r} is no objective of {list(objectives)}; say direction='min' or 'max' beside it")
        if name == first:
            values = [value for _, value in learning_curve(history, key)]
        else:
            values = [_metric(history, other, name) for other in history.trials[key[0]] if other[1] <= key[1]]
        return values if direction == "min" else [-value for value in values]


def count_stale(values: Iterable[float], min_delta: float) -> int:
    """How many values have come since the last that was below the best before it by more than `min_delta`."""
    best, stale = float("inf"), 0
    for value in values:
        if value < best - min_delta:
            best, stale = value, 0
        else:
            stale += 1
    return stale


def _metric(history: History, key: Key, name: str) -> float:
    metrics = history.results[key].metrics
    if name not in metrics:
        raise ValueError(
            f"PatienceStopping reads the metric {name!r}, which the result of trial {key[0]} at {key[1]} lacks; it holds "
            f"{list(metrics)}"
        )
    return metrics[name]
