"""Bounds on what results report: whoever has the option `constraints` is listed here, and is under the laws with its wrappers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpo
from hpo import (
    ASHA,
    GP,
    NSGA2,
    OPTIMIZERS,
    TPE,
    Finals,
    History,
    Hyperband,
    LlamaTune,
    NoImprovement,
    Optimizer,
    Random,
    Result,
    Space,
    Study,
    Target,
)
from hpo.bounds import Bounds, bounds_of, explain_infeasible, feasible
from hpo.optimizer import Sampler
from hpo.registry import has_fields
from hpo.testing import OutcomeLaws
from hpo.testing.spaces import plane
from tests.hpo.cases import OPTIONS

BOUNDED = [name for name, cls in OPTIMIZERS.items() if has_fields(cls) and "constraints" in {f.name for f in fields(cls)}]
WRAPPERS: dict[str, Callable[[Any], Optimizer]] = {
    "": lambda sampler: sampler,
    "Asha": lambda sampler: ASHA(sampler, max_resource=3),
    "Hyperband": lambda sampler: Hyperband(sampler, max_resource=3),
    "Llamatune": lambda sampler: LlamaTune(sampler, dimensions=2),
    "Finals": lambda sampler: Finals(ASHA(sampler, max_resource=3), keep=2),
}


def enter(name: str, wrapper: str) -> None:
    """A test class of this module for an optimizer that has the option, alone or in a wrapper."""

    def make(self: Any, space: Space, seed: int, constraints: Mapping[str, float]) -> Optimizer:
        options = OPTIONS.get(name, {})
        return WRAPPERS[wrapper](OPTIMIZERS[name](space, seed=seed, constraints=constraints, **options))  # type: ignore[call-arg]

    title = f"Test{wrapper}{name.capitalize()}"
    more = {"objectives": (1,), "jobs": 48} if wrapper == "Finals" else {}  # half of the jobs are the search's
    globals()[title] = type(title, (OutcomeLaws,), {"__module__": __name__, "make": make, **more})


for _name in BOUNDED:
    for _wrapper in WRAPPERS if _name != "gp" else ("", "Asha"):  # a model takes its time
        enter(_name, _wrapper)


def test_the_optimizers_with_bounds_are_found() -> None:
    assert {OPTIMIZERS[name] for name in BOUNDED} == {GP, TPE, NSGA2}


# -- which they are ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("described", "found"), [
    (TPE(plane(), constraints={"bytes": 3}).describe(), {"bytes": 3}),
    (ASHA(GP(plane(), constraints={"bytes": np.float32(3)})).describe(), {"bytes": 3.0}),
    (Finals(ASHA(LlamaTune(TPE(plane(), constraints={"a": 1.0, "b": -2.0})))).describe(), {"a": 1.0, "b": -2.0}),
    ({"name": "Mine", "constraints": {"a": 2.0}, "sampler": {"name": "TPE", "constraints": {"a": 1.0}}}, {"a": 1.0}),
    ({"name": "Mine", "constraints": {"name": 2.0}}, {"name": 2.0}),
    ({"name": "Mine", "constraints": ["is_small"]}, {}),
    ({"name": "Mine", "constraints": {"small": "is_small"}}, {}),
    (Random(plane()).describe(), {}),
])  # fmt: skip
def test_they_are_read_from_what_a_header_says(described: Mapping[str, Any], found: Mapping[str, float]) -> None:
    assert bounds_of(described) == Bounds(found)


class Small(Sampler):
    """Somebody's own sampler with bounds: naming the option is all."""

    def __init__(self, space: Any) -> None:
        super().__init__(space)
        self.constraints = {"size": 0.5}

    def sample(self, history: History, trial: int) -> dict[str, Any]:
        return {"x": (trial % 10) / 10 + 0.05}


def test_an_optimizer_of_ones_own_needs_only_the_option() -> None:
    study = hpo.minimize(lambda c: {"loss": -c["x"], "size": c["x"]}, {"x": (0.0, 1.0)}, Small({"x": (0.0, 1.0)}), 10, quiet=True)
    assert study.best.value == study.recommend().value == -0.45


# -- what keeps them -----------------------------------------------------------------------------------------------------


def told(metrics: list[Mapping[str, float]], **bounds: float) -> Study:
    """A study with these results, in this order."""
    study = Study(TPE(plane(), constraints=bounds))
    for one in metrics:
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, Result({"loss": 1.0, **one}, system={"seconds": 5.0}))
    return study


def test_an_excess_adds_up_and_is_infinite_where_nothing_is_known() -> None:
    rows = [{"a": 1.0, "b": 2.0}, {"a": 3.5, "b": 2.0}, {"a": 3.0, "b": 7.0}, {"a": 0.0}, {"a": math.nan, "b": 0.0},
            {"a": -math.inf, "b": 0.0}, {"a": 0.0, "b": math.inf}]  # fmt: skip
    study = told(rows, a=1.0, b=2.0)
    excess = study.optimizer._bounds.excess(study.history, sorted(study.history.results))  # type: ignore[attr-defined]
    assert excess.tolist() == [0.0, 2.5, 7.0, math.inf, math.inf, 0.0, math.inf]
    assert [key[0] for key in feasible(study.history).at(1)] == [0, 5]


def test_what_the_framework_measured_counts_until_the_objective_reports_it() -> None:
    study = told([{}, {}], seconds=10.0)
    assert [key[0] for key in feasible(study.history).at(1)] == [0, 1]
    job = study.optimizer.ask()
    assert job is not None
    study.optimizer.tell(job, Result({"loss": 2.0, "seconds": 9.0}, system={"seconds": 50.0}))
    assert [key[0] for key in feasible(study.history).at(1)] == [2], "the others do not say"


def test_a_metric_that_nobody_has_reported_yet_is_said_and_waited_for() -> None:
    study = told([{}, {}], bytes=3.0)
    assert explain_infeasible(study.history) == "none of 2 successful results keeps bytes <= 3; no result has a finite bytes"
    job = study.optimizer.ask()
    assert job is not None
    study.optimizer.tell(job, {"loss": 2.0, "bytes": 1.0})
    assert study.best.number == 2 and explain_infeasible(study.history) == ""


def test_it_is_the_same_however_often_it_was_read_before() -> None:
    """A history that is asked after every result says what one says that is asked at the end."""
    often, once = told([], size=0.5), told([], size=0.5)
    rng = np.random.default_rng(0)
    for _ in range(40):
        metrics = {"loss": float(rng.random()), **({"size": float(rng.random())} if rng.random() < 0.7 else {})}
        for study in (often, once):
            job = study.optimizer.ask()
            assert job is not None
            study.optimizer.tell(job, metrics)
        feasible(often.history)
    assert feasible(often.history).at(1) == feasible(once.history).at(1) and 5 < len(feasible(once.history)) < 35


def test_a_search_stops_for_what_keeps_them_only() -> None:
    """The size grows with the gain, and the fifth result is the last within the bound."""
    space = {"x": (0.0, 1.0)}
    for rule, results in ((NoImprovement(3), 8), (Target(-0.4), 5), (Target(-0.5), 40)):
        study = hpo.minimize(lambda c: {"loss": -c["x"], "size": c["x"]}, space, Small(space), 40, stop=rule, quiet=True)
        assert len(study.history.results) == results and study.best.value == -0.45


def test_the_report_and_its_pictures_say_that_nothing_keeps_them(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    space = {"x": (0.0, 1.0)}
    for objectives in (["loss"], ["loss", "size"]):
        study = hpo.minimize(lambda c: {"loss": c["x"], "size": 1 + c["x"]}, space, TPE(space, constraints={"size": 0.5}), 12,
                             objectives=objectives, quiet=True)  # fmt: skip
        page = study.report(tmp_path / "report.html").read_text()
        assert "None of 12 successful results keeps size &lt;= 0.5; the least size is" in page
        assert f'"steps": {[[] for _ in objectives]}' in page, "nothing is the best so far"
