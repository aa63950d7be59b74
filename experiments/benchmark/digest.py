"""A name for the code that decides what our optimizers propose, so that runs of older code are told apart.

It covers a file and what that imports of SCOPE, and what those import, and so on. It is a function of what the files say
to the interpreter: comments, docstrings and layout do not change it. Left out is what decides no proposal (ASIDE), and
what only carries results about (history, log, protocol): a change there that changes proposals must be followed by
deleting the results of ours.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SCOPE = (
    "surrogates", "hpo.optimizer", "hpo.optimizers.", "hpo.parameters", "hpo.values", "hpo.space", "hpo.constraints", "hpo.rng",
)  # fmt: skip
ASIDE = ("surrogates.plotting", "surrogates.linting")  # pictures and complaints


@cache
def digest(*start: str, alone: tuple[str, ...] = ()) -> str:
    """16 hex digits of some files, given from the root of the repository or absolute, and what they import of SCOPE.

    alone: further files, without what they import.
    """
    total = hashlib.sha256()
    for file in [*closure(*start), *(ROOT / name for name in alone)]:
        total.update(repr([file.name, canonical(parsed(file))]).encode())
    return total.hexdigest()[:16]


def closure(*start: str) -> list[Path]:
    """The files and what they import of SCOPE, directly or not; sorted."""
    found: set[Path] = set()
    waiting = [ROOT / file for file in start]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [other for module in imports(parsed(file)) if (other := path(module)) is not None]
    return sorted(found)


def parsed(file: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    """Names that may be modules: what is imported, and what it is imported from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def path(module: str) -> Path | None:
    """The file of a module in SCOPE; None for any other name."""
    if not _below(module, SCOPE) or _below(module, ASIDE):
        return None
    place = ROOT / module.replace(".", "/")
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()), None)


def _below(module: str, names: tuple[str, ...]) -> bool:
    """Whether a module is one of the names or in one of their packages; a name that ends in a dot is only the package's."""
    return any(module == name or module.startswith(f"{name.rstrip('.')}.") for name in names)


def canonical(node: Any) -> Any:
    """A syntax tree as nested lists, without docstrings and empty fields (which versions of Python add)."""
    if isinstance(node, ast.AST):
        filled = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return [type(node).__name__, *[[name, canonical(value)] for name, value in filled]]
    if isinstance(node, list):
        return [canonical(item) for item in node if not _docstring(item)]
    return repr(node)


def _docstring(node: Any) -> bool:
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant and isinstance(node.value.value, str)
