"""Two methods ranked by themselves: the sign of the difference, its interval, and the tasks that count."""

from pathlib import Path

import numpy as np
import pytest

from experiments.benchmark import pairs, records
from experiments.benchmark.collected import Collected, collect
from experiments.benchmark.methods import METHODS
from experiments.ledger.lines import append_line

TASKS = ("branin", "hartmann6", "ackley5", "mixed8")


def stored(folder: Path, shift: float) -> Collected:
    """Twelve seeds of two methods on four tasks; the first method's regrets are lower by `shift` decades on average."""
    rng = np.random.default_rng(0)
    for task in TASKS:
        for method, lower in (("TPE", shift), ("Optuna TPE", 0.0), ("CMA-ES", shift), ("Optuna CMA-ES", 0.0)):
            for seed in range(12):
                regret = 10.0 ** (rng.normal() - lower - np.arange(100) / 50)
                line = {"task": task, "method": method, "seed": seed, "n": 100, "regret": regret.tolist(), "ask_seconds": 1.0,
                        "tell_seconds": 0.1, "versions": {}, "machine": {"machine": "m"}}  # fmt: skip
                append_line(records.file_of(folder, method), line)
    return collect(folder)


@pytest.fixture(autouse=True)
def all_lines_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "is_current", lambda record: True)


@pytest.mark.parametrize(("shift", "said"), [(1.0, "is excluded"), (-1.0, "is not excluded")])
def test_a_difference_is_seen_and_a_loss_is_excluded_only_where_it_is(shift: float, said: str, tmp_path: Path) -> None:
    found = {pair.ours: pair for pair in pairs.compare_pairs(stored(tmp_path, shift))}
    for pair in found.values():
        assert pair.low <= pair.difference <= pair.high and said in str(pair)
        assert np.sign(pair.difference) == -np.sign(shift)
    assert (found["TPE"].tasks, found["CMA-ES"].tasks) == (4, 3), "a task with choices does not count for CMA-ES"
    # of two independent normals that are one spread apart the better one wins with P(z < 1 / sqrt 2) = 0.76
    assert abs(abs(found["TPE"].difference) - 0.52) < 0.12


def test_tasks_without_both_are_left_out(tmp_path: Path) -> None:
    found = stored(tmp_path, 1.0)
    del found.traces["branin", "TPE"]
    assert next(pairs.compare_pairs(found)).tasks == 3


def test_pairs_name_methods_and_kinds_of_tasks_that_there_are() -> None:
    for first, other, kind in pairs.PAIRS:
        assert first in METHODS and other in METHODS and first != other and kind in pairs.KINDS
    counted = {kind: [name for name in ("branin", "mixed8", "svm_grid") if counts(name)] for kind, counts in pairs.KINDS.items()}
    assert counted == {"tasks": ["branin", "mixed8", "svm_grid"], "tasks of numbers": ["branin", "svm_grid"],
                       "tables": ["svm_grid"]}  # fmt: skip
