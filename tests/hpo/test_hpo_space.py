"""Spaces and parameters: round trips, short forms, conditions, constraints, and what is said about bad input."""

import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo import Categorical, Const, Float, Grid, Hyperband, Int, Random, Space, SuccessiveHalving, make
from hpo.optimizers.rungs import levels
from hpo.testing.spaces import SPACES, mixed_space
from tests.hpo.cases import ROOT

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 6))
pairs = st.tuples(st.integers(0, 2), st.integers(0, 2))
choices = st.lists(st.one_of(st.text(max_size=5), st.integers(-5, 5), st.booleans(), st.none(), pairs), min_size=1, max_size=5,
                   unique_by=lambda v: (isinstance(v, bool), v))  # fmt: skip


@st.composite
def floats(draw: st.DrawFn) -> Float:
    if draw(st.booleans()):
        lo = 10.0 ** draw(st.integers(-12, 3))
        return Float(lo, lo * draw(st.floats(1.001, 1e9)), log=True)
    lo, width = draw(numbers), draw(st.floats(1e-3, 1e6))
    step = draw(st.none() | st.sampled_from([0.3, 1e-2, 1e-5]))
    return Float(lo, lo + width, step=None if step is None else step * width)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    log = draw(st.booleans())
    lo, span = draw(st.integers(1 if log else -1000, 1000)), draw(st.sampled_from([1, 2, 7, 100, 9_999, 50_000, 10**9, 2**70]))
    return Int(lo, lo + span, log=log, step=draw(st.integers(1, span)))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True))
    parameters: dict[str, Any] = {}
    for name in names:
        spec = draw(st.one_of(floats(), ints(), choices.map(Categorical), numbers.map(Const)))
        parents = [n for n, p in parameters.items() if isinstance(p, Categorical | Int) and p.kind != "float"]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            owner = parameters[parent]
            values = list(owner.values) if isinstance(owner, Categorical) else [owner.lo, owner.lo + owner.step]
            when = {parent: draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))}  # a list of lists, of pairs
            spec = type(spec)(**{**{f: getattr(spec, f) for f in spec.__dataclass_fields__}, "when": when})
        parameters[name] = spec
    return Space(parameters)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Equal, in order and in type; floats up to rounding."""
    return list(a) == list(b) and all(
        type(x) is type(y) and (math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9) if isinstance(x, float) else x == y)
        for x, y in zip(a.values(), b.values(), strict=True)
    )


@settings(max_examples=80)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_round_trip(space: Space, seed: int) -> None:
    rows = space.domain.random(np.random.default_rng(seed), 6)
    for row in rows:
        config = space.decode(row)
        assert space.check(config) == config and space.active(config) == list(config)
        assert space.check(json.loads(json.dumps(config))) == config
        assert same(space.decode(space.encode(config)), config)
        again = space.encode(config)
        assert np.array_equal(np.isnan(again), np.isnan(row))
        snapped = space.domain.snap(again[None, :])[0]
        assert same(space.decode(snapped), config)
    assert json.loads(json.dumps(space.describe())) == space.describe()


@settings(max_examples=100)
@given(ints().filter(lambda spec: spec.count <= 10**9 + 1))  # more of them than positions: see test_hpo_parameters
def test_every_integer_survives(spec: Int) -> None:
    for index in {0, 1, spec.count // 2, spec.count - 2, spec.count - 1}:
        value = spec.lo + max(0, min(index, spec.count - 1)) * spec.step
        assert spec.decode(spec.encode(value)) == value and 0 <= spec.encode(value) <= 1
    assert spec.check("n", spec.decode(0.0)) == spec.lo
    assert spec.check("n", spec.decode(1.0)) == spec.lo + (spec.count - 1) * spec.step


def test_integers_get_their_fair_share() -> None:
    space = Space(n=Int(1, 4), p=Int(1, 8, log=True))
    drawn = [space.decode(row) for row in space.domain.random(np.random.default_rng(0), 4000)]
    assert all(abs(sum(c["n"] == n for c in drawn) - 1000) < 120 for n in range(1, 5))
    shares = [sum(c["p"] == p for c in drawn) for p in range(1, 9)]
    assert all(a > b - 60 for a, b in pairwise(shares)), "each wider in the logarithm"


def test_short_form() -> None:
    space = Space.of({"lr": (1e-5, 1e-1, "log"), "layers": (2, 12), "drop": (0, 0.5), "batch": [8, 16, 32], "epochs": 3,
                      "name": "gpt", "nothing": None})  # fmt: skip
    assert space.parameters == {
        "lr": Float(1e-5, 1e-1, log=True), "layers": Int(2, 12), "drop": Float(0, 0.5),
        "batch": Categorical([8, 16, 32]), "epochs": Const(3), "name": Const("gpt"), "nothing": Const(None),
    }  # fmt: skip
    assert space.columns == ("lr", "layers", "drop", "batch") and Space.of(space) is space
    config = make("random", {"x": (0.0, 1.0), "n": np.int64(3)}).ask().config  # type: ignore[union-attr]
    assert config["n"] == 3 and type(config["n"]) is int


def test_conditions() -> None:
    space = mixed_space()
    adamw = {"lr": 1e-3, "dropout": 0.1, "batch": 8, "hidden": 32, "heads": 2, "optimizer": "adamw"}
    assert space.check(adamw) == {**adamw, "vocab": 256}
    with pytest.raises(ValueError, match="parameter 'momentum' came, but it is allowed only when"):
        space.check({**adamw, "momentum": 0.9})
    with pytest.raises(ValueError, match=r"parameter 'momentum' is missing; allowed is a number from 0.0 to 0.99"):
        space.check({**adamw, "optimizer": "sgd", "nesterov": True})
    with pytest.raises(ValueError, match="is excluded by a constraint"):
        space.check({**adamw, "heads": 3})
    chain = Space(c=Float(0, 1, when={"b": 1}), b=Int(0, 1, when={"a": "on"}), a=Categorical(["on", "off"]),
                  k=Const(7, when={"b": 0}))  # fmt: skip
    assert chain.columns == ("a", "b", "c")
    seen = {tuple(chain.decode(row)) for row in chain.domain.random(np.random.default_rng(0), 200)}
    assert seen == {("a",), ("b", "a", "k"), ("c", "b", "a")}


def test_true_and_one_are_two_parents() -> None:
    space = Space(p=Categorical([True, 1]), x=Float(0, 1, when={"p": 1}))
    for row in space.domain.random(np.random.default_rng(0), 50):
        config = space.decode(row)
        assert space.check(config) == config and ("x" in config) == (config["p"] is not True)


def test_conditions_as_a_set_are_the_same_in_every_process() -> None:
    code = "from hpo import *; print(Space(o=Categorical(list('abcd')), m=Float(0, 1, when={'o': {'a', 'b', 'c'}})).describe())"
    said = {
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(said) == 1


def test_numpy_bounds_survive_json() -> None:
    space = Space(a=Float(np.float32(0.5), np.float64(2)), b=Int(np.int64(1), np.int32(5)), c=Const(np.float32(0.5)),
                  d=Categorical([np.int64(1), 2]), e=Float(0, 1, when={"b": np.int64(2)}))  # fmt: skip
    json.dumps(space.describe())


def test_only_constants() -> None:
    for name in ("manual", "grid", "random", "sobol", "gp"):
        optimizer = make(name, {"a": 1, "b": "two"})
        for _ in range(3):
            job = optimizer.ask()
            if job is None:
                assert name in ("manual", "grid")
                break
            assert job.config == {"a": 1, "b": "two"}
            optimizer.tell(job, 1.0)


BAD_SPACES: list[tuple[Any, str]] = [
    (lambda: Space(), "a space needs at least one parameter"),
    (lambda: Space.of(3), "a space is a Space or a mapping .* int came"),
    (lambda: Space({"": 1}), "a parameter's name must be a non-empty string, but '' came"),
    (lambda: Space(x=(1.0, 0.0)), r"parameter 'x': Float got the range \(1.0, 0.0\); the lower end must be below"),
    (lambda: Space(x=(0, 10, "log")), "parameter 'x': Int got the lower end 0 with log=True; .* above zero"),
    (lambda: Space(x=(0, 10, "exp")), r"parameter 'x': the short form of a range is \(lo, hi\)"),
    (lambda: Space(x=("a", "b")), r"parameter 'x': Float got the range \('a', 'b'\); allowed are two finite numbers"),
    (lambda: Space(x=(0.0, math.inf)), "allowed are two finite numbers"),
    (lambda: Space(x=[]), "parameter 'x': Categorical got no choices; allowed is a list with at least one"),
    (lambda: Space(x=[1, 2, 1]), "parameter 'x': Categorical got a choice twice in"),
    (lambda: Space(x=[{1}, {2}]), r"Categorical got the choice \{1\}; allowed are strings, numbers, booleans, None, and lists"),
    (lambda: Space(x=[max, min]), r"'x': Categorical got the choice <built-in .* anything else is named: Categorical\(\{'name'"),
    (lambda: Space(x=[math.nan]), "Categorical got the choice nan; allowed are finite numbers"),
    (lambda: Space(x=[(1, math.nan)]), "Categorical got the choice nan; allowed are finite numbers"),
    (lambda: Space(x=[(1, 2), [1, 2]]), "got a choice twice"),
    (lambda: Categorical([max, min], names=["max"]), "got 1 names for 2 choices; allowed is one each"),
    (lambda: Categorical([max, min], names=["m", "m"]), "got a choice twice"),
    (lambda: Categorical([max, min], names="ab"), "got names='ab'; allowed is a list of non-empty strings"),
    (lambda: Const(max), r"Const got <built-in function max>; allowed are .* Categorical\(\{'name': value\}\)"),
    (lambda: Space(x=Categorical("abc")), "Categorical got 'abc'; allowed is a list of choices"),
    (lambda: Space(x={"lo": 1}), r"parameter 'x' got \{'lo': 1\}; allowed are Float, Int, Categorical, Const"),
    (lambda: Int(1, 10, step=0), "Int got step=0; allowed is 1 to 9"),
    (lambda: Int(1.5, 10), "Int got lo=1.5; allowed is an integer"),  # type: ignore[arg-type]
    (lambda: Int(0, 10**301), r"Int got the range \(0, 10+\.\.\.\); allowed are integers up to 1e300|two finite numbers"),
    (lambda: Float(0, 10**400), "allowed are two finite numbers"),
    (lambda: Float(0, 1, step=0), "Float got step=0; allowed is a number above 0"),
    (lambda: Float(0, 1, step=2), "Float got step=2; allowed is at most the width 1"),
    (lambda: Float(0.1, 1, log=True, step=0.1), "step=0.1 with log=True; allowed is one of the two"),
    (lambda: Float(0, 1, "log"), "Float got log='log'; allowed are True and False"),  # type: ignore[arg-type]
    (lambda: Space(x=(False, True)), r"Float got the range \(False, True\); allowed are two finite numbers"),
    (lambda: Space(dropout=(0, 1)), r"'dropout': \(0, 1\) may mean .* Int\(0, 1\) .* \(0.0, 1.0\)"),
    (lambda: Space(dropout=(np.int64(0), np.int32(1))), r"'dropout': \(0, 1\) may mean"),
    (lambda: Space({"x": (0, 5)}, x=(0, 9)), "parameter 'x' came twice, in the mapping and by keyword"),
    (lambda: Space([("x", (0, 5))]), r"a space is made of a mapping .* but the list \[\('x', \(0, 5\)\)\] came"),  # type: ignore[arg-type]
    (lambda: Space.of(["x"]), r"a space is a Space or a mapping .* the list \['x'\] came"),  # type: ignore[arg-type]
    (lambda: Space(Space(x=(0, 5))), "a space is made of a mapping from names to ranges, but Space came"),  # type: ignore[arg-type]
    (lambda: Space(x=Float(0, 1, when={"y": 1})), r"'x' depends on 'y', which is not one of \['x'\]"),
    (lambda: Space(x=Float(0, 1, when={"y": 1}), y=Float(0, 2)), "depends on 'y', a Float; allowed are"),
    (lambda: Space(x=Float(0, 1, when={"y": "c"}), y=["a", "b"]), "'y' got 'c'; allowed is one of"),
    (
        lambda: Space(x=Int(0, 1, when={"y": 1}), y=Int(0, 1, when={"x": 1})),
        r"conditions of \['x', 'y'\] form a circle",
    ),
    (lambda: Space(x=(0, 5), constraints=["x > 0"]), "a constraint must be a function .* 'x > 0' came"),
    (lambda: Space(n=Int(0, 20_000), x=Float(0, 1, when={"n": 5})), "'n' with 20001 values; allowed are 10000"),
    (lambda: Float(0, 1, when="sgd"), "`when` is a mapping"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("case", range(len(BAD_SPACES)))
def test_bad_spaces(case: int) -> None:
    build, sentence = BAD_SPACES[case]
    with pytest.raises((ValueError, TypeError), match=sentence):
        build()


BAD_CONFIGS: list[tuple[Any, str]] = [
    (3, "a configuration is a mapping from names to values, but int came"),
    ({"z": 1}, r"unknown parameter 'z'; allowed are \['lr', 'n', 'c', 'k'\]"),
    ({"lr": 2.0}, "parameter 'lr' got 2.0; allowed is a number from 0.001 to 1.0"),
    ({"lr": "fast"}, "parameter 'lr' got 'fast'; allowed is a number from 0.001 to 1.0"),
    ({"lr": math.nan}, "parameter 'lr' got nan"),
    ({"lr": True}, "parameter 'lr' got True"),
    ({"n": 2.5}, "parameter 'n' got 2.5; allowed is an integer from 2 to 10 in steps of 4"),
    ({"n": 4}, "parameter 'n' got 4; allowed is an integer from 2 to 10 in steps of 4"),
    ({"n": None}, "parameter 'n' got None"),
    ({"c": 1}, r"parameter 'c' got 1; allowed is one of \['a', True\]"),
    ({"k": 4}, "parameter 'k' got 4; allowed is only 3"),
    ({"lr": 0.1}, "parameter 'n' is missing; allowed is an integer from 2 to 10 in steps of 4"),
]


@pytest.mark.parametrize("case", range(len(BAD_CONFIGS)))
def test_bad_configurations(case: int) -> None:
    space = Space(lr=Float(1e-3, 1.0, log=True), n=Int(2, 10, step=4), c=Categorical(["a", True]), k=Const(3))
    config, sentence = BAD_CONFIGS[case]
    with pytest.raises((ValueError, TypeError), match=sentence):
        space.check(config)
    with pytest.raises((ValueError, TypeError), match=sentence):
        make("random", space).add(config, 1.0)
    with pytest.raises((ValueError, TypeError), match=sentence):
        make("random", space).enqueue(config)


BAD_OPTIMIZERS: list[tuple[Any, str]] = [
    (lambda s: make("bayes", s), r"unknown optimizer 'bayes'; allowed are \['manual', 'grid'"),
    (lambda s: make("gp", s, points=3), "'gp' has no option 'points'; allowed are"),
    (lambda s: make("asha", s, sampler="pbt"), "'asha' takes a sampler, but 'pbt' is a scheduler"),
    (lambda s: make("asha", s, max_resource=0), "max_resource is 0; allowed is an integer of at least 1"),
    (lambda s: make("asha", s, min_resource=9, max_resource=3), "min_resource 9 is above max_resource 3"),
    (lambda s: make("hyperband", s, reduction_factor=1), "reduction_factor is 1; allowed is a number above 1"),
    (lambda s: make("asha", s, min_early_stopping_rate=9), "min_early_stopping_rate is 9; allowed is 0 to 4"),
    (lambda s: make("median", s, rungs=(3, 1)), r"rungs is \[3, 1\]; allowed are integers of at least 1 in rising"),
    (lambda s: make("median", s, rungs=(81,), max_resource=80), "the last rung 81 is above max_resource 80"),
    (lambda s: make("pbt", s, truncation=0.6), "truncation is 0.6; allowed is 0 to 0.5"),
    (lambda s: make("pbt", s, generations=200, max_resource=100), "200 generations do not fit into max_resource 100"),
    (lambda s: make("pbt", s, explore=["z"]), "explore names 'z', which is not one of"),
    (lambda s: make("gp", s, kernel="cubic"), "kernel is 'cubic'; allowed are"),
    (lambda s: make("gp", s, acquisition="best"), "best"),
    (lambda s: make("grid", s, points={"z": 3}), "the grid names 'z', which is not one of"),
    (lambda s: make("grid", s, points=0), "points=0 for 'lr'; allowed is an integer of at least 1"),
    (lambda s: make("grid", s, values={"lr": [7.0]}), "parameter 'lr' got 7.0; allowed is a number"),
    (lambda s: make("manual", s, configs=[{"lr": 7.0}]), "parameter 'lr' got 7.0; allowed is a number"),
]


@pytest.mark.parametrize("case", range(len(BAD_OPTIMIZERS)))
def test_bad_options(case: int) -> None:
    build, sentence = BAD_OPTIMIZERS[case]
    with pytest.raises((ValueError, TypeError), match=sentence):
        build(mixed_space())


# -- grids and ladders ---------------------------------------------------------------------------------------------------


def listed(grid: Grid) -> list[dict[str, Any]]:
    """Every configuration of a grid, in order."""
    return [config for index in range(grid.count) if (config := grid.at(index)) is not None]


def test_grid_places_points() -> None:
    def values(**options: Any) -> list[int]:
        return [c["n"] for c in listed(Grid(Space(n=Int(2, 26)), **options))]

    assert values(points=4) == [2, 10, 18, 26]
    assert values(points=4, placement="midpoints") == [5, 11, 17, 23]
    assert values(points=1) == [14]
    logs = [c["x"] for c in listed(Grid(Space(x=Float(1e-4, 1e-1, log=True)), points=4))]
    assert logs == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1]) and logs[0] == 1e-4 and logs[-1] == 1e-1
    assert [c["n"] for c in listed(Grid(Space(n=Int(1, 3)), points=10))] == [1, 2, 3]
    assert [c["n"] for c in listed(Grid(Space(n=Int(2, 27, step=8)), points=2))] == [2, 26]


def test_grid_says_how_many_are_feasible() -> None:
    four = {name: [1, 2, 3] for name in "abcd"}
    grid = Grid(Space(four, constraints=[lambda c: not (c["a"] == 1 and c["b"] != 2)]))
    assert str(grid) == "grid 3 x 3 x 3 x 3 = 81, of which 63 feasible" and len(listed(grid)) == 63
    assert str(Grid(Space(four))) == "grid 3 x 3 x 3 x 3 = 81"
    jobs = []
    while (job := grid.ask()) is not None:
        jobs.append(tuple(job.config.values()))
        grid.tell(job, 1.0)
    assert len(jobs) == len(set(jobs)) == 63 and jobs == sorted(jobs), "the last parameter runs fastest"
    crossed = Grid(Space(o=["adamw", "sgd"], m=Float(0, 1, when={"o": "sgd"})), points=3)
    assert [dict(c) for c in listed(crossed)] == [{"o": "adamw"}, *({"o": "sgd", "m": m} for m in (0.0, 0.5, 1.0))]
    assert str(crossed) == "grid 2 x 3 = 6, of which 4 distinct and feasible"


def test_hyperband_table() -> None:
    space = SPACES["plane"]()
    table = Hyperband(Random(space), max_resource=81).table()
    assert [list(ladder) for ladder in table] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]
    for lowest, highest, eta in [(1, 243, 3), (1, 1000, 10), (2, 100, 4), (1, 7, 2.5), (5, 5, 3), (1, 125, 5)]:
        for ladder in Hyperband(Random(space), lowest, highest, eta).table():
            budgets = [until for _, until in ladder]
            assert budgets == sorted(set(budgets)) and budgets[-1] == highest and budgets[0] >= lowest
            assert [n for n, _ in ladder] == sorted((n for n, _ in ladder), reverse=True)
    assert [levels(1, 3**k, 3) for k in range(1, 12)] == list(range(1, 12))
    assert SuccessiveHalving(Random(space))._ladder == [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]
