"""Whether claims are older than the lines that judge them, by the history of a repository."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]


def ask_git(root: Path, *arguments: str) -> str:
    """What git says in a folder; nothing where there is no git, or where it fails."""
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def why_unknown(root: Path) -> str | None:
    """Why a folder's history cannot be read, or None: there is none, it is another project's, or it is shallow."""
    top = ask_git(root, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != root.resolve():
        return "no git repository of this project"
    return "a shallow clone" if ask_git(root, "rev-parse", "--is-shallow-repository") != "false" else None


def read_at(root: Path, commit: str, path: str) -> list[Line]:
    """The lines of a file in a commit; none where it was not there."""
    return [json.loads(line) for line in ask_git(root, "show", f"{commit}:{path}").splitlines()]


def commits_with(root: Path, text: str, path: str) -> list[str]:
    """The commits that added or removed a text in a file, oldest first."""
    return ask_git(root, "log", "--reverse", "--format=%H", "-S", text, "--", path).split()


def late_claims(root: Path, folder: str, digests: Mapping[str, Callable[[Sequence[Line]], Sequence[Line]]]) -> list[str]:
    """A sentence for each claim whose first line is not younger than the claim.

    digests  of each claim, what selects the lines that judge it
    """
    found = []
    claims, results = f"{folder}/claims.jsonl", f"{folder}/results.jsonl"
    for digest, select in digests.items():
        stated, measured = commits_with(root, digest, claims), commits_with(root, digest, results)
        if not stated:
            found.append(f"{digest} stands in no commit of {claims}")
        elif seen := len(select(read_at(root, stated[0], results))):
            found.append(f"{seen} lines that judge {digest} stood in {results} when it was committed")
        elif measured and ask_git(root, "merge-base", stated[0], measured[0]) != stated[0]:
            found.append(f"{digest} was committed after its first line")
    return found
