"""Digests by use: what changes them, what does not, and that nothing is executed that they do not cover."""

import shutil
import sys
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from experiments import mup, rungs
from experiments.benchmark.methods import METHODS, find
from experiments.benchmark.study import run_study
from experiments.benchmark.tasks import TASKS
from experiments.curves import __main__ as curves
from experiments.ledger import Measurement
from experiments.ledger.digest import OURS, ROOT, Sources, digest
from papers.paper import find_paper

OWN = ["random", "GP", "GP(kernel='rbf', samples=3)", "GP(acquisition='thompson', warp=True)", "GP(acquisition='kg')"]

HERE = Sources()  # reads each file of the checkout once
MADE = ("<module>", "<lambda>", "<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "__create_fn__")  # the last by dataclasses


def write(root: Path, files: dict[str, str]) -> Sources:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Sources(root)


HOUSE = {
    "hpo/__init__.py": "from hpo.work import double\nfrom hpo import tools\n",
    "hpo/work.py": (
        "import numpy as np\nfrom hpo import tools\nfrom hpo.table import TABLE\nFACTOR = 2\n\n\n"
        "def double(x, how):\n    return tools.scale(np.abs(TABLE[how](x)), FACTOR)\n\n\ndef unused():\n    return 1\n"
    ),
    "hpo/tools.py": "def scale(x, by):\n    return x * by\n\n\ndef other(x):\n    return x\n",
    "hpo/rows.py": "def one(x):\n    return x + 1\n\n\ndef two(x):\n    return x + 2\n",
    "hpo/table.py": "from hpo.rows import one, two\n\nTABLE = {'one': one, 'two': two}\n",
    "experiments/toy.py": "from hpo import double\n\n\ndef measure():\n    return double(3, 'one')\n",
}
TOY = ("experiments.toy:measure", "hpo.table:TABLE[one]")


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return write(tmp_path, HOUSE).digest(*TOY)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("hpo/work.py", "return 1", "return 2"),
        ("hpo/work.py", "def double(x, how):\n", 'def double(x, how):  # a comment\n    """What it does."""\n'),
        ("hpo/tools.py", "return x\n", "return -x\n"),
        ("hpo/rows.py", "x + 2", "x + 3"),
        ("hpo/table.py", "'two': two}", "'two': two, 'three': abs}"),
        ("hpo/__init__.py", "from hpo import tools", "from hpo import rows, tools"),
        ("experiments/toy.py", "def measure", "if __name__ == '__main__':\n    print()\n\n\ndef measure"),
    ],
)
def test_what_is_not_used_changes_no_digest(file: str, before: str, after: str, toy: str, tmp_path: Path) -> None:
    assert before in HOUSE[file]
    assert write(tmp_path, {file: HOUSE[file].replace(before, after)}).digest(*TOY) == toy


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("hpo/work.py", "FACTOR = 2", "FACTOR = 3"),
        ("hpo/work.py", "import numpy as np", "import cupy as np"),
        ("hpo/tools.py", "x * by", "x / by"),
        ("hpo/rows.py", "x + 1", "x + 3"),
        ("hpo/table.py", "'one': one", "'one': two"),
        ("hpo/table.py", "\nTABLE", "\nprint()\nTABLE"),
        ("hpo/__init__.py", "from hpo.work import double", "from hpo.work import unused as double"),
        ("experiments/toy.py", "3", "4"),
    ],
)
def test_what_is_used_changes_the_digest(file: str, before: str, after: str, toy: str, tmp_path: Path) -> None:
    assert before in HOUSE[file]
    assert write(tmp_path, {file: HOUSE[file].replace(before, after)}).digest(*TOY) != toy


def test_a_definition_that_moves_keeps_its_digest(toy: str, tmp_path: Path) -> None:
    moved = {
        "hpo/rows.py": "def two(x):\n    return x + 2\n", "hpo/first.py": "def one(x):\n    return x + 1\n",
        "hpo/table.py": HOUSE["hpo/table.py"].replace("import one, two", "import two\nfrom hpo.first import one"),
    }  # fmt: skip
    assert write(tmp_path, moved).digest(*TOY) == toy


def test_a_table_without_a_row_named_is_all_of_it(toy: str, tmp_path: Path) -> None:
    before = Sources(tmp_path).digest(TOY[0])
    more = {"hpo/table.py": HOUSE["hpo/table.py"].replace("'two': two}", "'two': two, 'three': abs}")}
    assert write(tmp_path, more).digest(TOY[0]) != before != toy


@pytest.mark.parametrize(
    ("source", "about"),
    [
        ("hpo.nothing:f", "stands in no file of Python's"),
        ("nobody_has_this:f", "stands in no file of Python's"),
        ("hpo.work:nothing", "hpo.work does not define nothing"),
        ("hpo.table:TABLE[three]", "has no row 'three'; there are one, two"),
    ],
)
def test_a_source_that_is_not_there_is_said(source: str, about: str, toy: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=about):
        Sources(tmp_path).digest(source)


def test_a_file_of_anybodys_is_read_with_what_it_uses_of_ours(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("from surrogates import EI\n\n\ndef greedy(posterior, incumbent):\n    return EI()(posterior, incumbent)\n")
    reached = Sources().reach(f"{mine}:greedy")
    assert ("surrogates.acquisitions.ei", "EI") in reached
    mine.write_text("def greedy(:\n")
    with pytest.raises(ValueError, match="cannot be read"):
        Sources().digest(f"{mine}:greedy")


# -- the tree as it is -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources."""
    root = tmp_path_factory.mktemp("tree")
    for package in ("surrogates", "hpo"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    places = ("experiments/benchmark/peers/__init__.py", "experiments/benchmark/peers/ours.py")
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place, root / place)
    return root


def edited(root: Path, module: str, before: str, after: str) -> Iterator[Path]:
    """The copy with a text replaced in a module, put back afterwards."""
    path = Sources(root).path(module)
    assert path is not None
    text = path.read_text(encoding="utf-8")
    assert before in text, f"{module} has no {before!r}"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    yield path
    path.write_text(text, encoding="utf-8")


LISTED = [
    ("surrogates.acquisitions.registry", '    "logei":', '    "mine": LogEI(),\n    "logei":'),
    ("surrogates.kernels", '    "matern52":', '    "mine": Kernel(rbf, ChiScales(1.0)),\n    "matern52":'),
    ("surrogates.kernels", "\n\nKERNELS", "\n\ndef mine(r2: Array) -> tuple[Array, Array]:\n    return r2, r2\n\n\nKERNELS"),
    ("hpo.optimizers", '    "manual": Manual,', '    "mine": Manual,\n    "manual": Manual,'),
]


NAMES = ("random", "GP", "GP(kernel='rbf')", "GP(acquisition='kg')")


def digests(root: Path) -> dict[str, str]:
    """Of the studies of each method, from the files as they are now."""
    read = Sources(root)
    return {name: read.digest(*find(name).sources) for name in NAMES}


@pytest.fixture(scope="module")
def unchanged(tree: Path) -> dict[str, str]:
    return digests(tree)


def test_a_copy_has_the_same_digests(unchanged: dict[str, str]) -> None:
    assert unchanged == {name: digest(*find(name).sources) for name in NAMES}
    assert len({*unchanged.values()}) == len(NAMES)


@pytest.mark.parametrize(("module", "before", "after"), LISTED)
def test_listing_one_more_makes_no_study_older(
    module: str, before: str, after: str, tree: Path, unchanged: dict[str, str]
) -> None:
    for _ in edited(tree, module, before, after):
        assert digests(tree) == unchanged


@pytest.mark.parametrize(
    ("module", "before", "after", "older"),
    [("surrogates.kernels", "np.exp(-0.5 * r2)", "np.exp(-0.4 * r2)", "GP(kernel='rbf')"),
     ("surrogates.acquisitions.kg", "log_scale = ", "log_scale = 2 > 1 and ", "GP(acquisition='kg')")],
)  # fmt: skip
def test_a_row_that_is_used_makes_its_studies_older_and_no_others(
    module: str, before: str, after: str, older: str, tree: Path, unchanged: dict[str, str]
) -> None:
    for _ in edited(tree, module, before, after):
        changed = digests(tree)
        assert {name for name in NAMES if changed[name] != unchanged[name]} == {older}


def test_the_digest_covers_what_our_gp_is_made_of() -> None:
    reached = {module for module, _ in HERE.reach(*METHODS["GP"].sources)}
    assert {"hpo.optimizers.gp.sampler", "hpo.history", "hpo.space", "hpo.rng", "surrogates.gp", "surrogates.fitting"} <= reached
    assert not reached & {"hpo", "surrogates", "hpo.optimizers", "hpo.optimizers.asha", "surrogates.acquisitions.kg"}
    assert not [name for name in reached if "plotting" in name or "linting" in name]  # they decide no proposal
    random = {module for module, _ in HERE.reach(*METHODS["random"].sources)}
    assert "surrogates.domain" in random and "surrogates.gp" not in random


def places_executed(run: Callable[[], object], packages: Container[str]) -> set[tuple[str, str]]:
    """(module, definition) of all code of these packages that runs."""
    ran: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        module, top = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname.partition(".")[0]
        if event == "call" and module.partition(".")[0] in packages and top not in MADE:
            ran.add((module, top))

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return ran


@pytest.mark.parametrize("name", OWN)
def test_nothing_is_executed_that_the_digest_does_not_cover(name: str) -> None:
    """The law that keeps digests honest, of our method on a space with conditions and on a noisy task."""
    reached = set(HERE.reach(*find(name).sources))

    def run() -> None:
        run_study(task, find(name), 0, 14)
        if name in METHODS:
            run_study(TASKS["hartmann6_noisy"], find(name), 0, 11)

    task = TASKS["conditional" if name in METHODS else "branin"]
    run_study(task, find(name), 0, 3)  # what is imported at first
    ran = places_executed(run, ("hpo", "surrogates"))
    assert len(ran) > 20
    assert {place for place in ran if place not in reached} == set()


def lines_to_trace() -> dict[str, Measurement]:
    """One short line of each kind of experiment that trains or searches."""
    quick = {name: find_paper(name) for name in ("logei2023", "pbt2017")}
    return {
        "mup": next(iter(mup.mup_measurements())),
        "rungs": next(iter(rungs.rungs_measurements())),
        **{name: next(one for one in paper.measurements() if one.key == paper.quick) for name, paper in quick.items()},
    }


# What makes and stamps a line is no part of what it says.
HARNESS = {("papers.paper", "measurement"), ("papers.paper", "versions"), ("experiments.curves.__main__", "curves_measurement"),
           ("experiments.mup", "mup_measurement"), ("experiments.rungs", "rungs_measurements")}  # fmt: skip


def uncovered_places(one: Measurement) -> set[tuple[str, str]]:
    reached, ran = set(HERE.reach(*one.sources)), places_executed(one.run, OURS)
    assert len(ran) > 20
    return {place for place in ran if place not in reached} - HARNESS


@pytest.mark.parametrize("name", lines_to_trace())
def test_nothing_of_an_experiment_is_executed_that_its_digest_does_not_cover(name: str) -> None:
    """The same law of experiments and papers: their own code and the models' included."""
    assert uncovered_places(lines_to_trace()[name]) == set()


def test_nothing_of_learning_curves_is_executed_that_their_digest_does_not_cover(shared_data: Callable[[str], Path]) -> None:
    shared_data("tables")
    assert uncovered_places(next(one for one in curves.curves_measurements() if one.key["part"] == "offline")) == set()
