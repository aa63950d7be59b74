"""Ranges as other tools write them: Real and Integer, SciPy's frozen distributions, {"type": ...}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.parameters.base import Parameter
from hpo.parameters.choices import Categorical, Const
from hpo.parameters.ranges import Float, Int
from hpo.values import format_value, is_finite, plain

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
    """Whether this is a frozen distribution of scipy.stats, which is not imported for the question."""
    return hasattr(getattr(spec, "dist", None), "name") and callable(getattr(spec, "support", None))


def of_distribution(spec: Any) -> Parameter:
    """uniform, loguniform, reciprocal and randint as the ranges that they are. ValueError for any other distribution."""
    name, (low, high) = spec.dist.name, spec.support()
    if name not in ("uniform", "loguniform", "reciprocal", "randint") or not (is_finite(plain(low)) and is_finite(plain(high))):
        raise ValueError(
            f"the distribution {name!r} is no range; allowed are uniform, loguniform and randint of scipy.stats, and "
            f"GP(prior=Around(...)) says where good values are expected"
        )
    return Int(int(low), int(high)) if name == "randint" else Float(float(low), float(high), name != "uniform")


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
