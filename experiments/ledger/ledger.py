"""The ledger: a file of lines beside the list of all that can be measured.

A line is found again by its measurement's key, and is current if the code that it depends on is what it was. Older lines stay
in the file until they are measured anew, or until one of their group was and came out the same to the last digit: then all
of these count again, with the sources that made them under "measured_by".
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
    """A file and the measurements that it is to hold, in an order in which an interrupted run is of use.

    compare  what of a line must come out the same at a recheck; by default all but versions, machine and what the ledger adds
    claims   what the lines are measured for: their digests are stored with every line
    """

    def __init__(
        self,
        path: Path,
        measurements: Sequence[Measurement],
        compare: Callable[[Mapping[str, Any]], Mapping[str, Any]] = result,
        claims: Sequence[Claim] = (),
    ) -> None:
        self.path, self.measurements, self.compare, self.claims = path, list(measurements), compare, list(claims)

    @classmethod
    def of_file(cls, path: Path, fields: Sequence[str], make: Callable[..., Measurement | None]) -> Ledger:
        """The ledger of what a file has lines of: make(*values) is what lines with these values of the fields are measurements
        of, None if that is listed no longer."""
        keys = dict.fromkeys(tuple(line[name] for name in fields) for line in read_lines(path))
        return cls(path, [one for key in keys if (one := make(*key)) is not None])

    @cached_property
    def by_name(self) -> dict[str, Measurement]:
        """Measurements by name. ValueError if two have one key."""
        found = {one.name: one for one in self.measurements}
        if len(found) < len(self.measurements):
            raise ValueError(f"{len(self.measurements) - len(found)} measurements have the key of another one")
        return found

    @cached_property
    def _fields(self) -> list[tuple[str, ...]]:
        return list(dict.fromkeys(tuple(sorted(one.key)) for one in self.measurements))

    # -- reading -------------------------------------------------------------------------------------------------------

    def measurement_of(self, line: Mapping[str, Any]) -> Measurement | None:
        """What a line is a measurement of; None where that is listed no longer."""
        keys = ({name: line[name] for name in fields} for fields in self._fields if all(name in line for name in fields))
        return next((self.by_name[name] for name in map(name_of, keys) if name in self.by_name), None)

    def rows(self) -> Iterator[tuple[Measurement, Record]]:
        """Every line of something that is listed, in the order of the file."""
        for line in read_lines(self.path):
            if (one := self.measurement_of(line)) is not None:
                yield one, line

    def latest(self) -> dict[str, Record]:
        """Of every measurement the last line that is current, else the last one; by name, in the order of measurements."""
        found: dict[str, Record] = {}
        for one, line in self.rows():
            if one.name not in found or one.is_current(line) or not one.is_current(found[one.name]):
                found[one.name] = line
        return {name: found[name] for name in self.by_name if name in found}

    def current(self) -> dict[str, Record]:
        """Of every measurement that has one the last line that the code as it is now would write."""
        return {name: line for name, line in self.latest().items() if self.by_name[name].is_current(line)}

    def list_stale(self) -> dict[str, Record]:
        """The last lines of measurements that have only older ones."""
        return {name: line for name, line in self.latest().items() if not self.by_name[name].is_current(line)}

    def list_missing(self) -> list[Measurement]:
        """What has no current line."""
        there = self.current()
        return [one for one in self.measurements if one.name not in there]

    def warnings(self) -> list[str]:
        """A sentence where some of what is shown is older than the code; else none."""
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
        """Measures and stores what is missing; how many failed, and how many are left when `seconds` are over.

        One that fails is said, and is measured again next time. With threads > 1 so many at a time: for measurements that
        have a process of their own.
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
        """`measure` in threads; only this one writes."""
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
        """Measures and stores one; whether that went well."""
        begun, title = time.monotonic(), title_of(one)
        try:
            self.append(one, run())
        except Exception as error:  # whatever a measurement runs
            say(f"{title}: failed with {type(error).__name__}: {error}")
            return False
        say(f"{title}: {time.monotonic() - begun:.1f} s")
        return True

    # -- older lines ---------------------------------------------------------------------------------------------------

    def samples(self) -> list[Sample]:
        """Of every group and each of the older sources of its stale lines, the first in the order of measurements.

        A line whose task is defined anew cannot come out the same, and is no sample.
        """
        found: dict[Origin, tuple[Measurement, Record]] = {}
        for name, line in self.list_stale().items():
            one = self.by_name[name]
            if one.is_same_task(line):
                found.setdefault((one.group, line.get("digest")), (one, line))
        return list(found.values())

    def recheck(self, say: Say, samples: Sequence[Sample] | None = None, run: Callable[[Measurement], Any] | None = None) -> int:
        """Measures samples again. Where one comes out the same, the older lines that it speaks for are current again.

        Returns how many differ; their lines stay what they are, and are measured again by `measure`.

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
        """Makes the stale lines of these origins current; how many there are. No line is dropped."""
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
        """Drops the lines that are not current once every measurement of theirs has one that is; how many were dropped."""
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
    """The fields in which two records differ; numbers to the last digit, as they are stored."""
    both = json.loads(json.dumps([then, now]))
    return sorted(name for name in {**then, **now} if both[0].get(name) != both[1].get(name))


def changed_versions(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """`numpy 2.3 then, 2.4 now`, of records that name their versions under "versions"."""
    old, new = then.get("versions", {}), now.get("versions", {})
    pairs = {name: (old.get(name), new.get(name)) for name in sorted({**old, **new})}
    return "; ".join(f"{name} {a} then, {b} now" for name, (a, b) in pairs.items() if a != b) or "same versions"
