"""Damaged logs: `python -m tests.hpo.damaging --count 2000` damages copies of a few logs and says what came of each.

    as it was    every event is as it was written, nothing is said, and what is told next is kept
    prefix       the first events are, and a warning counts the others
    refused      one sentence (a ValueError or an OSError) that names the file
    WRONG        anything else: other events, a shorter log without a word, a raw error, a sentence without the file

Damage is done to the bytes of the file, and by SQL to its rows. Exit status 1 if anything was WRONG.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo import Header, History, Job, Result, SQLiteLog
from hpo.logs import Event, sqlite
from hpo.testing import Drive
from hpo.testing.spaces import mixed_space
from tests.hpo.cases import build
from tests.hpo.objectives import line

OUTCOMES = ("as it was", "prefix", "refused", "WRONG")
NEXT = Event("run", {"after": "the damage"}, 4e9)  # what is told to a log that opened


@dataclass(frozen=True)
class Whole:
    """A log before it was damaged."""

    path: Path
    header: Header
    events: Sequence[Event]


def wholes(folder: Path) -> list[Whole]:
    """Logs of 0 to some 1,000 events, on one page and on hundreds, with bodies that spill over pages."""
    made = []
    kinds = [("empty", "random", 0), ("few", "random", 5), ("asha", "asha", 60), ("gp", "gp", 8), ("many", "random", 500)]
    for name, optimizer, jobs in kinds:
        path = folder / f"{name}.sqlite"
        log = SQLiteLog(path)
        drive = Drive(build(optimizer, line() if name == "few" else mixed_space(), 0), log=log)
        if jobs:
            drive.run(jobs, lost=0.1, foreign=0.1)
        if name == "asha":  # long curves and tracebacks stand on pages of their own
            for trial in range(1000, 1004):
                job = Job(trial, {"x": 0.5}, 1)
                curve = tuple((i, 1.0 / (i + 1)) for i in range(400 * (trial - 999)))
                result = Result({"loss": 1.0}, curve, traceback="at line\n" * 500)
                log.append(Event("add", {"job": job.to_json(), "result": result.to_json()}, 5.0))
        made.append(Whole(path, drive.study.header, list(log.read(0))))
        log.close()
    return made


# -- damage to the bytes ---------------------------------------------------------------------------------------------

Damage = Callable[[Path, random.Random, Path], None]  # the copy, a source of choices, and another whole log


def in_bytes(change: Callable[[bytearray, random.Random, bytes], bytearray]) -> Damage:
    def damage(path: Path, rng: random.Random, other: Path) -> None:
        path.write_bytes(change(bytearray(path.read_bytes()), rng, other.read_bytes()))

    return damage


def page(data: bytes | bytearray) -> int:
    return int.from_bytes(data[16:18], "big")


def some_page(data: bytes | bytearray, rng: random.Random) -> slice:
    size = page(data)
    at = rng.randrange(max(1, len(data) // size)) * size
    return slice(at, at + size)


def flipped(data: bytearray, rng: random.Random, other: bytes, end: int | None = None) -> bytearray:
    at = rng.randrange(min(len(data), end or len(data)))
    data[at] ^= 1 << rng.randrange(8)
    return data


def flipped_in_text(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    """A bit of what is used: most of a page is empty."""
    used = [at for at, byte in enumerate(data) if byte]
    data[rng.choice(used)] ^= 1 << rng.randrange(8)
    return data


def zeroed(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    length = rng.choice([1, 16, 512, 4096, 8192])
    at = rng.randrange(len(data)) // rng.choice([1, length]) * 1
    data[at : at + length] = bytes(len(data[at : at + length]))
    return data


def zeroed_page(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    at = some_page(data, rng)
    data[at] = bytes(len(data[at]))
    return data


def truncated(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    size = page(data)
    return data[: rng.choice([rng.randrange(len(data)), rng.randrange(len(data)) // size * size, len(data) - size])]


def swapped_pages(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    a, b = some_page(data, rng), some_page(data, rng)
    data[a], data[b] = data[b], data[a]
    return data


def copied_page(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    data[some_page(data, rng)] = data[some_page(data, rng)]
    return data


def foreign_page(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    data[some_page(data, rng)] = other[some_page(other, rng)]
    return data


def noise(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    at, length = rng.randrange(len(data)), rng.choice([4, 64, 1024])
    data[at : at + length] = rng.randbytes(len(data[at : at + length]))
    return data


def longer(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    return data + rng.choice([bytes(4096), rng.randbytes(4096), rng.randbytes(17), bytes(data[-4096:])])


# -- damage to the rows ----------------------------------------------------------------------------------------------


def in_rows(change: Callable[[sqlite3.Connection, random.Random, Path], None]) -> Damage:
    def damage(path: Path, rng: random.Random, other: Path) -> None:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA synchronous=OFF")
        change(db, rng, other)
        db.close()

    return damage


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM events").fetchone()[0])


def position(db: sqlite3.Connection, rng: random.Random) -> int:
    return rng.randrange(max(1, count(db)))


def removed(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    db.execute("DELETE FROM events WHERE position = ?", (position(db, rng),))


def removed_and_closed_up(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    at = position(db, rng)
    db.execute("BEGIN")
    db.execute("DELETE FROM events WHERE position = ?", (at,))
    for later in range(at + 1, count(db) + 1):
        db.execute("UPDATE events SET position = ? WHERE position = ?", (later - 1, later))
    db.execute("UPDATE header SET count = max(count - 1, 0)")
    db.execute("COMMIT")


def cut(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    db.execute("DELETE FROM events WHERE position >= ?", (position(db, rng),))


def cut_and_counted(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    cut(db, rng, other)
    db.execute("UPDATE header SET count = (SELECT count(*) FROM events)")


def exchanged(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    a, b = position(db, rng), position(db, rng)
    for old, new in ((a, -1), (b, a), (-1, b)):
        db.execute("UPDATE events SET position = ? WHERE position = ?", (new, old))


def duplicated(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    columns = "?, CASE WHEN identity IS NULL THEN NULL ELSE identity || ? END, kind, body, timestamp, digest"
    query = f"INSERT INTO events SELECT {columns} FROM events WHERE position = ?"
    db.execute(query, (count(db), rng.choice(["0", " "]), position(db, rng)))


def changed_column(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    change = rng.choice(
        [
            "kind = 'run'", "kind = 'pwn'", "identity = NULL", "identity = identity || '0'", "body = '{}'", "body = 'no json'",
            "body = replace(body, '1', '2')", "body = CAST(body AS BLOB)", "timestamp = timestamp + 3600", "timestamp = 'now'",
            "digest = zeroblob(16)", "body = replace(body, ':0', ':\"../../pwned\"')", "body = body || ' '", "digest = 'x'",
        ]
    )  # fmt: skip
    db.execute(f"UPDATE events SET {change} WHERE position = ?", (position(db, rng),))


def changed_header(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    change = rng.choice(
        [
            "body = replace(body, '0', '1')", "body = '{}'", "body = 'no json'", "count = count + 1", "count = 0",
            "count = 'many'", "count = count * 2 + 1", "study = 'another'", "digest = zeroblob(16)", "seal = zeroblob(16)",
            "body = CAST(body AS BLOB)",
        ]
    )  # fmt: skip
    db.execute(f"UPDATE header SET {change}")


def no_header(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    db.execute("DELETE FROM header")


def foreign_rows(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    """Header, or an event, of another log. (With its header and no event of its own, a log would be that one, cut.)"""
    db.execute("ATTACH ? AS other", (str(other),))
    if rng.random() < 0.5 and count(db):
        db.execute("DELETE FROM header")
        db.execute("INSERT INTO header SELECT * FROM other.header")
    else:
        at = position(db, rng)
        db.execute("DELETE FROM events WHERE position = ?", (at,))
        db.execute("INSERT OR REPLACE INTO events SELECT * FROM other.events WHERE position = ?", (at,))


def changed_tables(db: sqlite3.Connection, rng: random.Random, other: Path) -> None:
    change = rng.choice(
        [
            "PRAGMA user_version = 4", "PRAGMA user_version = 0", "PRAGMA application_id = 7", "DROP TABLE events",
            "DROP TABLE header", "CREATE TABLE theirs (a)", "ALTER TABLE events ADD COLUMN b",
            "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END",
            "ALTER TABLE events RENAME COLUMN timestamp TO time", "CREATE VIEW v AS SELECT * FROM events", "VACUUM", "ANALYZE",
        ]
    )  # fmt: skip
    db.execute(change)


DAMAGES: dict[str, Damage] = {
    "a bit": in_bytes(flipped),
    "a bit in use": in_bytes(flipped_in_text),
    "a bit of the first 100 bytes": in_bytes(lambda data, rng, other: flipped(data, rng, other, 100)),
    "a bit of the first page": in_bytes(lambda data, rng, other: flipped(data, rng, other, 4096)),
    "a zeroed block": in_bytes(zeroed),
    "a zeroed page": in_bytes(zeroed_page),
    "truncated": in_bytes(truncated),
    "two pages exchanged": in_bytes(swapped_pages),
    "a page twice": in_bytes(copied_page),
    "a page of another log": in_bytes(foreign_page),
    "noise": in_bytes(noise),
    "longer": in_bytes(longer),
    "an event removed": in_rows(removed),
    "an event removed, the others moved up": in_rows(removed_and_closed_up),
    "a tail cut": in_rows(cut),
    "a tail cut, the count changed": in_rows(cut_and_counted),
    "two events exchanged": in_rows(exchanged),
    "an event twice": in_rows(duplicated),
    "a column changed": in_rows(changed_column),
    "the header changed": in_rows(changed_header),
    "the header removed": in_rows(no_header),
    "rows of another log": in_rows(foreign_rows),
    "tables changed": in_rows(changed_tables),
}


# -- what came of it -------------------------------------------------------------------------------------------------


def told(path: Path, header: Header, *more: Event) -> tuple[list[Event], list[str]]:
    """Events and warnings of a study that is opened as its drivers do, before some more events are told."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        log = SQLiteLog(path)
        try:
            events = list(History(header, log).events)
            for event in more:
                log.append(event)
            return events, [str(warning.message) for warning in said]
        finally:
            log.close()


def outcome(path: Path, whole: Whole) -> tuple[str, str]:
    """One of OUTCOMES, and what was said."""
    try:
        events, said = told(path, whole.header)
    except (ValueError, OSError) as error:
        named = str(path) in str(error) and "\n" not in str(error)
        return "refused" if named else "WRONG", f"{type(error).__name__}: {error}"
    except Exception as error:
        return "WRONG", f"{type(error).__name__}: {error}"
    n, every = len(events), len(whole.events)
    if events != whole.events[:n]:
        return "WRONG", f"{n} events of {every}, not the same ones; {said}"
    counted = f"it held {every} events and holds the first {n}; the last {every - n} are missing"
    if bool(said) != (n < every) or (said and counted not in said[0]):
        return "WRONG", f"{n} events of {every}; {said}"
    wrong = afterwards(path, whole, events)
    return ("WRONG", wrong) if wrong else ("prefix" if said else "as it was", "; ".join(said))


def afterwards(path: Path, whole: Whole, events: Sequence[Event]) -> str:
    """What is wrong with the log once something was told to it; empty if nothing is."""
    try:
        told(path, whole.header, NEXT)
        now, said = told(path, whole.header)
    except (ValueError, OSError) as error:
        return "" if str(path) in str(error) else f"then {type(error).__name__}: {error}"
    except Exception as error:
        return f"then {type(error).__name__}: {error}"
    return "" if now == [*events, NEXT] and not said else f"then {len(now)} events, {said}"


def damaged(name: str, path: Path, rng: random.Random, logs: Sequence[Whole]) -> Whole:
    """Which log's copy the file is; it has at least one other byte than that."""
    while True:
        whole, other = rng.choice(logs), rng.choice(logs)
        shutil.copyfile(whole.path, path)
        DAMAGES[name](path, rng, other.path)
        if path.read_bytes() != whole.path.read_bytes():
            return whole


def campaign(
    folder: Path, number: int, seed: int, names: Sequence[str] = tuple(DAMAGES)
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How often each damage had each outcome, and every wrong one in words. Every damage comes in turn, on every log."""
    rng, found, wrong = random.Random(seed), Counter[tuple[str, str]](), []
    logs = wholes(folder)
    for i in range(number):
        name, path = names[i % len(names)], folder / f"damaged-{i}.sqlite"
        whole = damaged(name, path, rng, logs)
        came, said = outcome(path, whole)
        found[name, came] += 1
        if came == "WRONG":
            wrong.append(f"{i}: {name} on {whole.path.name}: {said}")
        else:
            path.unlink(missing_ok=True)
    return found, wrong


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(DAMAGES), action="append", help="a kind of damage (default: all in turn)")
    parser.add_argument("--keep", type=Path, help="a folder where files with a wrong outcome stay")
    given = parser.parse_args(arguments)
    sqlite.SYNCHRONOUS = "OFF"  # no machine loses its power here
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found, wrong = campaign(folder, given.count, given.seed, given.only or list(DAMAGES))
    print(f"{'damage':40}" + "".join(f"{name:>11}" for name in OUTCOMES))
    for name in given.only or DAMAGES:
        print(f"{name:40}" + "".join(f"{found[name, came]:11}" for came in OUTCOMES))
    sums = [sum(n for (_, came), n in found.items() if came == one) for one in OUTCOMES]
    print(f"{f'{given.count} damaged logs':40}" + "".join(f"{n:11}" for n in sums))
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
