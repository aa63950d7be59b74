"""What every optimizer keeps, as tests that a class inherits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hpo.history import History
from hpo.logs import SQLiteLog
from hpo.logs.base import canonical
from hpo.optimizer import Optimizer, adapt
from hpo.optimizers import make
from hpo.space import Space
from hpo.testing.drive import Drive, may_end
from hpo.testing.replay import changed_jobs, replay_in_process, started_jobs
from hpo.testing.spaces import HOSTILE, SPACES, rugged_loss

SCALES: tuple[Callable[[float], float], ...] = (lambda v: v * 2.0**10, lambda v: v * 2.0**-20)
MONOTONE: tuple[Callable[[float], float], ...] = (*SCALES, math.exp, lambda v: v**3, lambda v: -1.0 / v)
INVARIANCE = {"rank": MONOTONE, "scale": SCALES, "none": ()}


class OptimizerLaws:
    """What every optimizer keeps. A subclass, at the top of a test module, says how one is made.

    spaces       on which it is tried: the first where one is enough; in the last no two random draws are the same
    jobs         how many a test asks: enough for what the optimizer learns or decides to begin
    invariance   changes of the losses that must not change a proposal: "rank", any monotone change; "scale", another unit
                 (powers of two); "none"
    """

    spaces: ClassVar[Mapping[str, Callable[[], Space]]] = SPACES
    jobs: ClassVar[int] = 24
    invariance: ClassVar[str] = "scale"

    def make(self, space: Space, seed: int) -> Any:
        """The optimizer, new. A subclass writes this one."""
        raise NotImplementedError(f"{type(self).__name__} says how an optimizer is made: def make(self, space, seed)")

    def build(self, space: str = "", seed: int = 0) -> Optimizer:
        """The optimizer over one of the spaces, by name; over the first if none is given."""
        made: Optimizer = adapt(self.make(self.spaces[space or next(iter(self.spaces))](), seed))
        return made

    @property
    def last_space(self) -> str:
        return list(self.spaces)[-1]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test with one of these arguments comes once for each value."""
        spaces = list(self.spaces)
        values = {"space": spaces, "hostile_space": spaces[:2], "hostile": list(HOSTILE)}
        for name in metafunc.fixturenames:
            if name in values:
                metafunc.parametrize(name, values[name])

    # -- pure --------------------------------------------------------------------------------------------------------

    def test_proposals_change_nothing(self) -> None:
        """The same history, the same job: asked twice, and asked of another instance. Nothing is remembered elsewhere."""
        drive = Drive(self.build())
        for count in range(0, self.jobs, 5):
            drive.run(count)
            optimizer, said = drive.optimizer, canonical(drive.optimizer.describe())
            first, again = optimizer.decide(drive.history), optimizer.decide(drive.history)
            other = self.build().decide(drive.history)
            assert first == again == other
            live = optimizer.live(drive.history)
            assert live == optimizer.live(drive.history) and len(set(live)) == len(live)
            assert canonical(optimizer.describe()) == said

    def test_proposals_leave_the_history_as_it_is(self) -> None:
        """What the history says and what it holds, event for event; with jobs pending."""
        drive = Drive(self.build(), workers=4, seed=8)
        drive.run(6, lost=0.1, foreign=0.3)
        for _ in range(3):
            before = contents(drive.history)
            optimizer = self.build()
            optimizer.decide(drive.history)
            optimizer.live(drive.history)
            optimizer.candidates(drive.history)
            optimizer.recommend(drive.history)
            assert contents(drive.history) == before
            if drive.ask() is None:
                break

    def test_every_prefix_gives_the_original_job(self, space: str) -> None:
        history = Drive(self.build(space), workers=4, seed=1).run(self.jobs, lost=0.15, foreign=0.1, twice=0.1)
        assert changed_jobs(history, lambda: self.build(space)) == []
        last = max(i for i, event in enumerate(history.events) if event.kind == "start")
        job = self.build(space).decide(history.prefix(last))
        assert job is not None and canonical(job.to_json()) == canonical(history.events[last].body["job"])

    def test_every_prefix_in_a_fresh_process(self, tmp_path: Path) -> None:
        drive = Drive(self.build(), workers=4, seed=2, log=SQLiteLog(tmp_path / "log.db"))
        history = drive.run(self.jobs, lost=0.1, foreign=0.1)
        said = replay_in_process(type(self), tmp_path / "log.db")
        assert said == f"{len(started_jobs(history))} replayed"

    def test_permuted_finishes(self) -> None:
        drive = Drive(self.build(), workers=4, seed=5)
        for upto in (4, 9, 15):
            drive.fill(upto)
            nexts = []
            for order in (drive.running, drive.running[::-1], drive.running[1:] + drive.running[:1]):
                copy = drive.history.prefix(len(drive.history))
                for job in order:
                    copy.finish(job, drive.result(job))
                nexts.append(self.build().decide(copy))
            assert nexts[0] == nexts[1] == nexts[2]
            while drive.running:
                drive.finish(drive.running.pop())

    def test_what_was_asked_is_the_callers(self) -> None:
        """A configuration that is changed in place changes no proposal: the history keeps what it gave out."""
        kept, spoiled = self.build(), self.build()
        for n in range(6):
            job, other = kept.ask(), spoiled.ask()
            assert (job is None) == (other is None)
            if job is None or other is None:
                break
            assert canonical(job.to_json()) == canonical(other.to_json())
            dict.clear(other.config)  # type: ignore[arg-type]
            kept.tell(job, float(n % 3))
            spoiled.tell(other, float(n % 3))

    def test_monotone_or_scaled_losses_change_nothing(self) -> None:
        def run(change: Callable[[float], float]) -> list[str]:
            return started_jobs(Drive(self.build(), lambda c, u, s: change(rugged_loss(c, u, s)), seed=6).run(self.jobs))

        if not INVARIANCE[self.invariance]:
            pytest.skip("it is declared to depend on the unit of the losses")
        base = run(lambda v: v)
        for change in INVARIANCE[self.invariance]:
            assert run(change) == base

    def test_seeds_differ(self) -> None:
        def runs(seed: int) -> list[str]:
            return started_jobs(Drive(self.build(self.last_space, seed)).run(6))

        assert runs(0) == runs(0)
        seeds = [json.loads(job)["seed"] for job in runs(0)]
        assert runs(0) != runs(1) and len(set(seeds)) >= len(seeds) // 3

    def test_describes_itself_in_json(self) -> None:
        said = canonical(self.build().describe())
        assert said == canonical(self.build().describe()) and "0x" not in said

    # -- legal -------------------------------------------------------------------------------------------------------

    def test_configurations_lie_in_the_space(self, space: str) -> None:
        """With the plain types that JSON holds, and no matter what is pending."""
        optimizer = self.build(space)
        history = Drive(optimizer, seed=9).history
        for _ in range(8):
            job = optimizer.decide(history)
            if job is None:
                break
            assert optimizer.space.check(job.config) == dict(job.config)
            assert json.loads(json.dumps(dict(job.config))) == dict(job.config)
            history.start(job, len(history))

    def test_parallel_asks_are_never_duplicates(self) -> None:
        """Pending jobs are part of the history: fresh trials that are asked at once get different configurations."""
        drive = Drive(self.build(self.last_space), workers=1, seed=10)
        drive.run(0 if may_end(drive.optimizer) else 12)
        jobs = [job for _ in range(5) if (job := drive.ask()) is not None and job.source is None]
        configs = [canonical(job.config) for job in jobs]
        assert len(set(configs)) == len(configs)

    def test_pinned_configurations_go_first(self) -> None:
        optimizer = self.build()
        Drive(optimizer)
        pinned = [make("random", optimizer.space, seed=s).ask().config for s in (10, 11)]  # type: ignore[union-attr]
        for config in pinned:
            optimizer.enqueue(config)
        first, second = optimizer.ask(), optimizer.ask()
        assert first is not None and second is not None
        assert [first.config, second.config] == pinned
        assert optimizer.history.queue_head is None

    # -- undisturbed -------------------------------------------------------------------------------------------------

    def test_hostile_losses(self, hostile_space: str, hostile: str) -> None:
        drive = Drive(self.build(hostile_space), HOSTILE[hostile], seed=3)
        drive.run(self.jobs, foreign=0.1)
        assert drive.asked == self.jobs or may_end(drive.optimizer)
        if hostile in ("failing", "nan", "inf"):
            assert all(job.source is None for job in drive.history.jobs.values())

    @pytest.mark.parametrize("workers", [1, 7])
    def test_lost_foreign_and_repeated(self, workers: int) -> None:
        drive = Drive(self.build(), workers=workers, seed=4)
        history = drive.run(2 * self.jobs, lost=0.35, foreign=0.2, twice=0.3)
        assert not history.pending or drive.asked >= 2 * self.jobs
        assert all(len(history.trials[trial]) == 1 for trial in history.added), "nobody resumes a foreign trial"
        limit = [key for key, result in history.results.items() if (result.error or "").startswith("lost 3 times")]
        for key in limit:
            losses = [event for event in history.events if event.kind == "lost" and
                      (event.body["trial"], event.body["until"]) == key]  # fmt: skip
            assert len(losses) == history.header.lost_limit

    @pytest.mark.parametrize("workers", [1, 5])
    def test_checkpoints_go_when_they_are_of_no_use(self, workers: int) -> None:
        drive = Drive(self.build(), workers=workers, seed=7)
        drive.run(3 * self.jobs, lost=0.1, foreign=0.1)
        after = 2 * workers + 2  # finishes, in which there is a start: verdicts are final at one
        for early, late in zip(drive.leaked, drive.leaked[after:], strict=False):
            assert not early & late

    def test_lost_comes_back_first(self) -> None:
        drive = Drive(self.build())
        drive.run(0 if may_end(drive.optimizer) else 5)
        first = drive.ask()
        assert first is not None
        drive.optimizer.lose(first)
        assert drive.optimizer.ask() == first


def contents(history: History) -> str:
    """What a history holds, as text: its events, and what it has made of them."""
    jobs = {str(key): job.to_json() for key, job in history.jobs.items()}
    results = {str(key): result.to_json() for key, result in history.results.items()}
    trials = {str(trial): keys for trial, keys in history.trials.items()}
    waiting = [[list(key) for key in keys] for keys in (history.pending, history.retries, history.sources)]
    ranked = [[list(key) for key in history.ranking(until)] for until in history.budgets]
    queued = None if history.queue_head is None else [history.queue_head[0], dict(history.queue_head[1])]
    return canonical([history.digest, len(history), jobs, results, trials, sorted(history.added), waiting, ranked, queued])
