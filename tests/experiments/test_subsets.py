"""Models of thousands of results, in small: that a perfect one has no error, what each way takes, what is stored and shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import subsets as many
from experiments.benchmark.tasks import TASKS
from surrogates import standardise


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(many, "RESULTS", tmp_path / "many.jsonl")
    monkeypatch.setattr(many, "FRESH", 30)
    monkeypatch.setattr(many, "STEPS", 3)


class Perfect:
    """Knows the truth."""

    def __init__(self, space: Any, scaled: Any) -> None:
        self.space, self.scaled = space, scaled

    def mean(self, rows: Any) -> Any:
        return self.scaled.of(many.values(TASKS["levy8"], self.space, rows))


@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_a_perfect_model_has_no_error(wrong: float) -> None:
    space, X, y = many.results(TASKS["levy8"], 60, 0)
    scaled, rows = many.Scale(y), space.domain.random(np.random.default_rng(5), 40)
    true, model = many.values(TASKS["levy8"], space, rows), Perfect(space, scaled)
    np.testing.assert_allclose(model.mean(X), scaled.z, rtol=1e-9, atol=1e-12)
    right = model.mean
    model.mean = lambda rows: right(rows) + wrong  # type: ignore[method-assign]
    assert many.error(model, scaled, rows, true) == pytest.approx(wrong, abs=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", many.ON)
def test_the_scale_is_the_one_that_targets_were_standardised_by(name: str) -> None:
    _, _, y = many.results(TASKS[name], 300, 2)
    for values in (y, np.append(y, [1e9, 1e300]), np.random.default_rng(0).normal(size=50)):
        scale, z = many.Scale(values), standardise(values).z
        np.testing.assert_allclose(scale.of(values), z, rtol=1e-9, atol=1e-12)
        between = np.sort(np.append(values, np.linspace(values.min() - 1, 2 * np.median(np.abs(values)), 500)))
        assert (np.diff(scale.of(between)) >= 0).all()


def test_results_crowd_around_the_best() -> None:
    space, X, y = many.results(TASKS["hartmann6"], 90, 1)
    assert X.shape == (90, 6) and y[60:].mean() < y[:60].mean() and y[60:].min() <= y[:60].min()
    np.testing.assert_array_equal(y, many.values(TASKS["hartmann6"], space, X))


def test_every_way_takes_a_thousand_of_many() -> None:
    z = np.random.default_rng(0).normal(size=3000)
    taken = {way: many.chosen(way, z, np.random.default_rng(0)) for way in many.WAYS[:-1]}
    assert {way: len(set(use.tolist())) for way, use in taken.items()} == {
        "all": 3000, "kept": 1000, "best": 1000, "latest": 1000, "random": 1000,
    }  # fmt: skip
    assert z[taken["best"]].max() <= np.delete(z, taken["best"]).min() and taken["latest"].min() == 2000
    assert {*np.argsort(z)[:500]} <= {*taken["kept"]}


@pytest.mark.parametrize("way", ["all", "latest", "variational"])
def test_a_measurement_proposes_and_is_told(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "variational":
        pytest.importorskip("gpytorch")
    monkeypatch.setattr(many, "EPOCHS", 2)
    found = many.measure("hartmann6", 45, way, 0)
    assert 0 <= found["after"] <= found["before"] and len(found["proposed"]) == 3 and found["near"] > 0 and found["all"] > 0
    again = many.measure("hartmann6", 45, way, 0)
    assert {name: value for name, value in again.items() if name != "seconds"} == {
        name: value for name, value in found.items() if name != "seconds"
    }
    json.dumps(found, allow_nan=False)


def test_lines_of_older_sources_are_measured_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(many, "ON", ("hartmann6",))
    monkeypatch.setattr(many, "SIZES", (30,))
    monkeypatch.setattr(many, "WAYS", ("best", "latest"))
    asked: list[Any] = []

    def measured(name: str, n: int, way: str, seed: int) -> dict[str, Any]:
        asked.append((name, n, way, seed))
        numbers = {"seconds": 1.0, "near": 0.1, "all": 0.2, "before": 0.5, "after": 0.1 * seed}
        return {"task": name, "n": n, "way": way, "seed": seed, **numbers, "digest": many.sources(name)}

    old = {**measured("hartmann6", 30, "best", 0), "after": 9.0, "digest": "old"}
    many.RESULTS.write_text(json.dumps(old) + "\n" + json.dumps({"task": "hartmann6", "way": "before digests"}) + "\n")
    assert "| 9 [9, 9] |" in many.table() and "1 of 1 lines are by older sources." in many.table()
    monkeypatch.setattr(many, "measure", measured)
    asked.clear()
    many.main()
    assert len(asked) == 2 * many.SEEDS
    assert "| hartmann6 | 30 | best | 3 | 1 | 0.1 | 0.2 | 0.5 | 0.1 [0, 0.2] |" in capsys.readouterr().out
    assert "older sources" not in many.table()
    many.main(only=True)
    many.main()
    assert len(asked) == 2 * many.SEEDS


def test_only_a_command_without_a_mistake_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(*key: Any) -> dict[str, Any]:
        asked.append(key)
        return {}

    monkeypatch.setattr(many, "measure", measured)
    call = CliRunner().invoke
    assert call(many.app, ["--help"]).exit_code == 0 and "--table" in call(many.app, ["--help"]).output
    assert [call(many.app, [wrong]).exit_code for wrong in ("--tabel", "table", "-t")] == [2, 2, 2]
    shown = call(many.app, ["--table"])
    assert shown.exit_code == 0 and shown.output.startswith("| task | n | way |")
    assert not asked and not many.RESULTS.exists()
    assert call(many.app, []).exit_code == 0
    assert len(asked) == len(many.ON) * len(many.SIZES) * many.SEEDS * len(many.WAYS) and asked[-1][2] == "variational"


def test_every_proposal_of_a_gp_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, right = [], many.maximize

    def told(score: Any, domain: Any, seed: int, *rest: Any) -> Any:
        seeds.append(seed)
        return right(score, domain, seed, *rest)

    monkeypatch.setattr(many, "maximize", told)
    many.measure("hartmann6", 45, "latest", 2)
    assert seeds == [200, 201, 202]
