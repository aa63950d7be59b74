"""Early stopping in small: the methods of other projects, what is measured without them, and what the table says of lines."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments import fidelity, fidelity_peers
from experiments.benchmark.tables import TASKSET, WORST, taskset_space
from experiments.curves.data import EPOCHS, Curves
from experiments.fidelity_peers import INSTALL, OTHERS
from experiments.ledger import read_lines

PINS = Path(fidelity.__file__).parent / "fidelity.txt"


def made_up(n: int = 40) -> Curves:
    """Curves over the unit cube that fall to |x_0 - 0.3|; one has diverged."""
    rng, t = np.random.default_rng(0), np.linspace(0.0, 1.0, EPOCHS + 1)
    U = rng.random((n, 8))
    valid = np.abs(U[:, :1] - 0.3) + 0.3 * np.exp(-4.0 * t)
    valid[0, 10:] = np.inf
    return Curves(U, valid, valid, np.ones(8))


# -- methods of other projects -----------------------------------------------------------------------------------------


def first_epochs(method: str, wholes: int, seed: int = 1) -> list[tuple[int, float]]:
    """What a method trains first; skipped by name where its packages are absent."""
    if not OTHERS[method].is_here:
        pytest.skip(f"{method}: {INSTALL}")
    return list(itertools.islice(OTHERS[method].search(made_up(), taskset_space(), seed), wholes * EPOCHS))


@pytest.mark.parametrize("method", OTHERS)
def test_others_search_and_come_out_again(method: str) -> None:
    wholes = 2 if method == "Syne Tune CQR" else 8  # it takes half a second a trial
    epochs = first_epochs(method, wholes)
    trials = [trial for trial, _ in epochs]
    lengths = [len(list(of)) for _, of in itertools.groupby(trials)]
    assert trials == sorted(trials) and set(np.diff(trials)) <= {0, 1}, "one worker"
    assert max(lengths) <= EPOCHS and min(lengths) < EPOCHS and all(0 < loss <= WORST for _, loss in epochs)
    assert epochs == first_epochs(method, wholes) != first_epochs(method, wholes, seed=2)


def test_dehb_by_its_authors_has_hyperbands_rungs() -> None:
    """From 2 to 50 by 3 these are 6, 17 and 50, as in ours."""
    lengths = [len(list(of)) for _, of in itertools.groupby(trial for trial, _ in first_epochs("DEHB (authors)", 9))]
    assert lengths[:13] == [6] * 9 + [17] * 3 + [50]


def test_syne_tunes_scheduler_is_told_of_every_epoch_until_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Driven by the calls of its Tuner, in their order; a loss that is no number is told as that of guessing."""
    calls: list[tuple[Any, ...]] = []

    class Scheduler:
        def __init__(self, space: dict[str, Any], **options: Any) -> None:
            self.space, self.options = space, options

        def suggest(self) -> Any:
            return SimpleNamespace(config={name: low for name, (low, _) in self.space.items()})

        def on_trial_add(self, trial: Any) -> None:
            calls.append(("add", trial.number))

        def on_trial_result(self, trial: Any, result: dict[str, Any]) -> str:
            calls.append((result["epoch"], result["loss"]))
            return "STOP" if result["epoch"] == 2 + trial.number else "CONTINUE"

        def on_trial_remove(self, trial: Any) -> None:
            calls.append(("remove", trial.number))

    fakes = {
        "syne_tune": SimpleNamespace(config_space=SimpleNamespace(loguniform=lambda *ends: ends, uniform=lambda *ends: ends)),
        "syne_tune.backend": SimpleNamespace(),
        "syne_tune.backend.trial_status": SimpleNamespace(
            Trial=lambda number, config, begun: SimpleNamespace(number=number, config=config)
        ),
        "syne_tune.optimizer": SimpleNamespace(baselines=SimpleNamespace(ASHA=Scheduler)),
        "syne_tune.optimizer.scheduler": SimpleNamespace(SchedulerDecision=SimpleNamespace(CONTINUE="CONTINUE")),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)  # type: ignore[arg-type]
    curves = made_up()
    curves.valid[:, 2] = np.inf
    epochs = list(itertools.islice(OTHERS["Syne Tune ASHA"].search(curves, taskset_space(), 0), 6))
    assert [trial for trial, _ in epochs] == [0, 0, 1, 1, 1, 2]
    assert [call[0] for call in calls] == ["add", 1, 2, "remove", "add", 1, 2, 3, "remove", "add"]
    assert calls[2][1] == WORST == epochs[1][1]


def test_what_is_not_installed_is_not_measured_and_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fidelity_peers, "package_versions", lambda *packages: {})
    monkeypatch.setattr(fidelity, "has_taskset", lambda: True)
    monkeypatch.setattr(fidelity, "METHODS", {"random": fidelity.METHODS["random"]})
    ledger = fidelity.open_fidelity(tmp_path / "none.jsonl")
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{name} is not measured: {INSTALL}" for name in OTHERS]
    (file,) = set(re.findall(r"experiments/\S+\.txt", " ".join(said)))
    assert (PINS.parents[1] / file) == PINS and PINS.exists()
    assert {one.key["method"] for one in ledger.list_missing()} == {"random", *fidelity.PEERS}
    fidelity.open_fidelity(fidelity.RESULTS)
    assert "is not measured" not in capsys.readouterr().err, "every line is stored"


def test_without_data_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HPO_DATA", str(tmp_path / "nowhere"))
    done = CliRunner().invoke(fidelity.app, ["--results", str(tmp_path / "lines.jsonl")])
    assert done.exit_code == 0 and TASKSET in done.output and "0 to measure" in done.output


def test_lines_of_others_were_made_by_the_versions_that_their_file_names() -> None:
    rows = [line for line in PINS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pins = {name.lower(): pin for name, pin in (row.split("==") for row in rows)}
    lines = [line for line in read_lines(fidelity.RESULTS) if line["method"] in OTHERS]
    assert {line["method"] for line in lines} == {*OTHERS}
    for line in lines:
        for package in OTHERS[line["method"]].packages:
            assert line[package] == pins[package], line["method"]


# -- the table ---------------------------------------------------------------------------------------------------------


def line_of(
    method: str, seed: int, steps: list[tuple[int, float]], trials: int = 100, scale: tuple[float, float] = (0.0, 2.0)
) -> dict[str, Any]:
    return {"task": fidelity.TASKS[0], "method": method, "seed": seed, "trials": trials, "steps": steps, "scale": scale}


def test_regret_falls_where_the_loss_falls() -> None:
    line = line_of("random", 0, [(10, 1.0), (60, 0.5)])
    assert [fidelity.regret_at(line, epochs) for epochs in (10, 59, 60, 99)] == [0.5, 0.5, 0.25, 0.25]
    assert fidelity.regret_at(line, 9) == WORST / 2.0, "before the first result that of guessing"
    assert [fidelity.epochs_to(line, regret) for regret in (0.5, 0.3, 0.2)] == [10.0, 60.0, np.inf]


def test_intervals_are_those_of_a_bootstrap_over_searches() -> None:
    """Beside the normal approximation, which is good for the mean of 400 searches; of equal searches it is a point."""
    values = np.random.default_rng(1).random(400)
    said = fidelity.mean_regret([line_of("A", 0, [(1, v)], scale=(0.0, 1.0)) for v in values], 5)
    mean, low, high = map(float, re.findall(r"[\d.]+", said))
    half = 1.96 * values.std() / 20
    assert mean == round(values.mean(), 3)
    assert abs(low - (mean - half)) < 0.01 and abs(high - (mean + half)) < 0.01 and high - low > half
    assert fidelity.mean_regret([line_of("A", seed, [(1, 1.0)]) for seed in range(3)], 5) == "0.500 [0.50, 0.50]"


def test_the_table_says_how_much_sooner_and_how_many_epochs_a_trial() -> None:
    """Random search has regret 0.25 at 100 trainings; A falls there after 10, but for one search in four that never does."""
    lines = [line_of("random", seed, [(1, 1.0), (5000, 0.5)]) for seed in range(4)]
    lines += [line_of("ASHA", seed, [(1, 1.0), (500, 0.5 if seed else 0.6)], trials=500) for seed in range(4)]
    lines += [line_of("Syne Tune BOHB", seed, [(1, 1.0)], trials=100) for seed in range(4)]
    head, _, random, asha, bohb = ([cell.strip() for cell in row.strip("| ").split(" | ")]
                                   for row in fidelity.fidelity_tables(lines).split("\n\n")[0].splitlines())  # fmt: skip
    assert head[:4] == ["method", "searches", "epochs a trial", "regret after 1"]
    assert random[2] == "50.0" and asha[2] == "10.0" and bohb[2] == "15.0", "it is ended after 30 whole trainings"
    assert asha[-1].startswith("10.0x [") and asha[-1].endswith("], 75%") and random[-1] == "1.0x [1.0, 1.0], 100%"
    assert bohb[head.index("regret after 30")] == "0.500 [0.50, 0.50]" and bohb[head.index("regret after 50")] == ""


def test_pairs_are_compared_seed_by_seed() -> None:
    """Seeds differ by far more than the two methods, which differ by 0.05 at every seed."""
    lines = [line_of("random", 0, [(1, 1.0)])]
    lines += [line_of("ASHA, stopping", seed, [(1, 0.1 * seed)]) for seed in range(5)]
    lines += [line_of("Syne Tune ASHA", seed, [(1, 0.1 * seed + 0.1)]) for seed in range(1, 6)]
    (row,) = (line for line in fidelity.fidelity_tables(lines).splitlines() if line.startswith("| ASHA, stopping | Syne Tune"))
    cell = "-0.050 [-0.050, -0.050]"
    assert [one.strip() for one in row.strip("| ").split(" | ")] == ["ASHA, stopping", "Syne Tune ASHA", "4", *[cell] * 4]
