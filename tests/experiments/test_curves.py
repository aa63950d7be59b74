"""Learning curves in small: their interpolation, models of what ASHA left, searches, and what is stored and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.benchmark.tables import TASKSET, WORST, interpolate, taskset_space
from experiments.curves import __main__ as command
from experiments.curves import data, offline, online, tables
from experiments.curves.baselines import Column, Levelled, level_losses, log_share
from experiments.curves.data import EPOCHS, RUNGS, TASKSET_NAMES, WEIGHTS, Curves, curves_of, has_taskset
from experiments.curves.offline import LANGUAGE_MODELS, MODELS, Told
from experiments.ledger import Ledger
from hpo import ASHA, Float, Random, Simulator, Space, Stop, Study, run

TASK = next(iter(WEIGHTS))


@pytest.fixture
def taskset(shared_data: Callable[[str], Path]) -> None:
    """Skips by the file's name where it is absent."""
    shared_data(TASKSET)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No shared data."""
    monkeypatch.setenv("HPO_DATA", str(tmp_path / "nowhere"))


# --- curves -----------------------------------------------------------------------------------------------------------


def made_up(n: int = 40) -> Curves:
    """Curves over the unit cube that fall to |x_0 - 0.3|, and rise again in the test loss; one has diverged."""
    rng, t = np.random.default_rng(0), np.linspace(0.0, 1.0, EPOCHS + 1)
    U = rng.random((n, 8))
    valid = np.abs(U[:, :1] - 0.3) + 0.3 * np.exp(-4.0 * t)
    valid[0, 10:] = np.inf
    return Curves(U, valid, valid + 0.1 * t, np.ones(8))


def config_at(x: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in taskset_space().decode(x).items()}


def test_interpolation_passes_through_the_table() -> None:
    curves = made_up()
    for row in (1, 2, 3):
        valid, test = curves.at(config_at(curves.U[row]))
        np.testing.assert_allclose(valid, curves.valid[row], rtol=1e-6)
        np.testing.assert_allclose(test, curves.test[row], rtol=1e-6)
    valid, _ = curves.at(config_at(curves.U[0]))
    assert np.isfinite(valid[:10]).all() and np.isinf(valid[10:]).all()
    between, _ = curves.at(config_at(0.5 * (curves.U[1] + curves.U[2])))
    assert (between < np.minimum(curves.valid, WORST).max(axis=0)).all() and (np.diff(between) < 0).all()
    with pytest.raises(ValueError, match="no weights"):
        replace(curves, weights=None).at(config_at(curves.U[1]))


def test_the_last_loss_is_the_benchmarks(taskset: None) -> None:
    curves, space = curves_of(TASK), taskset_space()
    for row in space.domain.random(np.random.default_rng(0), 30):
        config, last = space.decode(row), curves_of(TASK).at(space.decode(row))[0][-1]
        expected = interpolate(TASK, config)
        assert last == pytest.approx(expected, rel=1e-9) if np.isfinite(expected) else np.isinf(last)
    assert curves.valid.shape == curves.test.shape == (1000, EPOCHS + 1) and np.abs(curves.U - 0.5).max() < 0.5 + 1e-6
    least, median = curves.scale
    assert 0 < least < median <= WORST


def test_every_searched_task_is_in_the_file(taskset: None) -> None:
    with np.load(data.data_file(TASKSET)) as file:
        assert set(WEIGHTS) <= set(TASKSET_NAMES) == set(map(str, file["tasks"])) and len(TASKSET_NAMES) == 8


def test_language_models() -> None:
    domain, X, y, rungs = data.language_models()
    assert X.shape == (40, domain.d) and y.shape == (40, len(rungs)) and list(rungs) == sorted(rungs)
    np.testing.assert_array_equal(domain.snap(X), X)
    assert np.median(y[:, -1] - y[:, 0]) < 0


# --- the model before -------------------------------------------------------------------------------------------------


def test_levels_are_brought_together_by_pairs() -> None:
    inf = float("inf")
    losses = {(0, 1): 5.0, (1, 1): 4.0, (2, 1): 9.0, (3, 1): inf, (0, 3): 3.0, (1, 3): 3.5, (2, 3): inf, (1, 9): 2.5}
    shifted = level_losses({key: [loss] for key, loss in losses.items()}, list(losses))[:, 0]
    # from 1 to 3: median of -2 and -0.5 (the failure is no pair); from 3 to 9: -1
    assert dict(zip(losses, shifted, strict=True)) == {
        (0, 1): 2.75, (1, 1): 1.75, (2, 1): 6.75, (3, 1): inf, (0, 3): 2.0, (1, 3): 2.5, (2, 3): inf, (1, 9): 2.5,
    }  # fmt: skip


@pytest.mark.parametrize("sampler", [Column, Levelled])
def test_another_column(sampler: type[Column | Levelled]) -> None:
    optimizer = ASHA(sampler(Space(x=Float(0.0, 1.0))), max_resource=9)
    run(Study(optimizer), Simulator(lambda config, until, _: config["x"] + 1.0 / until), Stop(9))
    history = optimizer.history
    keys = sorted(history.finished_keys)
    read = sampler(optimizer.space).observe(history, keys)
    assert read.domain.kinds == ("float", "float") and {u for _, u in keys} == {1, 3, 9}
    places = dict(zip([until for _, until in keys], read.rows[:, -1], strict=True))
    assert places == pytest.approx({1: 0.0, 3: 0.5, 9: 1.0})
    assert log_share(3, 1, 9) == pytest.approx(0.5)
    raw = np.array([history.losses(key) for key in keys])
    moved = [until for (_, until), (change,) in zip(keys, read.losses - raw, strict=True) if change != 0.0]
    assert set(moved) == ({1, 3} if sampler is Levelled else set())
    notes = [job.note.record["gp"] for job in history.jobs.values() if "gp" in job.note.record]
    fits = [note[name]["thetas"][0] for note in notes for name in note]
    assert {len(theta) for theta in fits} in ({5}, {4, 5}), "length scales, one more with the column; no decay"


# --- offline ----------------------------------------------------------------------------------------------------------


def test_what_asha_leaves() -> None:
    y = np.array([[3.0, 1.0, 0.5], [1.0, 2.0, 0.1], [2.0, 9.0, 9.0], [np.inf, np.inf, np.inf], [0.5, 0.4, 0.3], [4.0, 4.0, 4.0]])
    found = offline.asha_results(y, (1, 3, 9), range(6), 8)
    assert list(found) == [(0, 1), (1, 1), (2, 1), (1, 3), (3, 1), (4, 1), (4, 3), (5, 1)]
    assert all(found[row, until] == y[row, (1, 3, 9).index(until)] for row, until in found)
    assert offline.next_promotion({(3, 1): np.inf, (4, 1): np.inf, (5, 1): np.inf}, (1, 3)) is None, "failures do not go on"


def told() -> tuple[Told, np.ndarray, np.ndarray]:
    """What ASHA left of made-up curves; numbers of unseen rows, and the truth there."""
    curves = made_up(80)
    y = curves.valid[1:, RUNGS]
    found = offline.asha_results(y, RUNGS, range(79), 45)
    asked = np.array([row for row in range(79) if row not in {row for row, _ in found}])
    return Told(taskset_space().domain, curves.U[1:], found, RUNGS[-1]), asked, y[asked, -1]


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    some, asked, truth = told()
    found = offline.prediction_scores(MODELS[name](some, asked, 0), truth)
    assert set(found) == {"rank", "rank_third", "density", "pick"} and all(value is not None for value in found.values())
    if name in ("decay", "column", "pooled"):
        assert (found["rank"] or 0.0) > 0.6


def test_which_results_a_model_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    some, asked, _ = told()
    read: list[tuple[int, int]] = []
    monkeypatch.setattr(offline, "gp_prediction", lambda domain, rows, y, at, seed: read.append((domain.d, len(y))))
    for name in ("pooled", "last", "highest", "decay"):
        MODELS[name](some, asked, 0)
    trials = len({row for row, _ in some.keys})
    at = [sum(until == rung for _, until in some.keys) for rung in RUNGS]
    top = next(n for n in reversed(at) if n >= offline.ENOUGH)
    assert read == [(8, 45), (8, trials), (8, top), (9, 45)]


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_scores() -> None:
    truth = np.array([4.0, 1.0, np.inf, 2.0, 3.0, 5.0])
    right = offline.Prediction(np.array([4.0, 1.0, 9.0, 2.0, 3.0, 5.0]), np.ones(6), 0.0, 2.0)
    found = offline.prediction_scores(right, truth)
    assert found["rank"] == pytest.approx(1.0) and found["rank_third"] == pytest.approx(1.0)
    assert found["pick"] == pytest.approx(np.mean([0, 1, 2, 3, 4]) / 6)
    z = truth[[1, 3]] / 2.0 - np.array([1.0, 2.0])
    assert found["density"] == pytest.approx(np.mean(-0.5 * np.log(2 * np.pi) - z**2 / 2) - np.log(2.0))
    assert offline.prediction_scores(right._replace(mean=np.zeros(6)), truth)["rank"] is None


def test_the_language_models_are_predicted() -> None:
    one, two, other = (offline.measure_predictions(LANGUAGE_MODELS, seed, 20, "last") for seed in (0, 0, 1))
    assert one == two != other


# --- online -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Curves:
    curves = made_up()
    monkeypatch.setattr(online, "curves_of", lambda source: curves)
    return curves


@pytest.mark.parametrize("name", online.METHODS)
def test_a_search(name: str, small: Curves) -> None:
    found = online.measure_search("made up", 0, 200, name)
    assert found["marks"] == list(range(20, 201, 20)) and found["scale"] == small.scale
    assert json.loads(json.dumps(found)) == {**found, "scale": list(found["scale"])} and set(found["handed"]) == set(online.RULES)
    high, low = found["handed"].values()
    for one, other in zip(high, low, strict=True):
        if one is not None:
            assert one[0] >= other[0] and one[1] >= other[1]
    reached = [0 if one is None else one[0] for one in high]
    assert reached == sorted(reached) and reached[-1] == EPOCHS
    assert name != online.WHOLE or (high == low and found["results"] == 4)


def test_rules_and_spent_epochs() -> None:
    study = Study(ASHA(Random(Space(x=Float(0.0, 1.0))), RUNGS[0], EPOCHS, 3), unit="epochs", horizon=EPOCHS)
    simulator = Simulator(lambda config, until, _: config["x"] - 1.0 / until)  # rises with the budget
    run(study, simulator, Stop(when=lambda history: simulator.now >= 100))
    spent = dict(online.spent_epochs(study.history))
    assert list(spent.values()) == sorted(spent.values()) and list(spent.values())[-1] == simulator.now
    losses = {key: study.history.losses(key)[0] for key in spent}
    high, low = (min(spent, key=lambda key: rule(study.history, key)) for rule in online.RULES.values())
    top = max(until for _, until in spent)
    assert high[1] == top and losses[high] == min(loss for key, loss in losses.items() if key[1] == top)
    assert losses[low] == min(losses.values()) and low[1] < top


# --- what is stored and shown -----------------------------------------------------------------------------------------


def search(name: str, seed: int, losses: list[float | None]) -> dict[str, Any]:
    handed = [None if loss is None else [50, loss, loss + 0.1] for loss in losses]
    early = [None if loss is None else [18, loss - 0.05, loss + 0.1 + 0.05 * (-1) ** seed] for loss in losses]
    key = {"part": "online", "source": "made up", "seed": seed, "n": 100, "name": name}
    return {**key, "results": 9, "marks": [50, 100], "scale": [0.1, 0.3],
            "handed": dict(zip(online.RULES, (handed, early), strict=True))}  # fmt: skip


def test_tables() -> None:
    rows = [search("ASHA(GP)", 0, [None, 0.1]), search("ASHA(GP)", 1, [0.2, 0.2]), search("ASHA(Random)", 0, [None, 0.3]),
            search("ASHA(Random)", 1, [0.3, 0.2]), search("ASHA(GP)", 2, [0.2, 0.2])]  # fmt: skip
    shown = tables.search_table(rows)
    base = np.log2(0.002), np.log2(1.002), np.log2(0.502)
    gains = [(base[0] - base[1]) / 2, (base[2] - base[1]) / 2]
    assert f"| ASHA(GP) | 2 | {tables.format_mean(gains)} | 2, 0 |" in shown, "the third seed has nothing beside it"
    assert f"| ASHA(Random) | 2 | {tables.format_mean([0.0, 0.0])} | 0, 0 |" in shown
    assert f"| made up | {tables.format_mean(gains)} |" in tables.task_table(rows)
    assert "nothing to compare with" in tables.task_table(rows[:2])
    rules = tables.rule_table(rows)
    assert "| 50 | 100% | 2, 1 |" in rules and "| 100 | 100% | 2, 3 |" in rules
    model = {"rank": 0.5, "rank_third": None, "density": -1.0, "pick": 0.25}
    key = {"part": "offline", "source": LANGUAGE_MODELS, "n": 20, "name": "last"}
    models = [{**key, "seed": seed, "scores": model} for seed in range(2)]
    shown = tables.prediction_table(models)
    assert "| language models | 20 | last | 0.50 ± 0.00 | - | -1.00 [-1.00, -1.00] | 0.25 ± 0.00 |" in shown
    assert tables.format_quartiles([0.0, 1.0, 2.0, 3.0, 1e9]) == "2.00 [1.00, 3.00]"
    assert tables.curves_tables([*rows, *models]).count("\n|---|") == 4 and tables.curves_tables(rows).count("\n|---|") == 3


def test_everything_is_listed_once_and_all_that_is_stored_is_read() -> None:
    ledger = command.open_curves(command.RESULTS)
    assert len(ledger.by_name) == 8 * 6 * len(online.METHODS) + (10 * 8 + 30) * 3 * len(MODELS)
    assert ledger.measurements[0].key["part"] == "online" and ledger.measurements[-1].key["part"] == "offline"
    assert len(ledger.latest()) == sum(1 for _ in command.RESULTS.open()) == len(ledger.by_name)


def test_a_method_depends_on_its_own_row_alone() -> None:
    one = {name: command.curves_measurement("online", TASK, 0, 100, name).digest for name in online.METHODS}
    assert len(set(one.values())) == len(online.METHODS)
    assert command.curves_measurement("online", TASK, 1, 100, "GP").digest == one["GP"]


def test_without_the_data_only_the_language_models_are_measured(elsewhere: None, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = command.open_curves(Path("none.jsonl"))
    assert capsys.readouterr().err == (
        f"TaskSet's curves are not measured: they need {TASKSET} below the folder of shared data (HPO_DATA)\n"
    )
    assert not has_taskset() and {one.key["source"] for one in ledger.list_missing()} == {LANGUAGE_MODELS}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [command.curves_measurement("offline", LANGUAGE_MODELS, draw, 20, "last") for draw in (0, 1)]
    monkeypatch.setattr(command, "curves_measurements", lambda: iter(some))
    path = tmp_path / "curves.jsonl"
    call = CliRunner().invoke
    stopped = call(command.app, ["--seconds", "0", "--results", str(path)])
    assert stopped.exit_code == 0 and "2 are left for another time" in stopped.output
    assert call(command.app, ["--results", str(path)]).exit_code == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seed"] for line in lines] == [0, 1]
    path.write_text("".join(json.dumps({**line, "digest": "older"}) + "\n" for line in lines))
    shown = call(command.app, ["--table", "--results", str(path)])
    assert "| language models | 20 | last |" in shown.output and "2 of 2 lines are older than the code" in shown.output
    again = call(command.app, ["--recheck", "--results", str(path)])
    assert "the same" in again.output and "2 lines of older sources count again" in again.output
    assert not Ledger(path, some).list_stale() and [line["scores"] for line in Ledger(path, some).latest().values()] == [
        line["scores"] for line in lines
    ]
