"""TPE against Optuna's: split, densities, choices, over one and several objectives, with bounds and with running trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optuna import create_study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma, default_gamma_multiobjective
from optuna.trial import TrialState, create_trial

from hpo import TPE, Categorical, Float, History, Int, Job, Random, Result, Space
from hpo.optimizers import tpe
from hpo.optimizers.rung_results import Reading, RungResults
from hpo.testing.spaces import plane
from surrogates import parzen
from surrogates.parzen import ParzenEstimator

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "x": FloatDistribution(-2.0, 3.0),
    "n": IntDistribution(1, 5000),
    "kind": CategoricalDistribution(("a", "b", "c")),
    "m": FloatDistribution(0.0, 1.0),
    "w": IntDistribution(1, 4000),
}
GROUPS = (("lr", "x", "n", "kind"), ("m",), ("w",))


def branches() -> Space:
    return Space(
        lr=Float(1e-5, 1e-1, log=True), x=Float(-2.0, 3.0), n=Int(1, 5000), kind=Categorical(["a", "b", "c"]),
        m=Float(0.0, 1.0, when={"kind": "a"}), w=Int(1, 4000, when={"kind": ["a", "b"]}),
    )  # fmt: skip


def configurations(n: int, seed: int) -> list[dict[str, Any]]:
    """Random ones, in which no integer comes twice: Optuna's sort leaves open which of equal values has which width."""
    drawn, rng = Random(branches(), seed=seed), np.random.default_rng(seed)
    found = [dict(drawn.sample(drawn.history, trial) or {}) for trial in range(n)]
    for name, high in (("n", 5000), ("w", 4000)):
        for config, value in zip(found, rng.permutation(high)[:n].tolist(), strict=True):
            if name in config:
                config[name] = value + 1
    return found


class Pair:
    """The same trials in our history and in Optuna's study: n told ones, 3 running; losses (n, M), the metric "size" (n,)."""

    def __init__(self, n: int, objectives: int = 1, bounded: bool = False, **options: Any) -> None:
        rng = np.random.default_rng(n + objectives)
        self.losses, self.size = rng.standard_normal((n, objectives)), rng.random(n)
        names = [f"loss{i}" for i in range(objectives)]
        constraints = {"size": 0.4 if n < 100 else 0.05} if bounded else {}
        self.ours = TPE(branches(), constraints=constraints, **options)
        self.history = History(self.ours.header({name: "min" for name in names}))
        self.ours.bind(self.history)
        self.study = create_study(directions=["minimize"] * objectives, sampler=TPESampler(seed=0))
        self.estimators: dict[tuple[str, ...], list[Any]] = {}  # Optuna's, of good trials and of bad ones
        bound = constraints.get("size")
        for i, config in enumerate(configurations(n + 3, n)):
            job = Job(i, config, 1)
            self.history.start(job, len(self.history))
            held = {name: DISTRIBUTIONS[name] for name in config}
            if i < n:
                metrics = dict(zip(names, self.losses[i].tolist(), strict=True))
                self.history.finish(job, Result({**metrics, "size": float(self.size[i])}))
                excess = None if bound is None else {"size": float(self.size[i]) - bound}
                trial = create_trial(values=self.losses[i].tolist(), params=config, distributions=held, constraints=excess)
            else:
                trial = create_trial(state=TrialState.RUNNING, params=config, distributions=held)
            self.study.add_trial(trial)

    @property
    def read(self) -> Reading:
        return RungResults.of(self.history, self.ours.space).at(self.history, 1)

    def split(self) -> tuple[list[Any], list[Any]]:
        """Optuna's."""
        gamma = default_gamma if self.losses.shape[1] == 1 else default_gamma_multiobjective
        return _split_trials(self.study, self.study.trials, gamma(len(self.losses)))

    def differs_in_split(self) -> bool:
        below, _ = self.split()
        return {trial.number for trial in below} != set(np.flatnonzero(self.ours.split(self.history, self.read)))

    def blocks(self, estimator: ParzenEstimator) -> list[tuple[str, ...]]:
        return [tuple(self.ours.space.columns[j] for j in block) for block in estimator.blocks]

    def largest_difference(self) -> float:
        """Of log l - log g, by block, between ours and Optuna's, at draws from l."""
        good, bad = self.ours.estimators(self.history, self.read)
        values = good.draw_values(np.random.default_rng(0), 50)
        ours = good.block_log_densities(values) - bad.block_log_densities(values)
        theirs = np.column_stack([self.ratios(names, values) for names in self.blocks(good)])
        return float(np.abs(ours - theirs).max())

    def ratios(self, names: tuple[str, ...], values: np.ndarray) -> np.ndarray:
        """(m,) log l - log g of a block, as Optuna has it."""
        sampler = self.study.sampler
        assert isinstance(sampler, TPESampler)
        if names not in self.estimators:
            space = {name: DISTRIBUTIONS[name] for name in names}
            self.estimators[names] = [sampler._build_parzen_estimator(self.study, space, trials, handle_below=good)
                                      for trials, good in zip(self.split(), (True, False), strict=True)]  # fmt: skip
        return sampler._compute_acquisition_func(self.samples(names, values), *self.estimators[names])

    def samples(self, names: tuple[str, ...], values: np.ndarray) -> dict[str, np.ndarray]:
        """Draws as Optuna has them."""
        columns = {name: values[:, j] for j, name in enumerate(self.ours.space.columns)}
        specs = self.ours.space.parameters
        return {name: columns[name] if name == "kind" else np.array([specs[name].decode(float(u)) for u in columns[name]])
                for name in names}  # fmt: skip

    def differs_in_choice(self, draws: int = 24) -> bool:
        """Of the same draws, does Optuna choose another configuration than ours?"""
        good, bad = self.ours.estimators(self.history, self.read)
        for seed in range(10):
            values = good.draw_values(np.random.default_rng(seed), draws)
            ours = self.ours.space.decode(self.ours.rank_draws(values, good, bad)[0])
            theirs: dict[str, Any] = {}
            for names in self.blocks(good):
                chosen = TPESampler._compare(self.samples(names, values), self.ratios(names, values))
                theirs |= {name: DISTRIBUTIONS[name].to_external_repr(float(value)) for name, value in chosen.items()}
            if any(theirs[name] != value for name, value in ours.items()):
                return True
        return False


SIZES = (12, 60, 240)
VARIANTS: dict[str, dict[str, Any]] = {
    "joint": {"multivariate": True},
    "single": {"multivariate": False},
    "two objectives": {"objectives": 2},
    "three objectives": {"objectives": 3},
    "bounded": {"bounded": True},
    "two bounded": {"objectives": 2, "bounded": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n", SIZES)
def test_split_densities_and_choices_are_optunas(n: int, variant: str) -> None:
    pair = Pair(n, **VARIANTS[variant])
    assert not pair.differs_in_split()
    assert pair.largest_difference() < 1e-8
    assert not pair.differs_in_choice()


def test_blocks_are_optunas_groups() -> None:
    pair = Pair(12)
    assert sorted(pair.blocks(pair.ours.estimators(pair.history, pair.read)[0])) == sorted(GROUPS)


def one_more(self: TPE, n: int, objectives: int) -> int:
    return COUNT(self, n, objectives) + 1


def without_pending(self: Reading, left: np.ndarray) -> np.ndarray:
    return np.concatenate([self.rows[left], self.failed])


def worst_first(self: TPE, values: np.ndarray, good: Any, bad: Any) -> np.ndarray:
    return RANK(self, values, bad, good)


COUNT, RANK = TPE._count, TPE.rank_draws
ERRORS: dict[str, tuple[Any, str, Callable[..., Any], str]] = {
    "gamma": (TPE, "_count", one_more, "split"),
    "pending": (Reading, "others", without_pending, "densities"),
    "recency": (parzen, "FLAT", 10, "densities"),  # type: ignore[dict-item]
    "choice": (TPE, "rank_draws", worst_first, "choice"),
    "front": (tpe, "select_by_rank", lambda F, k: np.lexsort(F.T)[:k], "split"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_seen(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the comparisons with Optuna fails when ours is wrong."""
    owner, name, wrong, seen_by = ERRORS[error]
    monkeypatch.setattr(owner, name, wrong)
    pair = Pair(60, objectives=2 if error == "front" else 1)
    if seen_by == "split":
        assert pair.differs_in_split()
    else:
        assert pair.differs_in_choice() if seen_by == "choice" else pair.largest_difference() > 1e-3


def test_defaults_are_optunas() -> None:
    assert TPESampler()._n_ei_candidates == TPE(plane()).draws and TPESampler()._n_startup_trials == TPE(plane()).initial


def test_gamma_counts() -> None:
    counts = [TPE(plane())._count(n, 1) for n in (1, 10, 11, 250, 10_000)]
    assert counts == [default_gamma(n) for n in (1, 10, 11, 250, 10_000)] == [1, 1, 2, 25, 25]
    assert TPE(plane())._count(1000, 2) == default_gamma_multiobjective(1000) == 100
    assert TPE(plane(), gamma=lambda n: n // 3)._count(300, 1) == 100
