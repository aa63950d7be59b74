"""Ranges as other tools write them: Real and Integer, SciPy's frozen distributions, {"type": ...}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.parameters.base import Parameter
from hpo.parameters.choices import Categorical, Const
from hpo.parameters.ranges import Float, Int
from hpo.values import format_value, is_finite, plain

FROZEN = "uniform(loc, scale), loguniform(a, b), randint(low, high) and bernoulli(0.5)"
PRIORS = {"uniform": False, "log-uniform": True, "loguniform": True}
TYPES = {
    "float": ("low", "high", "log", "prior", "step"),
    "int": ("low", "high", "log", "prior", "step"),
    "categorical": ("choices",),
    "const": ("value",),
}
SAME = {
    "real": "float", "double": "float", "uniform": "float", "integer": "int", "choice": "categorical", "constant": "const",
    "fixed": "const", "min": "low", "max": "high", "lower": "low", "upper": "high", "lo": "low", "hi": "high",
    "values": "choices", "options": "choices", "categories": "choices",
}  # fmt: skip


def Real(low: float, high: float, prior: str = "uniform", *, when: Mapping[str, Any] | None = None) -> Float:
    """Float by the names of scikit-optimize: prior is "uniform" or "log-uniform"."""
    return Float(float(low), float(high), _is_log(prior), when=when or {})


def Integer(low: int, high: int, prior: str = "uniform", *, when: Mapping[str, Any] | None = None) -> Int:
    """Int by the names of scikit-optimize: both ends belong to it, and prior is "uniform" or "log-uniform"."""
    return Int(low, high, _is_log(prior), when=when or {})


def is_distribution(spec: Any) -> bool:
    """Whether this is a distribution of scipy.stats, which is not imported for the question."""
    return any(cls.__module__.startswith("scipy.stats.") for cls in type(spec).__mro__)


def of_distribution(spec: Any) -> Parameter:
    """The distributions that are uniform on a range, or on the logarithms of one: uniform, loguniform, reciprocal, randint,
    bernoulli(0.5), and SciPy's newer Uniform. ValueError for any other, since draws of a parameter are uniform."""
    name = getattr(getattr(spec, "dist", spec), "name", None) or type(spec).__name__
    if hasattr(spec, "freeze"):
        raise ValueError(f"the distribution {name!r} is not a frozen one; allowed are {FROZEN} of scipy.stats")
    low, high = map(plain, spec.support())
    if name == "randint" or (name == "bernoulli" and spec.mean() == 0.5):
        return Int(int(low), int(high))
    if name in ("uniform", "Uniform", "loguniform", "reciprocal"):
        return Float(float(low), float(high), name in ("loguniform", "reciprocal"))
    is_bounded = is_finite(low) and is_finite(high)
    instead = f"it lies between {low:g} and {high:g}" if is_bounded else "it has no ends, as (low, high) has"
    raise ValueError(
        f"the distribution {name!r} is no range with uniform draws; {instead}, allowed are {FROZEN} of scipy.stats, and "
        f"GP(prior=Around(...)) says where good values are expected"
    )


def of_mapping(spec: Mapping[str, Any]) -> Parameter:
    """{"type": "float", "low": 1e-5, "high": 1e-1, "log": True} and its siblings; `when` goes with each.

    Types are float, int, categorical and const, and the names that other tools give them (SAME). ValueError where the type or
    a key is none of those, or a key is missing.
    """
    given = {SAME.get(key, key) if key != "type" else "type": value for key, value in spec.items()}
    kind = str(given.pop("type", None)).lower()
    kind = SAME.get(kind, kind)
    when = given.pop("when", None) or {}
    if kind not in TYPES:
        raise ValueError(f"the type is {format_value(spec.get('type'))}; allowed are {', '.join(TYPES)}")
    if unknown := [key for key in given if key not in TYPES[kind]]:
        raise ValueError(f"{unknown[0]!r} is no key of type {kind!r}; allowed are {', '.join(TYPES[kind])} and when")
    needed = TYPES[kind][:2] if kind in ("float", "int") else TYPES[kind]
    if missing := [key for key in needed if key not in given]:
        raise ValueError(f"the key {missing[0]!r} is missing in {format_value(dict(spec))}")
    if kind == "categorical":
        return Categorical(given["choices"], when=when)
    if kind == "const":
        return Const(given["value"], when=when)
    log = _is_log(given["prior"]) if "prior" in given else given.get("log", False)
    if kind == "float":
        return Float(given["low"], given["high"], log, given.get("step"), when=when)
    return Int(given["low"], given["high"], log, **({"step": given["step"]} if given.get("step") else {}), when=when)


def _is_log(prior: Any) -> bool:
    if prior not in PRIORS:
        raise ValueError(f"prior is {format_value(prior)}; allowed are 'uniform' and 'log-uniform'")
    return PRIORS[prior]
