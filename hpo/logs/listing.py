"""The studies behind a path or a URL, by name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from hpo.logs.base import LogError
from hpo.logs.sql import list_studies
from hpo.logs.sqlite import SQLiteLog
from hpo.logs.urls import Place, read_query


def list_places(url: str) -> dict[str, str]:
    """The place of every study of a database by the study's name; of the log of one study its own, by its file's name. Where the
    URL names a study it is that one. FileNotFoundError without the file."""
    if "://" not in url and not Path(url).exists():
        raise FileNotFoundError(f"there is no log {url!r}")
    place = url if "://" in url else f"sqlite:///{Path(url).absolute()}"
    if "study" in read_query(place):
        return {read_query(place)["study"]: url}
    try:
        _take_back(place)
        join = "&" if "?" in place else "?"
        return {name: f"{place}{join}study={quote(name, safe='')}" for name in list_studies(place)}
    except LogError:  # a file of one study
        if not place.startswith("sqlite:"):
            raise
    return {url.rpartition("/")[2]: url}


def _take_back(place: str) -> None:
    """What a driver that was killed while it wrote left half written in a file: whoever only reads cannot look past it."""
    path = Place.of(place).path
    if path is not None and Path(f"{path}-journal").exists():
        with suppress(OSError, ValueError):  # a living driver's, or a file that may not be written: the reader says what it finds
            SQLiteLog(path).close()
