"""The house rules of the design, read from the sources with ast: who may import whom, no cycles, short files."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# surrogates <- hpo <- experiments, papers -> models
ALLOWED: dict[str, set[str]] = {
    "surrogates": set(),
    "models": set(),
    "hpo": {"surrogates"},
    "experiments": {"surrogates", "models", "hpo"},
    "papers": {"surrogates", "models", "hpo", "experiments"},
}
OURS = {*ALLOWED, "tests"}
TOP = {*OURS, "pyproject.toml", "README.md", "Makefile", "LICENSE", "constraints.txt"}
LEFTOVERS = ("runs", "build", "dist", "*.egg-info", "__pycache__")  # what .gitignore names besides dotfiles
LINES = 400
ARROWS = 23  # between the rooms of experiments; front stands on three, cookbook and finetuning on two, all on the ledger
# No package of ours imports these by itself.
HEAVY = ("torch", "sqlalchemy", "pandas", "matplotlib", "jinja2", "ray", "rich", "starlette", "uvicorn")


def modules(root: Path) -> dict[str, Path]:
    """Every module of ours by its dotted name; a package goes by its own name, not by __init__."""
    found = {}
    for package in ALLOWED:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, package: str) -> Iterator[tuple[str, str]]:
    """(module, name or "") of every import in a module's source: at the top, inside functions, for types only, or by
    import_module with a literal name. `package` is what relative imports start from."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            yield from ((base, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called, name = ast.unparse(node.func), node.args[0].value
            if called in ("import_module", "importlib.import_module", "__import__") and isinstance(name, str):
                yield (package + name if name.startswith(".") else name), ""


def graph(root: Path) -> dict[str, set[str]]:
    """Module -> modules of ours that it imports. `from hpo import space` is hpo.space where that is a module. That
    hpo.space runs hpo/__init__ first is left out: nobody wrote that import, and it would make every package a cycle."""
    known = modules(root)
    edges: dict[str, set[str]] = {}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        edges[name] = set()
        for base, item in imports(path.read_text(encoding="utf-8"), package):
            target = f"{base}.{item}" if f"{base}.{item}" in known else base
            if target.partition(".")[0] in OURS:
                edges[name].add(target)
    return edges


def trespasses(edges: dict[str, set[str]]) -> list[str]:
    def top(name: str) -> str:
        return name.partition(".")[0]

    return [
        f"{name} imports {target}"
        for name, targets in sorted(edges.items())
        for target in sorted(targets)
        if top(target) != top(name) and top(target) not in ALLOWED[top(name)]
    ]


def cycle(edges: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1][::-1]  # in the order of "imports"
    return []


def test_imports_go_one_way() -> None:
    assert trespasses(graph(ROOT)) == []


def test_no_import_cycles() -> None:
    assert " -> ".join(cycle(graph(ROOT))) == ""


def test_files_are_short() -> None:
    sources = [path for package in sorted(OURS) for path in sorted((ROOT / package).rglob("*.py"))]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert {name: lines for name, lines in lengths.items() if lines >= LINES} == {}


def test_experiments_are_at_most_a_third() -> None:
    packages = {"surrogates", "hpo", "models", "experiments"}
    lines = {name: sum(len(path.read_text("utf-8").splitlines()) for path in (ROOT / name).rglob("*.py")) for name in packages}
    assert lines["experiments"] * 3 <= sum(lines.values()), lines


def test_rooms_of_experiments_stand_apart() -> None:
    """Arrows between its folders; the files beside them are one room."""
    edges = graph(ROOT)

    def room(name: str) -> str:
        head = ".".join(name.split(".")[:2])
        return head if (ROOT / head.replace(".", "/")).is_dir() and head != "experiments" else "experiments"

    arrows = {
        (room(name), room(target))
        for name, targets in edges.items()
        for target in targets
        if name.startswith("experiments") and target.startswith("experiments") and room(name) != room(target)
    }
    assert len(arrows) <= ARROWS, sorted(arrows)


def test_nothing_stands_in_hpo_for_experiments_alone() -> None:
    """What is imported only by experiments, papers and tests is theirs; hpo.testing, integrations and entry points are called
    from outside."""
    edges = graph(ROOT)
    called = {target for name, targets in edges.items() if not name.startswith(("experiments", "papers")) for target in targets}
    asked = {name for name, targets in edges.items() if name.startswith(("experiments", "papers")) for name in targets}
    outside = ("hpo.testing", "hpo.integrations")
    lonely = {name for name in asked - called if name.startswith(("hpo.", "surrogates.")) and not name.startswith(outside)}
    assert lonely == set()


def test_top_level_holds_only_what_the_design_names() -> None:
    names = (path.name for path in ROOT.iterdir() if not path.name.startswith("."))
    assert {name for name in names if not any(fnmatch(name, left) for left in LEFTOVERS)} - TOP == set()


@pytest.mark.parametrize("package", ["hpo", "surrogates", "models"])
def test_import_is_light(package: str) -> None:
    """Spawned workers, the command line's --help and every ask start with this import. What asks for pictures, pages or tables
    imports what it needs then."""
    code = f"import sys, {package}; sys.exit(' '.join(name for name in {HEAVY} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# The readers above are themselves tested on a small house that breaks every rule.


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "text",
    [
        "import hpo.space",
        "from hpo import space",
        "def f():\n    from hpo.space import Float",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hpo",
        "import importlib\nimportlib.import_module('hpo.space')",
    ],
)
def test_a_trespass_is_seen(tmp_path: Path, text: str) -> None:
    edges = graph(write(tmp_path, {"models/gpt.py": text, "hpo/__init__.py": "", "hpo/space.py": "import surrogates"}))
    assert len(trespasses(edges)) == 1
    assert trespasses(edges)[0].startswith("models.gpt imports hpo")


@pytest.mark.parametrize("back", ["from .a import f", "from . import a", "import hpo.sub.a", "from ..sub import a"])
def test_a_cycle_is_seen(tmp_path: Path, back: str) -> None:
    files = {"hpo/__init__.py": "from hpo.sub import b", "hpo/sub/__init__.py": "", "hpo/sub/b.py": back}
    forth = write(tmp_path, files | {"hpo/sub/a.py": "import math"})
    assert cycle(graph(forth)) == []
    around = write(tmp_path, {"hpo/sub/a.py": "def f():\n    from hpo.sub.b import g"})
    assert set(cycle(graph(around))) == {"hpo.sub.a", "hpo.sub.b"}


CLOCKS = {"perf_counter", "process_time", "perf_counter_ns", "process_time_ns"}
WAITS = {"wait", "join", "until", "eventually", "communicate"}  # what takes seconds beside `timeout=`
LEAST, MOST = 600.0, 5.0  # seconds that only end a test which would hang; seconds of which a test is about the waiting itself


def judged_by_a_clock(tree: ast.AST) -> list[int]:
    """Lines on which a test reads a clock of performance, or gives up after a time that a busy machine may take."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [word.value for word in node.keywords if word.arg == "timeout"]
        given += node.args[-1:] if name in WAITS else []
        seconds = [one.value for one in given if isinstance(one, ast.Constant) and type(one.value) in (int, float)]
        if name in CLOCKS or any(MOST < value < LEAST for value in seconds):
            found.append(node.lineno)
    return found


def test_no_test_is_judged_by_a_clock() -> None:
    """At load 20 everything takes twenty times as long, and is as right as before."""
    files = [path for path in (ROOT / "tests").rglob("*.py")]
    found = {path.name: judged_by_a_clock(ast.parse(path.read_text())) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert judged_by_a_clock(ast.parse("pool.wait(60.0)\nrun(x, timeout=100)\nuntil(f, 10.0)\nperf_counter()")) == [1, 2, 3, 4]
