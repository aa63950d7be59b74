"""Long studies: what a job costs does not grow with the history, and folds say what a look at everything would say."""

import random
import sys
from collections.abc import Callable
from typing import Any

import pytest

from hpo import (
    ASHA,
    CMAES,
    DEHB,
    NSGA2,
    PBT,
    ASHAStopping,
    DifferentialEvolution,
    Genetic,
    Grid,
    Hyperband,
    Manual,
    MedianStopping,
    MemoryLog,
    Narrowing,
    Optimizer,
    PatienceStopping,
    PercentileStopping,
    Random,
    RegularizedEvolution,
    SimplePBT,
    Sobol,
    Study,
    SuccessiveHalving,
)  # fmt: skip
from hpo.optimizers import OPTIMIZERS
from hpo.testing.spaces import plane
from hpo.testing.spaces import rugged_loss as value

# a model reads all results, at a stated cost
LEARNERS = {"forest", "gp", "freezethaw", "tpe", "kde", "bohb", "pb2", "llamatune", "pasha"}
SPACE = plane()


def listed() -> Manual:
    drawn = Random(SPACE, seed=1)
    return Manual(SPACE, configs=[drawn.sample(drawn.history, trial) for trial in range(2000)])  # type: ignore[misc]


MAKERS: dict[str, Callable[[], Optimizer]] = {
    "manual": listed,
    "grid": lambda: Grid(SPACE, points=50),
    "random": lambda: Random(SPACE),
    "random, without replacement": lambda: Random(SPACE, replace=False),
    "sobol": lambda: Sobol(SPACE),
    "halving": lambda: SuccessiveHalving(Random(SPACE), max_resource=27),
    "hyperband": lambda: Hyperband(Random(SPACE), max_resource=27),
    "asha": lambda: ASHA(Random(SPACE), max_resource=27),
    "median": lambda: MedianStopping(Random(SPACE), rungs=(1, 3, 9), max_resource=27),
    "pbt": lambda: PBT(Random(SPACE), population=500, generations=4, max_resource=27),
    "narrowing": lambda: Narrowing(SPACE, points=1000),
    "cmaes": lambda: CMAES(SPACE),
    "asha_stopping": lambda: ASHAStopping(Random(SPACE), max_resource=27),
    "percentile": lambda: PercentileStopping(Random(SPACE), rungs=(1, 3, 9), max_resource=27),
    "patience": lambda: PatienceStopping(Random(SPACE), rungs=(1, 3, 9), max_resource=27),
    "dehb": lambda: DEHB(Random(SPACE), max_resource=27),
    "genetic": lambda: Genetic(SPACE, generations=None),
    "nsga2": lambda: NSGA2(SPACE),
    "de": lambda: DifferentialEvolution(SPACE),
    "regularized": lambda: RegularizedEvolution(SPACE),
    "simple_pbt": lambda: SimplePBT(SPACE, population=20, generations=1000),
}


def test_every_optimizer_without_a_model_is_here() -> None:
    assert {name.partition(",")[0] for name in MAKERS} | LEARNERS == set(OPTIMIZERS)


class Work:
    """Counts lines of Python that run, comprehensions' turns included: what a machine's load does not change."""

    def __init__(self) -> None:
        self.lines = 0

    def __enter__(self) -> "Work":
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: Any, event: str, argument: object) -> Any:
        if event == "line":
            self.lines += 1
        return self._trace


def drive(study: Study, jobs: int, workers: int, rng: random.Random, running: list[Any]) -> None:
    """So many jobs, finished in random order, with all that a run does at each."""
    for _ in range(jobs):
        while len(running) < workers and (job := study.optimizer.ask()) is not None:
            running.append(job)
        job = running.pop(rng.randrange(len(running)))
        study.optimizer.tell(job, value(job.config, job.until, job.seed))
        study.release()
        _ = study.best, study.history.elapsed_seconds()


@pytest.mark.parametrize("name", MAKERS)
def test_a_job_costs_the_same_in_a_long_study(name: str) -> None:
    study, rng, running = Study(MAKERS[name]()), random.Random(0), []  # type: ignore[var-annotated]
    costs = []
    for before in (100, 700):
        drive(study, before, 4, rng, running)
        with Work() as work:
            drive(study, 150, 4, rng, running)
        costs.append(work.lines / 150)
    assert costs[1] < 1.35 * costs[0], costs


def test_what_is_released_is_what_nobody_keeps() -> None:
    """Over a thousand jobs, the checkpoints that are left are those that a look at everything would have kept."""
    for make in (MAKERS["asha"], MAKERS["hyperband"], MAKERS["median"], MAKERS["halving"]):
        study, rng, running, left = Study(make()), random.Random(1), [], set()  # type: ignore[var-annotated]
        for _ in range(1000):
            while len(running) < 3 and (job := study.optimizer.ask()) is not None:
                running.append(job)
            job = running.pop(rng.randrange(3))
            study.optimizer.tell(job, value(job.config, job.until, job.seed))
            left.add(job.key)
            left -= set(study.release())
        kept = set(study.keep())
        assert kept & set(study.history.finished_keys) <= left
        assert len(left - kept) <= 60  # what the last start's verdicts have not reached yet


def test_an_optimizer_that_does_not_say_what_it_gives_up_is_asked_from_the_first_finish_on() -> None:
    """What a study kept when it was opened again may go with the first result behind that."""

    class Silent(ASHA):
        def released_keys(self, history: Any) -> None:
            return None

    def reopened() -> Study:
        return Study(Silent(Random(SPACE), max_resource=9), log=log)

    log = MemoryLog()
    study = reopened()
    for loss in (1.0, 2.0, 3.0):
        study.optimizer.tell(study.optimizer.ask(), loss)  # type: ignore[arg-type]
    job = study.optimizer.ask()
    assert job is not None and job.source == (0, 1)
    study = reopened()
    assert (0, 1) in study.keep()
    study.optimizer.tell(job, 0.5)
    assert study.release() == [(0, 1)] and study.release() == []


def test_time_never_falls_and_gaps_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpo.clock import LONGEST_GAP
    from hpo.history import History
    from hpo.logs import Event, MemoryLog

    study = Study(Random(SPACE))
    log = MemoryLog()
    log.open(study.header.to_json())
    for kind, time in [("run", 100.0), ("enqueue", 110.0), ("enqueue", 50.0), ("enqueue", 60.0), ("enqueue", 1e12)]:
        log.append(Event(kind, {"config": {"x": 0.5, "y": 0.5}} if kind == "enqueue" else {}, time))
    assert History(study.header, log).elapsed_seconds() == 10.0 + 0.0 + 10.0 + LONGEST_GAP
    clock = iter([1e6, 1e6 + 7200.0])  # somebody sets the clock an hour back while a study runs
    monkeypatch.setattr("time.time", lambda: next(clock, 1e6 - 3600.0))
    study = Study(Random(SPACE))
    study.history.run()
    for _ in range(3):
        study.optimizer.tell(study.optimizer.ask(), 1.0)  # type: ignore[arg-type]
    times = [event.time for event in study.history.events]
    assert times == sorted(times) and study.history.elapsed_seconds() < 3600.0


def test_a_limit_is_lifted_only_where_its_rule_allows_more() -> None:
    history = Study(Random(SPACE)).history
    history.limit("trials", 50)
    for allowed, limited in [({"trials": 50, "seconds": None}, True), ({"trials": 40}, True), ({"trials": 51}, False)]:
        history.run(allowed)
        assert history.limited is limited
    history.limit("seconds", 60.0, "finals")
    history.run({"trials": None, "seconds": 60.0})
    assert history.limited and history.phase == "finals"
    history.run({"trials": None, "seconds": None})
    assert not history.limited and history.phase == "search"
    history.limit("dry", None, "finals")  # a rule that no run can allow more of
    history.run({"trials": 99, "seconds": None})
    history.run()
    assert history.limited and history.phase == "finals"


def test_what_pbt_may_explore_is_what_the_objective_declares() -> None:
    def factory(config: Any, seed: int, horizon: int) -> Any: ...

    optimizer = PBT(Random(SPACE), population=2, generations=2, max_resource=4)
    with pytest.warns(UserWarning, match="could not find out what may change"):  # this one trains nothing
        assert optimizer.adapt(factory) is optimizer
    factory.explore = ("y", "elsewhere")  # type: ignore[attr-defined]
    assert optimizer.adapt(factory).describe()["explore"] == ["y"]
    named = PBT(Random(SPACE), population=2, generations=2, max_resource=4, explore=("x",))
    assert named.adapt(factory) is named


def test_an_optimizer_that_proposes_what_is_not_in_its_space_is_named() -> None:
    class Wrong(Random):
        def sample(self, history: Any, trial: int) -> Any:
            return {"x": 7.0, "y": 0.5}

    optimizer = Wrong(SPACE)
    with pytest.raises(ValueError, match=r"Wrong proposed a configuration outside its space: parameter 'x' got 7\.0"):
        optimizer.ask()
    assert not optimizer.history.events
