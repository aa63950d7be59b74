"""What single papers stand on, against references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import comb

from experiments.benchmark.tables import LDA, SVM, data_file, read_grid
from papers.gpucb2010.methods import NOISE, POINTS, SPACE, GridPosterior, KnownGP, beta, draw_function, prior
from papers.logei2023.methods import STARTS, RandomStarts, ackley, michalewicz, unit_cube
from papers.pbt2017.toy import FIRST
from papers.pbt2017.toy import SPACE as PBT_SPACE
from papers.snoek2012.rules import RANDOM
from papers.statistics import difference_of, mean_of
from papers.steplaw2025.table import TASKS, grids, law
from surrogates import LogEI, Score


def test_means_are_students() -> None:
    values = np.random.default_rng(0).normal(size=12)
    found, exact = mean_of(values), stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    paired = difference_of(values, values[::-1])
    assert paired.value == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="two values or more, all finite"):
        mean_of([1.0])


def test_the_posterior_over_points_is_exact() -> None:
    """Updates of rank one, against the formula with all results at once."""
    optimizer = KnownGP(SPACE, seed=3)
    rng, told, values = np.random.default_rng(0), [], []
    for _ in range(12):
        job = optimizer.ask()
        assert job is not None
        told.append(job.config["i"])
        values.append(float(rng.normal()))
        optimizer.tell(job, values[-1])
    belief = optimizer.history.fold(optimizer.owner, lambda: GridPosterior(np.zeros(POINTS), prior().copy()))
    K = prior()
    solved = np.linalg.solve(K[np.ix_(told, told)] + NOISE * np.eye(len(told)), np.column_stack([values, K[told]]))
    assert np.allclose(belief.mean, K[:, told] @ solved[:, 0], atol=1e-8)
    assert np.allclose(belief.covariance, K - K[:, told] @ solved[:, 1:], atol=1e-8)


def test_functions_are_drawn_from_the_prior() -> None:
    draws = np.array([draw_function(seed) for seed in range(300)])
    assert abs(draws[:, 0].var() - 1) < 0.3 and abs(np.corrcoef(draws[:, 0], draws[:, 200])[0, 1] - math.exp(-0.5)) < 0.15
    assert beta(1) == pytest.approx(2 * math.log(1000 * math.pi**2 / 0.6))


def test_test_functions_have_their_optima() -> None:
    assert ackley({str(i): 0.5 for i in range(16)}) == pytest.approx(0, abs=1e-12)
    assert michalewicz({"0": 2.20 / math.pi, "1": 1.57 / math.pi}) == pytest.approx(-1.8013, abs=1e-3)


def test_random_starts_climb() -> None:
    """The paper's way of climbing ends higher than the best of as many random rows."""
    space, rng = unit_cube(3), np.random.default_rng(0)
    optimizer = RandomStarts(space, seed=0, acquisition="logei", initial=5)
    for _ in range(8):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, float(rng.normal()))
    configs = [optimizer.history.jobs[key].config for key in optimizer.history.finished_keys]
    told = np.array([[config[name] for name in space.columns] for config in configs])
    gp = optimizer.posterior()
    score = Score(gp, LogEI(), float(gp.mean(told).min()))
    row = optimizer.search(score, space.domain, 0, told, set())
    assert row is not None and score(row[None])[0] > score(np.random.default_rng(0).random((STARTS, 3))).max()


def test_the_first_two_slots_see_one_half_each() -> None:
    assert [PBT_SPACE.check(config) for config in FIRST] == list(FIRST)


@pytest.mark.data
def test_expectations_of_random_search_are_those_of_the_tables() -> None:
    for problem, grid in (("lda", LDA), ("svm", SVM)):
        if not data_file(grid.file).is_file():
            pytest.skip(f"{grid.file} is not below $HPO_DATA")
        losses = np.sort(read_grid(grid)[np.isfinite(read_grid(grid))])
        for n, stated in RANDOM[problem].items():
            chance = comb(len(losses) - 1 - np.arange(len(losses)), n - 1) / comb(len(losses), n)
            assert float(chance @ losses) == pytest.approx(stated, rel=2e-4)


@pytest.mark.data
def test_the_tasks_of_the_step_law_are_those_of_the_table() -> None:
    if not data_file("tables/steplaw_dense_clean.csv").is_file():
        pytest.skip("tables/steplaw_dense_clean.csv is not below $HPO_DATA")
    assert set(grids()) == set(TASKS)
    rate, batch = law(214_663_680, 4_000_000_000)
    assert -12 < rate < -5 and 4 < batch < 11
