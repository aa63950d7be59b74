"""Pools of calls: Dask on a real cluster of processes, the standard library's pools and loky's; what a death costs in each."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, PBT, Inline, Job, Random, Result, Stop, Study, run
from hpo.executors import Futures, Lost, standing_name
from tests.hpo.objectives import Broken, InsideTraces, Suicidal, Traces, line, sleeps, square

spawned = partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn"))


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of Dask with three worker processes, each with one of "PLACE"."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, processes=True, resources={"PLACE": 1},
                                 dashboard_address=None, memory_limit=0) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        yield client


def population() -> Study:
    return Study(PBT(Random(line(), seed=1), population=3, generations=3, max_resource=9, truncation=0.4, explore=["x"]))


def losses(study: Study) -> dict[Any, Any]:
    return {key: (job.source, study.history.losses(key)) for key, job in study.history.jobs.items()}


def test_a_worker_of_dask_is_killed_and_its_job_alone_is_lost(client: Any, tmp_path: Path) -> None:
    """Dask would run the call again by itself, under the same attempt: the study does, from what was saved inside."""
    whole, study = population(), population()
    run(whole, Inline(InsideTraces(tmp_path / "whole"), 9))
    victim = next(key[0] for key in whole.history.jobs if key[1] == 6)
    traces = InsideTraces(tmp_path / "journal", {victim: 5})
    run(study, Futures(traces, 9, tmp_path / "c", pool=client, checkpoint_every=0.0))
    lost = [event.body for event in study.history.events if event.kind == "lost"]
    assert [(one["trial"], one["until"], one["cause"]) for one in lost] == [(victim, 6, "worker")]
    assert losses(study) == losses(whole)
    steps = sorted(entry[:2] for entry in InsideTraces(tmp_path / "whole").lines())
    assert sorted(entry[:2] for entry in traces.lines()) == steps, "no step was trained twice"
    assert {path.name for path in (tmp_path / "c").iterdir()} == {standing_name(study.history, key) for key in study.keep()}
    assert client.status == "running", "it was given, and stays"


def test_dask_gives_what_its_workers_were_started_with_and_forgets_calls(client: Any) -> None:
    client.wait_for_workers(3)  # one was killed before
    executor = Futures(square, pool=client, resources={"PLACE": 1})
    assert executor.free == 3
    executor.submit(Job(0, {"x": 3.0}, 1))
    found = executor.wait(900.0)
    assert found is not None and isinstance(found[1], Result) and found[1].metrics[""] == 9.0
    executor.close()
    events = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.extensions["events"]._events))
    assert events == []
    with pytest.raises(ValueError, match=r"resources is {'GPU': 1\.0}, but no worker of Dask was started with so much"):
        Futures(square, pool=client, resources={"GPU": 1})


def test_dask_by_its_address_and_a_worker_that_always_dies(client: Any) -> None:
    study = Study(Random(line()), lost_limit=2)
    run(study, Futures(Suicidal(9), pool=client.scheduler.address, workers=1), Stop(trials=1))
    (result,) = study.history.results.values()
    assert result.error == "lost 2 times: the worker died"


def test_asha_on_a_pool_that_a_death_breaks(tmp_path: Path) -> None:
    """The pool of the standard library loses all that is in it; another one is made, and goes on from the checkpoints."""
    study, again = (Study(ASHA(Random(line(), seed=3), max_resource=9), horizon=9) for _ in range(2))
    traces = InsideTraces(tmp_path / "journal", {2: 0})
    run(study, Futures(traces, 9, tmp_path / "c", pool=spawned), Stop(trials=5))
    run(again, Inline(InsideTraces(tmp_path / "other"), 9), Stop(trials=5))
    assert [event.body["cause"] for event in study.history.events if event.kind == "lost"] == ["worker"]
    assert losses(study) == losses(again)


def test_a_broken_pool_that_was_given_ends_the_search_in_a_sentence() -> None:
    study = Study(Random(line()))
    with pytest.raises(RuntimeError, match=r"the pool broke: BrokenProcessPool: .*; a function that makes one would make"):
        run(study, Futures(Suicidal(9), pool=spawned()), Stop(trials=2))
    assert study.history.retries or study.history.pending, "nothing is taken for done"


def test_an_idle_pool_that_breaks_costs_nothing() -> None:
    executor = Futures(square, pool=spawned)
    try:
        for trial in range(2):
            executor.submit(Job(trial, {"x": 3.0}, 1))
            found = executor.wait(900.0)
            if found is not None and isinstance(found[1], Lost) and trial:  # it was not known yet to be dead
                executor.submit(Job(trial, {"x": 3.0}, 1))
                found = executor.wait(900.0)
            assert found is not None and isinstance(found[1], Result) and found[1].metrics[""] == 9.0
            for pid in list(executor._pool._processes):
                os.kill(pid, signal.SIGKILL)
    finally:
        executor.close()


def test_loky(tmp_path: Path) -> None:
    """By joblib, which brings it; functions that are defined anywhere are sent."""
    loky = pytest.importorskip("joblib.externals.loky")
    study = Study(Random(line()))
    run(study, Futures(lambda config: config["x"], pool=partial(loky.ProcessPoolExecutor, 2)), Stop(trials=4))
    assert len(study.successes()) == 4


def test_minimize_on_a_pool_of_threads(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        options: dict[str, Any] = {"executor": "futures", "quiet": True, "executor_options": {"pool": pool}}
        study = hpo.minimize(square, line(), "random", 5, **options)
        assert len(study.successes()) == 5
        assert pool.submit(int).result() == 0, "it was given, and stays open"


@pytest.mark.parametrize("make", [partial(ThreadPoolExecutor, 1), spawned])
def test_a_late_job_is_an_error_and_its_place_is_free_again(make: Any) -> None:
    """Of one worker, on which the next job waits longer than it may run."""
    executor = Futures(sleeps, pool=make, workers=2, timeout=1.0)
    try:
        executor.submit(Job(0, {"x": 20.0}, 1))
        executor.submit(Job(1, {"x": 0.0}, 1))
        outcomes = {job.trial: found for job, found in (executor.wait(900.0) for _ in range(2))}  # type: ignore[misc]
    finally:
        executor.close()
    assert outcomes[0].error == "timeout: still running after 1 s" and outcomes[0].system["seconds"] >= 1.0
    assert outcomes[1].error is None


def test_refused_in_one_sentence(tmp_path: Path) -> None:
    for pool, said in ((None, "pool is None; allowed are a concurrent.futures.Executor"), (7, "pool is 7; allowed are")):
        with pytest.raises(ValueError, match=said):
            Futures(square, pool=pool)
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(ValueError, match=r"resources is {'GPU': 1\.0}, but only workers of Dask have resources with names"):
            Futures(square, pool=threads, resources={"GPU": 1})
        with pytest.raises(RuntimeError, match=r"3 workers in a row could not start, the last because warm\(\) raised Val"):
            run(Study(Random(line())), Futures(Broken(), pool=threads), Stop(trials=1))
        lock = threading.Lock()
        with pytest.raises(TypeError, match="the objective cannot be sent to another process"):
            Futures(lambda config: lock, pool=threads)
        with pytest.raises(ValueError, match="folder is 'memory://a/b', which other processes do not see"):
            Futures(Traces(tmp_path / "t"), 9, "memory://a/b", pool=threads)
