"""Optimizers of other projects behind one small interface, one adapter a file.

An adapter translates the space and the results, and nothing else: every option that its project has a default for stays
at that default. What an adapter had to decide (what to tell of a run that diverged) stands at the top of its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from hpo.space import Config, Space


class Exhausted(Exception):
    """An optimizer has nothing left to ask: every point of a finite space was proposed. Its study ends there."""


class Peer(Protocol):
    """An optimizer that answers one evaluation after another."""

    def __init__(self, space: Space, seed: int, budget: int) -> None: ...

    def ask(self) -> Config:
        """A configuration of our space: plain values, inactive parameters absent. Raises Exhausted if there is none."""
        ...

    def tell(self, config: Config, value: float) -> None:
        """The loss of a configuration; nan if its run diverged."""
        ...

    def best(self) -> Config:
        """What it would recommend now: by its own rule if it has one, else the lowest observed.

        Called only after a finite loss was told.
        """
        ...

    @staticmethod
    def versions() -> dict[str, str]:
        """Versions of the packages that decide what it proposes."""
        ...


def package_versions(*packages: str) -> dict[str, str]:
    """Installed versions by package; packages that are absent are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def plain(space: Space, values: Mapping[str, Any]) -> Config:
    """A configuration of the space from a value for every parameter: inactive ones dropped, constants filled in.

    Raises ValueError for a value that does not lie in the space.
    """
    return space.check({name: values[name] for name in space.active(values) if name in values})
