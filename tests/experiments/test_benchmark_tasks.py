"""The benchmark's tasks: known optima, bounds, streams of noise, conditions; their tables in test_benchmark_tables.py."""

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmark import functions, lm
from experiments.benchmark.tasks import HARTMANN6, SUITES, TASKS, Task
from hpo.space import Config, Float, Space
from tests.experiments.lm_search import find_best

NAMES = (
    "branin", "hartmann6", "ackley5", "levy8", "rosenbrock4", "mixed8", "conditional", "hartmann6_noisy",
    "lm_pretrain", "taskset_irnn", "taskset_lstm", "fcnet_protein", "fcnet_naval", "lda_grid", "svm_grid",
)  # fmt: skip
FRESH = (
    "griewank6", "rastrigin4", "styblinski5", "salomon5", "dixonprice6", "zakharov6", "taskset_lstm2", "taskset_vrnn",
    "fcnet_slice", "fcnet_parkinsons", "logreg_grid",
)  # fmt: skip
NOISY = ("hartmann6_noisy", "lm_pretrain", "fcnet_protein", "fcnet_naval", "fcnet_slice", "fcnet_parkinsons")
HARTMANN_AT = (0.20168951, 0.15001069, 0.47687398, 0.27533243, 0.31165162, 0.65730053)


@pytest.fixture(params=NAMES + FRESH)
def task(request: pytest.FixtureRequest, shared_data: Callable[[str], Path]) -> Task:
    """Each task; one that reads a file skips by that file's name where it is absent."""
    found = TASKS[request.param]
    if found.needs is not None:
        shared_data(found.needs)
    return found


@cache
def draws(name: str, n: int) -> list[Config]:
    space = TASKS[name].space()
    return [space.decode(row) for row in space.domain.random(np.random.default_rng(7), n)]


def point(*x: float) -> Config:
    return {f"x{i + 1}": value for i, value in enumerate(x)}


# --- every task --------------------------------------------------------------------------------------------------------


def test_the_list_is_the_one_that_was_fixed() -> None:
    assert SUITES["all"] == NAMES and SUITES["fresh"] == FRESH and tuple(TASKS) == NAMES + FRESH
    kinds = ("classical", "mixed", "noisy", "lm", "tabular")
    assert [len(SUITES[kind]) for kind in kinds] == [5, 2, 1, 3, 4]
    assert all(TASKS[name].kind == kind and name in NAMES for kind in kinds for name in SUITES[kind])
    assert all(task.about for task in TASKS.values())


@pytest.mark.parametrize("count", [4_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_random_configurations_are_finite_and_never_below_best(task: Task, count: int) -> None:
    values = np.array([task.true(config) for config in draws(task.name, count)])
    assert np.isfinite(values).all()
    assert values.min() >= task.best - 1e-12
    assert len(np.unique(values)) > 100  # the task tells configurations apart


def test_what_is_seen_is_a_function_of_configuration_and_seed(task: Task) -> None:
    some = draws(task.name, 200)
    first = [task.observe(config, seed) for seed, config in enumerate(some)]
    again = [task.observe(dict(reversed(some[i].items())), i) for i in reversed(range(len(some)))]
    np.testing.assert_array_equal(first, again[::-1])


def test_seeds_differ_exactly_where_the_task_is_noisy(task: Task) -> None:
    config = next(c for c in draws(task.name, 200) if not math.isnan(task.observe(c, 0)))
    seen = {task.observe(config, seed) for seed in range(40)}
    assert len(seen) > 1 if task.name in NOISY else seen == {task.true(config)}


def test_space_accepts_its_own_draws_and_a_task_survives_pickle(task: Task) -> None:
    copy = pickle.loads(pickle.dumps(task))
    for config in draws(task.name, 50):
        assert task.space().check(config) == config
        assert copy.true(config) == task.true(config)


def test_a_task_whose_file_is_absent_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HPO_DATA", str(tmp_path))
    assert [name for name in TASKS if not TASKS[name].is_available] == [n for n in TASKS if TASKS[n].needs is not None]
    assert replace(TASKS["lda_grid"]).digest is None
    path = tmp_path / "tables" / "svm_on_grid.csv"
    path.parent.mkdir()
    path.touch()
    assert TASKS["svm_grid"].is_available


def test_a_digest_names_what_a_task_is(task: Task) -> None:
    assert task.digest is not None and len(task.digest) == 16
    assert replace(task, name="other", about="", kind="", suite="").digest == task.digest  # and not how it is called
    others = {
        replace(task, best=task.best - 1.0).digest,
        replace(task, true=lambda config: task.true(config) + 1e-3).digest,
        replace(task, noise=lambda config, seed: task.observe(config, seed + 1) * 1.001).digest,
        replace(task, space=lambda: Space(task.space().parameters, constraints=[lambda config: True])).digest,
    }
    assert len(others) == 4 and task.digest not in others
    assert len({one.digest for one in TASKS.values() if one.is_available}) == sum(one.is_available for one in TASKS.values())


# --- functions ---------------------------------------------------------------------------------------------------------

OPTIMA = [
    ("branin", point(math.pi, 2.275)),
    ("branin", point(-math.pi, 12.275)),
    ("branin", point(3 * math.pi, 2.475)),
    ("hartmann6", point(*HARTMANN_AT)),
    ("ackley5", point(*[7.3] * 5)),
    ("levy8", point(*[1.0] * 8)),
    ("rosenbrock4", point(*[1.0] * 4)),
    ("mixed8", functions.MIXED8_OPTIMUM),
    ("conditional", functions.CONDITIONAL_OPTIMUM),
    ("hartmann6_noisy", point(*HARTMANN_AT)),
    ("griewank6", point(*functions.DRAWN["griewank"])),
    ("rastrigin4", point(*functions.DRAWN["rastrigin"])),
    ("styblinski5", point(*functions.DRAWN["styblinski_tang"])),
    ("salomon5", point(*functions.DRAWN["salomon"])),
    ("dixonprice6", point(*functions.DRAWN["dixon_price"])),
    ("zakharov6", point(*functions.DRAWN["zakharov"])),
]


@pytest.mark.parametrize(("name", "config"), OPTIMA)
def test_the_optimiser_of_a_function_has_its_least_value(name: str, config: Config) -> None:
    task = TASKS[name]
    assert task.space().check(config) == config
    assert task.true(config) == pytest.approx(task.best, abs=1e-12)


@pytest.mark.parametrize(("name", "config"), OPTIMA)
def test_leaving_the_optimiser_in_any_one_parameter_costs(name: str, config: Config) -> None:
    task, space = TASKS[name], TASKS[name].space()
    row = space.encode(config)
    for j, kind in enumerate(space.domain.kinds):
        for step in (-1.0, 1.0) if kind == "categorical" else (-0.05, 0.05):
            moved = np.array(row)
            moved[j] = (row[j] + step) % (space.domain.sizes[j] if kind == "categorical" else 1.0)
            if not np.isnan(row[j]) and not np.array_equal(snapped := space.domain.snap(moved)[0], row, equal_nan=True):
                assert task.true(space.decode(snapped)) > task.best + 1e-6


# Values computed from the published formulas by hand or with another program.
REFERENCES = [
    ("branin", point(0.0, 0.0), 55.602112642270264),
    ("branin", point(10.0, 15.0), 145.87219087939556),
    ("hartmann6", point(*[0.0] * 6), -0.00508911288366444),
    ("rosenbrock4", point(*[0.0] * 4), 3.0),
    ("rosenbrock4", point(-1.0, 1.0, -1.0, 1.0), 4.0 + 0.0 + 4.0 + 400.0),
    ("levy8", point(*[-3.0] * 7, 1.0), 7 * (1 + 10 * math.sin(1.0) ** 2)),
]


@pytest.mark.parametrize(("name", "d", "lo", "hi"), [
    ("griewank", 6, -600, 600), ("rastrigin", 4, -5.12, 5.12), ("styblinski_tang", 5, -5, 5), ("salomon", 5, -100, 100),
    ("dixon_price", 6, -10, 10), ("zakharov", 6, -5, 10),
])  # fmt: skip
def test_the_optimum_of_a_translated_function_is_the_one_draw(name: str, d: int, lo: float, hi: float) -> None:
    drawn = np.random.default_rng([functions.SERIES[name], d]).uniform(lo, hi, d)
    np.testing.assert_allclose(functions.DRAWN[name], drawn, atol=5e-4)


def test_translated_functions_have_the_published_values() -> None:
    """By the formulas of the library at points relative to the optimum; beyond the box they are nowhere lower."""
    g, r, s = (functions.DRAWN[name] for name in ("griewank", "rastrigin", "styblinski_tang"))
    step = np.array([3.0, -1.0, 0.5, 2.0, 0.0, 1.0])
    waves = math.prod(math.cos(v / math.sqrt(i)) for i, v in enumerate(step, 1))
    assert TASKS["griewank6"].true(point(*(g + step))) == pytest.approx(step @ step / 4000 - waves + 1, rel=1e-9)
    assert TASKS["rastrigin4"].true(point(*(r + np.array([1.0, 0.5, 0.0, -2.0])))) == pytest.approx(1 + 20.25 + 4, rel=1e-9)
    assert TASKS["styblinski5"].true(point(*(s - functions.VALLEY))) == pytest.approx(0.0, abs=1e-9)
    assert TASKS["styblinski5"].best == pytest.approx(-39.16617 * 5, abs=5e-5)
    o, d, z = (functions.DRAWN[name] for name in ("salomon", "dixon_price", "zakharov"))
    assert TASKS["salomon5"].true(point(*(o + np.array([0.0, 0.3, 0.4, 0.0, 0.0])))) == pytest.approx(2.05, rel=1e-9)
    least = np.array([1.0, 2**-0.5, 2**-0.75, 2**-0.875, 2**-0.9375, 2**-0.96875])
    assert TASKS["dixonprice6"].true(point(*(d - least + 1.0))) == pytest.approx(2 + 3 + 4 + 5 + 6, rel=1e-9)
    assert TASKS["zakharov6"].true(point(*(z + np.array([0.0, 2.0, 0.0, 0.0, 0.0, 0.0])))) == pytest.approx(24.0, rel=1e-9)
    far = np.random.default_rng(0).uniform(-3, 3, (20_000, 6))
    for name, at, width in (("griewank6", g, 600.0), ("rastrigin4", r, 5.12), ("styblinski5", s, 5.0)):
        assert min(TASKS[name].true(point(*row)) for row in at + width * far[:, : len(at)]) > TASKS[name].best


@pytest.mark.parametrize(("name", "config", "value"), REFERENCES)
def test_reference_values_of_the_classical_functions(name: str, config: Config, value: float) -> None:
    assert TASKS[name].true(config) == pytest.approx(value, rel=1e-9)


def test_ackley_far_away_and_one_step_away() -> None:
    assert TASKS["ackley5"].true(point(*[8.3] * 5)) == pytest.approx(20 * (1 - math.exp(-0.2)), rel=1e-12)
    assert 20 < TASKS["ackley5"].true(point(*[-32.768] * 5)) < 22.4


def test_hartmann_agrees_with_a_long_known_value() -> None:
    assert pytest.approx(-3.32237, abs=5e-6) == HARTMANN6


def test_mixed8_is_multimodal_in_shift_and_its_best_kernel_is_the_worst_on_average() -> None:
    values = [functions.mixed8({**functions.MIXED8_OPTIMUM, "shift": s}) for s in np.linspace(-5, 5, 2001)]
    inner = [1 for a, b, c in zip(values, values[1:], values[2:], strict=False) if b < a and b < c]
    assert len(inner) >= 4
    mean = {
        k: np.mean([functions.mixed8(c) for c in draws("mixed8", 20_000) if c["kernel"] == k])
        for k in functions.KERNELS
    }
    assert max(mean, key=lambda k: mean[k]) == "rbf" == functions.MIXED8_OPTIMUM["kernel"]


def test_the_best_branch_of_conditional_is_the_worst_on_average() -> None:
    branches: dict[str, list[float]] = {}
    for config in draws("conditional", 20_000):
        branches.setdefault(config["optimizer"], []).append(functions.conditional(config))
    assert np.mean(branches["sgd"]) < np.mean(branches["adam"]) < np.mean(branches["muon"])
    assert min(branches["sgd"]) > 0.25 and min(branches["adam"]) > 0.12
    assert min(branches["muon"]) < 0.05


def test_conditional_draws_hold_exactly_what_is_active() -> None:
    own = {"sgd": {"momentum", "dampening"}, "adam": {"beta2_gap", "epsilon", "amsgrad"},
           "muon": {"iterations", "nesterov", "decay"}}  # fmt: skip
    seen = set()
    for config in draws("conditional", 2000):
        strength = {"strength"} if config.get("decay") in ("coupled", "decoupled") else set()
        assert set(config) == {"lr", "layers", "optimizer"} | own[config["optimizer"]] | strength
        seen.add(len(config))
    assert seen == {5, 6, 7}


# --- noise -------------------------------------------------------------------------------------------------------------


def test_the_noise_of_hartmann_is_normal_with_the_stated_deviation() -> None:
    task = TASKS["hartmann6_noisy"]
    config = point(*HARTMANN_AT)
    error = np.array([task.observe(config, seed) for seed in range(4000)]) - task.true(config)
    assert abs(error.mean()) < 4 * 0.3 / math.sqrt(4000)
    assert abs(error.std() / 0.3 - 1) < 0.05
    assert abs(np.corrcoef(error[1:], error[:-1])[0, 1]) < 4 / math.sqrt(4000)


@pytest.mark.parametrize("name", ["hartmann6_noisy", "lm_pretrain"])
def test_one_seed_is_one_error_whatever_the_configuration(name: str) -> None:
    """What pairs methods: at the same evaluation of the same seed they meet the same noise."""
    errors = [TASKS[name].observe(c, 5) - TASKS[name].true(c) for c in draws(name, 200)]
    spread = [e for e in errors if not math.isnan(e)]
    assert len(spread) > 100 and np.ptp(spread) < 1e-12 < abs(spread[0])


def test_lm_noise_has_the_stated_deviation() -> None:
    errors = [TASKS["lm_pretrain"].observe(lm.BEST_AT, seed) - lm.BEST for seed in range(4000)]
    assert abs(np.mean(errors)) < 4 * lm.NOISE / math.sqrt(4000)
    assert abs(np.std(errors) / lm.NOISE - 1) < 0.05


# --- lm_pretrain -------------------------------------------------------------------------------------------------------


def test_lm_best_is_attained_where_it_is_said_to_be() -> None:
    assert TASKS["lm_pretrain"].space().check(lm.BEST_AT) == lm.BEST_AT
    assert lm.true(lm.BEST_AT) == pytest.approx(lm.BEST, abs=1e-9)
    assert lm.true(lm.BEST_AT) >= lm.BEST


def test_lm_best_holds_against_steps_in_every_parameter() -> None:
    space = TASKS["lm_pretrain"].space()
    row = space.encode(lm.BEST_AT)
    for j in range(len(row)):
        for step in (1e-4, 1e-3, 0.01, 0.1):
            for sign in (-1, 1):
                moved = np.array(row)
                moved[j] += sign * step
                assert lm.true(space.decode(space.domain.snap(moved)[0])) >= lm.BEST
    assert all(lm.true({**lm.BEST_AT, "schedule": s}) > lm.BEST for s in lm.SCHEDULES if s != lm.BEST_AT["schedule"])


def test_lm_best_is_inside_the_space() -> None:
    """No float at its bound: an optimizer that proposes the middle or a corner gains nothing."""
    for name, spec in TASKS["lm_pretrain"].space().parameters.items():
        if isinstance(spec, Float):
            assert 0.01 < spec.encode(lm.BEST_AT[name]) < 0.99, name


@pytest.mark.slow
def test_lm_best_is_found_again_by_search() -> None:
    value, _ = find_best(starts=1, seed=5)
    assert value == pytest.approx(lm.BEST, abs=1e-7)
    assert value >= lm.BEST


def test_lm_beyond_the_edge_of_stability_a_run_is_nan_and_its_true_value_that_of_guessing() -> None:
    task = TASKS["lm_pretrain"]
    over = {**lm.BEST_AT, "lr": 0.1}
    assert lm.is_divergent(over) and math.isnan(task.observe(over, 0)) and task.true(over) == lm.GUESS
    some = draws("lm_pretrain", 2000)
    assert all(math.isnan(task.observe(c, 0)) == lm.is_divergent(c) for c in some)
    assert 0.1 < np.mean([lm.is_divergent(c) for c in some]) < 0.4


def test_lm_best_learning_rate_falls_with_width_and_grows_with_batch() -> None:
    """With the weight decay tuned along, which the learning rate would otherwise have to serve too."""

    def best_lr(**changed: int) -> float:
        pairs = product(np.geomspace(1e-5, 1e-1, 200).tolist(), np.geomspace(1e-4, 1.0, 40).tolist())
        both = ({**lm.BEST_AT, **changed, "lr": lr, "weight_decay": decay} for lr, decay in pairs)
        return float(min(both, key=lm.true)["lr"])

    assert best_lr(width=128) > 1.5 * best_lr(width=512)
    assert best_lr(batch=256) > 1.5 * best_lr(batch=32)


def test_lm_compute_budget_has_a_size_in_the_middle_that_is_best() -> None:
    by_width = {w: min(lm.true({**lm.BEST_AT, "width": w, "lr": float(lr)}) for lr in np.geomspace(1e-5, 1e-1, 100))
                for w in (64, lm.BEST_AT["width"], 1024)}  # fmt: skip
    assert by_width[lm.BEST_AT["width"]] < min(by_width[64], by_width[1024]) - 0.01


def test_lm_warm_up_raises_the_edge() -> None:
    assert lm.edge({**lm.BEST_AT, "warmup": 0.1}) > lm.edge({**lm.BEST_AT, "warmup": 0.0}) + 0.5
