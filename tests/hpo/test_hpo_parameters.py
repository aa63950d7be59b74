"""Parameters at their limits: ranges that overflow, integers of any size, choices that are objects, steps, constants."""

import dataclasses
import enum
import json
import math
import pickle
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo import Categorical, Const, Float, Int, Random, Space, SQLiteLog, Study, load, make
from hpo.logs.base import encode_json
from hpo.parameters import MAX_LEVELS, Parameter
from hpo.parameters.scales import is_wide

units = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 5e-324, 1e-12, 0.25, 0.5, 0.75, 1 - 2**-53, 1.0]))
finite = st.floats(-1.7e308, 1.7e308)
positive = st.floats(5e-324, 1.7e308)


@st.composite
def any_floats(draw: st.DrawFn) -> Float:
    """Any two floats: subnormal ones, neighbours, and those whose difference or ratio overflows."""
    log = draw(st.booleans())
    some = (
        st.one_of(positive, st.sampled_from([5e-324, 1e308]))
        if log
        else st.one_of(finite, st.sampled_from([-1e308, 1e308]))
    )
    lo, hi = sorted(draw(st.tuples(some, some)))
    return Float(lo, math.nextafter(lo, math.inf) if lo == hi else hi, log)


@st.composite
def any_ints(draw: st.DrawFn) -> Int:
    """Integers of any size, near 2^53 above all, over few and over very many values."""
    log = draw(st.booleans())
    size = 2 ** draw(st.sampled_from([0, 10, 20, 46, 47, 49, 50, 52, 53, 60, 62, 100, 900]))
    lo = draw(st.integers(1, size)) if log else draw(st.integers(-size, size))
    span = draw(st.one_of(st.integers(1, 20), st.integers(1, 2 ** draw(st.sampled_from([20, 47, 53, 54, 60, 90])))))
    return Int(lo, lo + span, log, draw(st.one_of(st.just(1), st.integers(1, span))))


def last(spec: Int) -> int:
    return spec.lo + (spec.count - 1) * spec.step


# -- positions -----------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(any_floats(), st.lists(units, min_size=2, max_size=6))
def test_any_float_range(spec: Float, us: list[float]) -> None:
    us = sorted(us)
    values = [spec.decode(u) for u in us]
    positions = [spec.encode(value) for value in values]
    slack = 1e-13 * max(abs(value) for value in values)  # of powers, which libraries round by a last bit
    for u, v, value, back in zip(us, positions, values, [spec.decode(v) for v in positions], strict=True):
        assert spec.lo <= value <= spec.hi and 0 <= v <= 1 and spec.check("x", json.loads(json.dumps(value))) == value
        if spec.log:
            assert math.isclose(back, value, rel_tol=1e-12, abs_tol=1e-322)
        else:
            assert abs(back - value) <= 4 * math.ulp(max(abs(spec.lo), abs(spec.hi)))
        size = max(abs(spec.lo), abs(spec.hi))
        if spec.log:
            coarse = spec.lo < 1e-300 or math.log(spec.hi / spec.lo) < 1e-6
        else:
            coarse = spec.hi / 2 - spec.lo / 2 <= max(1e-6 * size, 1e-300)
        assert abs(u - v) < 1e-9 or coarse, "a position comes back wherever floats lie dense enough"
    assert all(b >= a - slack for a, b in pairwise(values))
    bit = 0.0 if spec.log else math.ulp(spec.lo)
    assert math.isclose(spec.decode(0.0), spec.lo) and math.isclose(
        spec.decode(1.0), spec.hi, rel_tol=1e-12, abs_tol=bit
    )


@settings(max_examples=500)
@given(any_ints(), st.lists(units, min_size=2, max_size=6), st.lists(st.floats(0, 1), max_size=4))
def test_any_integer_range(spec: Int, us: list[float], places: list[float]) -> None:
    values = [spec.decode(u) for u in sorted(us)]
    assert values == sorted(values) and spec.decode(0.0) == spec.lo and spec.decode(1.0) == last(spec)
    for value in values:
        assert type(value) is int and spec.check("n", json.loads(json.dumps(value))) == value
        assert 0 <= spec.encode(value) <= 1 and spec.decode(spec.encode(value)) == value, (
            "a value that was proposed is identified"
        )
    for place in places:
        index = min(int(place * spec.count), spec.count - 1)
        value = spec.lo + index * spec.step
        back = spec.decode(spec.encode(value))
        bits = 2.0**-52 * (math.log2(last(spec) / spec.lo + 1) * value / spec.step if spec.log else spec.count)
        assert abs(back - value) <= spec.step * bits if bits > 0.25 else back == value
    levels = spec.levels()
    if levels is not None:
        assert (np.diff(levels) > 0).all()
        assert [spec.decode(u) for u in levels[:50]] == [spec.lo + i * spec.step for i in range(min(50, spec.count))]


@settings(max_examples=200)
@given(st.data())
def test_ordinary_ranges_stand_where_stored_studies_have_them(data: st.DataObject) -> None:
    log, u = data.draw(st.booleans()), data.draw(units)
    lo = data.draw(st.floats(1e-12, 1e6) if log else st.floats(-1e6, 1e6))
    hi = lo + abs(lo) * 1e-3 + data.draw(st.floats(1e-3, 1e9))
    spec, value = Float(lo, hi, log), 0.0
    value = lo * (hi / lo) ** u if log else lo + u * (hi - lo)
    assert spec.decode(u) == min(max(value, lo), hi)
    value = spec.decode(u)
    assert spec.encode(value) == (math.log(value / lo) / math.log(hi / lo) if log else (value - lo) / (hi - lo))
    first = data.draw(st.integers(1 if log else -(10**6), 10**6))
    span = data.draw(st.integers(1, 10**9))
    ints = Int(first, first + span, log, data.draw(st.integers(1, span)))
    a, b = max(first - ints.step / 2, first / 2 if log else -math.inf), last(ints) + ints.step / 2
    value = a * (b / a) ** u if log else a + u * (b - a)
    index = min(max(round((value - first) / ints.step), 0), ints.count - 1)
    assert ints.decode(u) == first + index * ints.step
    assert ints.encode(last(ints)) == (
        math.log(last(ints) / a) / math.log(b / a) if log else (last(ints) - a) / (b - a)
    )


def test_ranges_that_overflow_are_drawn_all_over() -> None:
    us = (np.arange(400) + 0.5) / 400
    for spec in (Float(-1e308, 1e308), Float(1e-300, 1e308, log=True), Int(0, 2**60), Int(-(2**70), 2**70)):
        positions = np.array([spec.encode(spec.decode(u)) for u in us])
        assert np.abs(positions - us).max() < 1e-9
    assert [Float(-1e308, 1e308).decode(u) for u in (0.0, 0.25, 0.5, 1.0)] == [-1e308, -5e307, 0.0, 1e308]
    assert math.isclose(Float(1e-308, 1e308, log=True).decode(0.5), 1.0, rel_tol=1e-12)
    assert math.isclose(Float(1e-308, 1e308, log=True).encode(1.0), 0.5)


def test_large_integers_are_counted() -> None:
    for log in (False, True):
        spec = Int(2**62, 2**62 + 3, log)
        assert spec.kind == "int" and [spec.decode(u) for u in (0.1, 0.3, 0.6, 0.9)] == [2**62 + i for i in range(4)]
        space = Space(n=spec)
        drawn = Counter(space.decode(row)["n"] for row in space.domain.random(np.random.default_rng(0), 400))
        assert set(drawn) == {2**62 + i for i in range(4)} and min(drawn.values()) > 60
        assert Int(2**62, 2**62 + 3, log).check("n", np.int64(2**62 + 1)) == 2**62 + 1
    logs = Int(1, 2**60, log=True)
    assert [round(math.log2(logs.decode(u))) for u in (0.25, 0.5, 0.75)] == [14, 30, 45]
    assert not is_wide(0, 2**40, False) and is_wide(0, 2**50, False) and is_wide(1, 2**47, True)
    for optimizer in ("grid", "random", "sobol"):
        asked = make(optimizer, {"n": Int(2**62, 2**62 + 3), "x": Float(-1e308, 1e308), "m": Int(0, 2**60)})
        configs = [job.config for job in (asked.ask() for _ in range(8)) if job is not None]
        assert len({json.dumps(config) for config in configs}) == 8
        assert all(math.isfinite(config["x"]) for config in configs)
        assert len({config["n"] for config in configs}) > 1 or optimizer == "grid"


# -- shares: what parameters.ranges promises -----------------------------------------------------------------------------


def shares(spec: Int, n: int = 200_000) -> dict[int, float]:
    """Of every value, among evenly spread positions that are drawn as every sampler draws them."""
    domain = Space(n=spec).domain
    rows = domain.from_unit(((np.arange(n) + 0.5) / n)[:, None])
    found = Counter(spec.decode(float(u)) for u in rows[:, 0])
    return {value: count / n for value, count in found.items()}


def test_the_share_of_the_lowest_value_is_the_documented_one() -> None:
    n = MAX_LEVELS
    few, many = shares(Int(1, n, log=True)), shares(Int(1, n + 1, log=True))
    total = math.log(n) + math.log(2) / 2 + math.log(n / (n - 1)) / 2
    assert (
        abs(few[1] - math.log(2) / total) < 1e-4 and abs(few[2] - math.log(math.sqrt(6) / math.sqrt(2)) / total) < 1e-4
    )
    assert abs(many[1] - math.log(3) / math.log(2 * (n + 1) + 1)) < 1e-4
    assert abs(many[2] - math.log(5 / 3) / math.log(2 * (n + 1) + 1)) < 1e-4
    small = shares(Int(1, 8, log=True))
    total = math.log(8) + math.log(2) / 2 + math.log(8 / 7) / 2
    assert all(abs(small[v] - math.log(math.sqrt((v + 1) / (v - 1))) / total) < 1e-4 for v in range(2, 8))
    assert abs(small[8] - math.log(8 / 7) / total) < 1e-4
    wide = shares(Int(3, 3 + 4 * (MAX_LEVELS + 5), log=True, step=4))  # the lower edge is lo/2, not lo - step/2
    edge, top = 3 / 2, 3 + 4 * (MAX_LEVELS + 5) + 2
    assert abs(wide[3] - math.log(5 / edge) / math.log(top / edge)) < 1e-4
    linear = shares(Int(1, 5))
    assert all(abs(share - 0.2) < 1e-4 for share in linear.values()) and len(linear) == 5
    linear = shares(Int(1, 20_001), 1_000_050)
    assert max(linear.values()) <= 52e-6 and min(linear.values()) >= 48e-6


# -- steps ---------------------------------------------------------------------------------------------------------------


def test_a_float_in_steps() -> None:
    spec = Float(0.0, 1.0, step=0.1)
    assert spec.kind == "int" and spec.size == 11
    levels = spec.levels()
    assert levels is not None
    assert [spec.decode(u) for u in levels] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert spec.check("x", 0.1 + 0.2) == 0.3 and spec.check("x", 1) == 1.0 and type(spec.check("x", 1)) is float
    with pytest.raises(ValueError, match=r"'x' got 0.35; allowed is a number from 0.0 to 1.0 in steps of 0.1"):
        spec.check("x", 0.35)
    assert spec.describe() == {"float": [0.0, 1.0], "log": False, "step": 0.1, "when": {}}
    assert Float(0.0, 1.0).describe() == {"float": [0.0, 1.0], "log": False, "when": {}}
    assert (
        repr(spec) == "Float(0.0, 1.0, step=0.1)" and repr(Float(1e-5, 0.1, log=True)) == "Float(1e-05, 0.1, log=True)"
    )
    assert [Float(0.05, 0.5, step=0.2).decode(u) for u in (0.0, 0.5, 1.0)] == [0.05, 0.25, 0.45]
    grid = make("grid", {"x": Float(0, 1, step=0.25)}, points=4)
    assert [job.config["x"] for job in iter(grid.ask, None)] == [0.0, 0.25, 0.75, 1.0]  # type: ignore[union-attr]
    population = make("pbt", {"x": Float(0, 1, step=0.25)}, population=4, generations=6, max_resource=12)
    for _ in range(40):
        job = population.ask()
        if job is not None:
            assert job.config["x"] in (0.0, 0.25, 0.5, 0.75, 1.0)
            population.tell(job, job.config["x"])
    assert Space.of({"x": spec}).columns == ("x",) and dataclasses.replace(spec, step=0.5).size == 3


@settings(max_examples=200)
@given(
    st.integers(-1000, 1000), st.sampled_from([0.1, 0.05, 0.003, 1e-7, 2.5, 1, 1e-300]), st.integers(1, 30_000), units
)
def test_any_step(start: int, step: float, count: int, u: float) -> None:
    lo = start * step
    spec = Float(lo, lo + count * step, step=step)
    value = spec.decode(u)
    assert spec.lo <= value <= spec.hi and spec.check("x", json.loads(json.dumps(value))) == value
    assert spec.decode(spec.encode(value)) == value and (spec.kind == "int") == (spec.size > 0)
    assert spec.size in (0, count, count + 1)


# -- ranges of one point -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", [Float(3, 3), Int(3, 3), (3, 3), (3.0, 3.0), (3, 3, "log"), Float(3, 3, log=True), Int(3, 3, step=1)]
)
def test_a_range_of_one_point_is_a_constant(spec: Any) -> None:
    space = Space({"one": spec, "x": (0.0, 1.0)})
    assert space.columns == ("x",) and isinstance(space.parameters["one"], Const)
    for name in ("manual", "grid", "random", "sobol", "gp"):
        job = make(name, space).ask()
        assert job is not None and job.config["one"] == 3 and list(job.config) == ["one", "x"]
    assert space.check({"x": 0.5}) == {"one": 3, "x": 0.5}
    if isinstance(spec, Parameter):
        assert spec.encode(3) == 0.5 and spec.decode(0.9) == 3


def test_a_range_of_one_point_keeps_its_conditions_and_its_children() -> None:
    space = Space(o=["a", "b"], one=Int(2, 2, when={"o": "a"}), x=Float(0, 1, when={"one": 2}))
    assert space.columns == ("o", "one", "x"), "what others depend on keeps its column"
    configs = [space.decode(row) for row in space.domain.random(np.random.default_rng(0), 40)]
    assert {tuple(config) for config in configs} == {("o", "one", "x"), ("o",)}
    space = Space(o=["a", "b"], one=Float(2, 2, when={"o": "a"}))
    assert {tuple(space.decode(np.array([u]))) for u in (0.0, 1.0)} == {("o", "one"), ("o",)}


# -- numbers as people have them -----------------------------------------------------------------------------------------


def test_numbers_of_other_libraries() -> None:
    assert Int(1.0, 8.0) == Int(1, 8) == Int(np.float64(1), np.int8(8)) == Int(np.array(1), np.array(8.0))  # type: ignore[arg-type]
    assert Int(1.0, 8.0).describe() == Int(1, 8).describe()  # type: ignore[arg-type]
    assert Float(Decimal("0.5"), Fraction(3, 2)) == Float(0.5, 1.5)  # type: ignore[arg-type]
    assert Float(np.float32(0.5), np.array(2)) == Float(0.5, 2)  # type: ignore[arg-type]
    torch = pytest.importorskip("torch")
    assert Int(torch.tensor(1), torch.tensor(8)) == Int(1, 8)
    assert Int(1, 8).check("n", torch.tensor(3)) == 3 == Int(1, 8).check("n", 3.0)
    assert Float(0, 1).check("x", np.array(0.5)) == 0.5
    for spec in (Int(1.0, 8.0), Float(np.float64(0), np.longdouble(1)), Int(True + 1, 8)):  # type: ignore[arg-type]
        json.dumps(spec.describe())
    for bad in (True, np.True_, "1", None, 10**400, [1], math.inf):
        with pytest.raises(ValueError, match="allowed"):
            Float(bad, 2.0)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"'x' got .* allowed is"):
            Float(0, 1).check("x", bad)


# -- choices -------------------------------------------------------------------------------------------------------------


def relu(x: float) -> float:
    return max(x, 0.0)


class Colour(enum.StrEnum):
    RED = "red"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-2, 2), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple),
                            st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(json_values, min_size=1, max_size=5))
def test_choices_are_what_json_holds(choices: list[Any]) -> None:
    try:
        space = Space(c=Categorical(choices), k=Const(choices))
    except ValueError as error:
        assert "twice" in str(error)
        return
    for index, choice in enumerate(choices):
        config = space.decode(np.array([float(index)]))
        again = json.loads(encode_json(config))
        assert again == config and space.check(again) == config == space.check({"c": choice, "k": choices})
        assert space.encode(again)[0] == index
        given_back = space.objects(again)
        assert given_back == {"c": choice, "k": choices} and type(given_back["c"]) is type(choice)
    assert json.loads(json.dumps(space.describe())) == space.describe()


def test_named_choices() -> None:
    for spec in (
        Categorical([relu, math.tanh], names=["relu", "tanh"]),
        Categorical({"relu": relu, "tanh": math.tanh}),
    ):  # type: ignore[arg-type]
        space = Space(act=spec, x=Float(0, 1, when={"act": "relu"}))
        assert space.describe()["parameters"]["act"] == {"choices": ["relu", "tanh"], "when": {}}
        assert space.check({"act": math.tanh}) == space.check({"act": "tanh"}) == {"act": "tanh"}
        assert space.objects({"act": "relu", "x": 0.5}) == {"act": relu, "x": 0.5} and not space.is_plain
        assert dataclasses.replace(spec, when={}) == spec and pickle.loads(pickle.dumps(spec)) == spec
        with pytest.raises(ValueError, match=r"parameter 'act' got 'gelu'; allowed is one of \['relu', 'tanh'\]"):
            space.check({"act": "gelu"})
    swapped = Categorical(["b", "a"], names=["a", "b"])
    assert swapped.check("c", "a") == "a" and swapped.object("a") == "b", "a name goes before an object"
    assert Space(x=(0.0, 1.0), c=["a", None, 1, True], k=3).is_plain
    assert type(Space(c=[Colour.RED]).decode(np.array([0.0]))["c"]) is str


def test_a_configuration_shares_nothing_with_its_space() -> None:
    space = Space(c=Categorical([[1, 2], (3, 4)]), k=Const([5]))
    for config in (space.decode(np.array([0.0])), space.check({"c": [1, 2]}), space.objects({"c": [1, 2], "k": [5]})):
        config["c"].append(9)
        config["k"].append(9)
    assert space.decode(np.array([0.0])) == {"c": [1, 2], "k": [5]} and space.objects({"c": [3, 4]}) == {"c": (3, 4)}


@pytest.mark.parametrize("optimizer", ["grid", "random", "gp", "asha"])
def test_a_study_over_tuples_replays(optimizer: str, tmp_path: Any) -> None:
    act = Categorical({"relu": relu, "tanh": math.tanh})  # type: ignore[arg-type]
    space = Space(hidden=[(64,), (64, 64), None], act=act, n=(1, 9), s=Float(0, 1, step=0.5), one=(3, 3), k=Const((1, 2)))
    options = {"values": {"hidden": [(64,), None]}} if optimizer == "grid" else {}
    study = Study(make(optimizer, space, **options), log=SQLiteLog(tmp_path / "log.db"))
    study.optimizer.enqueue({"hidden": (64, 64), "act": math.tanh, "n": 3, "s": 0.5})
    for _ in range(6):
        job = study.optimizer.ask()
        assert (
            job is not None
            and space.check(job.config) == job.config
            and space.objects(job.config)["hidden"] in [(64,), (64, 64), None]
        )
        study.optimizer.tell(job, job.config["n"])
    again = Study(make(optimizer, space, **options), log=SQLiteLog(tmp_path / "log.db"))
    assert again.history.jobs == study.history.jobs
    loaded = load(tmp_path / "log.db")
    assert loaded.optimizer.space.describe() == space.describe() and loaded.optimizer.ask() is not None
    assert again.optimizer.propose(again.history) == study.optimizer.propose(study.history)


def test_random_draws_named_choices_evenly() -> None:
    sampler = Random(Space(c=[(1, 2), [3], {"a": 1}]))
    drawn = Counter(json.dumps(sampler.ask().config["c"]) for _ in range(90))  # type: ignore[union-attr]
    assert set(drawn) == {"[1, 2]", "[3]", '{"a": 1}'} and min(drawn.values()) > 15
