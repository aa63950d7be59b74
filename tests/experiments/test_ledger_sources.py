"""What is listed in a registry makes no line stale that does not use it; what a measurement uses does."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments import events, large, mup, population, rungs, subsets
from experiments.benchmark import methods
from experiments.compare import __main__ as compare
from experiments.curves import __main__ as curves
from experiments.finetuning import __main__ as finetuning
from experiments.ledger import Measurement
from experiments.ledger.digest import OURS, ROOT, Sources
from experiments.ledger.sources import gp_rows, training_rows
from experiments.sentiment import __main__ as sentiment
from experiments.speed import __main__ as speed
from papers.paper import find_paper, list_papers

LISTED = {  # in the place of the first text the second
    "surrogates/acquisitions/registry.py": ('    "auto": Auto(),', '    "auto": Auto(),\n    "mine": LogPI(),'),
    "surrogates/kernels.py": ('    "rbf": Kernel(', '    "mine": Kernel(rbf, sum),\n    "rbf": Kernel('),
    "hpo/optimizers/__init__.py": ('    "pbt": PBT,', '    "pbt": PBT,\n    "mine": type,'),
    "models/optimizers/rows.py": (
        '    "sgd": OptimizerRow(',
        '    "mine": OptimizerRow("mine:Mine", (), sum, 1, sum),\n    "sgd": OptimizerRow(',
    ),
    "hpo/executors/__init__.py": ('{"inline": Inline,', '{"mine": sum, "inline": Inline,'),
    "models/engines/engine.py": ('    "eager": EngineRow(', '    "mine": EngineRow("mine:Mine"),\n    "eager": EngineRow('),
}


def every_source() -> Iterator[tuple[str, ...]]:
    """What the measurements of every experiment and paper that is made with studies or trainings name as their sources."""
    listed: list[Measurement] = [
        *subsets.subsets_measurements(), *rungs.rungs_measurements(), *mup.mup_measurements(), *compare.compare_measurements(),
        *curves.curves_measurements(), *population.population_measurements(), large.asks_measurement(10, 2, False),
        speed.speed_measurement({}), *(one for one in sentiment.sentiment_measurements() if one.key["arm"] == "ASHA(GP)"),
        *(one for one in finetuning.finetuning_measurements() if one.key["arm"] == "LoRA"),
        *(events.events_measurement("one", name, 10) for name in events.MAKERS),
        *(find_paper(name).measurements()[-1] for name in list_papers()),
    ]  # fmt: skip
    yield from dict.fromkeys(one.sources for one in listed)
    yield from (method.sources for method in (methods.find("GP"), methods.find("random"), methods.find("GP(samples=2)")))


def copied(folder: Path) -> Path:
    for package in OURS:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("results", "__pycache__"))
    return folder


def digests(root: Path, sources: list[tuple[str, ...]]) -> list[str]:
    read = Sources(root)
    return [read.digest(*some) for some in sources]


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_what_is_listed_beside_makes_nothing_stale(tmp_path: Path) -> None:
    root, sources = copied(tmp_path), [*every_source()]
    before = digests(root, sources)
    for name, (old, new) in LISTED.items():
        change(root / name, old, new)
    after = digests(root, sources)
    assert [some for some, was, now in zip(sources, before, after, strict=True) if was != now] == []


def test_what_is_used_makes_its_lines_stale(tmp_path: Path) -> None:
    """Also where it is reached through a text in a table."""
    asks, run = large.asks_measurement(10, 2, False).sources, next(mup.mup_measurements()).sources
    root = copied(tmp_path)
    first = digests(root, [asks, run])
    change(root / "surrogates/acquisitions/ei.py", "class LogEI:", "class LogEI(object):")
    second = digests(root, [asks, run])
    assert [was == now for was, now in zip(first, second, strict=True)] == [False, True]
    change(root / "models/optimizers/adamw.py", "class AdamW(Optimizer):", "class AdamW(Optimizer, metaclass=type):")
    assert [was == now for was, now in zip(second, digests(root, [asks, run]), strict=True)] == [True, False]


def test_rows_are_those_of_the_defaults_and_of_options() -> None:
    assert gp_rows()["kernel"].endswith("KERNELS[matern52]") and gp_rows(kernel="rbf")["kernel"].endswith("KERNELS[rbf]")
    rows = training_rows("sgd")
    assert rows[:2] == ("models.optimizers.rows:OPTIMIZERS[sgd]", "models.optimizers.sgd:SGD") and len(rows) == 4
