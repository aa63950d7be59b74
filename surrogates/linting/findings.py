"""What a check found, what all of them found, and checks that cannot crash what they check."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np

from surrogates.domain import Array, Mask

T = TypeVar("T")
Verdict = Literal["pass", "note", "fail", "skip"]
Measured = tuple[Verdict, str]
WIDTH = 110
STEEP = 1e-6  # the slope at which the maximiser stops (gtol in maximizer.py)


@dataclass(frozen=True)
class Finding:
    """One check.

    name      what was checked
    verdict   "pass"; "note": legal, but know it; "fail"; "skip": does not apply, or cannot be measured
    measured  what was seen
    remedy    a sentence about what to do; empty unless there is a note or a failure
    """

    name: str
    verdict: Verdict
    measured: str
    remedy: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it did not fail."""
        return self.verdict != "fail"


@dataclass(frozen=True)
class Report:
    """All findings about one acquisition; prints as a table, `report["far from data"]` is one of them."""

    subject: str
    kind: str
    findings: tuple[Finding, ...]

    @property
    def is_ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.is_ok for finding in self.findings)

    def names_with(self, verdict: Verdict) -> list[str]:
        """The names of the checks with this verdict."""
        return [finding.name for finding in self.findings if finding.verdict == verdict]

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"there is no finding {name!r}; allowed are {[finding.name for finding in self.findings]}")

    def __str__(self) -> str:
        width = max(len(finding.name) for finding in self.findings)
        lines = [f"{self.subject}: {self.kind}", ""]
        for finding in self.findings:
            mark = "FAIL" if finding.verdict == "fail" else finding.verdict
            lines += _wrapped(finding.measured, f"{mark}  {finding.name:<{width}}  ", 8 + width)
            lines += _wrapped(finding.remedy, f"{'->':>{7 + width}} ", 8 + width) if finding.remedy else []
        return "\n".join([*lines, "", self.summary])

    @property
    def summary(self) -> str:
        """The last line."""
        counts = {verdict: len(self.names_with(verdict)) for verdict in ("pass", "note", "fail", "skip")}
        words = {"pass": "passed", "note": "noted", "fail": "failed", "skip": "skipped"}
        return ", ".join(f"{count} {words[verdict]}" for verdict, count in counts.items() if count)


def _wrapped(text: str, first: str, indent: int) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * indent) or [first.rstrip()]


@dataclass(frozen=True)
class Check(Generic[T]):
    """One question to a subject.

    measure  the subject -> a verdict and what was seen; what it raises is a failure
    gate     whether nothing after it can be measured where it fails
    """

    name: str
    measure: Callable[[T], Measured]
    remedy: str
    gate: bool = False

    def __call__(self, subject: T) -> Finding:
        """Asks, without numpy's warnings: the checks look for the same problems."""
        try:
            with np.errstate(all="ignore"):
                verdict, measured = self.measure(subject)
        except Exception as error:  # an acquisition is anybody's code
            text = " ".join(str(error).split())
            verdict, measured = "fail", f"raised {type(error).__name__}: {text}"
        return Finding(self.name, verdict, measured, self.remedy if verdict in ("note", "fail") else "")


def ask(checks: Sequence[Check[T]], subject: T) -> list[Finding]:
    """All of them in order; those behind a gate that failed are skipped."""
    found: list[Finding] = []
    closed = ""
    for check in checks:
        if closed:
            found.append(Finding(check.name, "skip", f"cannot be measured before {closed!r} passes"))
            continue
        found.append(check(subject))
        closed = check.name if check.gate and not found[-1].is_ok else ""
    return found


# --- what checks share ------------------------------------------------------------------------------------------------


def fail_if(wrong: str, right: str) -> Measured:
    """A failure that says what is wrong, or a pass that says what was looked at."""
    return ("fail", wrong) if wrong else ("pass", right)


def two_digits(values: Iterable[float]) -> str:
    """Numbers in two digits."""
    return ", ".join(f"{value:.2g}" for value in values)


def count_nan(values: Array, where: Callable[[int], str] = lambda i: "", what: str = "") -> Measured:
    """A failure where scores are not float64 or NaN. where: the place of the i-th in words; what: a noun after their number."""
    if values.dtype != np.float64:
        return "fail", f"scores are of type {values.dtype}"
    bad = np.flatnonzero(np.isnan(values))
    wrong = f"{len(bad)} of {len(values)} scores are NaN{where(int(bad[0]))}" if len(bad) else ""
    return fail_if(wrong, f"float64, and none of {len(values)}{what} is NaN")


def compare_ways(ways: Mapping[str, tuple[Array, Array]], tolerance: float, what: str) -> Measured:
    """A failure where scores differ by the way in which they were asked: {"in another order": (wanted, got)}."""
    wrong = [way for way, (before, after) in ways.items() if not close(after, before, tolerance).all()]
    every = list(ways)
    right = f"scores are the same {', '.join(every[:-1])} and {every[-1]}"
    return fail_if(f"scores change when {what} come {' and '.join(wrong)}" if wrong else "", right)


def judge_orders(changes: Mapping[str, str], verdict: Verdict, right: str) -> Measured:
    """The verdict where an order of points has changed: {"times 8": how, or nothing}; else a pass."""
    said = "; ".join(f"{how}: {change}" for how, change in changes.items() if change)
    return (verdict, said) if said else ("pass", right)


def spread(values: Array) -> float:
    """The range of what is finite."""
    finite = values[np.isfinite(values)]
    return float(np.ptp(finite)) if len(finite) else 0.0


def close(got: Array, wanted: Array, tolerance: float = 1e-4) -> Mask:
    """Where two arrays agree, relative to the one that is right, and to a thousandth of the largest in it."""
    largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    near = np.abs(got - wanted) <= tolerance * (np.abs(wanted) + 1e-3 * largest)
    return np.asarray(near | (got == wanted) | (np.isnan(got) & np.isnan(wanted)))


def order(before: Array, after: Array, tolerance: float) -> str:
    """How differently two scores (m,) order the same points; empty where they do not. Near ties have no order."""
    first, second = (values[:, None] - values for values in (before, after))  # infinite minus infinite orders nothing
    first = np.where(np.abs(first) > tolerance * spread(before), np.sign(first), 0.0)
    second = np.where(np.abs(second) > tolerance * spread(after), np.sign(second), 0.0)
    turned = int((first * second < 0).sum()) // 2
    if not turned:
        return ""
    other = "" if before.argmax() == after.argmax() else ", and another point is best"
    return f"{turned} of {len(before) * (len(before) - 1) // 2} pairs of points change their order{other}"
