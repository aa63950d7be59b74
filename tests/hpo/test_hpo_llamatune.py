"""LlamaTune: the projection, special values, buckets; what the inner sampler reads; the call `hpo.llamatune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

import hpo
from hpo.optimizers.hesbo import Projection
from hpo.optimizers.llamatune import RECORD, LlamaTune
from hpo.rng import stream
from hpo.testing import Drive
from hpo.testing.optimizer import contents
from hpo.testing.spaces import mixed_space, plane
from tests.hpo.examples import run_example

Patch = pytest.MonkeyPatch


def wide(d: int = 60) -> hpo.Space:
    return hpo.Space({f"x{i}": hpo.Float(0.0, 1.0) for i in range(d)})


def project(space: hpo.Space, seed: int = 0, **options: Any) -> Projection:
    return LlamaTune(hpo.Random(space, seed=seed), **options).projection


def random_points(projection: Projection, count: int, seed: int = 0) -> list[dict[str, int]]:
    rows = projection.low.domain.random(stream(seed, 0, "test"), count)
    return [projection.low.decode(row) for row in rows]


# -- the projection ------------------------------------------------------------------------------------------------------


def hesbo_faults(projection: Projection) -> list[str]:
    """What of a projection of `wide` is no HeSBO: y = +-z of one dimension, where y and z are u and v, from -1 to 1."""
    d, m, top = len(projection.space.columns), min(projection.dimensions, len(projection.space.columns)), projection.buckets - 1
    faults, owners = [], np.zeros((d, m), dtype=int)
    middle = dict.fromkeys((f"z{j}" for j in range(m)), top // 3)
    base = np.array([*projection.expand(middle).values()])
    for j in range(m):
        moved = np.array([*projection.expand({**middle, f"z{j}": top // 3 + top // 4}).values()]) - base
        owners[:, j] = np.sign(np.round(moved, 9))
        sizes = np.abs(moved[owners[:, j] != 0])
        if len(sizes) and not np.allclose(sizes, (top // 4) / top):
            faults.append(f"z{j} moves columns by {sizes}")
    if not (np.abs(owners).sum(axis=1) == 1).all():
        faults.append("a column is not of one dimension")
    if {*owners[owners != 0].tolist()} != {-1, 1}:
        faults.append("the signs are not of both kinds")
    opposite = np.array([*projection.expand({name: top - b for name, b in middle.items()}).values()])
    if not np.allclose(opposite, 1.0 - base):
        faults.append("the other side of the middle is no reflection")
    return faults


@pytest.mark.parametrize(("d", "dimensions"), [(60, 16), (200, 5), (12, 16)])
def test_every_column_is_one_dimension_with_a_sign(d: int, dimensions: int) -> None:
    projection = project(wide(d), dimensions=dimensions)
    assert hesbo_faults(projection) == []
    assert len(projection.low.columns) == min(d, dimensions)


@pytest.mark.parametrize("error", ["sign", "two"])
def test_a_mistake_in_the_projection_is_seen(error: str, monkeypatch: Patch) -> None:
    def wrong(self: Projection, point: Mapping[str, int]) -> np.ndarray:
        h, s = self.hash
        v = np.array([point[f"z{j}"] / (self.buckets - 1) for j in range(self.dimensions)])
        if error == "sign":
            return v[h]
        return np.where(s > 0, v[h], 1.0 - v[h]) * 0.5 + 0.5 * np.where(s > 0, v[h - 1], 1.0 - v[h - 1])

    monkeypatch.setattr(Projection, "_spread", wrong)
    assert hesbo_faults(project(wide(60))) != []


def test_dimensions_are_drawn_evenly() -> None:
    """Over seeds: which dimension, and which sign; another seed is another projection."""
    hashes = [project(wide(60), seed=seed).hash for seed in range(100)]
    h, s = np.concatenate([h for h, _ in hashes]), np.concatenate([s for _, s in hashes])
    counts = np.bincount(h, minlength=16)
    assert len(counts) == 16 and ((counts - 375) ** 2 / 375).sum() < 40  # chi-squared with 15 degrees: 5e-4
    assert binomtest(int((s > 0).sum()), len(s), 0.5).pvalue > 1e-3
    assert len({h.tobytes() for h, _ in hashes}) == 100


def test_no_collisions_where_there_is_room() -> None:
    for seed in range(5):
        h, _ = project(wide(16), seed=seed).hash
        assert sorted(h.tolist()) == list(range(16))


# -- special values ------------------------------------------------------------------------------------------------------


def hybrid() -> hpo.Space:
    return hpo.Space({f"x{i}": (0.0, 1.0) for i in range(20)} | {"cache": (0, 4096), "rate": hpo.Float(1e-4, 1.0, log=True)})


def special_shares(count: int = 4000) -> list[float]:
    """Probabilities of what came of `count` random points, if every special value has a share of 0.2; and of the rest."""
    projection = project(hybrid(), seed=1, special={"cache": [0, 7], "rate": 0.1})
    configs = [projection.expand(point) for point in random_points(projection, count)]
    caches, rates = [config["cache"] for config in configs], [config["rate"] for config in configs]
    hits = [caches.count(0), caches.count(7), rates.count(0.1)]
    rest = [np.log10(rate) / 4 + 1 for rate in rates if rate != 0.1]
    whole = [(cache + 0.5) / 4097 for cache in caches if cache not in (0, 7)]
    found = [float(binomtest(hit, count, 0.2).pvalue) for hit in hits]
    return [*found, float(kstest(rest, "uniform").pvalue), float(kstest(whole, "uniform").pvalue)]


def test_special_values_have_their_share() -> None:
    assert min(special_shares()) > 1e-3


@pytest.mark.parametrize("error", ["share", "rest"])
def test_a_mistake_in_the_shares_is_seen(error: str, monkeypatch: Patch) -> None:
    if error == "share":
        made = LlamaTune.projection.func  # type: ignore[attr-defined]
        other = property(lambda self: Projection(**{**vars(made(self)), "bias": 0.23}))
        monkeypatch.setattr(LlamaTune, "projection", other)
    else:
        spread = Projection._spread
        monkeypatch.setattr(Projection, "_spread", lambda self, point: spread(self, point) ** 1.1)
    assert min(special_shares()) < 1e-3


def test_special_values_are_exact_and_wake_what_depends_on_them() -> None:
    space = hpo.Space(n=hpo.Int(0, 5), rate=hpo.Float(0.1, 0.9), more=hpo.Float(0.0, 1.0, when={"n": 0}))
    projection = project(space, special={"n": 0, "rate": 0.3}, bias=0.4)
    configs = [projection.expand(point) for point in random_points(projection, 300)]
    assert {config["rate"] == 0.3 for config in configs} == {True, False}
    assert all(("more" in config) == (config["n"] == 0) and space.check(config) == config for config in configs)


# -- buckets -------------------------------------------------------------------------------------------------------------


def test_a_dimension_has_so_many_values() -> None:
    assert all(spec.count == 10_000 for spec in project(wide()).low.parameters.values())  # type: ignore[attr-defined]
    projection = project(plane(), buckets=50)
    values = {projection.expand({"z0": b, "z1": 0})[name] for b in range(50) for name in ("x", "y")}
    assert len(values) == 50
    assert {-1.0, 1.0} <= values
    rows = projection.low.domain.random(np.random.default_rng(0), 2000)
    assert len(np.unique(rows[:, 0])) == 50


def test_models_climb_the_buckets_by_gradients() -> None:
    """A bucket is a float column whose rows are snapped, not a level that is reached by single moves."""
    domain = project(wide()).low.domain
    assert domain.floats.all() and domain.grids[0] is not None and domain.grids[0].count == 10_000


# -- and back ------------------------------------------------------------------------------------------------------------


def test_what_has_a_point_is_found_again() -> None:
    space = mixed_space()
    for special in ({}, {"dropout": 0.0, "hidden": [16, 64]}):
        projection = project(space, special=special)
        for row in space.domain.random(np.random.default_rng(0), 100):
            config = space.decode(row)
            point = projection.find_point(config)
            assert point is not None, "ten columns have a dimension each"
            back = projection.expand(point)
            assert np.allclose(space.encode(back), row, rtol=0, atol=2 / 9999, equal_nan=True)
            assert {n: v for n, v in back.items() if isinstance(v, str | bool)} == {
                n: v for n, v in config.items() if isinstance(v, str | bool)
            }


def test_most_configurations_of_many_dimensions_have_none() -> None:
    projection = project(hybrid(), dimensions=4, special={"cache": 0})
    for point in random_points(projection, 50):
        found = projection.find_point(projection.expand(point))
        assert found is not None
        assert projection.space.encode(projection.expand(found)) == pytest.approx(
            projection.space.encode(projection.expand(point)), abs=2 / 9999
        )
    others = [projection.space.decode(row) for row in projection.space.domain.random(np.random.default_rng(1), 50)]
    assert all(projection.find_point(config) is None for config in others)


# -- what the inner sampler reads ------------------------------------------------------------------------------------------


def test_the_inner_sampler_reads_points() -> None:
    tuned = LlamaTune(hpo.CMAES(hybrid(), seed=2), dimensions=4)
    drive = Drive(tuned, lambda config, until, seed: config["x0"] + config["cache"] / 4096, workers=3)
    history = drive.run(40, lost=0.2, foreign=0.2, twice=0.2)
    view = tuned.view(history)
    assert view.added == set() and {*view.trials} == {*history.trials} - history.added, "a random one has no point"
    for key, result in view.results.items():
        assert result == history.results[key] and view.losses(key) == history.losses(key)
        assert view.jobs[key].config == history.jobs[key].note.record[RECORD]["point"]
        assert tuned.projection.expand(view.jobs[key].config) == history.jobs[key].config
    assert view.pending.keys() == history.pending.keys() and view.header.space == tuned.projection.low.describe()
    path = tuned.inner.path(view)  # type: ignore[attr-defined]
    assert path.updates == len(view.results) // path.population
    again = LlamaTune(hpo.CMAES(hybrid(), seed=2), dimensions=4)
    assert contents(again.view(history.prefix(len(history)))) == contents(view), "read at once, or an event at a time"


def test_what_was_pinned_or_added_is_learned_from_where_it_can_be() -> None:
    tuned = LlamaTune(hpo.GP(plane(), seed=0))
    tuned.enqueue({"x": 0.25, "y": -0.5})
    tuned.tell(tuned.ask(), 0.0)
    tuned.add({"x": 0.5, "y": 0.5}, 1.0)
    view = tuned.view(tuned.history)
    assert [*view.trials] == [0, 1] and view.added == {1} and len(view.results) == 2
    assert tuned.projection.expand(view.jobs[0, 1].config) == pytest.approx({"x": 0.25, "y": -0.5}, abs=2e-4)
    assert tuned.recommend(tuned.history) == (0, 1)


class Middle:
    """A sampler of one's own: a plain class, which says how many trials it has read."""

    def __init__(self, space: Any, seed: int = 0) -> None:
        self.space, self.seed = hpo.Space.of(space), seed

    def sample(self, history: hpo.History, trial: int) -> Mapping[str, Any]:
        return {name: len(history.results) for name in self.space.columns}


def test_it_wraps_a_plain_class() -> None:
    tuned = LlamaTune(Middle(plane()), buckets=11)
    jobs = []
    for _ in range(3):
        jobs.append(tuned.ask())
        tuned.tell(jobs[-1], 0.0)
    assert [job.note.record[RECORD]["point"] for job in jobs] == [{"z0": i, "z1": i} for i in range(3)]
    assert all(abs(job.config["x"]) == pytest.approx(1 - 0.2 * i) for i, job in enumerate(jobs))


@pytest.mark.slow
def test_few_dimensions_help_where_few_count() -> None:
    """A function of three of sixty columns: the median loss of a Gaussian process over eight dimensions is below a tenth of
    that over all sixty. In some projections two of the three collide, and then it stays above."""
    target = np.random.default_rng(5).uniform(0.1, 0.9, 3)

    def loss(config: Mapping[str, Any]) -> float:
        return float(sum((config[f"x{7 * i}"] - t) ** 2 for i, t in enumerate(target)))

    def best(sampler: Any) -> float:
        return float(hpo.minimize(loss, wide(), sampler, 25, quiet=True).best.value)

    few = [best(LlamaTune(hpo.GP(wide(), seed=seed), dimensions=8)) for seed in range(5)]
    every = [best(hpo.GP(wide(), seed=seed)) for seed in range(5)]
    assert np.median(few) < 0.1 * np.median(every)


def test_a_study_is_loaded_from_its_file(tmp_path: Path) -> None:
    def search(trials: int) -> hpo.Study:
        tuned = LlamaTune(hpo.GP(hybrid(), seed=3, initial=3), dimensions=3, special={"cache": [0, 1]}, bias=0.1, buckets=100)
        return hpo.minimize(lambda c: c["x0"], hybrid(), tuned, trials, log=tmp_path / "log.sqlite", quiet=True)

    first = search(4)
    loaded = hpo.load(tmp_path / "log.sqlite")
    assert isinstance(loaded.optimizer, LlamaTune) and loaded.optimizer.describe() == first.optimizer.describe()
    assert loaded.optimizer.decide(loaded.history.prefix(len(loaded.history))) is None, "its run is over"
    assert loaded.optimizer.suggest(loaded.history, 4) == first.optimizer.suggest(first.history, 4)  # type: ignore[attr-defined]
    assert len(search(6).history.results) == 6


# -- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dimensions": 0}, "dimensions is 0; allowed is an integer of at least 1"),
        ({"buckets": 1}, "buckets is 1; allowed is an integer of at least 2"),
        ({"buckets": 10**6}, "buckets is 1000000; allowed is at most 100000"),
        ({"bias": 1}, "bias is 1; allowed is a number between 0 and 1"),
        ({"special": {"x0": 2.0}}, "parameter 'x0' got 2.0; allowed is a number from 0.0 to 1.0"),
        ({"special": {"y": 0}}, "special names 'y'; allowed are the numbers of the space"),
        ({"special": {"cache": [0, 1, 2, 3, 4]}}, "whose shares of 0.2 leave something of the range"),
        ({"special": {"cache": []}}, "allowed are different values, at least one"),
        ({"special": {"cache": [1, 1]}}, "allowed are different values, at least one"),
    ],
)
def test_options_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LlamaTune(hpo.Random(hybrid()), **options)


def test_what_it_wraps_is_checked() -> None:
    with pytest.raises(TypeError, match="LlamaTune takes a sampler such as GP"):
        LlamaTune(hpo.ASHA(hpo.Random(plane())))
    with pytest.raises(TypeError, match="but another LlamaTune came"):
        LlamaTune(LlamaTune(hpo.Random(plane())))
    with pytest.raises(TypeError, match=r"special is \[0\]; allowed is a mapping"):
        LlamaTune(hpo.Random(plane()), special=[0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the cost of the GP is a function of a configuration"):
        LlamaTune(hpo.GP(plane(), cost=lambda c: 1.0)).ask()


def test_constants_alone() -> None:
    tuned = LlamaTune(hpo.Random(hpo.Space(a=hpo.Const(1))))
    assert [tuned.ask().config for _ in range(2)] == [{"a": 1}] * 2


# -- the call ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "best"), [("max", 1.0), ("min", 0.0)])
def test_the_call(direction: str, best: float, capsys: pytest.CaptureFixture[str]) -> None:
    space = {"learning_rate": (1e-5, 5e-5, "log"), "batch_size": (8, 32), "num_epochs": (3, 10), "weight_decay": (0.0, 0.1)}
    asked: list[dict[str, Any]] = []

    def evaluate(config: dict[str, Any]) -> float:
        asked.append(dict(config))
        distance = abs(config["batch_size"] - 16) / 16 + abs(config["num_epochs"] - 5) / 5
        return float(1.0 - distance if direction == "max" else distance)

    params, score = hpo.llamatune(space, evaluate, max_evals=20, direction=direction)
    lines = capsys.readouterr().out.splitlines()
    assert len(asked) == len(lines) == 20 and set(params) == set(space)
    assert score == pytest.approx(best, abs=0.2) and params in asked and evaluate(params) == score
    for i, (line, config) in enumerate(zip(lines, asked, strict=False)):
        assert line.startswith(f"trial {i:>4}  score=") and f"batch_size={config['batch_size']}" in line
    assert type(score) is float


def test_the_call_takes_special_values_and_refuses_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    params, _ = hpo.llamatune(hybrid(), lambda c: float(c["cache"] == 0), 8, special={"cache": 0}, dimensions=4)
    assert params["cache"] == 0
    with pytest.raises(ValueError, match="direction is 'up'; allowed are 'max' and 'min'"):
        hpo.llamatune(hybrid(), lambda c: 0.0, direction="up")
    with pytest.raises(ValueError, match="max_evals is 0; allowed is an integer of at least 1"):
        hpo.llamatune(hybrid(), lambda c: 0.0, max_evals=0)


@pytest.mark.parametrize("documented", [LlamaTune, hpo.llamatune])
def test_the_examples(documented: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run_example(documented)
    assert len(capsys.readouterr().out.splitlines()) >= 13
