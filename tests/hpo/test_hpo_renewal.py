"""Workers that are renewed by `minimize` and `maximize`, for objectives that leak; by real processes."""

from __future__ import annotations

import os
from typing import Any

import pytest

from hpo import Float, Space, maximize, minimize

_leak: list[bytes] = []


def leaks(config: dict[str, Any]) -> dict[str, float]:
    _leak.append(b"")
    return {"loss": config["x"], "leaked": float(len(_leak))}


def leaks_value(config: dict[str, Any]) -> dict[str, float]:
    _leak.append(os.urandom(1) * 400_000_000)
    return {"value": config["x"], "pid": float(os.getpid())}


def test_minimize_renews_workers() -> None:
    """Of both calls around one loop: by jobs, and by bytes, which a single leak is beyond."""
    space, options = Space(x=Float(0.0, 1.0)), {"executor": "processes", "workers": 1, "quiet": True}
    study = minimize(leaks, space, "random", 4, renew_after_jobs=2, **options)  # type: ignore[arg-type]
    leaked = [result.metrics["leaked"] for result in study.history.results.values()]
    assert sorted(leaked) == [1.0, 1.0, 2.0, 2.0]
    study = maximize(leaks_value, space, "random", 2, renew_after_bytes=400_000_000, **options)  # type: ignore[arg-type]
    assert len({result.metrics["pid"] for result in study.history.results.values()}) == 2
    with pytest.raises(ValueError, match=r"the inline executor has no option 'renew_after_jobs'; those that have it are \['proc"):
        minimize(leaks, space, "random", 4, renew_after_jobs=2, quiet=True)
    with pytest.raises(ValueError, match="renew_after_bytes is 0; allowed is an integer of at least 1"):
        minimize(leaks, space, "random", 4, renew_after_bytes=0, **options)  # type: ignore[arg-type]
