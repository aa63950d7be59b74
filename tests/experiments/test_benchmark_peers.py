"""The adapters of BoTorch, SMAC and HEBO: what they ask lies in our space, whatever is told; each is skipped if absent."""

import importlib
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.benchmark.peers import Exhausted, Peer
from hpo.space import Categorical, Config, Const, Float, Int, Space

FLOATS = Space(a=Float(-1, 1), b=Float(1e-5, 1e-1, log=True))
MIXED = Space(
    a=Float(1e-5, 1e-1, log=True), n=Int(2, 5), w=Int(16, 4096, log=True), h=Int(8, 30, step=8), g=Int(3, 40, log=True, step=3),
    c=Categorical(["x", None, 1, True]), f=Categorical([False, True]), one=Categorical(["only"]), k=Const(3),
)  # fmt: skip
CONDITIONAL = Space(
    opt=Categorical(["sgd", "adam"]), momentum=Float(0, 0.9, when={"opt": "sgd"}), n=Int(1, 3),
    width=Int(8, 64, when={"n": [2, 3]}), act=Categorical(["a", "b"], when={"n": 3, "opt": "adam"}),
)  # fmt: skip
GRID = Space(a=Int(1, 6), b=Int(1, 8, log=True), c=Categorical([1, 2, "x"]), d=Categorical([True, 1]))
SMALL = Space(a=Int(0, 1), c=Categorical(["x", "y", "z"]))
TRIANGLE = Space(a=Float(0, 1), b=Float(0, 1), constraints=[lambda config: config["a"] + config["b"] <= 1.0])
SPACES = {"floats": FLOATS, "mixed": MIXED, "conditional": CONDITIONAL, "grid": GRID, "triangle": TRIANGLE}

Maker = Callable[..., Peer]


@pytest.fixture(params=["BoTorch", "SMAC", "HEBO"])
def make(request: pytest.FixtureRequest) -> Maker:
    pytest.importorskip(request.param.lower())
    module = importlib.import_module(f"experiments.benchmark.peers.{request.param.lower()}")
    return getattr(module, request.param)  # type: ignore[no-any-return]


def adapter(name: str) -> Any:
    pytest.importorskip(name)
    return importlib.import_module(f"experiments.benchmark.peers.{name}")


def adapter_file(package: str, name: str) -> Any:
    """A module beside the adapters, which needs a package."""
    pytest.importorskip(package)
    return importlib.import_module(f"experiments.benchmark.peers.{name}")


def bowl(space: Space, config: Config) -> float:
    row = space.encode(config)
    return float(np.square(np.where(np.isnan(row), 0.3, row) - 0.3).sum())


def trace(peer: Peer, space: Space, n: int, diverged: frozenset[int] = frozenset()) -> list[Config]:
    asked = []
    for i in range(n):
        config = peer.ask()
        assert space.check(config) == config
        asked.append(config)
        peer.tell(config, math.nan if i in diverged else bowl(space, config))
    return asked


def spaces(*names: str) -> Any:
    return pytest.mark.parametrize("space", [SPACES[name] for name in names or SPACES], ids=names or SPACES)


@spaces()
def test_what_is_asked_lies_in_the_space_and_the_seed_decides_it(make: Maker, space: Space) -> None:
    first = trace(make(space, 3, 20), space, 6)
    assert trace(make(space, 3, 20), space, 6) == first
    assert trace(make(space, 4, 20), space, 1) != first[:1]
    assert len({repr(config) for config in first}) == len(first)


def test_runs_that_diverge_first_and_in_between(make: Maker) -> None:
    peer = make(FLOATS, 0, 20)
    asked = trace(peer, FLOATS, 7, frozenset({0, 1, 5}))
    finite = [config for i, config in enumerate(asked) if i not in (0, 1, 5)]
    assert peer.best() in finite


def test_when_everything_diverges_it_still_asks(make: Maker) -> None:
    peer = make(FLOATS, 0, 12)
    asked = trace(peer, FLOATS, 12, frozenset(range(12)))
    assert len({repr(config) for config in asked}) == 12


@pytest.mark.parametrize("diverged", [frozenset(), frozenset(range(20))], ids=["finite", "nan"])
def test_a_small_space_is_seen_to_its_end(make: Maker, diverged: frozenset[int]) -> None:
    peer, asked = make(SMALL, 0, 20), []
    with pytest.raises(Exhausted):
        for _ in range(20):
            asked += trace(peer, SMALL, 1, diverged)
    assert len({repr(config) for config in asked}) == 6
    assert peer.best() in asked


def test_in_a_grid_what_was_told_is_not_asked_again(make: Maker) -> None:
    peer, told = make(GRID, 0, 20), set()
    for row in GRID.domain.enumerate():
        config = GRID.decode(row)
        if config["c"] != "x" and config["a"] < 3:
            peer.tell(config, bowl(GRID, config))
            told.add(repr(config))
    assert len(told) == 64
    assert not told & {repr(config) for config in trace(peer, GRID, 3)}


def test_it_finds_the_bowl(make: Maker) -> None:
    peer = make(FLOATS, 1, 20)
    asked = trace(peer, FLOATS, 14)
    assert min(bowl(FLOATS, config) for config in asked) < 0.005  # 14 uniform points get there one time in five
    assert bowl(FLOATS, peer.best()) < 0.02


def test_global_streams_are_left_alone(make: Maker) -> None:
    torch = pytest.importorskip("torch")
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    want = random.random(), np.random.random(), float(torch.rand(1))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    trace(make(FLOATS, 0, 20), FLOATS, 6)
    assert (random.random(), np.random.random(), float(torch.rand(1))) == want


def test_versions_name_the_package(make: Maker) -> None:
    found = make.versions()  # type: ignore[attr-defined]
    assert make.__name__.lower() in {name.lower() for name in found}
    assert all(version[0].isdigit() for version in found.values())


@pytest.mark.parametrize("name", ["botorch", "hebo"])
@pytest.mark.parametrize("space", [FLOATS, MIXED, CONDITIONAL, GRID], ids=["floats", "mixed", "conditional", "grid"])
def test_shortcuts_change_nothing_that_is_asked(name: str, space: Space) -> None:
    maker = next(value for key, value in vars(adapter(name)).items() if key.lower() == name)
    short, stock = (maker(space, 3, 40, shortcuts=shortcuts) for shortcuts in (True, False))
    n = 14 if name == "botorch" else 12
    assert trace(short, space, n, frozenset({2})) == trace(stock, space, n, frozenset({2}))


# -- BoTorch ------------------------------------------------------------------------------------------------------------


def test_botorch_starts_with_the_design_of_ax() -> None:
    peer = adapter("botorch").BoTorch
    assert [peer(FLOATS, 0, n).initial for n in (10, 100)] == [5, 5]
    assert [peer(MIXED, 0, n).initial for n in (10, 40, 100)] == [5, 8, 16]


def test_botorch_does_not_see_what_is_inactive() -> None:
    torch, module = pytest.importorskip("torch"), adapter("botorch")
    peer = module.BoTorch(CONDITIONAL, 0, 20)
    trace(peer, CONDITIONAL, 5)
    off = CONDITIONAL.domain.features(CONDITIONAL.encode({"opt": "adam", "n": 1})[None, :])
    column = CONDITIONAL.columns.index("momentum")
    off[0, column] = 0.9
    on = np.array(off)
    on[0, CONDITIONAL.columns.index("opt")] = 0.0
    rows = torch.tensor(np.concatenate([off, on])).requires_grad_()
    mean = peer._model().posterior(rows).mean
    mean.sum().backward()
    assert rows.grad[0, column] == 0.0
    assert rows.grad[1, column] != 0.0


@pytest.mark.parametrize("space", [FLOATS, MIXED], ids=["floats", "mixed"])
def test_botorchs_fit_is_the_same_in_every_bit_when_recorded(space: Space) -> None:
    torch, module = pytest.importorskip("torch"), adapter("botorch")
    states = []
    for shortcuts in (True, False):
        peer = module.BoTorch(space, 0, 40, shortcuts=shortcuts)
        for row in space.domain.sobol(1, 12):
            config = space.decode(row)
            peer.tell(config, bowl(space, config))
        states.append(peer._model().state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert torch.get_default_dtype() == torch.float32


def test_botorchs_recording_gives_way_where_it_is_not_finite_or_not_the_same() -> None:
    torch, module, traced = pytest.importorskip("torch"), adapter("botorch"), adapter_file("botorch", "traced")
    peer = module.BoTorch(FLOATS, 0, 20)
    trace(peer, FLOATS, 6)
    model = peer._model()
    with traced.record_fit():
        closure = traced.Traced(module.ExactMarginalLogLikelihood(model.likelihood, model))
        value, played = closure(), closure.play
        assert played is not None and closure.compared == 1
        assert traced.same(value, closure.original()) and traced.same(value, closure._played(played))

        closure.compared, closure.play = traced.COMPARED, lambda *inputs: tuple(x * math.nan for x in played(*inputs))
        assert traced.same(value, closure())
        closure.play = lambda *inputs: tuple(-x for x in played(*inputs))
        assert not traced.same(value, closure())
        closure.compared = 0
        assert traced.same(value, closure()) and closure.play is None
        assert traced.same(value, closure())
    assert not traced.same(value, (value[0], tuple(-gradient for gradient in value[1])))
    assert not traced.same(value, (value[0], (None, *value[1][1:])))
    assert torch.isfinite(value[0])


def test_a_fit_that_cannot_be_recorded_is_made_by_the_code_it_was_taken_from(monkeypatch: pytest.MonkeyPatch) -> None:
    module, traced = adapter("botorch"), adapter_file("botorch", "traced")
    peer = module.BoTorch(FLOATS, 0, 20)
    trace(peer, FLOATS, 6)
    model = peer._model()

    def unplayable(*args: object) -> None:
        raise traced.Unplayable("it draws random numbers")

    monkeypatch.setattr(traced.Tape, "compile", unplayable)
    closure = traced.Traced(module.ExactMarginalLogLikelihood(model.likelihood, model))
    assert closure.play is None
    assert traced.same(closure(), closure.original())


def test_botorch_recommends_by_the_model_and_not_the_lucky_run() -> None:
    space = Space(a=Float(0, 1))
    peer = adapter("botorch").BoTorch(space, 0, 60)
    rng = np.random.default_rng(0)
    for a in np.linspace(0, 1, 41):
        peer.tell({"a": float(a)}, float((a - 0.2) ** 2 + 0.02 * rng.standard_normal()))
    peer.tell({"a": 0.49}, -0.1)
    assert min(peer.values) == -0.1
    assert abs(peer.best()["a"] - 0.2) < 0.1


def test_botorch_tells_the_worst_finite_value_for_a_diverged_run() -> None:
    peer = adapter("botorch").BoTorch(FLOATS, 0, 20)
    for value in (math.nan, 1.0, 3.0, math.inf):
        peer.tell(peer.ask(), value)
    assert peer._observed().tolist() == [3.0, 1.0, 3.0, 3.0]


# -- SMAC ---------------------------------------------------------------------------------------------------------------


def test_smac_takes_the_facade_of_its_documentation() -> None:
    module = adapter("smac")
    assert isinstance(module.SMAC(FLOATS, 0, 20).facade, module.BlackBoxFacade)
    for space in (MIXED, CONDITIONAL, GRID):
        assert isinstance(module.SMAC(space, 0, 20).facade, module.HyperparameterOptimizationFacade)


@spaces("floats", "mixed", "conditional", "grid")
def test_smac_translates_there_and_back(space: Space) -> None:
    module = adapter("smac")
    peer = module.SMAC(space, 0, 20)
    for row in space.domain.random(np.random.default_rng(0), 20):
        config = space.decode(row)
        back = peer._ours(module.TrialInfo(peer._configuration(config)))
        assert back == pytest.approx(config) if space is FLOATS else back.keys() == config.keys()
        assert all(back[k] == v for k, v in config.items() if not isinstance(v, float))


def test_smac_conditions_are_its_own() -> None:
    made = adapter("smac").configspace(CONDITIONAL, 0)
    assert len(made.conditions) == 3
    assert {len(dict(config)) for config in made.sample_configuration(50)} == {2, 3, 4}


def test_smac_names_the_parent_it_cannot_have() -> None:
    space = Space(n=Int(4, 64, log=True, step=4), m=Float(0, 1, when={"n": 4}))
    with pytest.raises(ValueError, match="'m' depends on 'n'"):
        adapter("smac").SMAC(space, 0, 20)


def test_smac_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = adapter("smac")
    monkeypatch.chdir(tmp_path)
    peer = module.SMAC(SMALL, 0, 20)
    folder = Path(peer._files.name)
    trace(peer, SMALL, 5)
    peer._files.cleanup()
    assert not list(tmp_path.iterdir())
    assert not folder.exists()


# -- HEBO ---------------------------------------------------------------------------------------------------------------


def test_hebo_has_a_type_for_every_parameter() -> None:
    module = adapter("hebo")
    types = {name: module.theirs(name, MIXED.parameters[name])["type"] for name in MIXED.columns if name != "one"}
    assert types == {"a": "pow", "n": "int", "w": "pow_int", "h": "step_int", "g": "pow_int", "c": "cat", "f": "bool"}


def test_hebo_is_told_the_worst_finite_value_and_late() -> None:
    peer = adapter("hebo").HEBO(FLOATS, 0, 20)
    for value in (math.nan, 1.0, math.nan):
        peer.tell(peer.ask(), value)
    assert peer.study.y.ravel().tolist() == [1.0, 1.0, 1.0]
    assert len(peer.study.X) == 3


def test_hebo_sees_an_inactive_number_in_the_middle_of_its_range() -> None:
    peer = adapter("hebo").HEBO(CONDITIONAL, 0, 20)
    peer.tell({"opt": "adam", "n": 1}, 1.0)
    assert peer.study.X["momentum"].tolist() == [pytest.approx(0.45)]
    assert peer.study.X["act"].tolist() == [0]


def test_hebos_mating_has_the_children_of_pymoos() -> None:
    module = adapter_file("hebo", "mating")
    from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableMating
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem
    from pymoo.core.variable import Binary, Choice, Integer, Real

    kinds = {"i": Integer(bounds=(0, 2)), "c": Choice(options=[0, 1, 2]), "r": Real(bounds=(0.0, 1.0))}
    kinds |= {"j": Integer(bounds=(0, 3)), "b": Binary(), "d": Choice(options=[5, 6])}
    for names, n in (("icrjbd", 30), ("ij", 9), ("ij", 12), ("c", 3), ("cid", 17)):
        variables = {name: kinds[name] for name in names}
        np.random.seed(0)
        columns = {name: variable.sample(n) for name, variable in variables.items()}
        pop = Population.new(X=[{name: columns[name][k] for name in names} for k in range(n)])
        mating, found = MixedVariableMating(eliminate_duplicates=MixedVariableDuplicateElimination()), []
        for way in (MixedVariableMating.do, module.mate_mixed):
            np.random.seed(1)
            children = way(mating, Problem(vars=variables, n_obj=1), pop, 11)
            kept = [{name: (type(value), value) for name, value in child.X.items()} for child in children]
            found.append((kept, np.random.random()))
        assert found[0] == found[1]
        assert found[0][0] or names in ("ij", "c")


def test_hebos_fronts_are_those_of_pymoo() -> None:
    module = adapter_file("hebo", "evolved")
    from pymoo.util.nds.fast_non_dominated_sort import fast_non_dominated_sort

    rng = np.random.default_rng(0)
    for _ in range(300):
        F = rng.normal(size=(rng.integers(0, 40), 3)).round(int(rng.integers(0, 3)))
        assert module.fronts(F) == fast_non_dominated_sort(F)
