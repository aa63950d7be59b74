"""Loss, bytes and time at once: verdicts, the record, the picture, and the command, really run on a tiny text."""

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import inf, isfinite, isnan, nan
from pathlib import Path
from typing import Any

import pytest

import hpo
from experiments.front import command
from experiments.front.objective import OBJECTIVES, FrontObjective, measure_shape
from experiments.front.picture import draw_front, staircase
from experiments.front.record import Point, Record
from experiments.front.settings import METHODS, FrontSettings
from experiments.front.table import HEAD, front_rows, sentences, verdict
from experiments.front.verdict import ROUNDS, judge_points, measure_again
from experiments.job import GPTObjective, default, space
from experiments.tune.optimizer import make_optimizer
from hpo import Result, Study
from models.inference import Inference, Spread
from models.predict.cost import cost
from tests.pages import run_here

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = [
    "--context", "16", "--min-resource", "512", "--horizon", "4608", "--repeats", "3", "--text", "tiny.txt", "--folder", "run",
]  # fmt: skip
HANG = 900  # seconds after which a test that would never end is ended
DEFAULT = default("standard")


def point(trial: int, loss: float, size: int, ms: float, again: float | None = None, **more: Any) -> Point:
    """A member of the front whose quartiles are a hundredth around its times."""
    spreads = {"again": (0.99 * again, again, 1.01 * again), "token": (again, again, again)} if again is not None else {}
    config = {**DEFAULT, "layers": 1 + trial % 4}
    return Point(trial, config, loss, size, (0.99 * ms, ms, 1.01 * ms), **{"is_member": True, **spreads, **more})


def record(*points: Point) -> Record:
    settings = {"scheduler": "asha", "sampler": "gp", "seed": 0, "repeats": 20}
    how = {"batch": 1, "context": 64, "device": "cpu", "precision": "float32", "threads": 1}
    how |= {"warmup": 3, "repeats": 50, "torch": "2", "shapes": 4}
    return Record(settings, 1000, 30, 40, 2, 120.0, points, how)


# -- the verdict -------------------------------------------------------------------------------------------------------

FAST, SLOW = point(1, 2.5, 100, 1.0, again=1.0), point(2, 2.6, 100, 0.9, again=1.2)  # slow was lucky in the search
CLOSE = point(3, 2.6, 100, 0.9, again=1.005)
LARGE, ASIDE = point(4, 2.4, 200, 2.0, again=3.0), point(5, 9.0, 900, 9.0, is_member=False)
USUAL = point(0, 2.7, 150, 1.5, again=1.5, is_member=False, is_default=True)


def test_a_member_that_only_luck_had_put_on_the_front_is_dominated() -> None:
    judged = {one.trial: one for one in judge_points([FAST, SLOW, CLOSE, LARGE, ASIDE, USUAL])}
    assert {trial: one.dominated_by for trial, one in judged.items()} == {1: None, 2: 1, 3: 1, 4: None, 5: None, 0: 1}
    assert [trial for trial, one in judged.items() if one.is_close] == [3]
    said = {trial: verdict(one) for trial, one in judged.items()}
    assert said == {1: "holds", 2: "dominated by 1", 3: "dominated by 1, but close", 4: "holds", 5: "not measured again",
                    0: "dominated by 1"}  # fmt: skip


def test_an_equal_member_dominates_nothing_and_a_fast_default_is_said() -> None:
    judged = judge_points([FAST, replace(FAST, trial=7), replace(USUAL, again=(0.5, 0.5, 0.5))])
    assert [one.dominated_by for one in judged] == [None] * 3
    assert verdict(judged[2]) == "missed by the search" and judged[2].is_missing


def test_what_the_search_missed_is_shown_and_said() -> None:
    made = record(*judge_points([FAST, LARGE, USUAL, point(6, 2.45, 150, 9.0, again=1.1, is_member=False)]))
    rows = front_rows(made)
    assert [row[0] for row in rows] == ["1", "6", "4", "0, the default"] and rows[1][-1] == "missed by the search"
    said = sentences(made)[-1]
    assert said == "the front holds: measured again, none of its 2 members is dominated; trial 6 would be on it, too"
    near = judge_points([FAST, point(7, 2.55, 150, 9.0, again=0.995, is_member=False)])[1]  # faster, but that may be chance
    assert (near.dominated_by, near.is_close, near.is_missing) == (1, True, False)


def test_equal_shapes_are_measured_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def compare(models: Any, *_: Any, **how: Any) -> list[Inference]:
        sizes.extend(model.config.layers for model in models)
        spreads = [Spread(i / 1e3, i / 2e3, i / 1e3) for i in range(1, 1 + len(models))]
        return [Inference(one, one, 1, 64, "cpu", "float32", 1, how["warmup"], how["repeats"], "2") for one in spreads]

    monkeypatch.setattr("models.inference.compare_inference", compare)
    one, other = replace(FAST, config={**FAST.config, "dropout": 0.3, "lr": 1e-2}), replace(LARGE, trial=8)
    made = measure_again(record(FAST, other, one), FrontObjective(GPTObjective()), 65)
    assert sizes == [2, 1] and [point.again for point in made.points] == [(0.5, 1.0, 1.0), (1.0, 2.0, 2.0), (0.5, 1.0, 1.0)]
    assert made.measured["shapes"] == 2 and made.measured["repeats"] == ROUNDS


def test_the_sentences_count_what_fell_and_what_holds() -> None:
    fallen = sentences(record(*judge_points([FAST, SLOW, CLOSE, LARGE, ASIDE, USUAL])))
    assert "30 trials in 120 s, 2 results failed; 6 trained to 1,000 tokens, of which 4 are on the front" in fallen[0]
    assert "a forward pass over 1 x 64 tokens on cpu, float32, 1 thread, torch 2; " in fallen[1]
    assert "in the search, by +0 % to +50 % (median" in fallen[-2]
    assert "of the 4 members 2 are dominated (trials 2, 3); with 1 of them the quartiles overlap" in fallen[-1]
    holding = sentences(record(*judge_points([FAST, LARGE])))[-1]
    assert holding == "the front holds: measured again, none of its 2 members is dominated"
    assert len(sentences(replace(record(FAST), measured={}))) == 1  # after a Ctrl-C nothing was measured again


def test_the_table_has_the_front_by_size_and_the_default() -> None:
    rows = front_rows(record(*judge_points([LARGE, FAST, ASIDE, USUAL])))
    assert [row[0] for row in rows] == ["1", "4", "0, the default"] and {len(row) for row in rows} == {len(HEAD)}
    assert rows[0][3:5] == ["1.000 [0.990, 1.010]"] * 2 and rows[0][1:3] == ["2.500", "0"]
    assert front_rows(record(replace(FAST, again=None, token=None)))[0][4:6] == ["", ""]


def test_a_record_comes_back_from_its_line() -> None:
    made = record(*judge_points([FAST, SLOW, ASIDE, USUAL]))
    assert Record.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_record_holds_every_success_at_the_highest_budget() -> None:
    study = Study(hpo.Random(space()), objectives=OBJECTIVES, horizon=9)
    configs = [study.optimizer.ask().config for _ in range(2)]  # type: ignore[union-attr]
    told = [(DEFAULT, 2.5, 0.3), (configs[0], 2.7, 0.4), (configs[1], 2.4, 0.5), ({**DEFAULT, "layers": 1}, inf, 0.1)]
    for config, loss, ms in told:
        study.optimizer.add(config, Result({"loss": loss, "bytes": 8.0, "ms": ms, "ms_low": ms / 2, "ms_high": 2 * ms}), 9)
    study.optimizer.add({**DEFAULT, "layers": 3}, Result({"loss": 1.0, "bytes": 1.0, "ms": 0.1}), 3)  # too short to compare
    made = Record.of(study, FrontSettings())
    assert [(one.loss, one.is_member, one.is_default) for one in made.points] == [
        (2.5, True, True), (2.7, False, False), (2.4, True, False),
    ]  # fmt: skip
    assert made.points[0].ms == (0.15, 0.3, 0.6) and made.failed == 1 and made.default is not None and made.default.loss == 2.5


# -- the picture -------------------------------------------------------------------------------------------------------


def test_a_staircase_is_the_least_up_to_there() -> None:
    assert staircase([(3.0, 1.0), (1.0, 5.0), (2.0, 6.0), (4.0, 2.0)]) == ([1.0, 3.0, 4.0], [5.0, 1.0, 1.0])


@pytest.mark.parametrize("points", [[FAST], [replace(USUAL, is_member=True)], [FAST, SLOW, CLOSE, LARGE, ASIDE, USUAL]])
def test_the_picture_shows_every_front(tmp_path: Path, points: list[Point]) -> None:
    figure = draw_front(record(*judge_points(points)), tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes()[:4] == b"\x89PNG"
    left, right = figure.axes[:2]
    members = [one for one in points if one.is_member and not one.is_default]
    for axes in (left, right):
        shown = [text.get_text() for text in axes.texts if "×" in text.get_text() and "labels" not in text.get_text()]
        assert sorted(shown) == sorted(f"{one.trial}: {one.config['layers']}×64" for one in members)
    assert left.get_xlabel() == "weights, kB" and right.get_xlabel() == "forward pass, ms"


# -- a training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "tiny.txt"
    path.write_text("the quick brown fox jumps over the lazy dog, and so on\n" * 60)
    return path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Measurements that were asked for; each finds 2 ms, between 1 and 4."""
    asked: list[dict[str, Any]] = []

    def measure(model: Any, batch: int, **how: Any) -> Inference:
        asked.append({"batch": batch, **how})
        return Inference(Spread(2e-3, 1e-3, 4e-3), Spread(1.0, 1.0, 1.0), batch, 16, "cpu", "float32", 1, 0, 1, "")

    monkeypatch.setattr("models.inference.measure_inference", measure)
    measure_shape.cache_clear()
    yield asked
    measure_shape.cache_clear()


def test_a_training_reports_its_bytes_and_milliseconds(text: Path, tmp_path: Path, seen: list[dict[str, Any]]) -> None:
    objective = FrontObjective(GPTObjective(str(text), context=16, eval_tokens=64), sequences=2, warmup=5, repeats=7)
    run = objective(DEFAULT, 0, 4608)
    metrics, curve = run.advance(512)
    vocabulary = run.run.size.words
    assert metrics["bytes"] == 4 * cost({"vocabulary": vocabulary, "context": 16, **DEFAULT}).parameters
    assert (metrics["ms_low"], metrics["ms"], metrics["ms_high"]) == (1.0, 2.0, 4.0)
    assert isfinite(metrics["loss"]) and curve[-1] == (512, metrics["loss"])
    how = {"batch": 2, "device": "cpu", "precision": "float32", "threads": 1, "warmup": 5, "repeats": 7}
    assert seen == [how]
    run.save(tmp_path / "one.ckpt")
    other = objective(DEFAULT, 0, 4608)
    other.load(tmp_path / "one.ckpt")
    assert other.advance(1024)[0]["loss"] == run.advance(1024)[0]["loss"]


def test_a_shape_is_measured_once_whatever_was_learned(text: Path, seen: list[dict[str, Any]]) -> None:
    objective = FrontObjective(GPTObjective(str(text), context=16, eval_tokens=64))
    others = ({"dropout": 0.2, "lr": 1e-2}, 1), ({"heads": 2}, 2), ({"layers": 1}, 3), ({"ff_ratio": 1}, 4)
    for config, count in (({}, 1), *others):
        run = objective({**DEFAULT, **config}, 0, 4608)
        assert [run.advance(until)[0]["ms"] for until in (512, 1024)] == [2.0, 2.0] and len(seen) == count


def test_a_training_that_diverged_is_not_measured_and_is_a_failure(text: Path, seen: list[dict[str, Any]]) -> None:
    objective = FrontObjective(GPTObjective(str(text), context=16, eval_tokens=64))
    metrics, _ = objective({**DEFAULT, "optimizer": "sgd", "momentum": 0.9, "sgd_lr": 1e30}, 0, 4608).advance(4608)
    assert isnan(metrics["loss"]) and isnan(metrics["ms"]) and metrics["bytes"] > 0 and seen == []
    study = Study(hpo.Random(space()), objectives=OBJECTIVES, horizon=4608)
    key = study.optimizer.add(DEFAULT, Result(metrics), 4608).key
    assert study.history.is_failure(key) and not study.successes()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_three_objectives_and_failures(name: str) -> None:
    scheduler, sampler = METHODS[name]
    settings = FrontSettings(scheduler=scheduler, sampler=sampler)
    study = Study(make_optimizer(settings, space()), objectives=OBJECTIVES, unit="tokens", horizon=settings.horizon)
    study.optimizer.add(DEFAULT, Result({"loss": 2.5, "bytes": 4e5, "ms": 0.4}))
    for i in range(12):
        job = study.optimizer.ask()
        assert job is not None and job.until in (16_384, 49_152, 147_456)
        loss = nan if i % 4 == 3 else 3 - i / 20
        study.optimizer.tell(job, {"loss": loss, "bytes": 1e3 * job.config["hidden"], "ms": i % 5 + 0.1})
    assert study.pareto[0].until == 147_456


# -- the command -------------------------------------------------------------------------------------------------------


def start(folder: Path, *flags: object) -> subprocess.Popen[str]:
    here = {**os.environ, "HPO_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "experiments.front", *SMALL, "--seconds", "100000", *map(str, flags)]
    return subprocess.Popen(words, cwd=folder, env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(folder: Path) -> dict[tuple[int, int], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constraint cannot stand in a file, so the study can only be read
        study = hpo.load(folder / "run/log.sqlite")
    found = {key: str(result) for key, result in study.history.results.items()}
    study.history.log.close()
    return found


def test_a_killed_search_goes_on_and_ends_with_a_front(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.txt").write_text(text.read_text())
    driver = start(tmp_path, "--trials", 4)
    assert driver.stdout is not None
    next(line for line in driver.stdout if line.startswith("trial    1 @"))
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=HANG)
    before = results(tmp_path)
    assert (0, 4608) in before and len(before) >= 2 and not (tmp_path / "run/front.json").exists()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    again = run_here("experiments.front", *SMALL, "--seconds", "100000", "--trials", "4")
    said = again.stdout
    assert again.returncode == 0, again.stderr
    after = results(tmp_path)
    assert before.items() <= after.items() and len({trial for trial, _ in after}) == 5  # the default, and four
    made = Record.from_json(json.loads((tmp_path / "run/front.json").read_text()))
    assert made.default is not None and made.default.trial == 0 and made.until == 4608 and made.measured["context"] == 16
    assert all(one.again is not None for one in made.points)
    assert {"front.png", "report.html"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert "0, the default" in said and "measured again" in said and "the default configuration first" not in said
    kept = {name.partition(".")[0] for name in os.listdir(tmp_path / "run/checkpoints") if not name.startswith(".")}
    assert {f"{one.trial}-4608" for one in made.members} <= kept


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--optimizer", "pbt"], "optimizer is 'pbt', but must be one of asha, gp, tpe, nsga2, random"),
        (["--repeats", "2"], "repeats is 2, but must be a whole number of at least 3"),
        (["--sequences", "0"], "sequences is 0, but must be a whole number of at least 1"),
        (["--warmup", "-1"], "warmup is -1, but must be a whole number of at least 0"),
        (["--seconds", "0"], "seconds is 0.0, but must be a finite number above 0"),
        (["--horizon", "100"], "min_resource is 16384, but must be at most the horizon, 100 tokens"),
        (["--device", "tpu"], "device is 'tpu', but must be cpu, cuda or cuda:N"),
        (["--text", "no.txt"], "no corpus or file is named 'no.txt'"),
        (["--store", "nowhere"], "there is no front in 'nowhere': front.json is missing"),
        (["--table", "--results", "no.jsonl"], "there is no front in 'no.jsonl'"),
        (["--table", "--picture", "front.txt"], "path is 'front.txt'; allowed is the path of a file that ends in one of"),
        (["--sped", "3"], "--sped"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["front", *flags])
    monkeypatch.setattr(command, "RESULTS", tmp_path / "none.jsonl")
    assert command.main() == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("front: ") and said in shown.err and shown.err.count("\n") == 1 and shown.out == ""
    assert not list(tmp_path.iterdir())


def test_a_stored_front_is_printed_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/front.json").write_text(json.dumps(record(*judge_points([FAST, SLOW, USUAL])).to_json()))
    for flags in (["--store", "run"], ["--table", "--picture", "front.svg"]):
        monkeypatch.setattr(sys, "argv", ["front", *flags, "--results", "stored.jsonl"])
        assert command.main() == 0
    said = capsys.readouterr().out
    assert "asha, seed 0" in said and "| 2 | 2.600 | 0 | 0.900 [0.891, 0.909] | 1.200 [1.188, 1.212] |" in said
    assert (tmp_path / "front.svg").exists() and len((tmp_path / "stored.jsonl").read_text().splitlines()) == 1
