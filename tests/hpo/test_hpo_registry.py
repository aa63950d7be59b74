"""Classes by text and optimizers by a name of one's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import GP, OPTIMIZERS, Optimizer, Random, Sampler, Scheduler, make, minimize, register
from hpo.registry import resolve
from hpo.testing.spaces import plane, quadratic

MINE = """
from dataclasses import dataclass

from hpo import Random

NUMBER = 3


@dataclass(eq=False)
class Mine(Random):
    width: int = 3


class Other:
    pass
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of somebody else's in the current folder, forgotten afterwards."""
    (tmp_path / "mine_of_a_test.py").write_text(MINE)
    (tmp_path / "raises_in_a_test.py").write_text("1 / 0")
    (tmp_path / "lacks_in_a_test.py").write_text("import no_such_module_at_all")
    (tmp_path / "json.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "mine_of_a_test.py"
    for name in ("mine_of_a_test", "raises_in_a_test", "lacks_in_a_test"):
        sys.modules.pop(name, None)


def test_a_class_by_its_module() -> None:
    assert resolve("hpo.optimizers.random:Random", Sampler) is Random
    assert resolve("hpo:GP", Optimizer) is GP


def test_a_file_is_one_module_however_it_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve("./mine_of_a_test.py:Mine", Sampler)
    assert found is resolve(f"{file}:Mine", Sampler) and found.__module__ == "mine_of_a_test"
    monkeypatch.syspath_prepend(str(file.parent))
    assert found is resolve("mine_of_a_test:Mine", Sampler)


REFUSED: list[tuple[str, type, type[Exception], str]] = [
    ("Random", Sampler, ValueError, r"'Random' names no class; allowed are 'package.module:Class' and './file.py:Class'"),
    ("hpo:", Sampler, ValueError, "'hpo:' names no class"),
    ("hpo.nowhere:Random", Sampler, ValueError, "there is no module 'hpo.nowhere' to import; a file is named by './nowhere.py'"),
    ("hpo.optimizers.random:Rondom", Sampler, ValueError, r"has no class 'Rondom'; its classes are \['Random', 'Started'\]"),
    ("hpo:Random", Scheduler, TypeError, "'hpo:Random' is no Scheduler; its bases are"),
    ("./nowhere.py:Mine", Sampler, ValueError, "there is no file '.*nowhere.py'"),
    ("./mine_of_a_test.py:NUMBER", Sampler, TypeError, "is 3; allowed is a class"),
    ("./mine_of_a_test.py:Other", Sampler, TypeError, r"is no Sampler; Other has no sample\(history, trial\)"),
    ("./mine_of_a_test.py:Other", Optimizer, TypeError, r"is no Optimizer; Other has neither propose\(history\) nor sample\(h"),
    ("./raises_in_a_test.py:Mine", Sampler, ValueError, "raises_in_a_test.py' failed: ZeroDivisionError: division by zero"),
    ("./lacks_in_a_test.py:Mine", Sampler, ValueError, "failed: ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    ("./json.py:Mine", Sampler, ValueError, "would be the module 'json', which is another's or no name; rename the file"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_names_no_such_class_is_refused_in_a_sentence(case: int, file: Path) -> None:
    text, base, error, sentence = REFUSED[case]
    with pytest.raises(error, match=sentence):
        resolve(text, base)


def test_make_takes_a_class_by_its_text(file: Path) -> None:
    made: Any = make("./mine_of_a_test.py:Mine", plane(), seed=3, width=7)
    assert (type(made).__name__, made.width, made.seed) == ("Mine", 7, 3)
    over: Any = make("asha", plane(), sampler="./mine_of_a_test.py:Mine", max_resource=9)
    assert type(over.sampler) is type(made)
    with pytest.raises(ValueError, match=r"has no option 'depth'; allowed are \['space', 'seed', 'replace', 'width'\]"):
        make("./mine_of_a_test.py:Mine", plane(), depth=7)


@pytest.fixture
def mine(file: Path, monkeypatch: pytest.MonkeyPatch) -> type[Optimizer]:
    monkeypatch.setitem(OPTIMIZERS, "mine", Random)
    del OPTIMIZERS["mine"]  # the test enters it, and it goes with the test
    return resolve("./mine_of_a_test.py:Mine", Optimizer)


def test_a_registered_name_is_found_everywhere(mine: type[Optimizer]) -> None:
    register("mine", mine)
    register("mine", mine)
    assert type(make("mine", plane())) is mine
    study = minimize(lambda config: quadratic(config, 1), plane(), "mine", 3, quiet=True)
    assert type(study.optimizer) is mine and len(study.history.results) == 3
    assert hpo.OPTIMIZERS["mine"] is mine


def test_a_name_that_is_taken_is_refused(mine: type[Optimizer]) -> None:
    with pytest.raises(ValueError, match=r"the name 'gp' belongs to hpo.optimizers.gp.sampler.GP; choose another one"):
        register("gp", mine)
    assert OPTIMIZERS["gp"] is GP


def test_a_class_that_was_defined_anew_replaces_its_former_self(mine: type[Optimizer]) -> None:
    register("mine", mine)
    again = type("Mine", (Random,), {"__module__": mine.__module__, "__qualname__": mine.__qualname__})
    register("mine", again)
    assert OPTIMIZERS["mine"] is again


@pytest.mark.parametrize("name", ["", "mine:2", "asha(mine)", "2", 3])
def test_a_name_that_cannot_be_typed_is_refused(name: Any, mine: type[Optimizer]) -> None:
    with pytest.raises(ValueError, match="allowed are letters, digits"):
        register(name, mine)


@pytest.mark.parametrize("cls", [dict, "gp", None])
def test_what_is_no_optimizer_is_refused(cls: Any) -> None:
    with pytest.raises(TypeError, match="register takes a class such as GP"):
        register("mine", cls)
    assert "mine" not in OPTIMIZERS
