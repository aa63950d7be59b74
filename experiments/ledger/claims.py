"""Claims: a sentence, and a rule that decides by the lines whether it holds.

A claim's digest covers its sentence and its rule. It is stored with every line that is measured for the claim, so that a table
can say if the claim was changed after its lines were measured.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.ledger.digest import digest


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds (None: the lines do not decide it), and the evidence in one sentence."""

    holds: bool | None
    evidence: str

    def __str__(self) -> str:
        return f"{ {True: 'holds', False: 'does not hold', None: 'open'}[self.holds]}: {self.evidence}"


@dataclass(frozen=True)
class Claim:
    """A sentence and its rule: a function made with `def` at the top of a module, from lines to a verdict."""

    sentence: str
    rule: Callable[[Sequence[Mapping[str, Any]]], Verdict]

    @property
    def digest(self) -> str:
        """16 hex digits of the sentence and of the rule, with the constants and functions that it reads."""
        text = repr([self.sentence, digest(source_of(self.rule))])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def judge(self, lines: Sequence[Mapping[str, Any]]) -> list[str]:
        """The claim with its verdict, and a warning where lines were measured before its wording or its rule was changed."""
        if not lines:
            return [f"{self.sentence} -> {Verdict(None, 'nothing is measured yet')}"]
        changed = sum(self.digest not in line["claims"] for line in lines if "claims" in line)
        since = [f"  ({changed} of {len(lines)} lines were measured before this claim was what it is)"] if changed else []
        return [f"{self.sentence} -> {self.rule(lines)}", *since]


def source_of(function: Callable[..., Any]) -> str:
    """A function as a source of digests: "package.module:name", even if its module is the program that runs.

    ValueError for a function that has no name in its module, such as a lambda.
    """
    module, name = function.__module__, function.__qualname__
    if not name.isidentifier():
        raise ValueError(f"the rule {module}.{name} must be a function that is made with def at the top of a module")
    main = sys.modules["__main__"]
    if module == "__main__":
        module = main.__spec__.name if main.__spec__ is not None else Path(str(main.__file__)).stem
    return f"{module}:{name}"
