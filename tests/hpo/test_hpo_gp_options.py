"""What a GP can be told beside the space: constraints, costs, a prior, several objectives, how it is fitted."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from hpo import ASHA, GP, Around, Categorical, Float, History, Int, MemoryLog, Random, Result, Sobol, Space, Study
from hpo.optimizers.gp import sampler as gp
from hpo.pareto import fronts
from surrogates import Context, score_of

PLANE = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
Objective = Callable[[Mapping[str, Any]], Any]


def go(optimizer: Any, f: Objective, n: int, objectives: Mapping[str, str] | None = None) -> Study:
    study = Study(optimizer, objectives=objectives)
    for _ in range(n):
        job = optimizer.ask()
        optimizer.tell(job, f(job.config))
    return study


# -- constraints -----------------------------------------------------------------------------------------------------


def excluded(config: Mapping[str, Any]) -> dict[str, float]:
    """The least loss lies at (1, 1), what is allowed lies on and below x + y = 1, where the loss is at least 0.5."""
    x, y = config["x"], config["y"]
    return {"loss": (x - 1) ** 2 + (y - 1) ** 2, "bytes": 1e9 * (x + y)}


def test_constraints_are_kept_by_what_is_recommended_and_soon_by_what_is_tried() -> None:
    study = go(GP(PLANE, seed=0, constraints={"bytes": 1e9}), excluded, 25)
    best = study.recommend()
    assert best.metrics["bytes"] <= 1e9 and best.value < 0.52
    tried = [study.history.results[key].metrics["bytes"] for key in study.history.finished_keys]
    assert np.mean([value <= 1.05e9 for value in tried[4:15]]) > 0.4
    free = go(GP(PLANE, seed=0), excluded, 25)
    assert free.recommend().metrics["bytes"] > 1.5e9, "without the constraint it goes where it may not"


def test_where_nothing_is_feasible_yet_feasibility_is_searched() -> None:
    def far(config: Mapping[str, Any]) -> dict[str, float]:
        return {"loss": -config["x"], "bytes": 10 * math.hypot(config["x"] - 0.1, config["y"] - 0.9) + 0.1}

    study = go(GP(PLANE, seed=1, constraints={"bytes": 1.0}), far, 20)
    assert study.recommend().metrics["bytes"] <= 1.0


def test_nothing_feasible_nothing_recommended_and_failures_are_no_metric() -> None:
    def never(config: Mapping[str, Any]) -> Result | dict[str, float]:
        return Result(error="out of memory") if config["x"] > 0.7 else {"loss": config["x"], "bytes": 5.0 + config["x"]}

    study = go(GP(PLANE, seed=0, constraints={"bytes": 1.0}), never, 12)
    good = [result.metrics["bytes"] for result in study.history.results.values() if not result.error]
    assert 0 < len(good) < 12
    said = f"none of {len(good)} successful results keeps bytes <= 1; the least bytes is {min(good):g}"
    for answer in (study.recommend, lambda: study.best, lambda: study.pareto):
        with pytest.raises(ValueError, match=f"^{said}$"):
            answer()
    assert study.summary() == said


def test_why_nothing_is_recommended_is_said_of_every_constraint_and_by_schedulers_too() -> None:
    def f(config: Mapping[str, Any]) -> dict[str, float]:
        return {"loss": config["x"], "bytes": 2.0 + config["x"], "seconds": config["y"]}

    study = go(ASHA(GP(PLANE, constraints={"bytes": 1.0, "seconds": 2.0}), max_resource=3), f, 5)
    with pytest.raises(ValueError, match=r"^none of 5 successful results keeps bytes <= 1 and seconds <= 2; the least by"):
        study.recommend()
    failed = go(GP(PLANE, constraints={"bytes": 1.0}), lambda config: Result(error="diverged"), 3)
    with pytest.raises(ValueError, match="no trial has succeeded among 3 results; the last error was: diverged"):
        failed.recommend()


def test_a_metric_that_nobody_reports_is_named() -> None:
    optimizer = GP(PLANE, seed=0, constraints={"memory": 1.0})
    with pytest.raises(ValueError, match=r"no result has the metric 'memory'; allowed are \['bytes', 'loss'\]"):
        go(optimizer, excluded, 12)
    assert len(optimizer.history.results) == 10, "what was told stays"


# -- cost ------------------------------------------------------------------------------------------------------------


def twins(config: Mapping[str, Any]) -> dict[str, float]:
    """Two equal minima, at x = 0.2 for a second and at x = 0.8 for a hundred."""
    x, y = config["x"], config["y"]
    loss = min((x - 0.2) ** 2, (x - 0.8) ** 2) + 0.1 * (y - 0.5) ** 2
    return {"loss": loss, "seconds": 100.0 if x > 0.5 else 1.0}


@pytest.mark.parametrize("cost", ["seconds", lambda config: 100.0 if config["x"] > 0.5 else 1.0])
def test_the_cheap_minimum_is_searched_first(cost: Any) -> None:
    def spent(optimizer: GP) -> tuple[float, float]:
        study = go(optimizer, twins, 20)
        seconds = [study.history.results[key].metrics["seconds"] for key in study.history.finished_keys][4:]
        return sum(seconds), study.recommend().value

    (cheap, loss), (dear, _) = spent(GP(PLANE, seed=2, cost=cost, explore_every=0)), spent(GP(PLANE, seed=2, explore_every=0))
    assert cheap < 0.5 * dear and loss < 0.01


SEEN = "finite number above 0"


@pytest.mark.parametrize(("options", "sentence"), [
    ({"cost": lambda c: 6.0 * c["x"] - 6.0}, rf"cost is -\S+ for {{'x': .*}}; allowed is a {SEEN}$"),
    ({"cost": lambda c: 0.0}, "cost is 0.0 for"), ({"cost": lambda c: math.nan}, "cost is nan for"),
    ({"cost": lambda c: math.inf}, "cost is inf for"), ({"cost": lambda c: None}, "cost is None for"),
    ({"cost": lambda c: 10**400}, "cost is 1000"), ({"cost": lambda c: "dear"}, "cost is 'dear' for"),
    ({"prior": lambda c: None}, r"prior is None for {'x': .*}; allowed is a number, the log density, or -inf$"),
    ({"prior": lambda c: math.nan}, "prior is nan for"), ({"prior": lambda c: math.inf}, "prior is inf for"),
])  # fmt: skip
def test_a_wrong_function_is_refused_in_one_sentence(options: dict[str, Any], sentence: str) -> None:
    optimizer = GP(PLANE, seed=0, **options)
    with pytest.raises(ValueError, match=sentence) as refused:
        go(optimizer, hidden, 8)
    assert "\n" not in str(refused.value) and len(optimizer.history.results) >= 4, "what was told stays"


def test_a_function_need_not_know_what_the_space_excludes() -> None:
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0), constraints=[lambda c: c["x"] + c["y"] <= 1.0])

    def cost(config: Mapping[str, Any]) -> float:
        room = 1.0 - config["x"] - config["y"]
        return 0.1 + math.sqrt(room) if room >= 0.0 else math.nan

    study = go(GP(space, seed=0, cost=cost), lambda c: (c["x"] - 0.7) ** 2 + (c["y"] - 0.3) ** 2, 14)
    assert study.recommend().value < 0.01


def configs(optimizer: GP, f: Objective, n: int = 14) -> list[Any]:
    return [dict(job.config) for job in go(optimizer, f, n).history.jobs.values()]


@pytest.mark.parametrize("wrong", [-3.0, 0.0, math.nan, math.inf])
def test_a_result_without_a_cost_is_left_out_of_its_model_and_a_warning_says_so_once(wrong: float) -> None:
    def f(config: Mapping[str, Any]) -> dict[str, float]:
        return twins(config) | ({"seconds": wrong} if 0.4 < config["x"] < 0.6 else {})

    optimizer = GP(PLANE, seed=2, cost="seconds")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study = go(optimizer, f, 14)
    (said,) = [str(w.message) for w in caught]
    assert said == (f"the model of the cost 'seconds' leaves results out: allowed is a {SEEN} (no logarithm of one), and that "
                    f"of trial 0 is {wrong!r}")  # fmt: skip
    assert len(study.history.results) == 14
    notes = [job.note.record.get("gp", {}) for job in study.history.jobs.values()]
    counts = [note["log seconds"]["n"] for note in notes if "log seconds" in note]
    left = sum(0.4 < job.config["x"] < 0.6 for job in study.history.jobs.values())
    assert left and max(counts) <= 14 - 1


def test_costs_that_are_all_logarithms_are_as_good_as_none_and_said_to_be() -> None:
    def f(config: Mapping[str, Any]) -> dict[str, float]:
        return {"loss": hidden(config), "seconds": -1.0 - config["x"]}

    with pytest.warns(UserWarning, match=r"leaves results out: .* \(no logarithm of one\)"):
        found = configs(GP(PLANE, seed=2, cost="seconds"), f)
    assert found == configs(GP(PLANE, seed=2), f)


@pytest.mark.parametrize("options", [
    {"prior": lambda c: -math.inf}, {"acquisition": lambda posterior, best: posterior.mean * math.nan},
    {"acquisition": lambda posterior, best: np.full(len(posterior.mean), -np.inf)},
])  # fmt: skip
def test_a_search_with_nothing_to_go_by_warns_once_and_goes_on(options: dict[str, Any]) -> None:
    optimizer = GP(PLANE, seed=0, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study = go(optimizer, hidden, 9)
    assert len(study.history.results) == 9
    (said,) = [str(w.message) for w in caught if w.category is UserWarning]
    assert said.startswith("the score of every candidate is -inf or NaN, and proposals are as good as random: look at")
    with pytest.warns(UserWarning, match="the score of every candidate"):
        go(GP(PLANE, seed=0, **options), hidden, 6)  # another object


def test_a_prior_may_rule_out_a_part_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = go(GP(PLANE, seed=0, prior=lambda c: 0.0 if c["x"] < 0.6 else -math.inf), hidden, 12)
    assert all(job.config["x"] < 0.6 for job in list(study.history.jobs.values())[4:])


# -- terms -----------------------------------------------------------------------------------------------------------


def hidden(config: Mapping[str, Any]) -> float:
    return (config["x"] - 0.15) ** 2 + (config["y"] - 0.85) ** 2


def test_a_right_belief_helps_and_a_wrong_one_fades() -> None:
    def reached(at: dict[str, float] | None, n: int) -> float:
        prior = None if at is None else Around(PLANE, at, sd=0.1)
        return float(np.median([go(GP(PLANE, seed=s, prior=prior), hidden, n).recommend().value for s in range(3)]))

    assert reached({"x": 0.17, "y": 0.83}, 6) < reached(None, 6)
    assert reached({"x": 0.9, "y": 0.1}, 30) < 1e-3


def test_a_belief_over_any_space() -> None:
    space = Space(lr=Float(1e-4, 1.0, log=True), k=Categorical(["a", "b", "c"]), n=Int(1, 9, when={"k": "a"}))
    belief = Around(space, {"lr": 1e-2, "k": "a", "n": 5}, sd=0.1, sure=0.8)
    assert belief({"lr": 1e-2, "k": "a", "n": 5}) == pytest.approx(math.log(0.8))
    assert belief({"lr": 1e-2, "k": "b"}) == pytest.approx(math.log(0.1))
    assert belief({"lr": 1.0, "k": "a", "n": 5}) == pytest.approx(math.log(0.8) - 12.5)
    study = go(GP(space, seed=0, prior=belief), lambda c: math.log10(c["lr"]) ** 2, 9)
    assert len(study.history.results) == 9
    with pytest.raises(ValueError, match="allowed are sd > 0"):
        Around(space, {"lr": 1e-2, "k": "b"}, sd=0.0)
    with pytest.raises(ValueError, match="unknown parameter 'depth'"):
        Around(space, {"depth": 3})


# -- several objectives ----------------------------------------------------------------------------------------------


def trade(config: Mapping[str, Any]) -> dict[str, float]:
    """The front is y = 0.5, f1 = x^2, f2 = (x - 1)^2."""
    x, away = config["x"], (config["y"] - 0.5) ** 2
    return {"loss": x**2 + away, "seconds": (x - 1) ** 2 + away}


def volume(study: Study) -> float:
    """The area that the front dominates below (1.1, 1.1)."""
    losses = np.array([study.history.losses(key) for key in study.history.finished_keys])
    front = losses[fronts(losses.tolist())[0]]
    front = front[np.argsort(front[:, 0])]
    front = front[(front < 1.1).all(axis=1)]
    ends = [*front[1:, 0], 1.1]
    return float(sum((end - a) * (1.1 - b) for (a, b), end in zip(front, ends, strict=True)))


BOTH = {"loss": "min", "seconds": "min"}


@pytest.mark.parametrize("name", ["auto", "ehvi", "nehvi", "logei"])
def test_the_front_is_found(name: str) -> None:
    def reached(make: Callable[[int], Any]) -> float:
        return float(np.median([volume(go(make(seed), trade, 18, BOTH)) for seed in range(3)]))

    margin = 0.0 if name == "logei" else 0.03  # ParEGO looks along one direction at a time
    assert reached(lambda s: GP(PLANE, seed=s, acquisition=name)) > reached(lambda s: Random(PLANE, seed=s)) + margin


# -- how it is fitted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {"samples": 3}, {"warp": True}, {"power": True}, {"warp": True, "power": True, "samples": 2, "kernel": "rbf"},
    {"cost": "seconds", "constraints": {"seconds": 50.0}}, {"acquisition": "nei", "samples": 2},
    {"acquisition": "thompson"}, {"acquisition": "kg"}, {"acquisition": "mes"},
])  # fmt: skip
def test_every_way_learns_and_replays_from_its_log(options: dict[str, Any]) -> None:
    study = go(GP(PLANE, seed=3, **options), twins, 16)
    assert study.recommend().value < 0.05
    log = MemoryLog()
    for event in study.history.events:
        log.append(event)
    again = Study(GP(PLANE, seed=3, **options), log=log)
    assert again.optimizer.propose(again.history) == study.optimizer.propose(study.history)
    for seen in (6, 15, 29):
        prefix: History = study.history.prefix(seen)
        started = [e for e in study.history.events if e.kind == "start" and e.body["seen"] == seen]
        for event in started:
            proposal = GP(PLANE, seed=3, **options).propose(prefix)
            assert proposal is not None and proposal.to_json() == event.body["job"]


def test_fits_are_recorded_where_they_are_due() -> None:
    study = go(GP(PLANE, seed=0, samples=2, explore_every=0, constraints={"seconds": 50.0}), twins, 40)
    fits = [job.note.record["gp"] for job in study.history.jobs.values() if "gp" in job.note.record]
    read = [fit["loss"]["n"] for fit in fits if "loss" in fit]
    assert read == sorted(set(read)) and read[0] == 4 and 15 < len(read) < 30
    assert all(b >= a + max(1, a // 8) for a, b in itertools.pairwise(read))
    assert {len(fit["loss"]["thetas"]) for fit in fits if "loss" in fit} == {2}
    assert {len(fit["seconds bound"]["thetas"]) for fit in fits if "seconds bound" in fit} == {1}


@pytest.mark.parametrize(("options", "sentence"), [
    ({"samples": -1}, "samples is -1; allowed is an integer of at least 0"), ({"samples": 2.5}, "samples is 2.5"),
    ({"kernel": "cubic"}, "kernel is 'cubic'; allowed are"),
    ({"initial": 0}, "initial is 0"), ({"prior_weight": 0.0}, "prior_weight is 0.0"),
    ({"constraints": {"bytes": float("nan")}}, "the bound of the constraint 'bytes' is nan"),
    ({"acquisition": "eii"}, "acquisition 'eii' is not one of"), ({"acquisition": 3}, "acquisition is 3; allowed are"),
    ({"initial": "x"}, "initial is 'x'"), ({"explore_every": 2.5}, "explore_every is 2.5"), ({"warp": "yes"}, "warp is 'yes'"),
    ({"power": 1}, "power is 1"), ({"prior": 3}, "prior is 3"), ({"prior_weight": "x"}, "prior_weight is 'x'"),
    ({"cost": 3}, "cost is 3"), ({"constraints": 3}, "constraints is 3"), ({"constraints": ["a"]}, "constraints is"),
    ({"acquisition": "ucb", "cost": "seconds"}, "not on a log scale"),
    ({"acquisition": "ei", "constraints": {"bytes": 1.0}}, "not on a log scale"),
    ({"acquisition": lambda posterior, best: -posterior.mean, "prior": lambda config: 0.0}, "not on a log scale"),
])  # fmt: skip
def test_nonsense_is_refused_in_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GP(PLANE, **options)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("space", [
    Space(x=Int(1, 5)), Space(**{c: Categorical([0, 1]) for c in "abcd"}),
    Space(k=Categorical(["none", "some"]), x=Float(0.0, 1.0, when={"k": "some"})),
])  # fmt: skip
def test_the_first_design_repeats_nothing(space: Space, seed: int) -> None:
    """Before the model speaks, and as long as something is left."""
    optimizer = GP(space, seed=seed)
    configs = [optimizer.ask().config for _ in range(4)]
    assert len({str(config) for config in configs}) == 4


@pytest.mark.parametrize("index", [0, 1, 49, 50, 137])
def test_sobols_points_do_not_depend_on_where_a_block_begins(index: int) -> None:
    sobol = Sobol(PLANE, seed=3)
    np.testing.assert_array_equal(sobol.rows(index, 5), sobol.rows(0, 200)[index : index + 5])
    assert len(np.unique(sobol.rows(0, 200), axis=0)) == 200


@pytest.mark.parametrize(
    ("space", "points"),
    [
        ({f"x{i}": (0.0, 1.0) for i in range(3)}, 4),
        ({f"x{i}": (0.0, 1.0) for i in range(12)}, 7),
        ({"x": (0.0, 1.0), "a": ["p", "q", "r"], "b": list("stuv")}, 7),
        ({"x": (0.0, 1.0), "a": list("abcdefghijklmnop")}, 10),
    ],
)
def test_the_first_design_has_a_point_for_every_option(space: Mapping[str, Any], points: int) -> None:
    optimizer = GP(Space(space))
    jobs = go(optimizer, lambda c: 0.0, points + 1).history.jobs.values()
    assert ["sobol" in job.note.record for job in jobs] == [False, *[True] * (points - 1), False]


def test_the_first_design_is_full_where_little_is_feasible() -> None:
    """A constraint that leaves a five-hundredth of the space; and what is infeasible costs the design no point."""
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0), constraints=[lambda c: (c["x"] - 0.3) ** 2 + (c["y"] - 0.6) ** 2 < 6e-4])
    optimizer = GP(space, initial=6)
    jobs = go(optimizer, lambda c: c["x"], 7).history.jobs.values()
    assert ["sobol" in job.note.record for job in jobs] == [False, *[True] * 5, False]


def test_what_is_pending_elsewhere_is_nothing_to_beat_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look elsewhere takes what is in flight outside of its part of the space as known, and does not compare with it."""
    optimizer = go(GP(PLANE, seed=0, acquisition="logei"), lambda c: sum((v - 0.2) ** 2 for v in c.values()), 29).optimizer
    flying = [optimizer.ask() for _ in range(5)]
    seen: list[Context] = []
    monkeypatch.setattr(gp, "score_of", lambda chosen, context: seen.append(context) or score_of(chosen, context))
    assert optimizer.ask().trial == 34
    (context,) = seen
    rows = np.array([PLANE.encode(job.config) for job in flying])
    inside = [row.tolist() for row in rows if row.tolist() in context.pending.tolist()]
    assert len(inside) == len(context.pending) < 5
    assert len(context.gp.Z) == 29 + 5 - len(inside)
    assert context.incumbent == pytest.approx(context.gp.mean(context.rows).min())
