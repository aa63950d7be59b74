"""Study, run, minimize and maximize: what people type, what they read, and what is refused in one sentence."""

import math
import threading
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, PBT, Inline, MedianStopping, Random, Result, SQLiteLog, Stop, Study, run
from hpo.executors import standing_name
from tests.hpo.objectives import Reports, Traces, line, square, two_names, waits


def test_the_snippet_of_the_issue() -> None:
    from hpo import ASHA, GP, Categorical, Float, Int, Space, make

    space = Space(lr=Float(1e-5, 1e-1, log=True), layers=Int(2, 12), optimizer=Categorical(["adamw", "sgd"]))
    opt: Any = make("gp", space, seed=0)
    job = opt.ask()
    assert opt.tell(job, 3.2)
    opt.add({"lr": 1e-3, "layers": 6, "optimizer": "adamw"}, 2.9)
    opt.enqueue({"lr": 1e-2, "layers": 3, "optimizer": "sgd"})
    assert opt.ask().config == {"lr": 1e-2, "layers": 3, "optimizer": "sgd"}
    assert {name: type(value) for name, value in job.config.items()} == {"lr": float, "layers": int, "optimizer": str}
    opt = ASHA(GP(space, seed=0))
    job = opt.ask()
    assert opt.tell(job, 3.2) and opt.ask().trial == 1
    for name in hpo.OPTIMIZERS:
        job = make(name, space, seed=0).ask()
        assert job is not None and space.check(job.config) == dict(job.config)


def test_minimize_and_maximize_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    study = hpo.minimize(square, {"x": (-1.0, 1.0)}, trials=12, seed=0)
    assert len(study.history.results) == 12 and study.best.value < 0.05 and study.header.horizon == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and lines[3].startswith("trial    3  loss=") and "x=" in lines[3] and "best" in lines[3]
    top = hpo.maximize(square, {"x": (-1.0, 1.0)}, "random", trials=12, seed=0, quiet=True)
    assert capsys.readouterr().out == ""
    values = [trial.metrics["value"] for trial in top.history.results.values()]
    assert top.best.value == max(values) == top.recommend().value and top.header.objectives == {"value": "max"}
    again = hpo.minimize(square, {"x": (-1.0, 1.0)}, trials=12, seed=0, quiet=True)
    assert [j.config for j in again.history.jobs.values()] == [j.config for j in study.history.jobs.values()]


def test_minimize_a_grid_says_its_size_first(capsys: pytest.CaptureFixture[str]) -> None:
    study = hpo.minimize(square, {"x": (-1.0, 1.0)}, "grid")
    assert len(study.history.results) == 4 and capsys.readouterr().out.startswith("grid 4 = 4")


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_reports_and_runs_through_minimize(executor: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"trials": 9, "executor": executor, "quiet": True, "unit": "steps"}
    asha = ASHA(Random(line(), seed=0), max_resource=9)
    study = hpo.minimize(Reports(tmp_path / "reports"), line(), asha, **options)
    assert study.best.until == 9 and [step for step, _ in study.best.curve] == list(range(1, 10))
    assert study.best.value == study.best.config["x"] ** 2 + 1 / 9
    if executor == "inline":  # one worker holds every parked trial: each begins once, and ends when it is not continued
        text = (tmp_path / "reports").read_text().splitlines()
        assert sum(line.startswith("begin") for line in text) == 9
    asha = ASHA(Random(line(), seed=0), max_resource=9)
    study = hpo.minimize(Traces(tmp_path / "runs"), line(), asha, folder=tmp_path / "c", **options)
    assert [step for step, _ in study.best.curve] == list(range(1, 10))
    assert (tmp_path / "c" / standing_name(study.history, study.best.key)).exists()


def test_the_thread_of_a_stopped_report_ends(tmp_path: Path) -> None:
    before = set(threading.enumerate())  # those of libraries may never end
    hpo.minimize(Reports(tmp_path / "j"), line(), ASHA(Random(line()), max_resource=9), 6, quiet=True)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    text = (tmp_path / "j").read_text()
    assert text.count("begin") == text.count("end ") == 6 and "raised Closed" in text
    assert set(threading.enumerate()) <= before


def test_coroutines(tmp_path: Path) -> None:
    study = hpo.minimize(waits, line(), "random", 4, executor="threads", workers=4, quiet=True)
    assert len(study.successes()) == 4
    assert hpo.minimize(waits, line(), "random", 1, quiet=True).best.value == square(
        dict(study.history.jobs[0, 1].config)
    )


def test_several_objectives() -> None:
    study = hpo.minimize(two_names, line(), trials=14, objectives={"loss": "min", "size": "min"}, quiet=True)
    front = study.pareto
    assert len(front) == 14, "every point of this trade-off is on the front"
    assert study.recommend().key in {trial.key for trial in front}
    with pytest.raises(ValueError, match=r"the best in all of \['loss', 'size'\]: study.pareto holds the front of 14 trials"):
        _ = study.best
    frame = study.dataframe()
    assert {"trial", "until", "config.x", "loss", "size", "extra", "error", "started", "finished"} <= set(frame.columns)
    assert len(frame) == 14 and (frame["finished"] >= frame["started"]).all()
    wrong = hpo.minimize(square, line(), "random", 2, objectives={"loss": "min", "size": "max"}, quiet=True)
    errors = [result.error for result in wrong.history.results.values()]
    assert all("lacks the objective 'size'" in (error or "") for error in errors)


def test_the_pareto_front_is_not_dominated() -> None:
    study = Study(Random(line()), objectives={"a": "min", "b": "max"})
    for a, b in [(1, 1), (2, 5), (3, 3), (1, 1), (0, 0), (math.nan, 9), (5, 5)]:
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, {"a": a, "b": b})
    assert {trial.number for trial in study.pareto} == {0, 1, 3, 4}
    assert study.history.is_failure((5, 1)) and set(study.keep()) == {(n, 1) for n in (0, 1, 3, 4)}


REFUSED: list[tuple[Any, str]] = [
    (lambda: hpo.minimize(square, line(), "asha", 3), r"ASHA stops trials at rungs, but f\(config\) has one budget"),
    (lambda: hpo.minimize(square, line(), "pbt", 3), r"PBT stops trials at rungs, but f\(config\) has one budget"),
    (lambda: hpo.minimize(Reports("j"), line(), "pbt", 3), r"PBT clones trials, but f\(config, report\) cannot be cloned"),
    (lambda: hpo.minimize(square, line(), "random", 3, executor="gpu"), "unknown executor 'gpu'; allowed are"),
    (lambda: hpo.minimize(square, line(), "random", 3, workers=2), "the inline executor has no option 'workers'; those that"),
    (lambda: hpo.minimize(square, line(), "random", 3, objectives={"a": "down"}), "direction 'down'"),
    (lambda: hpo.minimize(square, line(), "random", 3, objectives={}), "at least one objective"),
    (lambda: hpo.minimize(square, line(), "random", -1), "trials is -1; allowed is an integer of at least 0"),
    (lambda: hpo.minimize(lambda: 1, line(), "random", 3), r"the objective takes \[\]; allowed are f\(config\)"),
    (lambda: hpo.minimize(3, line(), "random", 3), "the objective must be a function .* 3 came"),  # type: ignore[arg-type]
    (lambda: Study(ASHA(Random(line()), max_resource=9), horizon=3), "ASHA trains up to 9 evaluations, but .* horizon is 3"),
    (lambda: Study(Random(line()), horizon=0), "Random trains up to 1 evaluations, but the study's horizon is 0"),
    (lambda: Study(Random(line()), lost_limit=0), "lost_limit is 0"),
    (lambda: Random(line()).add({"x": 0.5}, 1.0, until=2), "until is 2; allowed is 1 to the horizon 1"),
    (lambda: Random(line()).add({"x": 0.5}, "low"), "a result is a number, a mapping of metrics or a Result, but 'low'"),
    (lambda: Random(line()).add({"x": 0.5}, {"b": 1.0}), r"lacks the objective 'loss'; it holds \['b'\]"),
    (lambda: Random(line()).add({"x": 0.5}, {"loss": "low"}), "the metric 'loss' is 'low'; allowed is a number"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_refusals_are_one_sentence(case: int) -> None:
    act, sentence = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_a_refused_call_leaves_no_log_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="horizon"):
        hpo.minimize(square, line(), "random", 2, horizon=5, log=tmp_path / "log.db", quiet=True)
    assert len(hpo.minimize(square, line(), "random", 2, log=tmp_path / "log.db", quiet=True).history.results) == 2


def test_no_trial_has_succeeded() -> None:
    study = Study(Random(line()))
    for ask in (lambda: study.best, lambda: study.pareto, study.recommend):
        with pytest.raises(ValueError, match="no trial has succeeded among 0 results"):
            ask()
    job = study.optimizer.ask()
    assert job is not None
    study.optimizer.tell(job, Result(error="out of memory"))
    with pytest.raises(ValueError, match="among 1 result; the last error was: out of memory"):
        _ = study.best
    with pytest.raises(ValueError, match="among 1 result; the last error was: out of memory"):
        _ = study.pareto
    assert study.keep() == [] and len(study.dataframe()) == 1


def test_best_is_at_the_highest_budget_that_succeeded() -> None:
    study = Study(MedianStopping(Random(line()), rungs=(1,), max_resource=3))
    first, second = study.optimizer.ask(), study.optimizer.ask()
    assert first is not None and second is not None
    study.optimizer.tell(first, 1.0)
    study.optimizer.tell(second, 2.0)
    assert study.best.number == 0
    third = study.optimizer.ask()
    assert third is not None and third.key == (0, 3)
    study.optimizer.tell(third, math.nan)
    assert study.best.key == (0, 1)
    fourth = study.optimizer.ask()
    assert fourth is not None and fourth.key == (1, 3)
    study.optimizer.tell(fourth, 1.9)
    assert study.best.key == study.recommend().key == (1, 3) and study.keep()[-1] == (1, 3)


def test_the_same_call_again_resumes(tmp_path: Path) -> None:
    options: dict[str, Any] = {"seed": 3, "log": tmp_path / "log.db", "quiet": True}
    hpo.minimize(square, line(), "gp", 5, **options)
    resumed = hpo.minimize(square, line(), "gp", 12, **options)
    whole = hpo.minimize(square, line(), "gp", 12, seed=3, quiet=True)
    assert [j.to_json() for j in resumed.history.jobs.values()] == [j.to_json() for j in whole.history.jobs.values()]
    assert len(hpo.minimize(square, line(), "gp", 12, **options).history.results) == 12, "nothing is left to do"


def test_stops(tmp_path: Path) -> None:
    study = Study(Random(line()))
    run(study, Inline(square), Stop(when=lambda history: len(history.results) >= 5))
    assert len(study.history.results) == 5
    run(study, Inline(square), Stop(trials=5))
    run(study, Inline(square), Stop(seconds=0))
    assert len(study.history.results) == 5
    study.optimizer.add({"x": 0.5}, 1.0)
    run(study, Inline(square), Stop(trials=6))
    assert len(study.history.results) == 7, "foreign trials are not counted"


def test_two_drivers_share_a_log_and_a_folder(tmp_path: Path) -> None:
    """What the one has published and not yet told, the other must not delete."""
    path = tmp_path / "log.db"
    one, two = (Study(PBT(Random(line())), log=SQLiteLog(path)) for _ in range(2))
    job = one.optimizer.ask()
    two.history.refresh()
    assert job is not None and job.key in two.keep()


def test_an_objective_that_is_interrupted_leaves_its_job_pending() -> None:
    study = Study(Random(line()))

    def interrupted(config: dict[str, Any]) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, Inline(interrupted), Stop(trials=3))
    assert list(study.history.pending) == [(0, 1)]
    run(study, Inline(square), Stop(trials=3))
    assert len(study.history.results) == 3 and all(result.error is None for result in study.history.results.values())
