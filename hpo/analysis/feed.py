"""What the page shows of a study, as JSON: all of it, or only what has changed since a version.

A document is a mapping with these parts, of which an update holds what is new:

    study        the header for people: title, objectives, unit, horizon, the columns of the space
    rows         a mapping for every key that was started: see `_row`
    tracebacks   texts by number, which rows name
    summary      counts, the best so far of every objective, the front, times: see `_summary`
    version      of this state; `update(version)` gives what has come since

Reading an event costs the same however long the study is.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo.analysis.export import to_json
from hpo.analysis.lanes import Lanes
from hpo.analysis.progress import objective_value, trained_units
from hpo.bounds import FeasibleResults, bounds_of, explain_infeasible
from hpo.clock import Clock
from hpo.history import History
from hpo.job import Key
from hpo.logs import Event
from hpo.optimizers.finals import default_trial
from hpo.parameters import Categorical, Float, Int
from hpo.space import Space
from hpo.stopping import explain_stop
from hpo.trial import best_front, best_key, describe_best

POINTS = 40  # of a job's learning curve that a page gets at most
LEAST = 8
ALL_POINTS = 100_000  # of all curves together, about
TRACEBACKS = 300  # different ones that a page gets
LONGEST = 8000  # characters of a traceback


@dataclass
class Step:
    """A key that became the best so far of one objective, and when."""

    key: Key
    second: float
    value: float
    count: int  # results up to it


@dataclass
class Feed:
    """The page's data of one study. `read` reads on; nothing is ever written.

    call   the optimizer as it was made, for people
    """

    history: History
    space: Space
    name: str = ""
    call: str = ""
    version: int = 0
    _read: int = 0  # events
    _rows: dict[Key, tuple[int, str]] = field(default_factory=dict)  # version and JSON of every row, by version
    _lanes: Lanes = field(default_factory=Lanes)
    _clock: Clock = field(default_factory=Clock)
    _begun: dict[Key, float] = field(default_factory=dict)
    _ended: dict[Key, tuple[float, float]] = field(default_factory=dict)  # time, and second of search
    _places: dict[Key, int] = field(default_factory=dict)  # finished keys as they came, counted from 1
    _steps: list[list[Step]] = field(default_factory=list)  # by objective
    _kept: FeasibleResults | None = None
    _tracebacks: dict[str, int] = field(default_factory=dict)  # numbers by text
    _since: list[int] = field(default_factory=list)  # in which version each traceback came
    _work: float = 0.0
    _failed: int = 0
    _curves: int = 0  # finished keys that have one

    def __post_init__(self) -> None:
        self._steps = [[] for _ in self.history.header.objectives]
        self._take()

    # -- following ---------------------------------------------------------------------------------------------------

    def read(self) -> bool:
        """Reads what the log has got since; whether that was anything."""
        self.history.refresh()
        return self._take()

    def _take(self) -> bool:
        events = self.history.events[self._read :]
        if not events and self.version:
            return False
        self._read, self.version = self._read + len(events), self.version + 1
        touched: dict[Key, None] = {}
        finished: list[Key] = []
        for event in events:
            key = self._see(event)
            if key is not None:
                touched[key] = None
                if event.kind in ("finish", "add"):
                    finished.append(key)
                    self._ended[key] = event.time, self._clock.search_seconds
        for event in events:  # a job that was lost too often has failed without a finish
            if event.kind == "lost" and (key := _key_of(event)) in self.history.results and key not in self._ended:
                finished.append(key)
                self._ended[key] = event.time, self._clock.search_seconds
        self._finish(finished)
        for key in touched:
            self._rows.pop(key, None)  # so that rows stand in the order of their versions
            self._rows[key] = self.version, encode_strictly(self._row(key))
        return True

    def _see(self, event: Event) -> Key | None:
        """Takes the times of an event. The key that it is about."""
        key = _key_of(event)
        self._clock.read(event, self.history.results[key] if key is not None and event.kind == "finish" else None)
        if key is not None and event.kind in ("start", "add"):
            self._begun[key] = event.time
        if key is not None and event.kind == "start":
            self._lanes.start(key, event.body.get("driver"))
        elif key is not None:
            self._lanes.free(key)
        return key

    def _finish(self, keys: Sequence[Key]) -> None:
        """Counts results in the order in which they came."""
        history, kept = self.history, FeasibleResults.of(self.history)
        if kept is not self._kept and self._kept is not None:  # whose metrics the bounds are about has changed
            self._steps, again = [[] for _ in self._steps], [*self._places, *keys]
        else:
            again = [*keys]
        self._kept = kept
        for key in keys:
            self._places[key] = len(self._places) + 1
            self._work += trained_units(history, key)
            self._failed += history.is_failure(key)
            self._curves += bool(history.results[key].curve)
        for key in again:
            if key in kept.found:
                self._improve(key)

    def _improve(self, key: Key) -> None:
        losses = self.history.losses
        for place, steps in enumerate(self._steps):
            if not steps or (-key[1], losses(key)[place]) < (-steps[-1].key[1], losses(steps[-1].key)[place]):
                steps.append(Step(key, self._ended[key][1], objective_value(self.history, key, place),
                                  self._places[key]))  # fmt: skip

    # -- documents ---------------------------------------------------------------------------------------------------

    def document(self) -> str:
        """Everything, as JSON."""
        return self.update(0)

    def update(self, since: int) -> str:
        """What has changed since a version, as JSON; everything since version 0."""
        rows = ",".join(reversed([*self._changed(since)]))
        texts = {number: text for text, number in self._tracebacks.items() if self._since[number] > since}
        parts = {"version": self.version, "now": time.time(), "tracebacks": texts, "summary": self._summary()}
        if not since:
            parts["study"] = self._study()
        return f'{encode_strictly(parts)[:-1]}, "rows": [{rows}]}}'

    def brief(self) -> str:
        """What other studies are compared by, as JSON: header and summary without rows."""
        parts = {"version": self.version, "now": time.time(), "summary": self._summary(), "study": self._study()}
        return encode_strictly(parts)

    def _changed(self, since: int) -> Iterator[str]:
        for version, text in reversed(self._rows.values()):
            if version <= since:
                return
            yield text

    def _study(self) -> dict[str, Any]:
        header = self.history.header
        place = self.history.log.place
        return {
            "name": self.name, "title": name_optimizer(header.optimizer), "call": self.call, "place": place,
            "objectives": [[name, way] for name, way in header.objectives.items()], "unit": header.unit,
            "horizon": header.horizon, "seed": header.seed, "bounds": str(bounds_of(header.optimizer)),
            "columns": [_describe_column(self.space, name) for name in self.space.columns],
            "fixed": {name: spec.decode(0.0) for name, spec in self.space.parameters.items() if name not in self.space.columns},
            "optimizer": [[name, value if isinstance(value, str) else json.dumps(value)]
                          for name, value in header.optimizer.items()],
        }  # fmt: skip

    def _summary(self) -> dict[str, Any]:
        history = self.history
        best = best_key(history)
        said = describe_best(history)
        return {
            "trials": len(history.trials), "results": len(history.results), "failed": self._failed,
            "pending": len(history.pending), "lost": len(history.retries), "whole": len(history.at(history.header.horizon)),
            "work": self._work, "seconds": self._clock.search_seconds, "elapsed": history.elapsed_seconds(),
            "best": best, "front": [*best_front(history)] if len(history.header.objectives) > 1 else [],
            "said": f"{said[0].upper()}{said[1:]}", "infeasible": explain_infeasible(history),
            "steps": [[[*step.key, step.second, step.value, step.count] for step in steps] for steps in self._steps],
            "default": default_trial(history), "phase": history.phase, "stopped": explain_stop(history),
            "last": history.events[-1].time if history.events else None,
        }  # fmt: skip

    def _row(self, key: Key) -> dict[str, Any]:
        """One started key. Short names, since there are many:

        t, u      trial and budget
        k         "pending", "lost" (given out again next), "done" or "failed"
        x         the configuration by column: numbers, the index of a choice; null where inactive
        v         the objectives as reported; absent without a success
        m         other metrics
        ok        whether the result keeps the optimizer's bounds
        e, b      the error, and the number of its traceback
        s         the key whose checkpoint it started from
        a, f, p   times of start and finish; second of search at the finish
        w         seconds of work as measured
        d, l      driver, and which of its jobs in flight it was, counted from 0
        n         how often it was lost
        c         its learning curve, thinned
        """
        history, job = self.history, self.history.jobs[key]
        row: dict[str, Any] = {"t": key[0], "u": key[1], "a": self._begun.get(key)}
        row["x"] = [_position(self.space, job.config, name) for name in self.space.columns]
        lane = self._lanes.found.get(key)
        row |= {} if lane is None else {"d": lane[0], "l": lane[1]}
        row |= {} if job.source is None else {"s": job.source}
        row |= {"n": history.attempt(key)} if history.attempt(key) else {}
        if key not in history.results:
            return row | {"k": "lost" if key in history.retries else "pending"}
        result, objectives = history.results[key], history.header.objectives
        row["f"], row["p"] = self._ended[key]
        row["m"] = {name: value for name, value in result.metrics.items() if name not in objectives}
        row["w"] = result.system.get("seconds")
        row["c"] = self._thin(key)
        if history.is_failure(key):
            return row | {"k": "failed", "e": result.error or "no finite value", "b": self._number(result.traceback)}
        kept = self._kept is None or key in self._kept.found
        return row | {"k": "done", "v": [result.metrics[name] for name in objectives], "ok": kept}

    def _thin(self, key: Key) -> list[list[float]]:
        curve = [(step, value) for step, value in self.history.results[key].curve if math.isfinite(value)]
        most = min(POINTS, max(LEAST, ALL_POINTS // max(self._curves, 1)))
        if len(curve) > most:
            curve = [curve[round(place * (len(curve) - 1) / (most - 1))] for place in range(most)]
        return [[step, float(f"{value:.6g}")] for step, value in curve]

    def _number(self, text: str | None) -> int | None:
        if not text:
            return None
        cut = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}\n...\n{text[-LONGEST // 2 :]}"
        if cut not in self._tracebacks and len(self._tracebacks) >= TRACEBACKS:
            return None
        if cut not in self._tracebacks:
            self._tracebacks[cut] = len(self._tracebacks)
            self._since.append(self.version)
        return self._tracebacks[cut]


def encode_strictly(value: Any) -> str:
    """JSON that a browser reads: what is no finite number is null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(to_json(value), allow_nan=False)


def name_optimizer(described: Mapping[str, Any]) -> str:
    """The optimizer of a header in short: `ASHA(GP)`."""
    names = [str(described["name"])]
    while isinstance(inner := described.get("sampler") or described.get("optimizer"), Mapping) and "name" in inner:
        names.append(str(inner["name"]))
        described = inner
    return f"{'('.join(names)}{')' * (len(names) - 1)}"


def _key_of(event: Event) -> Key | None:
    body = event.body.get("job", event.body)
    return (body["trial"], body["until"]) if event.kind in ("start", "add", "finish", "lost") else None


def _describe_column(space: Space, name: str) -> dict[str, Any]:
    spec = space.parameters[name]
    when = {parent: [*values] for parent, values in spec.when.items()}
    found: dict[str, Any] = {"name": name, "allowed": spec.allowed_values(), "when": when}
    if isinstance(spec, Categorical):
        return found | {"kind": "choice", "values": [one if isinstance(one, str) else json.dumps(one) for one in spec.values]}
    assert isinstance(spec, Float | Int)
    return found | {"kind": spec.kind, "low": spec.decode(0.0), "high": spec.decode(1.0), "log": spec.log}


def _position(space: Space, config: Mapping[str, Any], name: str) -> float | None:
    spec = space.parameters[name]
    if name not in config:
        return None
    value = config[name]
    try:
        return int(spec.encode(value)) if isinstance(spec, Categorical) else value
    except ValueError:  # of a study by hand, perhaps
        return None
