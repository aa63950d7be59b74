"""Where a largest budget comes from: the option, the log that is reopened, the study's horizon, or 81."""

from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, PASHA, ASHAStopping, Finals, Hyperband, MedianStopping, Random, Study, SuccessiveHalving, make
from hpo.testing.spaces import plane
from tests.hpo.following import noisy

ALL = [ASHA, PASHA, ASHAStopping, Hyperband, SuccessiveHalving]


def objective(config: dict[str, Any], report: Any) -> float:
    for epoch in (100, 300, 900):
        report(epoch, config["x"] ** 2 + 100 / epoch)
    return float(config["x"] ** 2)


@pytest.mark.parametrize("cls", ALL)
def test_a_lowest_budget_and_a_factor_are_enough(cls: Any) -> None:
    scheduler = cls(Random(plane(), seed=0), min_resource=100, reduction_factor=3)
    study = hpo.minimize(objective, plane(), scheduler, 12, horizon=900, quiet=True)
    assert study.history.budgets[0] == 100 and set(study.history.budgets) <= {100, 300, 900}
    assert study.header.horizon == 900 and study.header.optimizer["max_resource"] == 900
    assert cls is PASHA or study.history.budgets[-1] == 900


@pytest.mark.parametrize("cls", ALL)
def test_without_a_horizon_a_sentence_says_what_to_give(cls: Any) -> None:
    scheduler = cls(Random(plane(), seed=0), min_resource=100, reduction_factor=3)
    said = rf"{cls.__name__} begins at 100 and has no max_resource; give it one, or give the study a horizon: minimize"
    for call in (lambda: Study(scheduler), lambda: hpo.minimize(objective, plane(), scheduler, 9), scheduler.ask):
        with pytest.raises(ValueError, match=said):
            call()


@pytest.mark.parametrize("cls", [*ALL, MedianStopping])
def test_a_horizon_below_the_lowest_budget_is_refused(cls: Any) -> None:
    options = {"rungs": (100, 300)} if cls is MedianStopping else {"min_resource": 100}
    least = 300 if cls is MedianStopping else 100
    with pytest.raises(ValueError, match=f"{cls.__name__} begins at {least}, but the study's horizon is 50"):
        Study(cls(Random(plane()), **options), horizon=50)


@pytest.mark.parametrize("name", ["asha", "pasha", "asha_stopping", "hyperband", "halving", "median", "percentile", "patience"])
def test_the_usual_one_is_81_and_a_given_one_stays(name: str) -> None:
    assert Study(make(name, plane())).header.optimizer["max_resource"] == 81
    assert Study(make(name, plane()), horizon=243).header.optimizer["max_resource"] == 243
    assert Study(make(name, plane(), max_resource=27), horizon=243).header.optimizer["max_resource"] == 27
    assert Study(Finals(make(name, plane())), horizon=243).header.optimizer["optimizer"]["max_resource"] == 243


def test_rungs_are_laid_out_below_the_horizon() -> None:
    scheduler = ASHA(Random(plane()), min_resource=2)
    owner = scheduler.owner
    Study(scheduler, horizon=50)
    assert scheduler.rungs == [2, 6, 18, 50] and scheduler.owner != owner
    assert Hyperband(Random(plane()), max_resource=9).table() == [[(9, 1), (3, 3), (1, 9)], [(5, 3), (1, 9)], [(3, 9)]]


def test_a_study_from_before_keeps_its_largest_budget(tmp_path: Path) -> None:
    """It was made when 81 was the default whatever the horizon: the same call still opens it, and goes on as it did."""
    for wrap in (lambda s: s, Finals):
        log = tmp_path / f"{wrap.__name__}.sqlite"
        old = Study(wrap(ASHA(Random(plane(), seed=0), max_resource=81)), horizon=243, log=log)
        hpo.run(old, hpo.Simulator(noisy, seed=1), hpo.Stop(trials=9))
        old.history.log.close()
        again = Study(wrap(ASHA(Random(plane(), seed=0))), horizon=243, log=log)
        assert again.optimizer.horizon == 81 and len(again.history) == len(old.history)
        again.history.log.close()
    with pytest.raises(ValueError, match="max_resource was 81 and is now 243"):
        Study(Finals(ASHA(Random(plane(), seed=0), max_resource=243)), horizon=243, log=log)


def test_a_study_that_runs_is_not_laid_out_anew() -> None:
    scheduler = ASHA(Random(plane()))
    Study(scheduler)
    scheduler.take_horizon(27)
    assert scheduler.horizon == 81
