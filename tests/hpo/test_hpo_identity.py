"""Identity is of configurations: over spaces drawn at random nothing is started twice while something new is feasible."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from hpo import ASHA, GP, Categorical, Float, FreezeThaw, Int, Optimizer, Random, Sobol, Space
from hpo.logs.base import canonical

PHASES = (Phase.explicit, Phase.generate)  # without shrinking, which takes minutes where an example takes a second
ENDS = (-1e308, -1e6, -1.0, 0.0, 5e-324, 1e-300, 1e-9, 1.0, 1.0 + 1e-12, 1e6, 2.0**53, 1e308)


@st.composite
def floats(draw: Any) -> Float:
    lo = draw(st.sampled_from([0.0, 1.0, 1e-5, -3.0, 1e6]))
    width = draw(st.sampled_from([1e-9, 1.0, 1e3]))
    return Float(lo, lo + width, log=lo > 0 and draw(st.booleans()))


@st.composite
def ints(draw: Any) -> Int:
    lo, count = draw(st.integers(1, 50)), draw(st.sampled_from([2, 9, 300, 10_001, 40_000, 10**7]))
    step = draw(st.sampled_from([1, 1, 3]))
    return Int(lo, lo + (count - 1) * step, log=draw(st.booleans()), step=step)


@st.composite
def spaces(draw: Any) -> Space:
    specs: dict[str, Any] = {"a": draw(st.one_of(ints(), floats(), ints()))}
    if draw(st.booleans()):
        specs["kind"] = Categorical(["x", "y", None])
        specs["b"] = draw(st.one_of(ints(), floats()))
        if draw(st.booleans()):
            specs["c"] = Int(1, draw(st.sampled_from([3, 20_000])), when={"kind": "x"})
    part = draw(st.sampled_from([0, 0, 2, 7]))
    constraints = [lambda c: round(c["a"]) % part == 1 % part] if part and isinstance(specs["a"], Int) else []
    return Space(specs, constraints=constraints)


def ask(optimizer: Optimizer, asks: int, pending: int = 3) -> list[Any]:
    """Configurations of fresh trials, `pending` always unfinished."""
    running, fresh = [], []
    for _ in range(asks):
        job = optimizer.ask()
        assert job is not None and optimizer.space.check(job.config) == job.config
        if job.source is None:
            fresh.append(job)
        running.append(job)
        if len(running) > pending:
            job = running.pop(0)
            optimizer.tell(job, math.cos(7 * optimizer.space.encode(job.config)[0]))
    assert len({(canonical(job.config), job.seed) for job in fresh}) == len(fresh)
    return [job.config for job in fresh]


def feasible(space: Space) -> float:
    """How many configurations there are, if they are few; else many."""
    domain = space.domain
    if domain.size < 100:
        return domain.size
    rows = domain.random(np.random.default_rng(0), 4000)
    return len(set(domain.keys(rows)))


@given(spaces(), st.sampled_from(["gp", "asha", "freezethaw"]))
@settings(max_examples=12, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_configuration_comes_twice_while_there_is_a_new_one(space: Space, name: str) -> None:
    gp = GP(space, initial=3)
    made = {"gp": gp, "asha": ASHA(gp, max_resource=9), "freezethaw": FreezeThaw(gp, max_resource=9)}
    try:
        space.domain.random(np.random.default_rng(0), 1)
    except ValueError:
        assume(False)  # no configuration is feasible
    fresh = ask(made[name], 14)
    assert len({canonical(config) for config in fresh}) >= min(len(fresh), feasible(space))


def test_the_last_of_few_is_found_and_then_replicated() -> None:
    """Two feasible configurations of 20,000, and of a continuum; nothing told, so that all are pending."""
    for optimizer in (
        GP(Space(width=Int(1, 20_000), constraints=[lambda c: c["width"] in (5, 19_001)])),
        GP(Space(width=Int(1, 20_000), x=Float(1e6, 1e6 + 1e-10), constraints=[lambda c: c["width"] == 5])),
    ):
        configs = ask(optimizer, 6, pending=9)
        assert len({canonical(config) for config in configs[:2]}) == 2 and len(configs) == 6


@st.composite
def extremes(draw: Any) -> Any:
    if draw(st.booleans()):
        lo, hi = sorted(draw(st.lists(st.sampled_from(ENDS), min_size=2, max_size=2, unique=True)))
        return Float(lo, hi, log=lo > 0 and draw(st.booleans()))
    lo, bits = draw(st.sampled_from([1, 3, 10**20, 2**53 - 2])), draw(st.sampled_from([3, 40, 62, 80, 400]))
    return Int(lo, lo + 2**bits, log=draw(st.booleans()), step=draw(st.sampled_from([1, 5])))


@given(extremes(), extremes(), st.sampled_from([GP, Random, Sobol]))
@settings(max_examples=25, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck), derandomize=True)
def test_ranges_at_the_limit_of_numbers_are_searched(a: Any, b: Any, make: Any) -> None:
    """Proposals lie in the space and are not all at its ends."""
    optimizer = make(Space(a=a, b=b), **({"initial": 3} if make is GP else {}))
    configs = ask(optimizer, 8, pending=1)
    assert len({canonical(config) for config in configs}) == min(8, feasible(optimizer.space))
    for name, spec in (("a", a), ("b", b)):
        if not (isinstance(spec, Float) and spec.is_coarse):
            assert any(spec.lo < config[name] < spec.hi for config in configs), (name, configs)


@pytest.mark.parametrize("spec", [Int(1, 20_000, log=True), Int(0, 10**7), Float(1e6, 1e6 + 1e-9), Float(0.9, 0.9 + 1e-12)])
def test_rows_and_configurations_of_coarse_columns_are_one_to_one(spec: Any) -> None:
    space = Space(a=spec)
    rows = space.domain.random(np.random.default_rng(0), 2000)
    configs = [space.decode(row)["a"] for row in rows]
    assert len(set(space.domain.keys(rows))) == len(set(configs))
    assert space.domain.keys(rows) == space.domain.keys(np.array([space.encode({"a": value}) for value in configs]))
