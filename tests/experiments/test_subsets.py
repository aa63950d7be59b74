"""Models of thousands of results, in small: that a perfect one has no error, what each way takes, what is stored and shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import subset_models, subsets
from experiments.benchmark.tasks import TASKS
from surrogates import standardise


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subsets, "FRESH", 30)
    monkeypatch.setattr(subsets, "STEPS", 3)


class Perfect:
    """Knows the truth."""

    def __init__(self, space: Any, scaled: Any) -> None:
        self.space, self.scaled = space, scaled

    def mean(self, rows: Any) -> Any:
        return self.scaled.of(subsets.true_values(TASKS["levy8"], self.space, rows))


@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_a_perfect_model_has_no_error(wrong: float) -> None:
    space, X, y = subsets.search_results(TASKS["levy8"], 60, 0)
    scaled, rows = subsets.Scale(y), space.domain.random(np.random.default_rng(5), 40)
    true, model = subsets.true_values(TASKS["levy8"], space, rows), Perfect(space, scaled)
    np.testing.assert_allclose(model.mean(X), scaled.z, rtol=1e-9, atol=1e-12)
    right = model.mean
    model.mean = lambda rows: right(rows) + wrong  # type: ignore[method-assign]
    assert subsets.mean_error(model, scaled, rows, true) == pytest.approx(wrong, abs=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", subsets.ON)
def test_the_scale_is_the_one_that_targets_were_standardised_by(name: str) -> None:
    _, _, y = subsets.search_results(TASKS[name], 300, 2)
    for values in (y, np.append(y, [1e9, 1e300]), np.random.default_rng(0).normal(size=50)):
        scale, z = subsets.Scale(values), standardise(values).z
        np.testing.assert_allclose(scale.of(values), z, rtol=1e-9, atol=1e-12)
        between = np.sort(np.append(values, np.linspace(values.min() - 1, 2 * np.median(np.abs(values)), 500)))
        assert (np.diff(scale.of(between)) >= 0).all()


def test_results_crowd_around_the_best() -> None:
    space, X, y = subsets.search_results(TASKS["hartmann6"], 90, 1)
    assert X.shape == (90, 6) and y[60:].mean() < y[:60].mean() and y[60:].min() <= y[:60].min()
    np.testing.assert_array_equal(y, subsets.true_values(TASKS["hartmann6"], space, X))


def test_every_way_takes_a_thousand_of_many() -> None:
    z = np.random.default_rng(0).normal(size=3000)
    taken = {way: subset_models.subset(way, z, np.random.default_rng(0)) for way in subsets.WAYS[:-1]}
    assert {way: len(set(use.tolist())) for way, use in taken.items()} == {
        "all": 3000, "kept": 1000, "best": 1000, "latest": 1000, "random": 1000,
    }  # fmt: skip
    assert z[taken["best"]].max() <= np.delete(z, taken["best"]).min() and taken["latest"].min() == 2000
    assert {*np.argsort(z)[:500]} <= {*taken["kept"]}


@pytest.mark.parametrize("way", ["all", "latest", "variational"])
def test_a_measurement_proposes_and_is_told(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "variational":
        pytest.importorskip("gpytorch")
    monkeypatch.setattr(subset_models, "EPOCHS", 2)
    found = subsets.measure_subset("hartmann6", 45, way, 0)
    assert 0 <= found["after"] <= found["before"] and len(found["proposed"]) == 3 and found["near"] > 0 and found["all"] > 0
    again = subsets.measure_subset("hartmann6", 45, way, 0)
    assert {name: value for name, value in again.items() if name != "seconds"} == {
        name: value for name, value in found.items() if name != "seconds"
    }
    json.dumps(found, allow_nan=False)


def test_the_command_measures_what_is_missing_and_shows_what_is_older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subsets, "ON", ("hartmann6",))
    monkeypatch.setattr(subsets, "SIZES", (30,))
    monkeypatch.setattr(subsets, "WAYS", ("best", "latest"))
    asked: list[Any] = []

    def answer(name: str, n: int, way: str, seed: int) -> dict[str, Any]:
        asked.append((name, n, way, seed))
        return {"seconds": 1.0 + len(asked), "near": 0.1, "all": 0.2, "before": 0.5, "after": 0.1 * seed}

    path = tmp_path / "subsets.jsonl"
    old = {"task": "hartmann6", "n": 30, "way": "best", "seed": 0, **answer("", 0, "", 0), "after": 9.0, "digest": "old"}
    path.write_text(json.dumps(old) + "\n")
    monkeypatch.setattr(subsets, "measure_subset", answer)
    call = CliRunner().invoke
    shown = call(subsets.app, ["--table", "--results", str(path)]).output
    assert "| 9 [9, 9] |" in shown and "1 of 1 lines is older than the code" in shown
    asked.clear()
    shown = call(subsets.app, ["--results", str(path)]).output
    assert len(asked) == 2 * subsets.SEEDS and "older than the code" not in shown
    assert "| hartmann6 | 30 | best | 3 | " in shown and " | 0.1 | 0.2 | 0.5 | 0.1 [0, 0.2] |" in shown
    call(subsets.app, ["--results", str(path)])
    assert len(asked) == 2 * subsets.SEEDS
    assert [call(subsets.app, [wrong]).exit_code for wrong in ("--tabel", "table", "-t")] == [2, 2, 2]


def test_all_that_is_stored_is_read_and_what_costs_most_comes_last() -> None:
    ledger = subsets.open_subsets(subsets.RESULTS)
    assert len(ledger.latest()) == len(ledger.measurements) == sum(1 for _ in subsets.RESULTS.open())
    assert ledger.measurements[-1].key["way"] == "variational"
    line = next(iter(ledger.latest().values()))
    assert subsets.values_of(line) == subsets.values_of({**line, "seconds": 1e9, "versions": {}})
    assert subsets.values_of(line) != subsets.values_of({**line, "after": 1e9})


def test_every_proposal_of_a_gp_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, right = [], subset_models.maximize

    def told(score: Any, domain: Any, seed: int, *rest: Any) -> Any:
        seeds.append(seed)
        return right(score, domain, seed, *rest)

    monkeypatch.setattr(subset_models, "maximize", told)
    subsets.measure_subset("hartmann6", 45, "latest", 2)
    assert seeds == [200, 201, 202]
