"""Another part of the space: it excludes the best row, is never empty, and respects conditions and constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hpo import GP, Categorical, Float, Int, Space
from hpo.optimizers.gp.regions import REACH, another_part

MIXED = Space(
    x=Float(0.0, 1.0), n=Int(1, 3), k=Categorical(["a", "b", "c"]), y=Float(0.0, 1.0, when={"k": "a"}),
    constraints=[lambda c: c["x"] < 0.9],
)  # fmt: skip


@pytest.mark.parametrize("seed", range(30))
def test_it_excludes_the_best_row_and_holds_legal_others(seed: int) -> None:
    domain, rng = MIXED.domain, np.random.default_rng(seed)
    best = domain.random(rng, 1)
    part = another_part(domain, best[0], rng)
    assert part is not None and not part.contains(best)[0]
    other = part.of(domain).random(rng, 20)
    assert domain.is_feasible(other).all() and part.contains(other).all()
    x = other[:, part.column]
    if domain.floats[part.column]:
        assert (np.isnan(x) | (np.abs(x - part.at) > REACH)).all()
    assert (x != part.at).all()


def test_a_choice_is_left_half_of_the_time() -> None:
    domain, rng = MIXED.domain, np.random.default_rng(0)
    best = domain.random(rng, 1)[0]
    parts = [another_part(domain, best, rng) for _ in range(300)]
    choices = np.mean([part is not None and domain.categorical[part.column] for part in parts])
    assert 0.5 < choices < 0.75


def test_a_constraint_is_not_asked_about_a_whole_space_again() -> None:
    """8000 points are counted once; the searches after that, also of other parts, ask about the rows that they look at."""
    asked = 0

    def fits(config: Mapping[str, Any]) -> bool:
        nonlocal asked
        asked += 1
        return config["a"] + config["b"] <= 30

    optimizer = GP(Space(a=Int(1, 20), b=Int(1, 20), c=Int(1, 20), constraints=[fits]), explore_every=2)
    calls = []
    for _ in range(12):
        before, job = asked, optimizer.ask()
        calls.append(asked - before)
        optimizer.tell(job, (job.config["a"] - 7) ** 2 + (job.config["b"] - 15) ** 2 + job.config["c"])
    assert sum(n >= 8000 for n in calls) == 1 and max(calls[5:]) < 5000


def test_where_there_is_nothing_else_there_is_no_part() -> None:
    one = Space(k=Categorical(["a"]), m=Categorical(["u"]))
    assert another_part(one.domain, np.array([0.0, 0.0]), np.random.default_rng(0)) is None
    narrow = Space(x=Float(0.0, 1.0), constraints=[lambda c: abs(c["x"] - 0.5) < 0.2])
    assert another_part(narrow.domain, np.array([0.5]), np.random.default_rng(0)) is None
