"""The words of the house: a function is a verb or a noun of the field, and a public name means one thing in a package."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("surrogates", "hpo", "models", "experiments", "papers")

SUFFIXES = ("ed", "en", "ing")
ADVERBS = {
    "about", "above", "across", "afresh", "after", "again", "along", "alone", "already", "apart", "around", "aside", "away",
    "back", "before", "behind", "below", "beside", "besides", "between", "beyond", "deaf", "elsewhere", "everywhere", "further",
    "here", "inside", "later", "next", "now", "off", "once", "out", "over", "still", "then", "there", "together",
    "twice", "under", "until", "up", "within", "without", "yet",
}  # fmt: skip
# Words that end like a participle and are none: verbs in the infinitive, and nouns of the field.
NOUNS = {
    "crowding", "embed", "feed", "finding", "flatten", "given", "golden", "need", "nothing", "offspring", "open", "ranking",
    "seed", "shed", "shorten", "speed", "string", "tighten", "token", "warning",
}  # fmt: skip
EXCEPTIONS: dict[str, str] = {}
PROTOCOLS = {"papers": {"draw", "measure", "measurements"}}  # functions that every paper has


def functions(package: str) -> Iterator[tuple[str, str]]:
    """(module, name) of every public function that stands in a module of a package, and (module.Class, name) of methods."""
    for path in sorted((ROOT / package).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                yield module, node.name
            elif isinstance(node, ast.ClassDef):
                inner = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
                yield from ((f"{module}.{node.name}", one.name) for one in inner if not one.name.startswith("_"))


def is_bare(name: str) -> bool:
    """Whether a name is one word that is a participle or an adverb: settled, written, going, elsewhere."""
    if "_" in name or name in NOUNS:
        return False
    return name in ADVERBS or (name.endswith(SUFFIXES) and len(name) > 4)


def bare_names(package: str) -> list[str]:
    return sorted(f"{place}.{name}" for place, name in functions(package) if is_bare(name) and name not in EXCEPTIONS)


def repeated_names(package: str) -> dict[str, list[str]]:
    """Public functions of modules that stand in two or more modules of one package; methods are protocols' and may."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / package).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name != "main":
                places[node.name].append(module)
    return {
        name: modules
        for name, modules in sorted(places.items())
        if len(modules) > 1 and name not in PROTOCOLS.get(package, ())
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_verbs_or_nouns(package: str) -> None:
    assert bare_names(package) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_public_name_stands_in_one_module(package: str) -> None:
    assert repeated_names(package) == {}


def test_the_exceptions_are_few_and_explained() -> None:
    assert len(EXCEPTIONS) <= 10 and all(EXCEPTIONS.values())


def test_a_bare_participle_is_seen() -> None:
    assert [name for name in ("settled", "written", "going", "elsewhere", "seed", "is_open", "fit", "told") if is_bare(name)] == [
        "settled", "written", "going", "elsewhere",
    ]  # fmt: skip


if __name__ == "__main__":  # python -m tests.test_naming: what is left to do
    for each in PACKAGES:
        print(f"{each}: {len(bare_names(each))} bare", *bare_names(each), sep="\n  ")
        print(f"{each}: {len(repeated_names(each))} repeated", *repeated_names(each).items(), sep="\n  ")
