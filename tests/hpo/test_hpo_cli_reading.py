"""hpo studies, show, best, compare: what they say is what the library says."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

import hpo
from hpo.analysis.comparison import compare_trials, header_differences
from hpo.queue import enqueue_failures, list_failures, list_queued
from hpo.trial import best_key
from tests.hpo.commands import NAMES, Commands


@pytest.mark.parametrize("name", NAMES)
def test_show(name: str, commands: Commands, studies: Path) -> None:
    log = studies / f"{name}.db"
    said, study = commands.document("show", log), hpo.load(log)
    history = study.history
    assert (said["trials"], said["results"], said["events"]) == (len(history.trials), len(history.results), len(history))
    assert said["failures"] == sum(map(history.is_failure, history.results)) and said["pending"] == []
    assert said["objectives"] == study.header.objectives and [*said["space"]["parameters"]] == [*study.space.parameters]
    best = best_key(history)
    assert (said["best"] is None) == (best is None)
    if best is not None:
        assert (said["best"]["trial"], said["best"]["until"]) == best
        assert said["best"]["config"] == history.jobs[best].config and list(best) in said["front"]
    text = commands.done("show", log).out
    assert str(log) in text and study.summary() in text
    last = next(reversed(history.results))
    assert f"\n{last[0]:<5}" in text


@pytest.mark.parametrize("name", NAMES)
def test_show_a_trial(name: str, commands: Commands, studies: Path) -> None:
    log = studies / f"{name}.db"
    study = hpo.load(log)
    key = next(reversed(study.history.results))
    said, trial = commands.document("show", log, "--trial", f"{key[0]},{key[1]}"), study.trial(key)
    assert said["config"] == trial.config and said["error"] == trial.error and not said["pending"]
    assert [tuple(step) for step in said["lineage"]] == [*study.lineage(key)]
    assert said["metrics"] == trial.metrics and len(said["curve"]) == len(trial.curve)
    text = commands.done("show", log, "--trial", key[0]).out
    assert f"seed: {trial.seed}" in text and ("traceback: Traceback" in text) == (trial.error is not None)


def test_best(commands: Commands, studies: Path) -> None:
    for name in ("gp", "asha", "pbt", "bounds", "failing"):
        best = hpo.load(studies / f"{name}.db").best
        said = commands.document("best", studies / f"{name}.db")
        assert (said["trial"], said["until"], said["config"]) == (*best.key, best.config) and said["metrics"] == best.metrics
        assert commands.done("best", studies / f"{name}.db").out.startswith(f"trial {best.number} at {best.until} ")


def test_the_front(commands: Commands, studies: Path) -> None:
    front = hpo.load(studies / "front.db").pareto
    said = commands.document("best", studies / "front.db")["front"]
    assert [(one["trial"], one["config"]) for one in said] == [(trial.number, trial.config) for trial in front]
    assert len(commands.done("best", studies / "front.db").out.splitlines()) == len(front)


def test_no_best(commands: Commands, studies: Path) -> None:
    """Exit status 1: nothing is wrong with the question."""
    assert "nothing works" in commands.refusal("best", studies / "none.db", status=1)
    assert commands.refusal("best", studies / "none.db", "--json", status=1)


def test_texts_of_users_are_shown_as_they_are(commands: Commands, studies: Path) -> None:
    """Brackets are markup to whoever draws tables."""
    assert "too [deep]" in commands.done("show", studies / "failing.db").out


def test_studies_of_a_file(commands: Commands, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(studies)
    for place in ("asha.db", "sqlite:///asha.db"):
        (one,) = commands.document("studies", place)
        assert one["study"] == "asha.db" and one["optimizer"] == "ASHA" and one["summary"] == hpo.load("asha.db").summary()
        assert "ASHA" in commands.done("studies", place).out


# -- compare -----------------------------------------------------------------------------------------------------------


def test_compare_studies(commands: Commands, studies: Path) -> None:
    logs = [studies / f"{name}.db" for name in ("gp", "bounds", "asha", "none")]
    said = commands.document("compare", *logs)
    for one, log in zip(said, logs, strict=True):
        study = hpo.load(log)
        assert one["results"] == len(study.history.results) and one["log"] == str(log)
        assert one["best"] == (None if best_key(study.history) is None else study.best.value)
    assert said[0]["differences"] == {}
    assert said[1]["differences"] == {"optimizer.constraints.size": [None, 5.0], "seed": [1, 3]}
    assert said[2]["differences"]["unit"] == ["evaluations", "steps"]
    assert [one["name"] for one in said[2]["differences"]["optimizer"]] == ["GP", "ASHA"]
    text = commands.done("compare", *logs).out
    assert "optimizer is ASHA(GP(space, seed=0), max_resource=9), and GP(space, seed=0) in" in text


def test_the_work_of_a_study_is_its_budget(commands: Commands, studies: Path) -> None:
    """ASHA trains rung by rung: a trial that came to 9 was trained for 9 steps in all."""
    (_, said) = commands.document("compare", studies / "gp.db", studies / "asha.db")
    history = hpo.load(studies / "asha.db").history
    assert said["work"] == sum(max(until for _, until in keys) for keys in history.trials.values())


def test_compare_trials(commands: Commands, studies: Path) -> None:
    study = hpo.load(studies / "asha.db")
    top = study.best.number
    other = next(trial for trial, keys in study.history.trials.items() if len(keys) == 1)
    said = commands.document("compare", studies / "asha.db", "--trials", top, other)
    assert said["keys"] == [[top, 1], [other, 1]], "at the highest budget that both have"
    a, b = (study.trial((trial, 1)) for trial in (top, other))
    assert said["metrics"]["loss"] == [a.value, b.value] and said["better"] == (0 if a.value < b.value else 1)
    assert {name: (a.config.get(name), b.config.get(name)) for name in said["config"]} == {
        name: tuple(pair) for name, pair in said["config"].items()
    }
    same = {*a.config, *b.config} - {*said["config"]}
    assert all(a.config[name] == b.config[name] for name in same)
    text = commands.done("compare", studies / "asha.db", "--trials", top, other).out
    assert f"trial {(top, other)[said['better']]} at 1 is better" in text


def test_trials_at_other_budgets_are_not_ranked(studies: Path) -> None:
    optimizer = hpo.Random({"x": (0.0, 1.0)})
    study = hpo.Study(optimizer, horizon=9)
    for until, loss in ((1, 3.0), (9, 2.0)):
        optimizer.add({"x": until / 10}, loss, until)
    contrast = compare_trials(study.history, (0, 1), (1, 9))
    assert contrast.keys == ((0, 1), (1, 9)) and contrast.better is None and contrast.shared == ()


def test_several_objectives_and_failures_are_compared_as_fronts_are() -> None:
    optimizer = hpo.Random({"x": (0.0, 1.0)})
    study = hpo.Study(optimizer, objectives={"a": "min", "b": "max"})
    for values in ((1.0, 1.0), (2.0, 0.5), (0.5, 0.5), (math.nan, 1.0), (1.0, 1.0)):
        optimizer.add({"x": 0.5}, values)
    better = {other: compare_trials(study.history, (0, 1), (other, 1)).better for other in range(1, 5)}
    assert better == {1: 0, 2: None, 3: 0, 4: None}


def test_the_same_header_differs_in_nothing(studies: Path) -> None:
    history = hpo.load(studies / "pbt.db").history
    assert header_differences(history, hpo.load(studies / "pbt.db").history) == {}


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_failures_are_tried_again_once(studies: Path, tmp_path: Path) -> None:
    study = hpo.load(shutil.copy(studies / "failing.db", tmp_path / "log.db"))
    history = study.history
    failed = [key[0] for key in history.results if history.is_failure(key)]
    assert list_failures(history) == failed and len(failed) > 2
    first = enqueue_failures(history, failed[:1])
    assert list_failures(history) == failed[1:] and list_queued(history) == [*first.values()]
    rest = enqueue_failures(history)
    assert [*rest] == failed[1:] and enqueue_failures(history) == {} and len(list_queued(history)) == len(failed)
    for trial in failed:
        job = study.optimizer.ask()
        assert job is not None and job.config == history.jobs[trial, 1].config
        study.optimizer.tell(job, 1.0)
    assert list_queued(history) == [] and list_failures(history) == []
    with pytest.raises(ValueError, match="trial 0 is none to be tried again"):
        enqueue_failures(history, [0])


def test_a_failed_clone_is_not_tried_again_from_nothing() -> None:
    line = hpo.Space(x=hpo.Float(0.0, 1.0))
    optimizer = hpo.PBT(hpo.Random(line, seed=1), population=4, generations=3, max_resource=9, truncation=0.4)
    history, clones = hpo.Study(optimizer).history, []
    while (job := optimizer.ask()) is not None:
        if job.source is not None and job.source[0] != job.trial:
            clones.append(job.trial)
        optimizer.tell(job, math.nan if job.trial in clones[:1] else job.config["x"])
    assert history.is_failure(history.trials[clones[0]][-1])
    assert list_failures(history) == []
