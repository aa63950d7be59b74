"""BOHB and its sampler against the paper derived again: the two sets, the budget, the densities, the settings."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from scipy.stats import truncnorm

from hpo import (
    ASHA,
    BOHB,
    KDE,
    TPE,
    Categorical,
    Float,
    History,
    Hyperband,
    Int,
    Job,
    Random,
    Result,
    Space,
    Study,
    make,
)
from hpo.optimizers import bohb
from hpo.optimizers.kde import fill_inactive
from hpo.optimizers.rung_results import RungResults
from hpo.rng import stream
from hpo.testing import Drive, changed_jobs
from hpo.testing.replay import started_jobs
from hpo.testing.spaces import plane, quadratic, rugged_loss


def three() -> Space:
    return Space(x=Float(0.0, 1.0), lr=Float(1e-4, 1.0, log=True), kind=Categorical(["a", "b", "c"]))


def told(losses: Mapping[tuple[int, int], float], space: Space) -> History:
    """Random configurations with these losses by (trial, until), infinite ones failed."""
    history, drawn = ASHA(Random(space), max_resource=81).history, Random(space, seed=8)
    last: dict[int, tuple[int, int]] = {}
    for key, loss in sorted(losses.items()):
        config = drawn.sample(history, key[0])
        assert config is not None
        job = Job(key[0], config, key[1], last.get(key[0]))
        history.start(job, len(history))
        history.finish(job, Result(error="diverged") if loss == np.inf else Result({"loss": loss}))
        last[key[0]] = key
    return history


def scattered(n: int, seed: int = 0, until: int = 1) -> dict[tuple[int, int], float]:
    return {(trial, until): float(v) for trial, v in enumerate(np.random.default_rng(seed).standard_normal(n))}


# -- the published settings ---------------------------------------------------------------------------------------------


def test_the_settings_are_those_of_the_paper() -> None:
    """Falkner et al. 2018, section 3.2, and the defaults of their HpBandSter."""
    optimizer = make("bohb", three())
    assert type(optimizer) is BOHB and isinstance(optimizer.sampler, KDE)
    sampler = optimizer.sampler
    assert (sampler.random_fraction, sampler.top_n_percent, sampler.draws) == (1 / 3, 15, 64)
    assert (sampler.bandwidth_factor, sampler.min_bandwidth, sampler.enough) == (3, 1e-3, 4)
    assert optimizer.reduction_factor == 3
    assert optimizer.table() == Hyperband(Random(three())).table()


def published_sets(losses: list[float], d: int, q: float = 0.15) -> tuple[set[int], set[int]]:
    """Eq. 3 of the paper."""
    order, n_min = sorted(range(len(losses)), key=losses.__getitem__), d + 1
    good = max(n_min, int(q * len(losses)))
    return set(order[:good]), set(order[-max(n_min, len(losses) - good) :])


def sets(n: int, sampler: KDE) -> tuple[set[int], set[int], list[float]]:
    history = told(scattered(n, n), three())
    read = RungResults.of(history, sampler.space).at(history, 1)
    places = {row.tobytes(): i for i, row in enumerate(read.rows)}
    good, bad = sampler.split(history, read)
    return {places[row.tobytes()] for row in good}, {places[row.tobytes()] for row in bad}, read.losses[:, 0].tolist()


@pytest.mark.parametrize("n", (6, 12, 60, 200))
def test_good_and_bad_are_those_of_the_paper(n: int) -> None:
    good, bad, losses = sets(n, KDE(three()))
    assert (good, bad) == published_sets(losses, 3)
    assert bool(good & bad) is (n == 6)  # of few results some are both


@pytest.mark.parametrize("options", [{"top_n_percent": 25}, {"min_points_in_model": 12}], ids=str)
def test_other_sets_are_seen(options: dict[str, Any]) -> None:
    good, _, losses = sets(60, KDE(three(), **options))
    assert good != published_sets(losses, 3)[0]


def published_ratio(X: np.ndarray, good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """(m,) log l - log g over two floats and a choice of three: section 3.2, statsmodels' normal reference rule, truncated."""
    def density(rows: np.ndarray) -> np.ndarray:
        bw = np.maximum(1.06 * rows.std(axis=0) * len(rows) ** (-1 / 7), 1e-3)
        h = min(bw[2], 2 / 3)
        kernels = [truncnorm.pdf(X[:, j, None], -rows[:, j] / bw[j], (1 - rows[:, j]) / bw[j], rows[:, j], bw[j]) for j in (0, 1)]
        return np.asarray((kernels[0] * kernels[1] * np.where(X[:, 2, None] == rows[:, 2], 1 - h, h / 2)).mean(axis=1))

    return np.log(np.maximum(density(good), 1e-32)) - np.log(np.maximum(density(bad), 1e-32))


def is_best_by_the_paper(sampler: KDE, n: int) -> bool:
    """Whether, of its own draws, the sampler takes first the one that the paper would; and in that order all others."""
    history = told(scattered(n, 3), three())
    good, bad = sampler.split(history, RungResults.of(history, sampler.space).at(history, 1))
    rows = sampler._rank_draws(good, bad, np.random.default_rng(0))
    ratio = published_ratio(rows, good, bad)
    return len(rows) == sampler.draws and bool((np.diff(ratio) <= 1e-9).all())


@pytest.mark.parametrize("n", (8, 40, 150))
def test_the_choice_is_that_of_the_paper(n: int) -> None:
    assert is_best_by_the_paper(KDE(three()), n)


@pytest.mark.parametrize("n", (8, 40, 150))
def test_a_wrong_density_is_seen(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = bohb.KDE._rank_draws.__globals__["kernel_density"]
    wrong: Callable[..., Any] = lambda domain, X, factor, least: inner(domain, X, 1.3 * factor, least)  # noqa: E731
    monkeypatch.setitem(bohb.KDE._rank_draws.__globals__, "kernel_density", wrong)
    assert not is_best_by_the_paper(KDE(three()), n)


def test_draws_are_of_wider_kernels() -> None:
    space = plane()
    good, bad = np.full((3, 2), 0.5), np.random.default_rng(0).random((9, 2))
    spread = [KDE(space, bandwidth_factor=factor, min_bandwidth=0.01, draws=2000)._rank_draws(good, bad, np.random.default_rng(1))
              for factor in (1.0, 3.0)]  # fmt: skip
    assert spread[0].std() == pytest.approx(0.01, rel=0.1) and spread[1].std() == pytest.approx(0.03, rel=0.1)


# -- which budget is read -----------------------------------------------------------------------------------------------


def budget(losses: Mapping[tuple[int, int], float], **options: Any) -> int | None:
    space = three()
    return KDE(space, **options).largest_budget(RungResults.of(told(losses, space), space))


def test_the_largest_budget_with_enough_is_read() -> None:
    assert budget(scattered(5)) is None and budget(scattered(6)) == 1  # N_min + 2 = 6
    assert budget(scattered(20) | scattered(5, 1, 3)) == 1
    assert budget(scattered(20) | scattered(6, 1, 3)) == 3
    assert budget(scattered(20) | scattered(6, 1, 3), min_points_in_model=5) == 1
    failures = {(trial, 1): np.inf for trial in range(100, 103)}
    assert budget(scattered(4) | failures) == 1 and budget(scattered(3) | failures) is None


def test_failures_are_bad_and_never_good() -> None:
    space, failures = three(), {(trial, 1): np.inf for trial in range(100, 130)}
    history = told(scattered(5) | failures, space)
    read = RungResults.of(history, space).at(history, 1)
    good, bad = KDE(space).split(history, read)
    assert {row.tobytes() for row in good} == {row.tobytes() for row in read.rows}
    np.testing.assert_array_equal(bad, read.failed)


def test_a_third_is_random() -> None:
    """By the stream of the trial: those of the same seed that are random with results are the very draws made without any."""
    space = three()
    history, empty = told(scattered(60), space), told({}, space)
    sampler = KDE(space, seed=5)
    same = [sampler.sample(history, trial) == sampler.sample(empty, trial) for trial in range(1000, 1300)]
    rolled = [float(stream(5, trial, "kde").random()) < 1 / 3 for trial in range(1000, 1300)]
    assert same == rolled and 80 < sum(same) < 120
    assert not any(KDE(space, seed=5, random_fraction=0.0).sample(history, trial) == sampler.sample(empty, trial)
                   for trial in range(1000, 1040))  # fmt: skip


# -- conditional spaces, several objectives ------------------------------------------------------------------------------


def test_what_is_inactive_is_filled_from_other_rows() -> None:
    space = Space(kind=Categorical(["a", "b"]), x=Float(0.0, 1.0, when={"kind": "a"}), n=Int(1, 9, when={"kind": "a"}))
    X = space.domain.random(np.random.default_rng(0), 30)
    filled = fill_inactive(space.domain, X, np.random.default_rng(1))
    on = ~np.isnan(X[:, 1])
    np.testing.assert_array_equal(filled[on], X[on])
    pairs = {tuple(row) for row in X[on][:, 1:]}
    assert (~on).any() and {tuple(row) for row in filled[~on][:, 1:]} <= pairs
    none = fill_inactive(space.domain, X[~on], np.random.default_rng(1))
    assert not np.isnan(none).any() and len(np.unique(none[:, 1])) == (~on).sum()
    np.testing.assert_array_equal(space.domain.snap(none), X[~on])


def test_several_objectives_are_ordered_by_the_historys_rank() -> None:
    optimizer, rng = KDE(plane()), np.random.default_rng(0)
    history = History(optimizer.header({"a": "min", "b": "min"}))
    for trial in range(40):
        job = Job(trial, {"x": trial / 40, "y": 0.0}, 1)
        history.start(job, len(history))
        history.finish(job, Result({"a": float(rng.random()), "b": float(rng.random())}))
    good, _ = optimizer.split(history, RungResults.of(history, optimizer.space).at(history, 1))
    best = [history.jobs[key].config["x"] for key in history.rank(history.at(1))[:6]]
    np.testing.assert_allclose(good[:, 0] * 2 - 1, best)


# -- the composition ----------------------------------------------------------------------------------------------------


def run_jobs(optimizer: Any, jobs: int = 60) -> list[str]:
    return started_jobs(Drive(optimizer, rugged_loss, seed=1).run(jobs))


def test_it_proposes_otherwise_than_hyperband_over_tpe() -> None:
    """The brackets are the same and no configuration is; over the same sampler nothing differs."""
    space = plane()
    of_bohb = run_jobs(BOHB(KDE(space, seed=1), max_resource=9))
    over_tpe = run_jobs(Hyperband(TPE(space, seed=1), max_resource=9))
    assert of_bohb == run_jobs(Hyperband(KDE(space, seed=1), max_resource=9))
    assert len(set(of_bohb) & set(over_tpe)) == 0
    shapes = [[json_until(job) for job in jobs[:9]] for jobs in (of_bohb, over_tpe)]
    assert shapes[0] == shapes[1]


def json_until(job: str) -> int:
    return int(json.loads(job)["until"])


def test_it_takes_its_own_sampler_alone() -> None:
    with pytest.raises(TypeError, match=r"BOHB takes a KDE\(space\), but a TPE came; Hyperband takes any sampler"):
        BOHB(TPE(plane()))
    assert BOHB(KDE(plane())).describe()["sampler"]["name"] == "KDE"


def test_it_replays_with_many_workers() -> None:
    def build() -> BOHB:
        return BOHB(KDE(three(), seed=2), max_resource=9)

    history = Drive(build(), workers=6, seed=2).run(60, lost=0.1, foreign=0.1)
    assert changed_jobs(history, build) == []


def test_its_model_beats_random_proposals() -> None:
    """The median loss of what it proposes from trial 30 on, over eight seeds."""
    def late(optimizer: Any) -> float:
        history = Drive(optimizer, quadratic, workers=2).run(70)
        return float(np.median([quadratic(job.config, 1000) for job in history.jobs.values() if job.trial >= 30]))

    wins = sum(late(KDE(plane(), seed=seed)) < late(Random(plane(), seed=seed)) for seed in range(8))
    assert wins >= 7  # by chance 0.035


@pytest.mark.parametrize(("options", "said"), [
    ({"random_fraction": 1.5}, "random_fraction is 1.5; allowed is a number from 0 to 1"),
    ({"top_n_percent": -1}, "top_n_percent is -1; allowed is a number from 0 to 100"),
    ({"bandwidth_factor": 0}, "bandwidth_factor is 0; allowed is a number above 0"),
    ({"min_bandwidth": "x"}, "min_bandwidth is 'x'; allowed is a number above 0"),
    ({"draws": 0}, "draws is 0; allowed is an integer of at least 1"),
    ({"min_points_in_model": 0}, "min_points_in_model is 0; allowed is an integer of at least 1"),
])  # fmt: skip
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        KDE(plane(), **options)
    assert str(error.value) == said


def test_the_example_of_the_page_runs() -> None:
    result = doctest.testmod(bohb)
    assert result.failed == 0 and 0 < result.attempted <= 10
    assert Study(make("bohb", plane())).header.optimizer["name"] == "BOHB"
