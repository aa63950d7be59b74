"""Ray: workers and nodes that are killed, what a trial is given, and what is left behind. On a real Ray of this machine."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, PBT, Inline, Job, Random, Result, Stop, Study, run
from hpo.executors import Lost, Ray, standing_name
from tests.hpo.clusters import ray_cluster
from tests.hpo.objectives import Broken, Forks, InsideTraces, Suicidal, Traces, line, seen, square
from tests.hpo.test_hpo_executors import alive, until
from tests.hpo.test_hpo_processes import forked

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Any:
    return ray_cluster()


def population() -> Study:
    pbt = PBT(Random(line(), seed=1), population=4, generations=3, max_resource=9, truncation=0.4, explore=["x"])
    return Study(pbt, horizon=9, unit="steps")


def family(study: Study) -> dict[Any, Any]:
    """Every job: configuration, seed, parent, loss."""
    history = study.history
    return {key: (dict(job.config), job.seed, job.source, history.results[key].metrics["loss"])
            for key, job in history.jobs.items()}  # fmt: skip


def test_a_population_of_which_a_worker_is_killed_has_the_lineage_of_an_undisturbed_one(cluster: Any, tmp_path: Path) -> None:
    """Three workers; one is killed inside the second generation, in the middle of its job. The job alone is lost, and goes on
    from the step at which it was saved last; every clone has the parent, and the weights, that it has without any of this."""
    whole = population()
    run(whole, Inline(InsideTraces(tmp_path / "whole"), 9))
    victim = next(key[0] for key in whole.history.jobs if key[1] == 6)
    study, traces = population(), InsideTraces(tmp_path / "journal", {victim: 5})
    executor = Ray(traces, 9, tmp_path / "c", workers=3, checkpoint_every=0.0)
    workers = {pid for _, pid in executor.pids}
    run(study, executor)
    lost = [event.body for event in study.history.events if event.kind == "lost"]
    assert [(one["trial"], one["until"], one["cause"]) for one in lost] == [(victim, 6, "worker")]
    assert len(workers) == 3 and {entry[3] for entry in traces.lines()} >= workers, "all three have trained"
    assert family(study) == family(whole)
    assert any(job.source is not None and job.source[0] != job.trial for job in study.history.jobs.values()), "clones"
    best = study.best.number
    assert study.lineage(best) == whole.lineage(best) and study.schedule(best) == whole.schedule(best)
    steps = sorted(entry[:2] for entry in InsideTraces(tmp_path / "whole").lines())
    assert sorted(entry[:2] for entry in traces.lines()) == steps, "no step was trained twice"
    assert {path.name for path in (tmp_path / "c").iterdir()} == {standing_name(study.history, key) for key in study.keep()}


def test_a_node_that_is_killed_loses_its_jobs_and_no_others(cluster: Any, tmp_path: Path) -> None:
    """Two nodes with a place each; the first goes while it trains. Its job is given out again, at last on the other."""
    nodes = [cluster.add_node(num_cpus=1, resources={"place": 1}, object_store_memory=80_000_000) for _ in range(2)]
    cluster.wait_for_nodes()
    with pytest.raises(ValueError, match="folder is None, but checkpoints of several nodes need one"):
        Ray(Traces("nowhere"), 9, workers=1)
    journal = Traces(tmp_path / "journal", slow=0.3)
    study = Study(ASHA(Random(line(), seed=3), min_resource=3, max_resource=9), unit="steps")
    executor = Ray(journal, 9, tmp_path / "c", workers=2, resources={"cpu": 0.5, "place": 1})
    assert len(executor.pids) == 2, "one on each, and from here on each has a job until the end"

    def kill() -> None:
        until(lambda: journal.journal.exists() and len(journal.lines()) > 3)
        cluster.remove_node(nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        run(study, executor, Stop(trials=12))
    finally:
        killer.join()
        cluster.remove_node(nodes[1], allow_graceful=False)
    causes = [event.body["cause"] for event in study.history.events if event.kind == "lost"]
    assert causes == ["worker"] and not study.history.pending
    again = Study(ASHA(Random(line(), seed=3), min_resource=3, max_resource=9), unit="steps")
    run(again, Inline(Traces(tmp_path / "other"), 9), Stop(trials=12))
    first = {key: result.metrics["loss"] for key, result in study.history.results.items() if key[1] == 3}
    assert first == {key: result.metrics["loss"] for key, result in again.history.results.items() if key[1] == 3}


def test_one_worker_after_the_other(cluster: Any, tmp_path: Path) -> None:
    """One is killed while it is idle, which costs nothing; one is late, and killed with what its objective has forked; one is at
    work when all is closed."""
    executor = Ray(Forks(tmp_path), workers=1)
    try:
        ((_, pid),) = executor.pids
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
        executor.submit(Job(0, {"x": 0.5}, 1))
        found = executor.wait(900.0)
        if found is not None and isinstance(found[1], Lost):  # it was given to it before its death was known
            executor.submit(Job(0, {"x": 0.5}, 1))
            found = executor.wait(900.0)
        assert found is not None and isinstance(found[1], Result) and found[1].metrics[""] == 0.5
        executor.timeout = 1.0
        executor.submit(Job(1, {"x": 2.0}, 1))
        found = executor.wait(900.0)
        assert found is not None and isinstance(found[1], Result) and "timeout: still running after 1 s" in (found[1].error or "")
        until(lambda: not any(alive(pid) for pid in forked(tmp_path)))
        ((_, pid),) = executor.pids
        executor.submit(Job(2, {"x": 2.0}, 1))
    finally:
        executor.close()
    until(lambda: not alive(pid) and not any(alive(pid) for pid in forked(tmp_path)))
    assert len(forked(tmp_path)) >= 2 and ray.is_initialized(), "Ray was there before"


def test_a_worker_that_always_dies_is_an_error_at_the_limit(cluster: Any) -> None:
    study = Study(Random(line()), lost_limit=2)
    run(study, Ray(Suicidal(9), workers=1), Stop(trials=1))
    (result,) = study.history.results.values()
    assert (result.error or "").startswith("lost 2 times: the actor died: ")


def test_a_trial_gets_what_it_asks_for_and_minimize_does_so(cluster: Any) -> None:
    """Half of a device that the node only says it has."""
    study = hpo.minimize(
        seen, line(), "random", 4, executor="ray", workers=2, resources={"cpu": 1, "gpu": 0.5}, quiet=True,
        executor_options={"runtime_env": {"env_vars": {"MINE": "here"}}},
    )  # fmt: skip
    metrics = [result.metrics for result in study.history.results.values()]
    assert [(one.get("gpu"), one.get("cpu"), one.get("device")) for one in metrics] == [(0.5, 1.0, 0.0)] * 4
    with pytest.raises(ValueError, match=r"a trial that needs 1 of 'cpu' and 3 of 'gpu' came, but none of \d nodes?"):
        Ray(square, resources={"gpu": 3})
    with pytest.raises(ValueError, match=r"resources has 1\.5 of 'gpu'"):
        Ray(square, resources={"gpu": 1.5})


def test_a_worker_that_cannot_start_is_said(cluster: Any) -> None:
    with pytest.raises(RuntimeError, match=r"3 workers in a row could not start, the last because warm\(\) raised ValueError"):
        run(Study(Random(line())), Ray(Broken(), workers=1), Stop(trials=1))
    with pytest.raises(TypeError, match="the objective cannot be sent to another process"):
        lock = threading.Lock()
        Ray(lambda config: lock, workers=1)
    with pytest.raises(ValueError, match="address is 'auto', but this process has joined a Ray already"):
        Ray(square, workers=1, address="auto")
