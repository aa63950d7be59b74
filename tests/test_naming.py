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
    "about", "above", "across", "afresh", "after", "again", "against", "along", "alone", "already", "always", "apart", "around",
    "aside", "away", "back", "before", "behind", "below", "beside", "besides", "between", "beyond", "deaf", "elsewhere",
    "everywhere", "further", "go", "here", "inside", "later", "next", "now", "off", "once", "out", "outside", "over", "quietly",
    "same", "some", "still", "then", "there", "together", "twice", "under", "until", "up", "within", "without", "yet",
}  # fmt: skip
IRREGULAR = {  # participles that end in no suffix of the above
    "bound", "bought", "brought", "built", "drawn", "done", "felt", "found", "gone", "grown", "heard", "held", "kept", "known",
    "left", "lost", "made", "meant", "met", "paid", "said", "seen", "sent", "shown", "sold", "spent", "stood", "sworn", "taught",
    "thought", "told", "torn", "understood", "unmet", "won", "worn",
}  # fmt: skip
# Verbs in the infinitive, and nouns, that only end like a participle.
WORDS = {
    "breed", "crowding", "embed", "feed", "finding", "flatten", "narrowing", "need", "offspring", "open", "ranking", "seed",
    "shed", "shorten", "speed", "string", "tighten", "token", "warning",
}  # fmt: skip
EXCEPTIONS: dict[str, str] = {
    "nothing": "papers.paper: the rules of stored claims reach it, and a rule's digest must not change after a look",
}
# A function that returns whether something holds has is, has, can or may in front; these verbs do something, and return whether.
ACTIONS = {"check", "draw", "fill", "finish", "lose", "obey", "read", "tell"}
FIELD = {
    "divides": "a constraint of spaces: headers of stored studies name it",
    "shares": "a constraint of spaces: headers of stored studies name it",
    "dominates": "Pareto's own word",
    "fits_memory": "reads as the constraint of a space that it is: partial(fits_memory, room=...)",
    "log_scale": "a flag that whoever writes an acquisition sets, as a parameter's `log` is",
    "several": "a flag likewise",
    "repeats": "a flag that a sampler sets: repeats = False",
    "kernels": "a machine's field, under which calibrations are stored",
}
# Names that an integration has because people know them from the library that it stands in: by module.
FOREIGN = {
    "hpo.integrations.optuna": {"Sampler", "minimize", "prune", "should_prune"},
    "hpo.integrations.transformers": {"register"},
}
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
    if "_" in name or name in WORDS:
        return False
    return name in ADVERBS or name in IRREGULAR or (name.endswith(SUFFIXES) and len(name) > 4)


def bare_names(package: str) -> list[str]:
    return sorted(f"{place}.{name}" for place, name in functions(package) if is_bare(name) and name not in EXCEPTIONS)


def unmarked_predicates(package: str) -> list[str]:
    """Functions and methods that return a bool and whose name does not say so."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) == "bool":
                first = node.name.partition("_")[0]
                module = ".".join(path.relative_to(ROOT).parent.parts)
                known = {*FIELD, *FOREIGN.get(module, ())}
                if first and first not in {"is", "has", "can", "may", *ACTIONS} and node.name not in known:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    return found


def repeated_names(package: str) -> dict[str, list[str]]:
    """Public functions and classes that stand in two or more modules of one package; methods are protocols' and may."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / package).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in FOREIGN.get(module.rpartition(".")[0], ()):
                continue
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and node.name != "main":
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
def test_predicates_say_that_they_are(package: str) -> None:
    assert unmarked_predicates(package) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_public_name_stands_in_one_module(package: str) -> None:
    assert repeated_names(package) == {}


def test_the_exceptions_are_few_and_explained() -> None:
    assert len(EXCEPTIONS) + len(FIELD) <= 10 and all([*EXCEPTIONS.values(), *FIELD.values()])


def test_a_bare_participle_is_seen() -> None:
    seen = ("settled", "written", "going", "elsewhere", "told", "go")
    assert [name for name in (*seen, "seed", "is_open", "fit", "open", "list_kept") if is_bare(name)] == list(seen)


if __name__ == "__main__":  # python -m tests.test_naming: what is left to do
    for each in PACKAGES:
        print(f"{each}: {len(bare_names(each))} bare", *bare_names(each), sep="\n  ")
        print(f"{each}: {len(repeated_names(each))} repeated", *repeated_names(each).items(), sep="\n  ")
