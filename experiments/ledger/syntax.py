"""Reads syntax trees: names that a statement defines, imports or mentions; and a form without docstrings and layout."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any


def bound_names(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a module defines, without imports; `TABLE[key] = value` defines TABLE."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (name for target in statement.targets for name in roots(target))
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        yield from roots(statement.target)
    elif isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While) and not is_main(statement):
        inner = (node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt | ast.ExceptHandler))
        for node in inner:
            body = (each for each in getattr(node, "body", [node]) if isinstance(each, ast.stmt))
            yield from (name for each in body for name in bound_names(each))


def roots(target: ast.expr) -> Iterator[str]:
    """The names at the root of an assignment's target: of `a`, `b.c`, `d[0]` and `(e, *f)`."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        yield from roots(target.value)
    elif isinstance(target, ast.Tuple | ast.List):
        yield from (name for item in target.elts for name in roots(item))


def table_rows(statement: ast.AST) -> Iterator[tuple[ast.Constant, ast.expr]]:
    """(key, value) of each row that a statement gives to a table: `{"key": value}`, `TABLE["key"] = value`."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Dict):
            yield from ((k, v) for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant))
        elif isinstance(node, ast.Assign):
            added = (target.slice for target in node.targets if isinstance(target, ast.Subscript))
            yield from ((key, node.value) for key in added if isinstance(key, ast.Constant))


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """(name here, (module, name there)) of every import in a tree; name there is "" for a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                here = alias.asname or alias.name.partition(".")[0]
                yield here, (alias.name if alias.asname else here, "")
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            yield from ((alias.asname or alias.name, (base, alias.name)) for alias in node.names)


def chains(tree: ast.AST) -> set[tuple[str, ...]]:
    """The names in a tree, each with the attributes that follow it: ("linalg", "factor", "T")."""
    found: set[tuple[str, ...]] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if chain := _chain(node):
            found.add(chain)
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def _chain(node: ast.AST) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (before := _chain(node.value)):
        return *before, node.attr
    return ()


def canonical(node: Any) -> Any:
    """A syntax tree as nested lists, without docstrings and without empty fields (newer versions of Python add some)."""
    if isinstance(node, ast.AST):
        filled = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return [type(node).__name__, *[[name, canonical(value)] for name, value in filled]]
    if isinstance(node, list):
        return [canonical(item) for item in node if not is_docstring(item)]
    return repr(node)


def is_docstring(node: Any) -> bool:
    """Whether a statement is only a text."""
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant and isinstance(node.value.value, str)


def is_main(statement: ast.AST) -> bool:
    """Whether a statement is `if __name__ == "__main__"`: modules that import the file never execute it."""
    return isinstance(statement, ast.If) and "__name__" in {chain[0] for chain in chains(statement.test)}
