"""Many processes at one study of a trivial objective by random search: asks and tells by hand, ours and Optuna's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import Any

from hpo import Float, Random, Space, Study

SPACE = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
NAME = "storage"
Keys = Sequence[Any]  # what a driver was told to be its own trials
PART = 2  # Optuna's trials are made in so many parts around ours, so that a machine that grows busy favours nobody


def parabola(x: float, y: float) -> float:
    return (x - 0.3) ** 2 + (y - 0.7) ** 2


def drive_ours(url: str, trials: int, barrier: Any, answers: Any) -> None:
    """One driver, until the study has so many trials."""
    study = Study(Random(SPACE), log=url)
    barrier.wait()
    begun, mine, slowest = time.time(), [], 0.0
    while study.history.fresh < trials:
        at = time.perf_counter()
        job = study.optimizer.ask()
        slowest = max(slowest, time.perf_counter() - at)
        assert job is not None
        at = time.perf_counter()
        study.optimizer.tell(job, parabola(job.config["x"], job.config["y"]))
        slowest = max(slowest, time.perf_counter() - at)
        mine.append(job.trial)
    answers.put((mine, begun, time.time(), slowest, time.process_time()))
    study.history.log.close()


def drive_optuna(url: str, trials: int, barrier: Any, answers: Any) -> None:
    """One driver of Optuna, for its share of the trials."""
    import optuna

    storage = optuna.storages.RDBStorage(url)
    study = optuna.load_study(study_name=NAME, storage=storage, sampler=optuna.samplers.RandomSampler())
    barrier.wait()
    begun, mine, slowest = time.time(), [], 0.0
    for _ in range(trials):
        at = time.perf_counter()
        trial = study.ask()
        x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
        slowest = max(slowest, time.perf_counter() - at)
        at = time.perf_counter()
        study.tell(trial, parabola(x, y))
        slowest = max(slowest, time.perf_counter() - at)
        mine.append(trial.number)
    answers.put((mine, begun, time.time(), slowest, time.process_time()))


def start_drivers(work: Callable[..., None], url: str, trials: int, processes: int) -> tuple[list[Keys], dict[str, Any]]:
    """The trials of every driver, and what was measured: they begin at once, when all have opened the study."""
    context = get_context("fork")
    barrier, answers = context.Barrier(processes), context.Queue()
    drivers = [context.Process(target=work, args=(url, trials, barrier, answers)) for _ in range(processes)]
    try:
        for driver in drivers:
            driver.start()
        found = [answers.get(timeout=3600) for _ in drivers]
        for driver in drivers:
            driver.join()
    finally:  # after Ctrl-C nobody may use the database any more, or it could not be dropped
        for driver in drivers:
            if driver.pid is not None:
                driver.kill()
    seconds = max(end for _, _, end, _, _ in found) - min(begun for _, begun, _, _, _ in found)
    mine = [keys for keys, *_ in found]
    done = sum(map(len, mine))
    return mine, {
        "trials": done, "seconds": round(seconds, 2), "per_second": round(done / seconds, 2),
        "least_share": round(min(map(len, mine)) * processes / done, 3), "slowest": round(max(row[3] for row in found), 3),
        "cpu_ms": round(1e3 * sum(row[4] for row in found) / done, 2),
    }  # fmt: skip


def measure_log(url: str, trials: int, processes: int) -> dict[str, Any]:
    """Ours, with what was told and does not stand there (lost), stands there and was told to two (twice), or has a gap."""
    Study(Random(SPACE), log=url).history.log.close()
    mine, found = start_drivers(drive_ours, url, trials, processes)
    told = Counter(trial for keys in mine for trial in keys)
    study = Study(Random(SPACE), log=url)
    stands = {trial for trial, _ in study.history.results}
    study.history.log.close()
    twice = sum(count > 1 for count in told.values())
    return {**found, "lost": len(set(told) - stands), "twice": twice, "gaps": len(set(range(len(stands))) ^ stands)}


def measure_optuna(url: str, trials: int, processes: int) -> dict[str, Any]:
    """Optuna's share of trials, in a study that is made if there is none."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name=NAME, storage=optuna.storages.RDBStorage(url), load_if_exists=True)
    study._storage.remove_session()
    return start_drivers(drive_optuna, url, trials // processes, processes)[1]


def compare_drivers(urls: tuple[str, str], trials: int, peer_trials: int, processes: int) -> dict[str, Any]:
    """Ours, between two halves of Optuna's."""
    first = measure_optuna(urls[1], peer_trials // PART, processes)
    ours = measure_log(urls[0], trials, processes)
    last = measure_optuna(urls[1], peer_trials // PART, processes)
    seconds, done = first["seconds"] + last["seconds"], first["trials"] + last["trials"]
    theirs = {
        "trials": done, "seconds": round(seconds, 2), "per_second": round(done / seconds, 2),
        "halves": [first["per_second"], last["per_second"]], "least_share": min(first["least_share"], last["least_share"]),
        "slowest": max(first["slowest"], last["slowest"]), "cpu_ms": round((first["cpu_ms"] + last["cpu_ms"]) / 2, 2),
    }  # fmt: skip
    return {"ours": ours, "peer": theirs, "ratio": round(ours["per_second"] / theirs["per_second"], 2)}
