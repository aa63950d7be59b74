"""What optimizers keep that have bounds on what results report, as tests that a class inherits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from hpo.analysis.progress import best_so_far
from hpo.analysis.snapshot import snapshot
from hpo.history import History
from hpo.job import Key
from hpo.optimizer import adapt
from hpo.pareto import dominates
from hpo.space import Space
from hpo.testing.drive import Drive, may_end
from hpo.testing.spaces import noise, plane, rugged_loss
from surrogates.hypervolume import hypervolume

BOUND = 0.4  # on the metric "size", which is spread over 0 to 1
NAMES = ["loss", "other"]
FAR = 10.0  # beyond every loss


def patchy_metrics(config: Mapping[str, Any], until: int, seed: int) -> dict[str, float]:
    """Two losses, and a size that is missing in every fourth result and NaN in another fourth."""
    sizes = ({}, {"size": math.nan}, *[{"size": noise("size", dict(config))}] * 2)
    losses = {"loss": rugged_loss(config, until, seed), "other": 1.0 + noise("other", dict(config))}
    return {**losses, **sizes[int(4 * noise("patch", dict(config)))]}


def keys_within(history: History, bound: float) -> list[Key]:
    """Finished keys whose size is at most so much; one that is missing or NaN is not."""
    return [key for key, result in history.results.items() if result.metrics.get("size", math.inf) <= bound]


class OutcomeLaws:
    """What every optimizer keeps that has bounds {metric: bound} in its option `constraints`: every answer about its study is of
    what keeps them, and no result ends the run.

    jobs         how many a test asks: enough for the optimizer to learn
    objectives   how many it is tried with
    """

    jobs: ClassVar[int] = 24
    objectives: ClassVar[tuple[int, ...]] = (1, 2)

    def make(self, space: Space, seed: int, constraints: Mapping[str, float]) -> Any:
        """The optimizer, new, with these bounds. A subclass writes this one."""
        raise NotImplementedError(f"{type(self).__name__} says how it is made: def make(self, space, seed, constraints)")

    def drive(self, objectives: int, seed: int, times: int = 1, **constraints: float) -> Drive:
        """A search whose results hold a size in two of four cases, of `times` as many jobs."""
        made = adapt(self.make(plane(), seed, constraints))
        drive = Drive(made, patchy_metrics, seed=seed, objectives=NAMES[:objectives])
        drive.run(times * self.jobs)
        assert drive.asked == times * self.jobs or may_end(drive.optimizer), "a result without the metric ended the run"
        return drive

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test with this argument comes once for each value."""
        if "objectives" in metafunc.fixturenames:
            metafunc.parametrize("objectives", self.objectives)

    def test_every_answer_keeps_the_bounds(self, objectives: int) -> None:
        study = self.drive(objectives, 1, size=BOUND).study
        history, good = study.history, keys_within(study.history, BOUND)
        assert good and len(good) < len(history.results), "the bounds decide something"
        kept = [key for key in good if key[1] == max(until for _, until in good)]
        front = {key for key in kept if not any(dominates(history.losses(other), history.losses(key)) for other in kept)}
        assert study.recommend().key in kept and {trial.key for trial in study.pareto} == front
        if objectives == 1:
            assert study.best.key in front and f"(trial {study.best.number})" in study.summary()
        else:
            assert study.summary().startswith(f"front of {len(front)}, ")
        stays = {*study.keep()}
        assert stays >= (front if objectives > 1 else {study.best.key}) and stays <= {*good, *study.optimizer.live(history)}

    def test_every_volume_and_picture_is_of_what_keeps_them(self, objectives: int) -> None:
        study = self.drive(objectives, 2, size=BOUND).study
        history, good, now = study.history, keys_within(study.history, BOUND), snapshot(study.history)
        assert now.best is not None and now.best[0] in good and {*best_so_far(history)} <= {*good}
        for rung in now.rungs:
            losses = [history.losses(key)[0] for key in good if key[1] == rung.until]
            assert rung.best == min(losses, default=None)
        rows = [history.losses(key) for key in good if key[1] == now.best[0][1]]
        volume, curve = hypervolume(np.array(rows), np.full(objectives, FAR)), study.hypervolume_curve([FAR] * objectives)
        assert study.hypervolume([FAR] * objectives) == pytest.approx(volume, rel=1e-12)
        assert curve[-1] == pytest.approx(volume, rel=1e-12) and len({*curve} - {0.0}) <= len(rows)

    def test_it_is_said_where_nothing_keeps_them(self, objectives: int) -> None:
        study = self.drive(objectives, 3, size=-1.0).study
        said = study.summary()
        assert said.startswith(f"none of {len(study.history.results)} successful results keeps size <= -1; the least size is 0.")
        answers: tuple[Callable[[], Any], ...] = (study.recommend, lambda: study.pareto, lambda: study.best)
        for answer in answers:
            with pytest.raises(ValueError) as error:
                answer()
            assert str(error.value) == said
        assert study.hypervolume([FAR] * objectives) == 0.0 and {*study.hypervolume_curve([FAR] * objectives)} == {0.0}
        assert snapshot(study.history).best is None

    def test_a_name_that_no_result_has_is_refused(self, objectives: int) -> None:
        with pytest.raises(ValueError, match=r"no result has the metric 'weight'; allowed are .*'loss', 'other'"):
            self.drive(objectives, 4, times=6, weight=1.0)
