"""The ledger: a file of lines, and the list of everything that can be measured.

A line belongs to a measurement by its key. It is current if the code that it depends on has not changed since. Older lines stay
in the file until they are measured anew, or until one line of their group has been measured again and came out the same to the
last digit: then the whole group counts again, and "measured_by" says which sources made its lines.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from experiments.ledger.claims import Claim
from experiments.ledger.lines import Record, append_line, read_lines, replace_lines
from experiments.ledger.measurement import UNKNOWN, Measurement, name_of, result
from hpo.values import quantity

Say = Callable[[str], None]
Origin = tuple[str, str | None]  # group, digest of the sources that made a line
Sample = tuple[Measurement, Record]


class Ledger:
    """A file and the measurements that belong into it, ordered so that an interrupted run is already useful.

    compare  the part of a line that a recheck compares; by default all but versions, machine and the ledger's own fields
    claims   the claims for which the lines are measured: their digests are stored with every line
    can_measure   whether a measurement has its data and packages here; others are shown, and neither measured nor rechecked
    """

    def __init__(
        self,
        path: Path,
        measurements: Sequence[Measurement],
        compare: Callable[[Mapping[str, Any]], Mapping[str, Any]] = result,
        claims: Sequence[Claim] = (),
        can_measure: Callable[[Measurement], bool] = lambda one: True,
    ) -> None:
        self.path, self.measurements, self.compare, self.claims = path, list(measurements), compare, list(claims)
        self.can_measure = can_measure

    @classmethod
    def of_file(cls, path: Path, fields: Sequence[str], make: Callable[..., Measurement | None]) -> Ledger:
        """The ledger of the measurements of which a file has lines. make(*values) returns the measurement for lines with these
        values of the fields, or None if it is no longer listed."""
        keys = dict.fromkeys(tuple(line[name] for name in fields) for line in read_lines(path))
        return cls(path, [one for key in keys if (one := make(*key)) is not None])

    @cached_property
    def by_name(self) -> dict[str, Measurement]:
        """Measurements by name. ValueError if two have the same key."""
        found = {one.name: one for one in self.measurements}
        if len(found) < len(self.measurements):
            raise ValueError(f"{len(self.measurements) - len(found)} measurements have the key of another one")
        return found

    @cached_property
    def _fields(self) -> list[tuple[str, ...]]:
        return list(dict.fromkeys(tuple(sorted(one.key)) for one in self.measurements))

    # -- reading -------------------------------------------------------------------------------------------------------

    def measurement_of(self, line: Mapping[str, Any]) -> Measurement | None:
        """The measurement of a line; None if it is no longer listed."""
        keys = ({name: line[name] for name in fields} for fields in self._fields if all(name in line for name in fields))
        return next((self.by_name[name] for name in map(name_of, keys) if name in self.by_name), None)

    def rows(self) -> Iterator[tuple[Measurement, Record]]:
        """Every line whose measurement is listed, with the measurement, in the order of the file."""
        for line in read_lines(self.path):
            if (one := self.measurement_of(line)) is not None:
                yield one, line

    def latest(self) -> dict[str, Record]:
        """For every measurement its last current line, else its last line; by name, in the order of measurements."""
        found: dict[str, Record] = {}
        for one, line in self.rows():
            if one.name not in found or one.is_current(line) or not one.is_current(found[one.name]):
                found[one.name] = line
        return {name: found[name] for name in self.by_name if name in found}

    def current(self) -> dict[str, Record]:
        """The last current line of every measurement that has one: the code as it is now would write the same."""
        return {name: line for name, line in self.latest().items() if self.by_name[name].is_current(line)}

    def list_stale(self) -> dict[str, Record]:
        """The last lines of measurements that have only older lines."""
        return {name: line for name, line in self.latest().items() if not self.by_name[name].is_current(line)}

    def list_missing(self) -> list[Measurement]:
        """The measurements that have no current line and can be measured here."""
        there = self.current()
        return [one for one in self.measurements if one.name not in there and self.can_measure(one)]

    def warnings(self) -> list[str]:
        """A sentence if some lines of the tables are older than the code; else nothing."""
        old, every = len(self.list_stale()), len(self.latest())
        said = f"{old} of {every} lines {'is' if old == 1 else 'are'} older than the code"
        return [f"{said}; --recheck tells whether the code still gives the same."] if old else []

    # -- measuring -----------------------------------------------------------------------------------------------------

    def append(self, one: Measurement, found: Mapping[str, Any]) -> Record:
        """Stores what was found, and returns the line."""
        made = {"claims": [claim.digest for claim in self.claims]} if self.claims else {}
        line = one.line({**found, **made})
        append_line(self.path, line)
        return line

    def measure(self, say: Say, seconds: float = float("inf"), threads: int = 1) -> tuple[int, int]:
        """Measures and stores what is missing. Returns how many failed, and how many are left when `seconds` are over.

        A failure is reported, and measured again next time. With threads > 1, so many are measured at a time; this is for
        measurements in separate processes.
        """
        until, left, failed = time.monotonic() + seconds, self.list_missing(), 0
        say(f"{len(left)} to measure")
        if threads > 1:
            return self._side_by_side(left, until, threads, say)
        for i, one in enumerate(left):
            if time.monotonic() >= until:
                return failed, len(left) - i
            failed += not self._try(one, one.run, say)
        return failed, 0

    def _side_by_side(self, left: list[Measurement], until: float, threads: int, say: Say) -> tuple[int, int]:
        """`measure` in several threads; only the calling thread writes."""
        skipped, failed = 0, 0

        def begin(one: Measurement) -> Mapping[str, Any] | None:
            return one.run() if time.monotonic() < until else None

        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(threads))
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            running: dict[Future[Mapping[str, Any] | None], Measurement] = {pool.submit(begin, one): one for one in left}
            for future in as_completed(running):
                if future.exception() is None and future.result() is None:
                    skipped += 1
                else:
                    failed += not self._try(running[future], partial(_found, future), say)
        return failed, skipped

    def _try(self, one: Measurement, run: Callable[[], Mapping[str, Any]], say: Say) -> bool:
        """Measures and stores one; returns whether it succeeded."""
        begun, title = time.monotonic(), title_of(one)
        try:
            self.append(one, run())
        except Exception as error:  # a measurement may raise anything
            say(f"{title}: failed with {type(error).__name__}: {error}")
            return False
        say(f"{title}: {time.monotonic() - begun:.1f} s")
        return True

    # -- older lines ---------------------------------------------------------------------------------------------------

    def samples(self) -> list[Sample]:
        """For every group, and for each of the older sources that made its stale lines, the first line in the order of
        measurements that can be measured here. A line whose task has a new definition is no sample, since it cannot come out
        the same.
        """
        found: dict[Origin, tuple[Measurement, Record]] = {}
        for name, line in self.list_stale().items():
            one = self.by_name[name]
            if one.is_same_task(line) and self.can_measure(one):
                found.setdefault((one.group, line.get("digest")), (one, line))
        return list(found.values())

    def recheck(self, say: Say, samples: Sequence[Sample] | None = None, run: Callable[[Measurement], Any] | None = None) -> int:
        """Measures samples again. If one comes out the same, all older lines of its group and its sources are current again.

        Returns how many differ; their lines stay older, and `measure` will measure them again.

        samples  by default those of stale lines; run  how a measurement is made, by default `one.run()`
        """
        same: list[Origin] = []
        samples = self.samples() if samples is None else samples
        for one, line in samples:
            found = one.line(one.run() if run is None else run(one))
            changed = differences(self.compare(line), self.compare(found))
            said = f"differs in {', '.join(changed)}" if changed else "the same"
            say(f"{title_of(one)}: {said} ({changed_versions(line, found)})")
            same += [(one.group, line.get("digest"))] * (not changed)
        if adopted := self.adopt(same):
            say(f"{self.path.name}: {quantity(adopted, 'lines')} of older sources count{'s' * (adopted == 1)} again")
        if changed_samples := len(samples) - len(same):
            say(f"{self.path.name}: lines of older sources that differ stay what they are, and will be measured again")
        return changed_samples

    def adopt(self, origins: Collection[Origin]) -> int:
        """Makes the stale lines of these origins current, and returns their number. No line is dropped."""
        stale = self.list_stale()
        lines, count = list(read_lines(self.path)), 0
        for place, line in enumerate(lines):
            one = self.measurement_of(line)
            if one is None or stale.get(one.name) != line or not one.is_same_task(line):
                continue
            if (one.group, line.get("digest")) in origins:
                lines[place] = {"measured_by": line.get("digest", UNKNOWN), **line, "digest": one.digest}
                count += 1
        if count:
            replace_lines(self.path, lines)
        return count

    def prune(self) -> int:
        """Drops all lines that are not current, if each of their measurements has a current one. Returns the number dropped."""
        current, rows, lines = self.current(), list(self.rows()), list(read_lines(self.path))
        old = [line for one, line in rows if not one.is_current(line)]
        if len(rows) < len(lines) or not old or any(one.name not in current for one, _ in rows):
            return 0
        replace_lines(self.path, (line for one, line in rows if one.is_current(line)))
        return len(old)


def _found(future: Future[Mapping[str, Any] | None]) -> Mapping[str, Any]:
    found = future.result()
    assert found is not None
    return found


def title_of(one: Measurement) -> str:
    """A measurement in words: `branin, GP, seed 0`."""
    return ", ".join(str(value) if isinstance(value, str) else f"{name} {value}" for name, value in one.key.items())


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The fields in which two records differ; numbers are compared to the last digit, as they are stored."""
    both = json.loads(json.dumps([then, now]))
    return sorted(name for name in {**then, **now} if both[0].get(name) != both[1].get(name))


def changed_versions(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The versions that changed between two records, in words: `numpy 2.3 then, 2.4 now`."""
    old, new = then.get("versions", {}), now.get("versions", {})
    pairs = {name: (old.get(name), new.get(name)) for name in sorted({**old, **new})}
    return "; ".join(f"{name} {a} then, {b} now" for name, (a, b) in pairs.items() if a != b) or "same versions"
