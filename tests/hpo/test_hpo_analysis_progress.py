"""What a history says in numbers and lines: rungs, work, working time, the best so far, a moment of it."""

from typing import Any

import pytest

from hpo import ASHA, Float, Job, MemoryLog, Random, Result, Space, Study
from hpo.analysis.lines import amount
from hpo.analysis.progress import best_so_far, count_rungs, finish_times, total_work
from hpo.logs import Event
from hpo.optimizers.finals import default_trial

SPACE = Space(x=Float(0, 1), y=Float(0, 1))


def told(n: int = 12) -> Study:
    """An ASHA study with one failure and one job that is still running."""
    study = Study(ASHA(Random(SPACE, seed=0), 1, 9, 3), unit="tokens")
    study.optimizer.enqueue({"x": 0.5, "y": 0.5})
    for i in range(n):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, failure() if i == 3 else result(job))
    study.optimizer.ask()
    return study


def result(job: Job) -> dict[str, float]:
    return {"loss": job.config["x"] + 1 / job.until, "tokens": float(job.until), "seconds": 1.0}


def failure() -> Result:
    return Result(error="diverged")


def test_rungs_count_what_finished_failed_and_runs() -> None:
    study = told()
    rungs = count_rungs(study.history, 2)
    assert [rung.until for rung in rungs][:2] == [1, 3]
    assert sum(rung.finished for rung in rungs) == 12
    assert sum(rung.failed for rung in rungs) == 1
    assert sum(rung.running for rung in rungs) == 1
    assert default_trial(study.history) == 0


def test_a_resumed_trial_counts_its_tokens_once() -> None:
    history = told().history
    ends = {key[0]: key[1] for key in history.finished_keys if not history.is_failure(key)}
    assert total_work(history) == sum(ends.values())


def test_pauses_between_runs_do_not_count() -> None:
    log, study = MemoryLog(), Study(Random(SPACE, seed=0))
    jobs = [study.optimizer.ask(), study.optimizer.ask()]
    log.open(study.header.to_json())
    events: list[tuple[str, Any, float]] = [("run", {}, 1000.0)]
    for job, seconds in zip(jobs, (1010.0, 5005.0), strict=True):
        assert job is not None
        body = {"trial": job.trial, "until": job.until, "result": Result({"loss": 1.0}).to_json()}
        if seconds > 2000:
            events.append(("run", {}, 5000.0))
        events += [("start", {"job": job.to_json(), "seen": 0, "attempt": 0}, seconds), ("finish", body, seconds)]
    for kind, body, seconds in events:
        log.append(Event(kind, body, seconds))
    history = Study(Random(SPACE, seed=0), log=log).history
    assert finish_times(history) == {(0, 1): 10.0, (1, 1): 15.0}
    assert history.elapsed_seconds() == 15.0


def test_best_so_far_ends_with_the_best() -> None:
    study = told(30)
    steps, finished = best_so_far(study.history), list(finish_times(study.history))
    assert steps[-1] == study.best.key
    assert [finished.index(key) for key in steps] == sorted(finished.index(key) for key in steps)


@pytest.mark.parametrize(("count", "words"), [(512, "512"), (16_384, "16.4k"), (4.9e6, "4.9M"), (2e9, "2G")])
def test_amounts(count: float, words: str) -> None:
    assert amount(count) == words
