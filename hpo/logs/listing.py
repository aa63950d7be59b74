"""The studies behind a path or a URL, by name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from hpo.logs.base import LogError
from hpo.logs.sql import list_studies
from hpo.logs.urls import read_query


def list_places(url: str) -> dict[str, str]:
    """The place of every study of a database by the study's name; of the log of one study its own, by its file's name. Where the
    URL names a study it is that one. FileNotFoundError without the file."""
    if "://" not in url and not Path(url).exists():
        raise FileNotFoundError(f"there is no log {url!r}")
    place = url if "://" in url else f"sqlite:///{Path(url).absolute()}"
    if "study" in read_query(place):
        return {read_query(place)["study"]: url}
    try:
        join = "&" if "?" in place else "?"
        return {name: f"{place}{join}study={quote(name, safe='')}" for name in list_studies(place)}
    except LogError:  # a file of one study
        if not place.startswith("sqlite:"):
            raise
    return {url.rpartition("/")[2]: url}
