"""Reads older logs as logs of this version: renamed options, options added later, code that has moved, flat notes.

The upgraded form is compared, digested and replayed; the file stays as it is. So a stored study can still be opened after an
option is renamed or added: a row here says what an older header means in this version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hpo.logs.base import VERSION, Event, LogError, later_version

# By the class of an optimizer: old name of an option -> its name now.
RENAMED: dict[str, dict[str, str]] = {"GP": {"overview": "explore_every"}}
# Options that were added later: the value that older studies, which do not name them, were made with.
ADDED: dict[str, dict[str, Any]] = {
    "GP": {"warp": False, "power": False, "samples": 0, "explore_every": 0, "cost": None, "constraints": {}, "prior": None,
           "prior_weight": 10.0},
    "Random": {"replace": True},
    "SuccessiveHalving": {"min_early_stopping_rate": 0},
    "Hyperband": {"min_early_stopping_rate": 0},
    "PBT": {"selection": "truncation", "changes": "all"},
    "PB2": {"selection": "truncation", "changes": "all"},
}  # fmt: skip
# The parts of a job's note (see hpo.job.Note), and the part to which a key of a flat note belongs; all others are records.
DRAWERS = ("study", "member", "record")
FLAT = {"queued": "study", "added": "study", "finals": "study", "rung": "member", "bracket": "member", "slot": "member",
        "generation": "member"}  # fmt: skip
# Code that has moved, by its name in a header (`hpo.space.code_name`): a whole module, or one name in a module.
MOVED: dict[str, str] = {
    "experiments.spaces.Fits": "experiments.tune.memory.Fits",
    "hpo.optimizers.beliefs.Around": "hpo.priors.Around",
    "surrogates.acquisitions.plain": "surrogates.acquisitions.adapt",
    "surrogates.acquisitions.envelope": "surrogates.acquisitions.expected_maximum",
    "surrogates.acquisitions.table": "surrogates.acquisitions.registry",
}


def upgrade_header(header: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A header of any version as one of this version. LogError, which names the place, if it is of a later version."""
    version = header.get("version", VERSION)
    if type(version) is not int or version > VERSION:
        raise LogError(later_version(place, version))
    found = dict(header)
    if "version" in found:
        found["version"] = VERSION
    if isinstance(found.get("optimizer"), Mapping):
        found["optimizer"] = upgrade_options(found["optimizer"])
    space = found.get("space")
    if isinstance(space, Mapping) and "constraints" in space:
        found["space"] = {**space, "constraints": _move(space["constraints"])}
    return found


def upgrade_options(described: Mapping[str, Any]) -> dict[str, Any]:
    """The description of an optimizer, and of those that it wraps, with the options that this version has."""
    name = described.get("name")
    renamed, added = (table.get(name, {}) if isinstance(name, str) else {} for table in (RENAMED, ADDED))
    found = {renamed.get(option, option): _upgrade_value(value) for option, value in described.items()}
    later = {renamed.get(option, option): value for option, value in added.items()}
    return {**found, **{option: value for option, value in later.items() if option not in found}}


def upgrade_event(event: Event) -> Event:
    """An event of any version as one of this version: the notes of versions 1 and 2 were flat."""
    job = event.body.get("job")
    if job is None or all(name in DRAWERS and isinstance(drawer, Mapping) for name, drawer in job["note"].items()):
        return event
    note: dict[str, dict[str, Any]] = {}
    for name, value in job["note"].items():
        note.setdefault(FLAT.get(name, "record"), {})[name] = value
    return replace(event, body={**event.body, "job": {**job, "note": note}})


def _upgrade_value(value: Any) -> Any:
    if isinstance(value, Mapping) and "name" in value:
        return upgrade_options(value)
    return _move(value)


def _move(value: Any) -> Any:
    """Replaces the names of code that has moved by the present ones, anywhere in a value."""
    if isinstance(value, str):
        known = [old for old in MOVED if value == old or value.startswith((f"{old}.", f"{old} "))]
        longest = max(known, key=len, default=None)
        return value if longest is None else MOVED[longest] + value[len(longest) :]
    if isinstance(value, list):
        return [_move(item) for item in value]
    return value


def refuse_renamed(classes: Iterable[str], options: Iterable[str]) -> None:
    """TypeError in one sentence if `options` has an option of one of these classes under its old name."""
    for name in classes:
        for option in options:
            if option in RENAMED.get(name, {}):
                raise TypeError(f"{name} has no option {option!r} any more; it is called {RENAMED[name][option]!r}")
