"""What is claimed, what is stored, and how it is shown."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import surrogates

RESULTS = Path(__file__).parents[1] / "results" / "exactness.json"
CLAIMS = {"posterior": 1e-8, "gradients": 1e-6, "tails": 5e-12}  # the largest error; fuzz: no failure and no warning
MEASURED_WITH = ("numpy", "scipy", "torch", "gpytorch", "mpmath")

Results = Mapping[str, Any]


def versions() -> dict[str, str]:
    """Of everything that a result depends on; of surrogates the first digits of the hash of its sources."""
    found = {name: version(name) for name in MEASURED_WITH}
    return {"python": platform.python_version(), **found, "surrogates": sources()}


def sources() -> str:
    """The hash of surrogates: of names and texts, in order."""
    root, digest = Path(surrogates.__file__).parent, sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n{path.read_text(encoding='utf-8')}".encode())
    return digest.hexdigest()[:12]


def write(results: Results) -> None:
    """To RESULTS."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def read() -> dict[str, Any]:
    """From RESULTS."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def broken(results: Results) -> list[str]:
    """A sentence for every claim that does not hold; [] when all do."""
    found = [f"{part}: {name} is {entry['error']:.1e} off at {entry['where']}, and {claim:g} was claimed"
             for part, claim in CLAIMS.items() for name, entry in results[part]["errors"].items()
             if not entry["error"] <= claim]
    found += [f"fuzz: case {number} failed: {said}" for number, said in results["fuzz"]["failures"].items()]
    return found + [f"fuzz: {count} warnings: {text}" for text, count in results["fuzz"]["warnings"].items()]


def table(results: Results) -> str:
    """All results in Markdown."""
    lines = ["| what | largest error | claim | where |", "|---|---|---|---|"]
    for part, claim in CLAIMS.items():
        lines += [f"| {part}: {name} | {entry['error']:.1e} | {claim:g} | {entry['where']} |"
                  for name, entry in results[part]["errors"].items()]
    fuzz, orders = results["fuzz"], results["tails"]["orders"]
    lines += ["", ", ".join(f"{part}: {results[part]['problems']:,} problems" for part in CLAIMS) + ".",
              f"EI over {orders['EI']:,} orders of magnitude, log EI over {orders['log EI']:,}.",
              f"fuzz: {fuzz['cases']:,} cases, {len(fuzz['failures'])} failures, {sum(fuzz['warnings'].values())} warnings;"
              f" {1e3 * fuzz['seconds a case']:.0f} ms a case, at most {fuzz['slowest']['seconds']:.1f} s"
              f" (case {fuzz['slowest']['number']}).",
              "of these: " + ", ".join(f"{name} {count:,}" for name, count in fuzz["what"].items()) + ".",
              "made by " + ", ".join(f"{name} {value}" for name, value in results["versions"].items())
              + " (other sources of surrogates than these)" * (results["versions"]["surrogates"] != sources())
              + "; processor seconds: " + ", ".join(f"{part} {value:.0f}" for part, value in results["seconds"].items()) + "."]
    return "\n".join([*lines, *(f"NOT MET: {sentence}" for sentence in broken(results))])
