"""Lines that are printed about a study: values and amounts as people write them, a configuration, a finished trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.history import History
from hpo.job import Key
from hpo.trial import Trial, describe_best


def short(value: Any) -> str:
    """A value as people write it: four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def amount(count: float) -> str:
    """A large number in short: 16384 as 16.4k."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.3g}{unit}"
    return f"{count:.0f}"



def join_config(config: Mapping[str, Any]) -> str:
    """A configuration on one line: `lr=0.001 layers=6`."""
    return " ".join(f"{name}={short(value)}" for name, value in config.items())


def trial_line(history: History, key: Key) -> str:
    """The line for a finished key: trial, budget, value or error, configuration, best so far."""
    trial, header = Trial.of(history, key), history.header
    rung = f" @ {trial.until} {header.unit}" if header.horizon > 1 else ""
    value = " ".join(f"{name}={short(trial.metrics[name])}" for name in header.objectives if name in trial.metrics)
    said = value if trial.error is None else f"failed ({trial.error})"
    return f"trial {trial.number:>4}{rung}  {said}  {join_config(trial.config)}  {describe_best(history)}"
