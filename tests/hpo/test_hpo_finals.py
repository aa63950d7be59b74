"""Finals: who goes on to the end, when a search turns to them, and that a search can go on behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo import ASHA, Finals, History, Job, MemoryLog, Random, Result, Simulator, Stop, Study, run
from hpo.load import load
from hpo.optimizers.finals import FINALS, default_trial, finalists, furthest
from hpo.stopping import SHARE, Turn, Verdict, makespan, search_end, search_seconds
from hpo.testing import Drive, changed_jobs
from hpo.testing.spaces import plane, quadratic
from tests.hpo.cases import FINISHED, TOP, build
from tests.thinning import thin

DEFAULT = {"x": 0.0, "y": 0.0}


def whole(history: History) -> list[int]:
    """Trials that were trained to the end."""
    return [trial for trial, _ in history.at(history.header.horizon)]


def searched(name: str = "asha(random)", jobs: int = 24, seed: int = 0, workers: int = 3, judge: Any = quadratic) -> Drive:
    """A search with a default configuration, up to the event that begins its finals; nothing is in flight."""
    drive = Drive(Finals(build(name, plane(), seed), keep=2), judge, workers=workers, seed=seed)
    drive.optimizer.enqueue(DEFAULT)
    while drive.fill(jobs) and drive.history.phase == "search":
        drive.finish(drive.running.pop(0))
    while drive.running:
        drive.finish(drive.running.pop(0))
    if drive.history.phase == "search":
        drive.history.limit("it was dry", None, FINALS)
    return drive


def finish(drive: Drive) -> History:
    """The finals, to their end."""
    while drive.fill(10**6):
        drive.finish(drive.running.pop(0))
    return drive.history


# -- when ---------------------------------------------------------------------------------------------------------------


def clock(monkeypatch: pytest.MonkeyPatch, now: Callable[[], float]) -> None:
    """Events of histories that are made from here on carry this time."""
    monkeypatch.setattr("hpo.history.time", SimpleNamespace(time=lambda: 1e9 + now(), monotonic=now))


class Timed(Simulator):
    """A machine on a simulated clock, which events carry too: `birth` seconds until workers are ready, `pace` seconds a unit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int, pace: float, birth: float = 0.0, load: float = 1.0) -> None:
        super().__init__(self.judge, workers, self.takes)
        self.pace, self.birth, self.load = pace, birth, load
        self.begun: dict[tuple[int, int], int] = {}
        self.cold = workers  # processes that have not had a job
        clock(monkeypatch, lambda: self.now)

    def takes(self, job: Job, begin: int) -> float:
        return (job.until - begin) * self.pace * self.load

    def judge(self, config: Mapping[str, Any], until: int, seed: int) -> Result:
        seconds = (until - self.begun.get((seed, until), 0)) * self.pace * self.load
        first = self.birth if self.cold > 0 else 0.0
        self.cold -= 1
        return Result({"loss": quadratic(config, until)}, system={"seconds": seconds, "birth_seconds": first})

    def submit(self, job: Job, attempts: Any = None) -> None:
        self.begun[job.seed, job.until] = job.source[1] if job.source else 0
        self.now = max(self.now, self.birth)  # before, nobody was there to take it
        super().submit(job, attempts)


def drive(machine: Timed, turn: Turn, name: str = "asha(random)", seed: int = 0) -> Study:
    """A study under a rule, as `make tune` runs it."""
    study = Study(Finals(build(name, plane(), seed), keep=3))
    study.optimizer.enqueue(DEFAULT)
    run(study, machine, Stop(turn=turn))
    return study


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("pace", [0.5, 1.0, 3.0])
def test_the_finals_end_near_the_seconds(workers: int, pace: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that take what they took before: the search and its finals fill the seconds, and hardly go over."""
    study = drive(Timed(monkeypatch, workers, pace, birth=20.0), Turn(120.0, None, workers))
    found = search_end(study.history)
    assert found is not None and found["rule"] == "seconds" and not study.history.pending
    assert 0 in whole(study.history) and len(whole(study.history)) >= 2
    assert 120.0 - TOP * pace - 1 <= search_seconds(study.history) <= 120.0 + TOP * pace / 2


def test_start_up_is_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the workers take to be ready, as many jobs are done; a run that nothing came of costs nothing."""
    jobs = [len(drive(Timed(monkeypatch, 2, 1.0, birth), Turn(60.0, None, 2)).history.jobs) for birth in (0.0, 300.0)]
    assert jobs[0] == jobs[1]
    now = [0.0]
    clock(monkeypatch, lambda: now[0])
    history = Study(Finals(Random(plane()))).history
    for begun, end in ((0.0, 100.0), (1000.0, 1050.0)):
        now[0] = begun
        history.run()
        now[0] = end
        history.enqueue(DEFAULT)
    assert search_seconds(history) == 0.0


def test_under_a_load_that_comes_later_the_finals_are_finished_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Timed(monkeypatch, 2, 3.0)

    class Loaded(Turn):
        def verdict(self, history: History, optimizer: Any, dry: bool = False) -> Verdict | None:
            found = super().verdict(history, optimizer, dry)
            machine.load = 20.0 if found is not None else machine.load
            return found

    history = drive(machine, Loaded(60.0, None, 2)).history
    assert search_seconds(history) > 60.0 and 0 in whole(history) and not history.pending


def test_where_one_training_takes_all_the_seconds_again_there_are_no_finals(monkeypatch: pytest.MonkeyPatch) -> None:
    history = drive(Timed(monkeypatch, 2, 30.0), Turn(60.0, None, 2)).history
    found = search_end(history)
    assert found is not None and (found["rule"], found["phase"]) == ("seconds", "search") and not whole(history)
    assert search_seconds(history) < 60.0 + 9 * 30.0


@pytest.mark.parametrize("trials", [1, 5])
@pytest.mark.parametrize("name", ["asha(random)", "random", "grid", "pbt", "hyperband"])
def test_a_number_of_trials_ends_in_finals_too(name: str, trials: int, monkeypatch: pytest.MonkeyPatch) -> None:
    study = drive(Timed(monkeypatch, 2, 1.0), Turn(None, trials, 2), name)
    found = search_end(study.history)
    assert found is not None and found["rule"] in ("trials", "dry") and study.history.phase == FINALS
    assert 0 in whole(study.history) and not study.history.pending
    fresh = [job for job in study.history.jobs.values() if job.source is None]
    assert len(fresh) <= trials and study.optimizer.decide(study.history) is None


def test_few_seconds_have_few_finalists(monkeypatch: pytest.MonkeyPatch) -> None:
    keeps = []
    for seconds in (60.0, 120.0, 3000.0):
        study = drive(Timed(monkeypatch, 1, 3.0), Turn(seconds, None, 1))
        found = search_end(study.history)
        assert found is not None
        keeps.append(found["keep"])
        assert found["reserve"] <= SHARE * seconds or found["keep"] == 1
    assert keeps == sorted(keeps) and keeps[0] == 1 and keeps[-1] == 3


def test_a_verdict_is_a_function_of_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same from every prefix in a new process's memory as from the growing history's own."""
    turn = Turn(60.0, None, 2)
    study = drive(Timed(monkeypatch, 2, 1.0, 5.0), turn)
    events = study.history.events
    last = next(place for place, event in enumerate(events) if event.kind == "limit")
    found = [turn.verdict(study.history.prefix(count), study.optimizer) for count in range(1, last + 1)]
    assert found[-1] is not None and found[-1]._asdict() == events[last].body
    finishes = [count for count in range(1, last) if events[count - 1].kind == "finish"]
    assert all(found[count - 1] is None for count in finishes)


@given(st.lists(st.floats(0.0, 10.0), max_size=6), st.lists(st.floats(0.0, 10.0), max_size=6), st.integers(1, 5))
def test_makespan_is_between_its_bounds(first: list[float], then: list[float], workers: int) -> None:
    total = sum([*first, *then])
    found = makespan(first, then, workers)
    assert max(total / workers, max([*first, *then], default=0.0)) - 1e-9 <= found <= total + 1e-9


# -- who ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FINISHED)
@pytest.mark.parametrize("workers", [1, 4])
def test_the_default_and_the_best_few_reach_the_end(name: str, workers: int) -> None:
    drive = searched(name, workers=workers)
    told = dict(drive.history.results)
    chosen = finalists(drive.history, 2)
    history = finish(drive)
    assert default_trial(history) == 0 and chosen[0] == 0 and 2 <= len(chosen) <= 3
    assert set(chosen) <= set(whole(history))
    late = [job for key, job in history.jobs.items() if key not in told]
    assert {job.trial for job in late} <= set(chosen)
    top = history.header.horizon
    assert all(job.until == top and job.source is not None and job.source[0] == job.trial for job in late)
    assert {(trial, top) for trial in chosen} <= set(drive.study.keep()), "what may be handed over stays"
    assert changed_jobs(history, lambda: Finals(build(name, plane(), 0), keep=2)) == []


def test_the_best_are_those_that_came_furthest_and_then_those_of_the_lowest_loss() -> None:
    history = searched("asha(random)", 60).history
    _, *best = finalists(history, 4)
    ends = {trial: furthest(history, trial) for trial in history.trials if trial != 0}
    order = sorted((-key[1], history.losses(key), trial) for trial, key in ends.items() if key is not None)
    assert best == [trial for _, _, trial in order[:4]]


def test_who_failed_keeps_its_place_and_the_default_comes_in_all_the_same() -> None:
    """Everything beyond the first rung diverges: then there is nothing to go on with, and the finals are over."""

    def judge(config: Mapping[str, Any], until: int, seed: int) -> float:
        return quadratic(config, until) if until == 1 or dict(config) == DEFAULT else math.nan

    drive = searched("asha(random)", 30, judge=judge)
    chosen = finalists(drive.history, 2)
    before = len(drive.history.jobs)
    history = finish(drive)
    assert 0 in whole(history) and len(history.jobs) - before <= 3
    assert set(finalists(history, 2)) == set(chosen), "who has failed in the finals is not replaced"


@pytest.mark.parametrize("name", FINISHED)
def test_a_default_that_the_search_never_came_to_is_trained_all_the_same(name: str) -> None:
    optimizer = Finals(build(name, plane(), 0))
    optimizer.history.limit("no time", None, FINALS)
    optimizer.enqueue(DEFAULT)
    job = optimizer.ask()
    assert job is not None and job.config == DEFAULT and job.until == optimizer.horizon and job.source is None
    optimizer.tell(job, 1.0)
    assert optimizer.ask() is None and default_trial(optimizer.history) == 0


def test_a_driver_that_has_not_read_of_the_finals_does_not_stop_them() -> None:
    """It goes on by a rung with a trial that another driver has taken to the end meanwhile."""
    first, second = (Study(Finals(ASHA(Random(plane()), max_resource=9), keep=2), log=log) for log in [MemoryLog()] * 2)
    history = first.history
    for loss in (1.0, 2.0, 3.0):
        first.optimizer.tell(first.optimizer.ask(), loss)  # type: ignore[arg-type]
    seen, stale = len(history), first.optimizer.decide(history)
    assert stale is not None and stale.key == (0, 3)
    second.history.refresh()
    second.history.limit("trials", 3, FINALS)
    last = second.optimizer.ask()
    assert last is not None and last.key == (0, 9)
    history.start(stale, seen)
    first.optimizer.tell(stale, 0.5)
    job = second.optimizer.ask()
    assert job is not None and job.key == (1, 9)
    second.optimizer.tell(last, 0.1)
    second.optimizer.tell(job, 0.2)
    assert second.optimizer.ask() is None and whole(second.history) == [0, 1] and not second.history.pending


@pytest.mark.parametrize("name", FINISHED)
@pytest.mark.parametrize("seed", thin([0, 1]))
def test_the_search_goes_on_behind_the_finals(name: str, seed: int) -> None:
    """What the finals have trained on is not trained again, and nobody waits for it; the laws of `Drive.check` hold."""
    drive = searched(name, seed=seed)
    history = finish(drive)
    before = len(history.jobs)
    history.run({"half of the jobs": None})
    drive.asked = 0
    while drive.running or drive.asked < 30:
        while len(drive.running) < 3 and drive.asked < 30 and (job := drive.ask()) is not None:
            drive.running.append(job)
        if not drive.running:
            break
        drive.finish(drive.running.pop(0))
    assert len(history.jobs) - before == 30 or not drive.optimizer.is_endless
    assert changed_jobs(history, lambda: Finals(build(name, plane(), seed), keep=2)) == []


@pytest.mark.parametrize("name", ["asha(random)", "median(random)", "pbt", "asha(gp)"])
def test_a_study_that_began_without_finals_gets_them(name: str, tmp_path: Path) -> None:
    """Whoever opens it with them searches as before, and what they add replays and opens from the file alone."""
    path = tmp_path / "log.sqlite"
    first = Study(build(name, plane(), 0), log=path)
    first.optimizer.enqueue(DEFAULT)
    for _ in range(8):
        job = first.optimizer.ask()
        assert job is not None
        first.optimizer.tell(job, quadratic(job.config, job.until))
    header = first.history.log.header()  # type: ignore[attr-defined]
    searched = first.optimizer.decide(first.history)
    first.history.log.close()
    late = Study(Finals(build(name, plane(), 0), 2), log=path)
    assert late.optimizer.decide(late.history) == searched, "the search itself stays as it was"
    late.history.limit("it was dry", None, FINALS, {"keep": 2})
    while (job := late.optimizer.ask()) is not None:
        late.optimizer.tell(job, quadratic(job.config, job.until))
    assert 0 in whole(late.history) and len(whole(late.history)) >= 2
    assert late.history.log.header() == header, "the header stays as it stands"  # type: ignore[attr-defined]
    starts = [i for i, event in enumerate(late.history.events) if event.kind == "start"]
    loaded = load(path)
    for i in starts:
        prefix = loaded.history.prefix(late.history.events[i].body["seen"])
        assert loaded.optimizer.decide(prefix) == Job.from_json(late.history.events[i].body["job"])
    loaded.history.log.close()
    late.history.log.close()
    with pytest.raises(ValueError, match="belongs to another study"):
        Study(Finals(build(name, plane(), 1), 2), log=path)


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Finals takes an optimizer such as ASHA\(GP\(space\)\), but 3 came"):
        Finals(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="another Finals came"):
        Finals(Finals(Random(plane())))
    with pytest.raises(ValueError, match="keep is 0; allowed is an integer of at least 1"):
        Finals(Random(plane()), keep=0)
    with pytest.raises(ValueError, match="Finals takes one objective"):
        Study(Finals(Random(plane())), objectives={"loss": "min", "size": "min"}).optimizer.ask()
