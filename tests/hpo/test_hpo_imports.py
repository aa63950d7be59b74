"""What importing hpo and surrogates loads, and that every public name is found where it is asked for."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import hpo
import surrogates

ROOT = Path(__file__).resolve().parents[2]
LATE = ("scipy", "sqlalchemy", "hpo.optimizers", "hpo.study", "surrogates.gp")


def names_for_types(package: ModuleType) -> dict[str, set[str]]:
    """Module -> the names that a package imports from it for type checkers alone."""
    assert package.__file__ is not None
    (block,) = (one for one in ast.parse(Path(package.__file__).read_text(encoding="utf-8")).body
                if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING")  # fmt: skip
    found: dict[str, set[str]] = {}
    for one in block.body:
        assert isinstance(one, ast.ImportFrom) and one.module is not None
        found.setdefault(one.module, set()).update(alias.name for alias in one.names)
    return found


@pytest.mark.parametrize("package", [hpo, surrogates], ids=lambda package: package.__name__)
def test_what_types_see_is_what_is_found(package: ModuleType) -> None:
    places = {module: {*names.split()} for module, names in package.PLACES.items()}
    assert places == names_for_types(package)
    assert {name for names in places.values() for name in names} == {*package.__all__} <= {*dir(package)}
    for module, names in places.items():
        assert all(getattr(package, name) is getattr(import_module(module), name) for name in names), module


@pytest.mark.parametrize(
    "code",
    ["import hpo.executors.worker", "from hpo.logs import open_log",
     "from hpo import Float, Space\nSpace(x=Float(0, 1)).domain.keys([[0.5]])"],
)  # fmt: skip
def test_workers_spaces_and_logs_load_no_scipy_and_no_optimizer(code: str) -> None:
    """A worker starts in a fifth of a second of CPU time; everything together would take three times as long."""
    code = f"{code}\nimport sys; sys.exit(' '.join(name for name in {LATE} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_functions_stay_functions_where_their_modules_are_imported_first() -> None:
    code = "import hpo.run, hpo.load, sys; sys.exit(not (callable(hpo.run) and callable(hpo.load)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_modules_are_found_and_nothing_else() -> None:
    code = "import hpo; assert callable(hpo.logs.list_studies) and hpo.stopping.Turn\nimport surrogates; surrogates.fitting.fit"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    for package in (hpo, surrogates):
        with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
            _ = package.nothing
