"""Results by budget: which of a history count where, and that reading piece by piece is reading anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hpo import ASHA, TPE, Float, History, Job, Random, Result, Space
from hpo.optimizers.rung_results import Reading, RungResults, choose_budget
from hpo.testing import Drive


def line() -> Space:
    return Space(x=Float(0.0, 1.0))


def told(losses: Mapping[tuple[int, int], float], running: Mapping[int, int] | None = None) -> History:
    """Trials at x = trial / 100 with these losses by (trial, until), infinite ones failed; running: trial -> until."""
    history = ASHA(Random(line()), max_resource=9).history
    last: dict[int, tuple[int, int]] = {}
    for key, loss in sorted(losses.items()):
        job = Job(key[0], {"x": key[0] / 100}, key[1], last.get(key[0]))
        history.start(job, len(history))
        history.finish(job, Result(error="diverged") if loss == np.inf else Result({"loss": loss}))
        last[key[0]] = key
    for trial, until in (running or {}).items():
        history.start(Job(trial, {"x": trial / 100}, until, last.get(trial)), len(history))
    return history


def read_at(history: History, until: int) -> Reading:
    return RungResults.of(history, line()).at(history, until)


def test_fidelities_are_never_pooled() -> None:
    history = told({(0, 1): 5.0, (1, 1): 4.0, (2, 1): 3.0, (1, 3): 3.5, (2, 3): 1.0, (2, 9): 0.5})
    for until, trials, losses in ((1, [0, 1, 2], [5.0, 4.0, 3.0]), (3, [1, 2], [3.5, 1.0]), (9, [2], [0.5]), (5, [], [])):
        read = read_at(history, until)
        assert read.trials.tolist() == trials and read.losses[:, 0].tolist() == losses
        np.testing.assert_allclose(read.rows[:, 0], [trial / 100 for trial in trials])


def test_a_failure_at_any_budget_is_bad() -> None:
    history = told({(0, 1): 5.0, (1, 1): np.inf, (2, 1): 3.0, (2, 3): np.inf, (3, 1): 1.0})
    read = read_at(history, 1)
    assert read.trials.tolist() == [0, 3] and read.failures.tolist() == [1, 2]
    np.testing.assert_allclose(read.others(np.array([True, False]))[:, 0], [0.0, 0.01, 0.02])


def test_pending_is_bad_and_paused_is_not() -> None:
    """Trial 0 is paused at 1, 1 runs towards 3, 2 runs towards 9 and has a result at 3, 5 has just started."""
    history = told({(0, 1): 5.0, (1, 1): 4.0, (2, 1): 3.0, (2, 3): 1.0, (3, 1): 2.0, (3, 3): 2.0}, running={1: 3, 2: 9, 5: 1})
    assert read_at(history, 3).pending.tolist() == [1, 5] and read_at(history, 3).trials.tolist() == [2, 3]
    assert read_at(history, 1).pending.tolist() == [5]
    np.testing.assert_allclose(read_at(history, 3).others(np.array([False, True]))[:, 0], [0.01, 0.03, 0.05])
    history.lose(history.jobs[5, 1])
    assert read_at(history, 3).pending.tolist() == [1, 5]  # it waits to be given out again


def test_weights_of_others_are_not_read() -> None:
    history = told({(0, 1): 5.0, (1, 1): 4.0})
    assert read_at(history, 3).trials.tolist() == []
    clone = Job(2, {"x": 0.5}, 3, (1, 1))
    history.start(clone, len(history))
    history.finish(clone, Result({"loss": 0.0}))
    assert read_at(history, 3).trials.tolist() == [] and read_at(history, 1).trials.tolist() == [0, 1]
    assert 2 in history.adopted


def test_what_is_read_piece_by_piece_is_what_is_read_anew() -> None:
    """Results that come out of order, failures, and trials that adopt weights after results of their own."""
    def build() -> ASHA:
        return ASHA(TPE(line(), seed=1), max_resource=9)

    drive = Drive(build(), workers=5, seed=6)
    for count in range(5, 60, 5):
        drive.run(count, foreign=0.2)
        history = drive.history
        if count == 40:
            source = next(key for key in history.finished_keys if not history.is_failure(key) and key[0] > 0)
            paused = (trial for trial, keys in history.trials.items() if keys[-1][1] == 1 and trial not in history.added)
            taken = next(trial for trial in paused if trial != source[0])
            clone = Job(taken, history.jobs[taken, 1].config, 9, source)
            history.start(clone, len(history))
            assert taken in RungResults.of(history.prefix(len(history) - 1), line()).trials and taken in history.adopted
        anew = history.prefix(len(history))
        for until in (1, 3, 9):
            now, then = read_at(history, until), read_at(anew, until)
            assert all(np.array_equal(getattr(now, name), getattr(then, name)) for name in Reading.__dataclass_fields__)
            assert now.keys == [(trial, until) for trial in now.trials]
        assert RungResults.of(history, line()).counts() == RungResults.of(anew, line()).counts()


@pytest.mark.parametrize(("counts", "until"), [
    ({9: 3, 3: 10, 1: 40}, 3), ({9: 10, 3: 30}, 9), ({9: 2, 3: 4, 1: 4}, 3), ({9: 0, 1: 1}, 1), ({}, None),
])  # fmt: skip
def test_the_budget_is_the_highest_with_enough(counts: dict[int, int], until: int | None) -> None:
    assert choose_budget(counts, 10) == until


def test_it_reads_the_highest_budget_with_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten successes at 1 are read until there are ten at 3."""
    asked: list[int] = []
    inner = RungResults.at

    def at(self: RungResults, history: History, until: int) -> Reading:
        asked.append(until)
        return inner(self, history, until)

    monkeypatch.setattr(RungResults, "at", at)
    losses = {(trial, 1): trial / 7 % 1 for trial in range(12)}
    sampler = TPE(line())
    for more in (9, 10):
        history = told(losses | {(trial, 3): 1.0 for trial in range(more)})
        assert sampler.sample(history, history.next_trial) is not None
    assert asked == [1, 3]
    few = told({(trial, 1): 1.0 for trial in range(9)})
    draft = sampler.suggest(few, few.next_trial)
    assert draft is not None and draft.record == {"sobol": 0} and asked == [1, 3]
    failing = told({(trial, 1): np.inf for trial in range(9)} | {(9, 1): 1.0})
    assert sampler.sample(failing, 10) is not None and asked == [1, 3, 1]  # failures are results


def test_it_keeps_away_from_what_failed() -> None:
    """Everything below one half fails: most proposals lie above, those of random search half of the time."""
    def fails(config: Mapping[str, Any], until: int, seed: int) -> float:
        if config["x"] < 0.5:
            raise ArithmeticError("diverged")
        return 1.0  # nothing else to learn

    history = Drive(TPE(Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))), fails).run(60)
    later = [job.config["x"] for job in history.jobs.values() if job.trial >= 20]
    assert np.mean([x >= 0.5 for x in later]) > 0.75
