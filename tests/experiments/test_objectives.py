"""Searches with several objectives: the problems, the volumes of their exact fronts, the tables, the command."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import hpo
from experiments import objectives
from experiments.benchmark.tables import LOGREG, fcnet_grid, read_grid
from experiments.problems import MIDDLE, PROBLEMS, PROTEIN, UNITS, parameters_of
from surrogates.hypervolume import hypervolume


def first_front(points: np.ndarray) -> np.ndarray:
    points = points[np.lexsort(points.T[::-1])]
    lowest = np.minimum.accumulate(points[:, 1])
    return points[np.append(True, lowest[1:] < lowest[:-1])]


def volume_of(points: np.ndarray, reference: tuple[float, ...]) -> float:
    """By the rectangles between neighbours, of which there may be a million."""
    front = first_front(points[np.isfinite(points).all(axis=1)])
    front = front[(front < reference).all(axis=1)]
    return float(np.diff(np.append(front[:, 0], reference[0])) @ (reference[1] - front[:, 1]))


def at(name: str, x: np.ndarray) -> tuple[float, ...]:
    return PROBLEMS[name].losses({f"x{i + 1}": float(value) for i, value in enumerate(x)})


# -- problems ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zdt1", "zdt3", "dtlz2"])
def test_functions_are_those_of_pymoo(name: str) -> None:
    from pymoo.problems import get_problem

    problem = get_problem(name, n_var=6, n_obj=3) if name == "dtlz2" else get_problem(name, n_var=6)
    for x in np.random.default_rng(0).random((10, 6)):
        moved = np.concatenate([x[:2], x[2:] * 0.3 + MIDDLE - 0.15]) if name == "dtlz2" else x  # its middle is elsewhere here
        theirs = np.concatenate([x[:2], moved[2:] - MIDDLE + 0.5]) if name == "dtlz2" else x
        np.testing.assert_allclose(at(name, moved), problem.evaluate(theirs), rtol=1e-12)


def test_volumes_of_functions_are_those_of_their_fronts() -> None:
    (a, b), x = PROBLEMS["zdt1"].reference, np.linspace(0.0, 1.0, 1_000_001)
    assert PROBLEMS["zdt1"].volume == pytest.approx(b - 1 + 2 / 3 + (a - 1) * b, rel=1e-6)
    broken = np.column_stack([x, 1.0 - np.sqrt(x) - x * np.sin(10.0 * math.pi * x)])
    assert PROBLEMS["zdt3"].volume == pytest.approx(volume_of(broken, PROBLEMS["zdt3"].reference), rel=1e-6)
    assert at("zdt3", np.array([0.25, 0, 0, 0, 0, 0])) == pytest.approx(tuple(broken[250_000]))
    drawn = np.random.default_rng(0).uniform(0.0, PROBLEMS["dtlz2"].reference, (400_000, 3))
    share = float((np.linalg.norm(drawn, axis=1) >= 1.0).mean())  # what some point of the sphere dominates
    assert PROBLEMS["dtlz2"].volume == pytest.approx(share * 1.1**3, rel=5e-3)
    assert math.hypot(*at("dtlz2", np.array([0.3, 0.8, *MIDDLE]))) == pytest.approx(1.0)


def test_branin_currin_approaches_its_volume_and_that_of_the_literature() -> None:
    grid = np.linspace(0.0, 1.0, 301)
    points = np.array([at("branin_currin", np.array([x, y])) for x in grid for y in grid])
    problem = PROBLEMS["branin_currin"]
    assert 0.99 * problem.volume < volume_of(points, problem.reference) < problem.volume
    assert 58.0 < volume_of(points, (18.0, 6.0)) < 59.41  # BoTorch names 59.36, from a search


def rule(front: np.ndarray, every: np.ndarray) -> np.ndarray:
    """The reference point by the rule of the module."""
    least, worst = every.min(axis=0), np.maximum(front.max(axis=0), np.median(every, axis=0))
    return np.asarray(worst + 0.1 * (worst - least))


def test_volumes_and_references_of_tables(shared_data: Callable[[str], Path]) -> None:
    for name in ("logreg", "fcnet"):
        shared_data(str(PROBLEMS[name].needs))
    seconds = read_grid(replace(LOGREG, objective="time_s"))
    logreg = np.column_stack([read_grid(LOGREG).ravel(), np.log10(seconds.ravel())])
    names, errors = fcnet_grid(PROTEIN)
    cells = np.indices(errors.shape[:-1])
    first, second = (np.array(UNITS)[cells[names.index(f"n_units_{i}")]].ravel() for i in (1, 2))
    sizes = [math.log10(parameters_of(int(a), int(b))) for a, b in zip(first, second, strict=True)]
    for name, points in {"logreg": logreg, "fcnet": np.column_stack([errors.mean(axis=-1).ravel(), sizes])}.items():
        problem = PROBLEMS[name]
        assert problem.volume == pytest.approx(volume_of(points, problem.reference), rel=1e-6)
        np.testing.assert_allclose(problem.reference, rule(first_front(points), points), rtol=0.015)
        config = problem.space().midpoint()
        assert (np.abs(points - np.array(problem.losses(config))).max(axis=1) < 1e-9).any()


def test_parameters_are_those_of_the_network() -> None:
    sizes = (9, 32, 128, 1)
    assert parameters_of(32, 128) == sum(np.ones((out, n)).size + np.ones(out).size for n, out in pairwise(sizes))


# -- searches ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "name"), [("NSGA2", "zdt1"), ("Optuna NSGA-II", "dtlz2"), ("Optuna TPE", "branin_currin")])
def test_a_search_is_measured_after_every_evaluation(method: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "EVALUATIONS", 15)
    measure = objectives.measure_peer_shares if method in objectives.PEERS else objectives.measure_shares
    shares = measure(name, method, 3)["shares"]
    assert len(shares) == 15 and shares == sorted(shares) and 0.0 < shares[-1] < 1.0
    assert shares == measure(name, method, 3)["shares"] != measure(name, method, 4)["shares"]


def test_shares_are_those_that_a_study_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "EVALUATIONS", 12)
    problem = PROBLEMS["dtlz2"]
    optimizer = hpo.Random(problem.space(), seed=1)
    study = hpo.minimize(problem.losses, problem.space(), optimizer, 12, objectives=["a", "b", "c"], quiet=True)
    curve = np.array(study.hypervolume_curve(problem.reference)) / problem.volume
    np.testing.assert_allclose(objectives.measure_shares("dtlz2", "random", 1)["shares"], curve, atol=1e-6)


def test_asha_is_measured_by_the_budget_that_it_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "EVALUATIONS", 20)
    found = [objectives.measure_order_shares("dtlz2", method, 0) for method in objectives.ORDERED]
    for one in found:
        shares = one["shares"]
        assert len(shares) == 20 and shares == sorted(shares) and shares[0] == 0.0 < shares[-1] < 1.0
        assert 40 < one["trials"] < 180, "most stop early, and all of them would cost one ninth"
    assert found[0] != found[1] and found[0] == objectives.measure_order_shares("dtlz2", "ASHA, crowding", 0)


def test_the_sphere_itself_is_the_whole() -> None:
    angles = np.linspace(0.0, 1.0, 8)
    every = [at("dtlz2", np.array([a, b, *MIDDLE])) for a in angles for b in angles]
    share = hypervolume(np.array(every), np.array((1.1, 1.1, 1.1))) / PROBLEMS["dtlz2"].volume
    assert objectives.shares_of(PROBLEMS["dtlz2"], every)[-1] == pytest.approx(share, abs=1e-6) and 0.7 < share < 1.0


# -- tables --------------------------------------------------------------------------------------------------------------


def line(problem: str, method: str, seed: int, last: float) -> dict[str, object]:
    return {"problem": problem, "method": method, "seed": seed, "shares": [last / 2] * 30 + [last] * 30}


LINES = [
    *(line("zdt1", "NSGA2", seed, 0.5 + 0.1 * seed) for seed in range(3)),
    *(line("zdt1", "Optuna NSGA-II", seed, 0.4 + 0.1 * seed) for seed in range(3)),
    line("dtlz2", "NSGA2", 0, 0.2), line("dtlz2", "Optuna NSGA-II", 0, 0.6), line("dtlz2", "random", 0, 0.6),
]  # fmt: skip


def test_every_problem_counts_as_much_as_another() -> None:
    found = objectives.shares_by_method(LINES)
    assert list(found) == ["random", "NSGA2", "Optuna NSGA-II"]
    mean, low, high = objectives.mean_and_interval({key: shares[-1] for key, shares in found["NSGA2"].items()})
    assert mean == pytest.approx((0.6 + 0.2) / 2) and low < mean < high and low >= 0.35 and high <= 0.45


def test_pairs_are_compared_seed_by_seed() -> None:
    rows = [row.split(" | ") for row in objectives.pair_table(objectives.shares_by_method(LINES)).splitlines()]
    assert len(rows) == 3 and rows[2][0] == "| NSGA2 less Optuna NSGA-II"
    assert rows[2][3] == "-0.150 [-0.150, -0.150]", "+0.1 of every seed on one problem, -0.4 on the other"
    assert rows[2][4].startswith("1 of 2")


def test_ranks_are_those_among_all_that_were_measured() -> None:
    found = objectives.shares_by_method(LINES)
    assert objectives.mean_ranks(found, 60) == {"random": 1.5, "NSGA2": 3.0, "Optuna NSGA-II": 1.5}  # of dtlz2, a tie


def test_the_command_prints_and_draws(tmp_path: Path) -> None:
    results, picture = tmp_path / "objectives.jsonl", tmp_path / "volumes.svg"
    results.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    said = CliRunner().invoke(objectives.app, ["--table", "--results", str(results), "--figure", str(picture)])
    assert said.exit_code == 0 and "| NSGA2 | 4 | 0.200 " in said.stdout, said.output
    assert "zdt1" in picture.read_text() and "Optuna NSGA-II" in picture.read_text()


def test_without_data_only_functions_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_DATA", str(tmp_path))
    ledger = objectives.open_objectives(tmp_path / "objectives.jsonl")
    asked = {one.key["problem"] for one in ledger.list_missing()}
    assert asked == {"zdt1", "zdt3", "dtlz2", "branin_currin"} and len(ledger.measurements) == 720


def test_every_method_and_problem_has_its_own_digest() -> None:
    found: dict[str, set[str | None]] = {}
    for one in objectives.objectives_measurements():
        if one.key["seed"] == 0 and one.key["problem"] == "zdt1":
            found.setdefault(str(one.key["method"]), set()).add(one.digest)
    assert len(set.union(*found.values())) == len(objectives.METHODS) + len(objectives.PEERS) + len(objectives.ORDERED)
