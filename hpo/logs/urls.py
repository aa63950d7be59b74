"""The URL of a study in a database, taken apart: what is ours, what the driver gets, and how it is shown without a password.

    postgresql://user:password@host:5432/database?study=a&pool_size=20&max_overflow=0&sslmode=require

`study`, `pool_size` and `max_overflow` are ours; everything else goes to the driver as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode

STUDY = "study"  # the name of a study where the URL has none
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql", "sqlite": "pysqlite"}  # where the URL names none
LENGTH = 255  # characters of a study's name


def find_scheme(url: str) -> str:
    """The scheme of a URL without the driver: "mysql" of mysql+pymysql://host."""
    return url.partition("://")[0].partition("+")[0]


def hide_password(url: str) -> str:
    """A URL as it may be shown, whatever else is wrong with it: without user, password and query."""
    return re.sub(r"://.*@", "://...@", url, flags=re.DOTALL).partition("?")[0]


def read_query(url: str) -> dict[str, str]:
    """The query of a URL by name."""
    return dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))


def check_study(name: object) -> str:
    """The name of a study. ValueError where not every database could keep it as it is."""
    allowed = f"allowed are 1 to {LENGTH} characters that can be printed, without blanks around them"
    if not isinstance(name, str) or not 1 <= len(name) <= LENGTH or name != name.strip() or not name.isprintable():
        raise ValueError(f"the name of a study is {name!r:.80}; {allowed}")
    return name


@dataclass(frozen=True)
class Place:
    """Where a study stands."""

    url: str = field(repr=False)  # for the driver: with the password, without what is ours
    study: str
    pool_size: int
    max_overflow: int

    @classmethod
    def of(cls, url: str, pool_size: int = 5, max_overflow: int = 10) -> Place:
        """The numbers are those where the URL has none. ValueError for a number that is none, or a name no study can have."""
        query = read_query(url)
        study = check_study(query.pop("study", STUDY))
        pool_size = _whole("pool_size", query.pop("pool_size", pool_size), 1)
        max_overflow = _whole("max_overflow", query.pop("max_overflow", max_overflow), 0)
        scheme, _, rest = url.partition("?")[0].partition("://")
        base, _, driver = scheme.partition("+")
        base = {"mariadb": "mysql"}.get(base, base)  # one dialect for both
        if base not in DRIVERS:
            allowed = [f"{name}://" for name in DRIVERS]
            raise ValueError(f"the log {hide_password(url)!r} has an unknown scheme; allowed are {allowed}")
        kept = f"?{urlencode(query)}" if query else ""
        return cls(f"{base}+{driver or DRIVERS[base]}://{rest}{kept}", study, pool_size, max_overflow)

    @property
    def scheme(self) -> str:
        return find_scheme(self.url)

    @property
    def path(self) -> str | None:
        """The file of SQLite; None where the URL names none."""
        host, _, path = self.url.partition("?")[0].partition("://")[2].partition("/")
        return None if self.scheme != "sqlite" or host or not path else path

    @property
    def database(self) -> str:
        """The database, as people are told: no password, and nothing of the query, where one could stand too."""
        rest = self.url.partition("?")[0].partition("://")[2]
        user, at, host = rest.rpartition("@") if self.scheme != "sqlite" else ("", "", rest)
        return f"{self.scheme}://{user.partition(':')[0]}{at}{host}"

    def show(self, study: str) -> str:
        """The URL of a study, as people are told."""
        return f"{self.database}?study={quote(study, safe='')}"


def _whole(name: str, value: str | int, least: int) -> int:
    if not str(value).isdecimal() or int(value) < least:
        raise ValueError(f"{name} of a log is {value!r:.60}; allowed is a whole number of at least {least}")
    return int(value)
