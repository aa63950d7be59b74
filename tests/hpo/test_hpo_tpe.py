"""TPE against Optuna's: split, densities, choices; which results it reads; its options; what an ask costs."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from optuna import create_study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma, default_gamma_multiobjective
from optuna.trial import TrialState, create_trial

from hpo import ASHA, PBT, TPE, Categorical, Float, History, Int, Job, MedianStopping, Random, Result, Space
from hpo.optimizers import tpe
from hpo.optimizers.proposals import draw_feasible
from hpo.optimizers.rung_results import Reading, RungResults, choose_budget
from hpo.testing import Drive, changed_jobs
from hpo.testing.spaces import mixed_space, plane, rugged_loss
from surrogates import parzen
from surrogates.parzen import ParzenEstimator

# -- beside Optuna ------------------------------------------------------------------------------------------------------

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


# -- what is read -------------------------------------------------------------------------------------------------------


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


# -- options ------------------------------------------------------------------------------------------------------------


def proposals(optimizer: TPE, n: int = 20, jobs: int = 16) -> list[dict[str, Any]]:
    drive = Drive(optimizer, rugged_loss, seed=3)
    drive.run(n)
    return [dict(job.config) for job in [drive.ask() for _ in range(jobs - 12)] if job is not None]


@pytest.mark.parametrize("options", [
    {"gamma": 0.4}, {"gamma": lambda n: 5}, {"draws": 3}, {"initial": 4}, {"multivariate": False},
], ids=str)  # fmt: skip
def test_every_option_changes_what_is_proposed(options: dict[str, Any]) -> None:
    assert proposals(TPE(mixed_space(), **options)) != proposals(TPE(mixed_space()))


def test_gamma_counts() -> None:
    counts = [TPE(plane())._count(n, 1) for n in (1, 10, 11, 250, 10_000)]
    assert counts == [default_gamma(n) for n in (1, 10, 11, 250, 10_000)] == [1, 1, 2, 25, 25]
    assert TPE(plane())._count(1000, 2) == default_gamma_multiobjective(1000) == 100
    assert TPE(plane(), gamma=lambda n: n // 3)._count(300, 1) == 100


@pytest.mark.parametrize(("options", "said"), [
    ({"gamma": 1.5}, "gamma is 1.5; allowed is a number between 0 and 1, or a function of n"),
    ({"draws": 0}, "draws is 0; allowed is an integer of at least 1"),
    ({"initial": 0}, "initial is 0; allowed is an integer of at least 1"),
    ({"multivariate": "yes"}, "multivariate is 'yes'; allowed are True, False and None"),
    ({"constraints": {"size": float("inf")}}, "the bound of the constraint 'size' is inf; allowed is a finite number"),
    ({"constraints": 3}, "constraints is 3; allowed is {metric: bound}"),
])  # fmt: skip
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        TPE(plane(), **options)
    assert str(error.value) == said


def test_a_rule_that_returns_no_count_is_named() -> None:
    with pytest.raises(ValueError, match=r"gamma\(12\) is 0\.5; allowed is an integer of at least 0"):
        TPE(plane(), gamma=lambda n: 0.5)._count(12, 1)  # type: ignore[arg-type, return-value]


def bounded_study(constraints: Mapping[str, float], seed: int, jobs: int = 40) -> TPE:
    """The loss falls towards x = 1, y = 1, where the size x + y is beyond the bound 0."""
    optimizer = TPE(plane(), seed=seed, constraints=constraints)
    for _ in range(jobs):
        job = optimizer.ask()
        assert job is not None
        size = job.config["x"] + job.config["y"]
        optimizer.tell(job, {"loss": -size, "size": size})
    return optimizer


def test_constraints_are_learned_and_kept_in_what_is_recommended() -> None:
    bounded, free = (bounded_study(constraints, seed=1) for constraints in ({"size": 0.0}, {}))
    kept = [[result.metrics["size"] <= 0.0 for key, result in sorted(one.history.results.items()) if key[0] >= 15]
            for one in (bounded, free)]  # fmt: skip
    assert np.mean(kept[0]) > 0.5 > 0.2 > np.mean(kept[1])
    best = bounded.recommend(bounded.history)
    assert best is not None and -0.5 < bounded.history.results[best].metrics["size"] <= 0.0
    assert free.history.results[free.recommend(free.history)].metrics["size"] > 1.0  # type: ignore[index]


def test_why_nothing_is_recommended() -> None:
    optimizer = bounded_study({"size": -5.0}, seed=0, jobs=12)
    assert optimizer.recommend(optimizer.history) is None
    said = optimizer.explain_none(optimizer.history)
    assert said.startswith("none of 12 successful results keeps size <= -5; the least size is -")
    with pytest.raises(ValueError, match=r"no result has the metric 'weight'; the last ones hold \['loss', 'size'"):
        bounded_study({"weight": 1.0}, seed=0, jobs=12)


def hypervolume(points: list[list[float]]) -> float:
    """Of two objectives, below (2, 2)."""
    total, least = 0.0, 2.0
    for a, b in sorted(points):
        if b < least and a < 2.0:
            total, least = total + (2.0 - a) * (least - b), b
    return total


def test_several_objectives_beat_random() -> None:
    """Two bowls in the plane: the hypervolume of what was found, over eight seeds."""
    def front(cls: type, seed: int) -> float:
        optimizer = cls(plane(), seed=seed)
        optimizer.bind(History(optimizer.header({"a": "min", "b": "max"})))
        points = []
        for _ in range(40):
            job = optimizer.ask()
            x, y = job.config["x"], job.config["y"]
            points.append([(x - 0.6) ** 2 + y**2, (x + 0.6) ** 2 + y**2])
            optimizer.tell(job, {"a": points[-1][0], "b": -points[-1][1]})
        return hypervolume(points)

    assert sum(front(TPE, seed) > front(Random, seed) for seed in range(8)) >= 7  # by chance 0.035


# -- constraints of the space -------------------------------------------------------------------------------------------


def is_diagonal(config: Mapping[str, Any]) -> bool:
    return abs(config["x"] - config["y"]) < 0.1


@pytest.mark.parametrize("multivariate", (True, False))
def test_blocks_are_combined_among_what_is_feasible(multivariate: bool) -> None:
    """The first row is feasible, and worth at least as much as the best whole draw."""
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0), z=Float(0.0, 1.0), constraints=[is_diagonal])
    domain, rng = space.domain, np.random.default_rng(0)
    optimizer, better = TPE(space, multivariate=multivariate), 0
    for _ in range(20):
        good, bad = (ParzenEstimator(domain, domain.random(rng, n), multivariate=multivariate) for n in (5, 20))
        values = draw_feasible(domain, good.draw_values, rng, 24)
        assert len(values) == 24 and domain.is_feasible(values).all()
        ranked = optimizer.rank_draws(values, good, bad)
        worth = good.log_density(ranked) - bad.log_density(ranked)
        best = (good.log_density(values) - bad.log_density(values)).max()
        assert domain.is_feasible(ranked).all() and worth[0] >= best - 1e-12
        assert (np.diff(worth[1:]) <= 1e-12).all()
        better += worth[0] > best + 1e-9
    assert better == 0 if multivariate else better > 10


def test_few_draws_are_feasible_where_nothing_is() -> None:
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0), constraints=[lambda c: c["x"] < 0.001])
    domain = space.domain
    far = ParzenEstimator(domain, np.full((30, 2), 0.9), prior=1e-9)
    assert len(draw_feasible(domain, far.draw_values, np.random.default_rng(0), 24)) == 0
    history = Drive(TPE(space), rugged_loss).run(20)
    assert all(job.config["x"] < 0.001 for job in history.jobs.values())


# -- company ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [
    lambda: PBT(TPE(plane(), seed=2), population=4, generations=4, max_resource=8),
    lambda: MedianStopping(TPE(plane(), seed=2), rungs=(1, 3), max_resource=9),
    lambda: ASHA(TPE(branches(), seed=2), max_resource=9),
], ids=("pbt", "median", "asha"))  # fmt: skip
def test_under_schedulers_it_replays(build: Callable[[], Any]) -> None:
    history = Drive(build(), workers=5, seed=4).run(50, lost=0.1, foreign=0.1)
    assert changed_jobs(history, build) == []


def test_sixteen_asks_at_once_are_sixteen_configurations() -> None:
    drive = Drive(TPE(plane()), workers=1, seed=1)
    drive.run(20)
    xy = np.array([[job.config["x"], job.config["y"]] for job in [drive.ask() for _ in range(16)] if job is not None])
    apart = np.sqrt(((xy[:, None] - xy[None]) ** 2).sum(-1))[np.triu_indices(16, 1)]
    assert len(xy) == 16 and apart.min() > 1e-3 and np.median(apart) > 0.2


class Lines:
    """Counts lines of Python that run, comprehensions' turns included: what a machine's load does not change."""

    def __enter__(self) -> Lines:
        self.count, self._before = 0, sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: Any, event: str, argument: object) -> Any:
        self.count += event == "line"
        return self._trace


@pytest.mark.parametrize("objectives", (1, 2))
def test_an_ask_runs_no_python_for_every_result(objectives: int) -> None:
    """All that grows are arrays: an ask after 2000 results runs as many lines as one after 500."""
    optimizer = TPE(branches())
    history = History(optimizer.header({f"loss{i}": "min" for i in range(objectives)}))
    optimizer.bind(history)
    drawn, rng, costs = Random(branches(), seed=9), np.random.default_rng(0), []
    for trial in range(2000):
        job = Job(trial, drawn.sample(history, trial) or {}, 1)
        history.start(job, len(history))
        history.finish(job, Result({f"loss{i}": float(rng.random()) for i in range(objectives)}))
        if trial in (499, 1999):
            optimizer.decide(history)  # reads what is new
            with Lines() as lines:
                optimizer.decide(history)
            costs.append(lines.count)
    assert costs[1] < (1.2 if objectives == 1 else 4.0) * costs[0] and costs[1] < 20_000, costs


def test_the_example_of_the_page_runs() -> None:
    for module in (tpe, parzen):
        result = doctest.testmod(module)
        assert result.failed == 0 and 0 < result.attempted <= 10
