"""The benchmark's tables: interpolation through their rows, grids that are complete, least values that are exact."""

import csv
import json
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmark import tables
from experiments.benchmark.tasks import TASKS
from hpo.space import Config


def taskset_config(task: str, row: int) -> Config:
    space = tables.taskset_space()
    return space.decode(tables.taskset_table(task).U[row])


INTERPOLATED = list(
    zip(("taskset_irnn", "taskset_lstm", "taskset_lstm2", "taskset_vrnn"), tables.METRIC | tables.HELD_OUT, strict=True)
)


@pytest.mark.parametrize(("name", "task"), INTERPOLATED)
def test_taskset_passes_through_its_rows_and_its_best_is_the_least_of_them(
    name: str, task: str, shared_data: Callable[[str], Path]
) -> None:
    shared_data(tables.TASKSET)
    table = tables.taskset_table(task)
    values = np.array([TASKS[name].true(taskset_config(task, row)) for row in range(len(table.y))])
    np.testing.assert_allclose(values, table.y, rtol=0, atol=1e-6)
    assert TASKS[name].best == table.y.min() == values[table.y.argmin()]
    seen = np.array([TASKS[name].observe(taskset_config(task, row), 0) for row in range(len(table.y))])
    np.testing.assert_array_equal(np.isnan(seen), table.diverged)
    assert (table.y[table.diverged] == tables.WORST).all()


@pytest.mark.parametrize("task", tables.METRIC | tables.HELD_OUT)
def test_taskset_is_continuous_away_from_divergence(task: str, shared_data: Callable[[str], Path]) -> None:
    shared_data(tables.TASKSET)
    space, rng = tables.taskset_space(), np.random.default_rng(2)
    ends = rng.random((20, 2, 8))
    for a, b in ends:
        path = [tables.interpolate(task, space.decode(a + t * (b - a))) for t in np.linspace(0, 1e-3, 200)]
        steps = np.abs(np.diff(path))
        assert np.nanmax(steps, initial=0.0) < 1e-3


def test_the_two_taskset_tasks_are_the_pair_that_agrees_least(shared_data: Callable[[str], Path]) -> None:
    from scipy.stats import spearmanr

    with np.load(shared_data(tables.TASKSET)) as file:
        loss, names = file["loss"][:, :, list(file["split"]).index("valid"), -1], file["tasks"].tolist()
    rank = spearmanr(np.where(np.isnan(loss), np.inf, loss).T).statistic
    least = min(combinations(range(len(names)), 2), key=lambda pair: rank[pair])
    assert {names[i] for i in least} == set(tables.METRIC)


def test_on_the_held_out_taskset_tasks_nothing_else_searches(shared_data: Callable[[str], Path]) -> None:
    from experiments.curves.data import WEIGHTS

    with np.load(shared_data(tables.TASKSET)) as file:
        assert set(tables.HELD_OUT) == set(file["tasks"].tolist()) - set(WEIGHTS)


@pytest.mark.parametrize(
    ("name", "data"),
    [("fcnet_protein", "protein_structure"), ("fcnet_naval", "naval_propulsion"), ("fcnet_slice", "slice_localization"),
     ("fcnet_parkinsons", "parkinsons_telemonitoring")],
)  # fmt: skip
def test_fcnet_is_complete_and_reads_the_rows_of_the_file(
    name: str, data: str, shared_data: Callable[[str], Path]
) -> None:
    path = shared_data(tables.fcnet_file(data))
    names, grid = tables.fcnet_grid(data)
    assert np.isfinite(grid).all() and grid.size == 4 * 62_208 == 4 * TASKS[name].space().domain.size
    assert TASKS[name].best == pytest.approx(grid.mean(axis=-1).min(), rel=1e-14)  # sums of four in another order
    with np.load(path) as file:
        rows = np.random.default_rng(0).integers(0, 62_208, 50)
        idx, vals = file["idx"][rows], file["vals"][rows].astype(float)
    for at, repeats in zip(idx, vals, strict=True):
        index = dict(zip(names, map(int, at), strict=True))
        choices = {n: c[index[n]] for n, c in tables.FCNET_CHOICES.items()}
        config = {**{n + "_index": index[n] for n in tables.FCNET_ORDERED}, **choices}
        assert TASKS[name].true(config) == pytest.approx(np.log10(repeats).mean(), rel=1e-12)
        seen = {TASKS[name].observe(config, seed) for seed in range(60)}
        assert seen == set(np.log10(repeats).tolist())


def test_fcnet_choices_are_those_of_the_file(shared_data: Callable[[str], Path]) -> None:
    space = json.loads(shared_data("tables/fcnet/space.json").read_text("utf-8"))["space"]
    assert {n: tuple(space[n]) for n in tables.FCNET_CHOICES} == tables.FCNET_CHOICES
    assert {n: len(space[n]) for n in tables.FCNET_ORDERED} == tables.FCNET_ORDERED
    assert all(space[n] == sorted(space[n]) for n in tables.FCNET_ORDERED)


@pytest.mark.parametrize(("name", "grid"), [("lda_grid", tables.LDA), ("svm_grid", tables.SVM), ("logreg_grid", tables.LOGREG)])
def test_a_grid_is_complete_and_its_best_is_exact(
    name: str, grid: tables.Grid, shared_data: Callable[[str], Path]
) -> None:
    path = shared_data(grid.file)
    values = tables.read_grid(grid)
    assert values.shape == tuple(n for _, n in grid.axes) and np.isfinite(values).all()
    every = [TASKS[name].true({n + "_index": i for (n, _), i in zip(grid.axes, at, strict=True)})
             for at in product(*(range(n) for _, n in grid.axes))]  # fmt: skip
    assert min(every) == TASKS[name].best == values.min()
    with path.open(newline="") as file:
        best = min(csv.DictReader(file), key=lambda row: float(row[grid.objective]))
    axes = [sorted({float(row[n]) for row in csv.DictReader(path.open(newline=""))}) for n, _ in grid.axes]
    at = {n + "_index": axis.index(float(best[n])) for axis, (n, _) in zip(axes, grid.axes, strict=True)}
    assert TASKS[name].true(at) == TASKS[name].best


def test_the_point_that_lda_holds_twice_is_the_mean_of_both(shared_data: Callable[[str], Path]) -> None:
    shared_data(tables.LDA.file)
    twice = {"kappa_index": 0, "tau_index": 5, "batch_s_index": 3}
    assert tables.LDA.true(twice) == pytest.approx((1520.06445 + 1523.244259) / 2, rel=1e-12)
