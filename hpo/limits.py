"""Limits of a study: `limit` events say that no new trial may start, and by which rule; a later run may lift one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PHASES = ("search", "finals")


def check_phase(phase: str) -> None:
    """ValueError for a phase that does not exist."""
    if phase not in PHASES:
        raise ValueError(f"phase is {phase!r}; allowed are {list(PHASES)}")


def is_lifted(limit: Mapping[str, Any], allowed: Mapping[str, Any]) -> bool:
    """Whether a run with these limits by rule goes on beyond a limit: if it allows more by its rule or has another predicate;
    beyond one without a rule (version 1) always."""
    rule = limit.get("rule")
    if rule is not None and rule not in allowed:
        return False
    now, value = (None if rule is None else allowed[rule]), limit.get("value")
    amounts = isinstance(value, int | float) and isinstance(now, int | float)
    return bool(now is None or (now > value if amounts else value not in now if isinstance(now, list) else now != value))
