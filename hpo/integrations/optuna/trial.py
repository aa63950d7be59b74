"""OptunaTrial: what an objective that was written for Optuna asks, reports and raises, on our protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from hpo.integrations.optuna.spaces import check_kinds, draw_value, list_params, unite
from hpo.job import Result
from hpo.values import format_value, is_several, plain

MET = "met "  # begins the names, among the metrics, of parameters that a trial has met and its space does not hold
Report = Callable[[int, Any], None]


class OptunaTrial:
    """The trial that an objective of Optuna's gets: `suggest_*`, `report`, `should_prune`, `set_user_attr`, `params`.

    A value comes from the configuration. Where the space does not have the name, or the range does not hold the value, it is
    drawn at random from the trial's seed and the name. A new name, and a range that is not within the space's, comes back with
    the result: the space grows by it (see searching.py).
    `report` waits where a scheduler pauses the trial and never returns where it is stopped, so `should_prune` is always False.
    """

    def __init__(
        self, number: int, seed: int, config: Mapping[str, Any], known: Mapping[str, BaseDistribution], names: Sequence[str],
        report: Report | None,
    ) -> None:  # fmt: skip
        self.number, self.seed = number, seed
        self.user_attrs: dict[str, Any] = {}
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}
        self.met: dict[str, BaseDistribution] = {}
        self._known, self._names = known, names
        self._values = list_params(config, {name: known[name] for name in config if name in known})
        self._report = report
        self._last: tuple[int, Any] | None = None

    # -- what is asked -----------------------------------------------------------------------------------------------

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        """A float in [low, high]."""
        return float(self._suggest(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """An int in [low, high]."""
        return int(self._suggest(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices, which JSON has to hold: they come back with the result."""
        for choice in choices:
            check_choice(name, choice)
        return self._suggest(name, CategoricalDistribution(choices))

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """A float in [low, high], by an older name."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """A float in [low, high] on a log scale, by an older name."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """A float in [low, high] in steps of q, by an older name."""
        return self.suggest_float(name, low, high, step=q)

    def _suggest(self, name: str, asked: BaseDistribution) -> Any:
        if name in self.params:
            if type(asked) is not type(self.distributions[name]):
                raise ValueError(f"{name!r} was asked for as {self.distributions[name]} and now as {asked} in one trial")
            return self.params[name]
        known = self._known.get(name)
        check_kinds(name, known, asked)
        found = find_value(self._values[name], asked) if name in self._values else None
        value = draw_value(self.seed, 0, name, asked) if found is None else found[0]
        if found is None or known is None or unite(known, asked) != known:
            self.met[name] = asked
        self.params[name], self.distributions[name] = value, asked
        return value

    # -- what is reported --------------------------------------------------------------------------------------------

    def report(self, value: float, step: int) -> None:
        """The value at a step. Waits where a scheduler pauses the trial."""
        self._last = step, float(value)
        if self._report is not None:
            self._report(step, {self._names[0]: float(value), **self.list_met()})

    def should_prune(self) -> bool:
        """False: a trial that is not continued is ended within `report`."""
        return False

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keeps a number as a metric of the result, under this name, unless that is an objective's. Anything else stays with
        this object."""
        self.user_attrs[key] = value

    # -- what comes back ---------------------------------------------------------------------------------------------

    def result(self, value: Any) -> Result:
        """What the objective returned, with its attributes and what it has met."""
        values = list(value) if is_several(value) else [value]
        if len(values) != len(self._names):
            raise ValueError(f"the objective returned {format_value(value)}; allowed are {len(self._names)} numbers")
        return Result({**self._list_numbers(), **dict(zip(self._names, values, strict=True)), **self.list_met()})

    def pruned_result(self) -> Result:
        """The result of a trial that pruned itself: a failure that says where."""
        where = "before any report" if self._last is None else f"at step {self._last[0]}, with the value {self._last[1]:.6g}"
        return Result({**self._list_numbers(), **self.list_met()}, error=f"TrialPruned: by the objective itself, {where}")

    def _list_numbers(self) -> dict[str, float]:
        return {key: value for key, value in list_numbers(self.user_attrs).items() if key not in self._names}

    def list_met(self) -> dict[str, float]:
        """What the trial has met, as metrics: `read_met` reads them."""
        return {f"{MET}{json.dumps(name)} {distribution_to_json(found)}": float(found.to_internal_repr(self.params[name]))
                for name, found in self.met.items()}  # fmt: skip


def list_numbers(attributes: Mapping[str, Any]) -> dict[str, float]:
    """Those attributes that are numbers; a truth value is none."""
    found = {key: plain(value) for key, value in attributes.items()}
    return {key: float(value) for key, value in found.items() if type(value) in (int, float)}


def check_choice(name: str, choice: Any) -> None:
    """TypeError for a choice that JSON does not hold."""
    try:
        json.dumps(choice)
    except TypeError:
        said = f"a choice of {name!r} is {format_value(choice)}; allowed is what JSON holds: give its name, and look it up"
        raise TypeError(said) from None


def find_value(value: Any, asked: BaseDistribution) -> tuple[Any] | None:
    """A value as the distribution that was asked for has it, a choice by what JSON makes of it; None if it does not hold it."""
    if isinstance(asked, CategoricalDistribution):
        return next(((choice,) for choice in asked.choices if json.dumps(choice) == json.dumps(value)), None)
    return (value,) if asked._contains(asked.to_internal_repr(value)) else None


def read_met(result: Result) -> dict[str, tuple[BaseDistribution, Any]]:
    """What a trial has met, by name: the distribution that was asked for, and the value."""
    found = {}
    for key, internal in result.metrics.items():
        if key.startswith(MET):
            name, end = json.JSONDecoder().raw_decode(key[len(MET) :])
            asked = json_to_distribution(key[len(MET) + end + 1 :])
            found[name] = asked, asked.to_external_repr(internal)
    return found
