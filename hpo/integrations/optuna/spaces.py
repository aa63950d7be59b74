"""Optuna's distributions as a Space, and values on their way between the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.parameters import Categorical, Const, Float, Int, Parameter
from hpo.rng import stream
from hpo.space import Config, Space

Known = dict[str, BaseDistribution]


def read_distributions(distributions: Mapping[str, BaseDistribution]) -> Space:
    """The Space of some distributions. Choices that are no texts, numbers, truth values or None, or that equal each
    other, are their places: 0, 1, ..."""
    return Space({name: _read_distribution(name, found) for name, found in distributions.items()})


def _read_distribution(name: str, found: BaseDistribution) -> Parameter:
    if isinstance(found, FloatDistribution):
        return Float(found.low, found.high, log=found.log, step=found.step)
    if isinstance(found, IntDistribution):
        return Int(found.low, found.high, log=found.log, step=found.step)
    if isinstance(found, CategoricalDistribution):
        return Categorical(list(found.choices) if has_plain_choices(found) else list(range(len(found.choices))))
    raise TypeError(f"the distribution of {name!r} is {found!r}; allowed are a float's, an int's and a categorical one")


def has_plain_choices(found: CategoricalDistribution) -> bool:
    """Whether the choices can stand in a Space as they are."""
    plain = all(one is None or isinstance(one, str | int | float) for one in found.choices)
    return plain and len(set(found.choices)) == len(found.choices)


def list_distributions(space: Space | Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """The distributions of a Space, for `study.ask` and samplers. Its constraints have no counterpart.

    ValueError for a parameter with a condition, and for a kind that Optuna does not have.
    """
    parameters = Space.of(space).parameters
    for name, spec in parameters.items():
        if getattr(spec, "when", None):
            raise ValueError(f"{name!r} is active only where {dict(spec.when)}; Optuna's distributions have no conditions")
    return {name: make_distribution(name, spec) for name, spec in parameters.items()}


def make_distribution(name: str, spec: Parameter) -> BaseDistribution:
    """The distribution of a parameter, where it is active. ValueError for a kind that Optuna does not have."""
    if isinstance(spec, Float):
        return FloatDistribution(spec.lo, spec.hi, log=spec.log, step=spec.step)
    if isinstance(spec, Int):
        return IntDistribution(spec.lo, spec.hi, log=spec.log, step=spec.step)
    if isinstance(spec, Categorical):
        return CategoricalDistribution(list(spec.values))
    if isinstance(spec, Const):
        return CategoricalDistribution([spec.value])
    raise ValueError(f"{name!r} is {spec!r}; Optuna has floats, ints and categorical parameters")


def read_params(
    params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], space: Space
) -> Config | None:
    """The configuration of a trial's values; None where one is missing, or lies outside of its present range."""
    config = {}
    for name, found in distributions.items():
        if name not in params:
            return None
        try:
            inside = found._contains(found.to_internal_repr(params[name]))
        except (TypeError, ValueError):
            return None
        if not inside:
            return None
        config[name] = _read_value(params[name], found, space.parameters[name])
    return config


def _read_value(value: Any, found: BaseDistribution, spec: Parameter) -> Any:
    if isinstance(found, CategoricalDistribution):
        place = int(found.to_internal_repr(value))
        return found.choices[place] if has_plain_choices(found) else place
    assert isinstance(spec, Float | Int)
    return spec.nearest(value)


def list_params(config: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The values of a configuration as Optuna's trials have them: choices themselves, plain floats and ints."""
    return {name: _list_value(config[name], found) for name, found in distributions.items()}


def _list_value(value: Any, found: BaseDistribution) -> Any:
    if isinstance(found, CategoricalDistribution):
        return value if has_plain_choices(found) else found.choices[int(value)]
    return float(min(max(value, found.low), found.high)) if isinstance(found, FloatDistribution) else int(value)


def draw_value(seed: int, number: int, name: str, found: BaseDistribution) -> Any:
    """A value of a distribution from a seed, a trial's number and the name: whoever draws it again gets the same."""
    space = read_distributions({name: found})
    config = space.decode(space.domain.random(stream(seed, number, f"optuna {name}"), 1)[0])
    return list_params(config, {name: found})[name]


# -- several distributions of a name -------------------------------------------------------------------------------------


def check_kinds(name: str, known: BaseDistribution | None, asked: BaseDistribution) -> None:
    """ValueError where one name stands for two kinds of parameters, as in Optuna."""
    logs = getattr(known, "log", None), getattr(asked, "log", None)
    if known is not None and (type(known) is not type(asked) or logs[0] != logs[1]):
        raise ValueError(f"{name!r} was met as {known} and is asked for as {asked}; allowed is one kind, on one scale")


def extend_by(known: Mapping[str, BaseDistribution], others: Mapping[str, BaseDistribution]) -> Known:
    """Some distributions and others; of two ranges of a name what holds both. ValueError for one name of two kinds."""
    found = dict(known)
    for name, other in others.items():
        check_kinds(name, found.get(name), other)
        found[name] = other if name not in found else unite(found[name], other)
    return found


def unite(a: BaseDistribution, b: BaseDistribution) -> BaseDistribution:
    """A distribution that holds the values of two of one kind; where their steps differ, a float has none and an int has 1."""
    if isinstance(a, FloatDistribution) and isinstance(b, FloatDistribution):
        return FloatDistribution(min(a.low, b.low), max(a.high, b.high), log=a.log, step=a.step if _on_one_grid(a, b) else None)
    if isinstance(a, IntDistribution) and isinstance(b, IntDistribution):
        step = a.step if _on_one_grid(a, b) else 1
        return IntDistribution(min(a.low, b.low), max(a.high, b.high), log=a.log, step=step)
    assert isinstance(a, CategoricalDistribution) and isinstance(b, CategoricalDistribution)
    return CategoricalDistribution([*a.choices, *(choice for choice in b.choices if choice not in a.choices)])


def _on_one_grid(a: FloatDistribution | IntDistribution, b: FloatDistribution | IntDistribution) -> bool:
    if a.step is None or a.step != b.step:
        return False
    apart = (b.low - a.low) / a.step
    return abs(apart - round(apart)) < 1e-9
