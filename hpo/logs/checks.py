"""What an event must hold to be read: the types that everything behind it relies on. One row a kind in `CHECKS`.

A key names files, so a trial is an integer and nothing else. Further fields are allowed: later versions add some.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from hpo.logs.base import Event


def check_event(event: Event, where: str = "this event cannot be recorded") -> None:
    """ValueError that says what is wrong with an event: its kind, a field that is missing or of another type."""
    try:
        if event.kind not in CHECKS:
            raise ValueError(f"its kind is {event.kind!r:.60}; this version of the framework knows {list(CHECKS)}")
        if type(event.time) not in (float, int) or not math.isfinite(event.time):
            raise ValueError(f"its time is {event.time!r:.60}; allowed is a finite number of seconds")
        CHECKS[event.kind](_as_mapping("its body", event.body))
    except KeyError as error:
        raise ValueError(f"{where}: it is a {event.kind} without {error}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def check_position(event: Event, position: int, where: str = "this event cannot be recorded") -> None:
    """ValueError where a proposal claims to have seen more events than stand before its own: it could not be replayed."""
    if event.kind == "start" and event.body["seen"] > position:
        raise ValueError(f"{where}: its proposal had seen {event.body['seen']} events, but {position} stand before it")


def _integer(name: str, value: Any, least: int | None = 0) -> None:
    if type(value) is not int or (least is not None and value < least):
        allowed = "an integer" if least is None else f"an integer of at least {least}"
        raise ValueError(f"its {name} is {value!r:.60}; allowed is {allowed}")


def _as_mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {value!r:.60}; allowed is a mapping")
    return value


def _number(name: str, value: Any) -> None:
    if not isinstance(value, float | int):
        raise ValueError(f"its {name} is {value!r:.60}; allowed is a number")


def _text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"its {name} is {value!r:.60}; allowed is a text or nothing")


def _key(body: Mapping[str, Any]) -> None:
    _integer("trial", body["trial"])
    _integer("until", body["until"], 1)


def _job(job: Any) -> None:
    job = _as_mapping("its job", job)
    _key(job)
    _integer("seed", job["seed"], None)
    _as_mapping("its configuration", job["config"])
    _as_mapping("its note", job["note"])
    source = job["source"]
    if source is not None:
        if not isinstance(source, list | tuple) or len(source) != 2:
            raise ValueError(f"its source is {source!r:.60}; allowed is a pair (trial, until) or nothing")
        _key({"trial": source[0], "until": source[1]})


def _result(result: Any) -> None:
    result = _as_mapping("its result", result)
    for name, value in _as_mapping("its metrics", result["metrics"]).items():
        _number(f"metric {name!r}", value)
    for name, value in _as_mapping("its system", result.get("system", {})).items():
        _number(f"measurement {name!r}", value)
    if not isinstance(result["curve"], list | tuple):
        raise ValueError(f"its curve is {result['curve']!r:.60}; allowed is a list of pairs (step, value)")
    for point in result["curve"]:
        if not isinstance(point, list | tuple) or len(point) != 2:
            raise ValueError(f"its curve holds {point!r:.60}; allowed are pairs (step, value)")
        _integer("step of the curve", point[0], None)
        _number("value of the curve", point[1])
    _text("error", result["error"])
    _text("traceback", result.get("traceback"))


def _start(body: Mapping[str, Any]) -> None:
    _job(body["job"])
    _integer("seen", body["seen"])
    _integer("attempt", body.get("attempt", 0))
    if body.get("driver") is not None:
        _integer("driver", body["driver"])


def _finish(body: Mapping[str, Any]) -> None:
    _key(body)
    _result(body["result"])
    _integer("attempt", body.get("attempt", 0))


def _lost(body: Mapping[str, Any]) -> None:
    _key(body)
    _integer("attempt", body["attempt"])
    _text("message", body.get("message"))


def _add(body: Mapping[str, Any]) -> None:
    _job(body["job"])
    _result(body["result"])
    _integer("attempt", body.get("attempt", 0))


def _enqueue(body: Mapping[str, Any]) -> None:
    _as_mapping("its configuration", body["config"])


def _run(body: Mapping[str, Any]) -> None:
    for rule in ("trials", "seconds"):
        if body.get(rule) is not None:
            _number(f"limit of {rule}", body[rule])


def _limit(body: Mapping[str, Any]) -> None:
    _text("rule", body.get("rule"))
    _as_mapping("its detail", body.get("detail", {}))


CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "run": _run, "limit": _limit, "start": _start, "finish": _finish, "lost": _lost, "add": _add, "enqueue": _enqueue,
}  # fmt: skip
