"""A digest of the code that a result depends on: of the definitions named as sources, and of every definition that they use.

A source is "package.module:name" (a function, class or constant), "package.module" (all that the module defines) or
"package.module:TABLE[row]". From there every name that a definition mentions is followed to its own definition. Imports through
the `__init__` of a package are followed as well, but the `__init__` itself does not count. So code that no source uses can be
added, changed or moved without changing the digest. Comments, docstrings, layout, and the module in which a definition stands,
do not change it either.

In a table that lists everything of a kind, only the rows count that sources name; all of them if no row is named. Code that is
not ours counts by the name under which it is imported. Definitions that are reached by text alone (getattr, an object that comes
from elsewhere) are not followed: sources must name them. A test runs studies and checks that no other code of ours is executed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from experiments.ledger.syntax import bound_names, canonical, chains, imports, is_docstring, is_main, table_rows

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("surrogates", "hpo", "models", "experiments", "papers")
# These packages cannot change what is measured: logs lose nothing, by their laws, and analysis only makes pictures and reports.
ASIDE, READ = ("hpo.logs", "hpo.analysis"), ("hpo.logs.base", "hpo.logs.checks", "hpo.logs.memory")
LOOSE = ":"  # instead of a name: the statements of a module that define nothing
Place = tuple[str, str]  # module, name that it defines


@dataclass(frozen=True)
class Module:
    """A file: the statements that define each of its names, what it imports, and the statements that define nothing."""

    path: Path
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # name here -> (module, name there or "")
    loose: list[ast.stmt] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, package: str) -> Module:
        """The module of a file; its relative imports start from `package`."""
        module = cls(path)
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            names = list(bound_names(statement))
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                module.imported.update(imports(statement, package))
            for name in names:
                module.defined.setdefault(name, []).append(statement)
            if not (names or isinstance(statement, ast.Import | ast.ImportFrom) or is_docstring(statement) or is_main(statement)):
                module.loose.append(statement)
        return module


class Sources:
    """The code below a folder, each file read once."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        self._reads: dict[ast.AST, list[tuple[str, Place | None]]] = {}
        self._texts: dict[tuple[Place, tuple[ast.AST, ...]], tuple[str, str]] = {}

    def module(self, name: str, anybody: bool = False) -> Module | None:
        """A module of ours, or with `anybody` any module; None if there is no such file."""
        if name not in self.modules:
            path = self.path(name) if name.partition(".")[0] in OURS else file_of_module(name) if anybody else None
            if path is None:
                return None
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            try:
                self.modules[name] = Module.read(path, package)
            except SyntaxError as error:
                raise ValueError(f"{str(path)!r} cannot be read: {error}") from None
        return self.modules[name]

    def path(self, name: str) -> Path | None:
        """The file of a module of ours."""
        place = self.root / name.replace(".", "/")
        return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()), None)

    def resolve(self, module: str, name: str) -> Place | None:
        """Where a name of a module is defined: (module, name), or (module, "") for a module. None for code that is not ours."""
        found = self.module(module)
        if found is None:
            return None
        if name in found.imported and name not in found.defined and found.imported[name] != (module, name):
            base, attribute = found.imported[name]
            return self.resolve(base, attribute) if attribute else ((base, "") if self.module(base) else None)
        if name in found.defined:
            return module, name
        return (f"{module}.{name}", "") if self.module(f"{module}.{name}") else (module, "")

    # -- names that a definition reads ---------------------------------------------------------------------------------

    def reads(self, module: str, tree: ast.AST) -> list[tuple[str, Place | None]]:
        """(text, place) of every name that a definition mentions and that is defined elsewhere."""
        if tree not in self._reads:
            self._reads[tree] = list(self._read(module, tree))
        return self._reads[tree]

    def _read(self, module: str, tree: ast.AST) -> Iterator[tuple[str, Place | None]]:
        here = self.module(module)
        assert here is not None
        package = module if here.path.name == "__init__.py" else module.rpartition(".")[0]
        inner = dict(imports(tree, package))  # imports within a function
        for first, *rest in chains(tree):
            if first in here.defined and first not in inner:
                yield first, (module, first)
            elif first in inner or first in here.imported:
                yield from self._follow(".".join([first, *rest]), *(inner.get(first) or here.imported[first]), rest)

    def _follow(self, text: str, base: str, name: str, rest: list[str]) -> Iterator[tuple[str, Place | None]]:
        """Follows a name through modules, attribute by attribute: `linalg.factor`, `surrogates.linalg.factor`."""
        place = self.resolve(base, name) if name else ((base, "") if self.module(base) else None)
        while place is not None and place[1] == "" and rest:
            place, rest = self.resolve(place[0], rest[0]), rest[1:]
        outside = f"{text}={base}:{name}" if place is None else text
        yield outside, place

    # -- definitions that sources reach --------------------------------------------------------------------------------

    def reach(self, *sources: str) -> dict[Place, list[ast.AST]]:
        """Every definition that sources name or use, with its statements; of a table only the rows that are named."""
        rows: dict[Place, set[str]] = {}
        waiting = [place for source in sources for place in self._starts(source, rows)]
        found: dict[Place, list[ast.AST]] = {}
        while waiting:
            place = waiting.pop()
            if place in found:
                continue
            trees = found[place] = self._trees(place, rows)
            every = [other for tree in trees for _, other in self.reads(place[0], tree) if other is not None]
            waiting += [other for other in every if not is_aside(other[0])]
            if place[1]:
                waiting.append((place[0], LOOSE))
        return found

    def _starts(self, source: str, rows: dict[Place, set[str]]) -> Iterator[Place]:
        """The place that a source names. ValueError if nothing is there."""
        text, _, row = source.partition("[")
        module, _, name = text.rpartition(":") if ":" in text else (text, "", "")
        if self.module(module, anybody=True) is None:
            raise ValueError(f"{source!r} stands in no file of Python's that can be found")
        place = self.resolve(module, name) if name else (module, "")
        if place is None or (name and not place[1]):
            raise ValueError(f"{source!r}: {module} does not define {name}")
        if row:
            rows.setdefault(place, set()).add(row.removesuffix("]").strip("'\""))
            self._rows(place, rows[place])
        yield place

    def _trees(self, place: Place, rows: dict[Place, set[str]]) -> list[ast.AST]:
        module = self.module(place[0])
        assert module is not None
        if place in rows:
            return self._rows(place, rows[place])
        if place[1] == LOOSE:
            return list(module.loose)
        if place[1]:
            return list(module.defined[place[1]])
        whole: list[ast.AST] = [statement for statements in module.defined.values() for statement in statements]
        return [*whole, *module.loose]

    def _rows(self, place: Place, chosen: set[str]) -> list[ast.AST]:
        """The rows of a table, key and value. ValueError if one is not there."""
        module = self.module(place[0])
        assert module is not None
        pairs: dict[str, list[ast.AST]] = {}
        for statement in module.defined[place[1]]:
            for key, value in table_rows(statement):
                pairs.setdefault(str(key.value), []).extend([key, value])
        if unknown := sorted(chosen - {*pairs}):
            raise ValueError(f"{place[0]}:{place[1]} has no row {unknown[0]!r}; there are {', '.join(pairs)}")
        return [tree for key in sorted(chosen) for tree in pairs[key]]

    def digest(self, *sources: str) -> str:
        """16 hex digits of all definitions that sources reach, and of the definition to which each of their names leads."""
        found = self.reach(*sources)
        texts = {place: self._text(place, trees) for place, trees in found.items()}
        total = []
        for place, trees in found.items():
            names = {name for tree in trees for name in self.reads(place[0], tree)}
            read = {(text, texts[other][1] if other in texts else "") for text, other in names}
            if trees:
                total.append(repr([texts[place][0], sorted(read)]))
        return hashlib.sha256("\n".join(sorted(total)).encode()).hexdigest()[:16]

    def _text(self, place: Place, trees: list[ast.AST]) -> tuple[str, str]:
        """A definition in the form that counts, and its digest; made once, because most digests reach the same definitions."""
        if (key := (place, tuple(trees))) not in self._texts:
            text = repr([place[1], canonical(trees)])
            self._texts[key] = text, hashlib.sha256(text.encode()).hexdigest()
        return self._texts[key]


def is_aside(module: str) -> bool:
    """Whether a module is left out because it cannot change what is measured."""
    return module not in READ and any(module == name or module.startswith(f"{name}.") for name in ASIDE)


@cache
def digest(*sources: str) -> str:
    """16 hex digits of the code that sources name, and of all code that it uses. ValueError for a source that is not there."""
    return _here().digest(*sources)


@cache
def _here() -> Sources:
    return Sources()


def file_of_module(module: str) -> Path | None:
    """The file of any module, as an import would find it, or the file itself for a path that ends with .py."""
    if module.endswith(".py"):
        return Path(module) if Path(module).is_file() else None
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found is not None and found.origin and found.origin.endswith(".py") else None
