"""The GP over several budgets: levels brought together by pairs, the budget as a column, proposals at the horizon."""

from __future__ import annotations

import numpy as np
import pytest

from hpo import ASHA, GP, Float, History, Random, Result, Simulator, Space, Stop, Study, run
from hpo.job import Job
from hpo.optimizers import fidelity
from hpo.optimizers.fidelity import AtHorizon, View, levelled, readable
from surrogates import GaussianProcess, Score, acquisition, fit, standardise


def line() -> Space:
    return Space(x=Float(0.0, 1.0))


def told(losses: dict[tuple[int, int], float]) -> History:
    """A history of trials at x = trial / 10, with these losses by (trial, until)."""
    optimizer = ASHA(Random(line()), max_resource=9)
    history = optimizer.history
    for (trial, until), loss in sorted(losses.items()):
        source = (
            (trial, max(u for t, u in losses if t == trial and u < until)) if (trial, until) != (trial, 1) else None
        )
        job = Job(trial, {"x": trial / 10}, until, source)
        history.start(job, len(history))
        history.finish(job, Result({"loss": loss}))
    return history


def test_levels_are_brought_together_by_pairs() -> None:
    inf = float("inf")
    history = told(
        {(0, 1): 5.0, (1, 1): 4.0, (2, 1): 9.0, (3, 1): inf, (0, 3): 3.0, (1, 3): 3.5, (2, 3): inf, (1, 9): 2.5}
    )
    keys = readable(history)
    shifted = dict(zip(keys, levelled(history, keys)[:, 0], strict=True))
    # from 1 to 3: median of -2 and -0.5 (the failure is no pair); from 3 to 9: -1
    assert shifted == {(0, 1): 2.75, (1, 1): 1.75, (2, 1): 6.75, (3, 1): inf,
                       (0, 3): 2.0, (1, 3): 2.5, (2, 3): inf, (1, 9): 2.5}  # fmt: skip


def test_one_budget_is_left_alone() -> None:
    history = told({(0, 1): 5.0, (1, 1): 4.0})
    keys = readable(history)
    view = View.of(line(), history, keys)
    assert not view.several and view.domain is view.space.domain
    assert levelled(history, keys)[:, 0].tolist() == [5.0, 4.0] and view.lift(np.array([[0.5]])).tolist() == [[0.5]]


def test_the_budget_is_a_column() -> None:
    history = told({(0, 1): 5.0, (1, 1): 4.0, (1, 3): 3.0})
    keys = readable(history)
    view = View.of(line(), history, keys)
    assert view.rows(history, keys).tolist() == [[0.0, 0.0], [0.1, 0.0], [0.1, 0.5]]  # 3 is half way from 1 to 9
    assert view.lift(np.array([[0.3]])).tolist() == [[0.3, 1.0]] and view.domain.d == 2


def test_gradient_at_the_horizon() -> None:
    rng = np.random.default_rng(0)
    history = told({(t, u): float(rng.normal()) for t in range(9) for u in (1, 3)})
    keys = readable(history)
    view = View.of(line(), history, keys)
    rows, z = view.rows(history, keys), standardise(levelled(history, keys)[:, 0]).z
    gp = GaussianProcess(view.domain, rows, z, fit(rows, z, view.domain, 0))
    score = AtHorizon(Score(gp, acquisition("logei"), float(z.min())), view)
    X, h = np.array([[0.23], [0.71]]), 1e-6
    values, slopes = score.gradient(X)
    assert slopes.shape == X.shape and values == pytest.approx(score(X))
    assert slopes == pytest.approx(((score(X + h) - score(X - h)) / (2 * h))[:, None], rel=1e-4)


def test_no_more_than_so_many_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "MOST", 4)
    history = told({**{(t, 1): float(10 - t) for t in range(6)}, (0, 3): 1.0, (1, 3): 2.0})
    assert readable(history) == [(0, 3), (1, 3), (4, 1), (5, 1)], "the highest budgets, then the lowest losses"


def test_low_rungs_help_where_they_tell() -> None:
    """The optimum is found from short trainings, with only a handful of long ones."""

    def value(config: dict[str, float], until: int, seed: int) -> float:
        return (config["x"] - 0.37) ** 2 + (config["y"] - 0.81) ** 2 + 3.0 / until + 0.2 * config["x"] / until

    def best(sampler: type[GP] | type[Random], seed: int) -> float:
        space = Space(x=Float(0, 1), y=Float(0, 1))
        study = Study(ASHA(sampler(space, seed=seed), max_resource=27))
        run(study, Simulator(value, workers=2), Stop(30))
        assert study.best.until == 27
        return study.best.value - 3.0 / 27

    gp, random = [best(GP, s) for s in range(5)], [best(Random, s) for s in range(5)]
    assert np.median(gp) < 0.5 * np.median(random) and max(gp) < max(random)
