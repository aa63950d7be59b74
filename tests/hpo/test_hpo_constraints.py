"""Constraints: one configuration at a time or columns of many, asked once a row, and what is said of those that are wrong."""

import math
from typing import Any

import numpy as np
import pytest

from hpo import GP, Categorical, Const, Float, Int, Random, Sobol, Space, Vectorised
from hpo.testing.spaces import has_whole_heads as fits
from hpo.testing.spaces import mixed_space


def divides(columns: Any) -> Any:
    return columns["hidden"] % columns["heads"] == 0


def columns_of(space: Space, n: int = 200) -> dict[str, np.ndarray]:
    seen: list[dict[str, np.ndarray]] = []

    def look(columns: dict[str, np.ndarray]) -> np.ndarray:
        seen.append(columns)
        return np.ones(len(next(iter(columns.values()))), dtype=bool)

    whole = Space(space.parameters, constraints=[Vectorised(look)])
    whole.domain.is_feasible(whole.domain.from_unit(np.random.default_rng(0).random((n, whole.domain.d))))
    return seen[0]


def test_both_kinds_say_the_same_of_rows_and_configurations() -> None:
    one, many = mixed_space(), Space(mixed_space().parameters, constraints=[Vectorised(divides)])
    rows = Space(mixed_space().parameters).domain.from_unit(np.random.default_rng(0).random((500, one.domain.d)))
    np.testing.assert_array_equal(one.domain.is_feasible(rows), many.domain.is_feasible(rows))
    expected = [fits(one.decode(row)) for row in rows]
    np.testing.assert_array_equal(one.domain.is_feasible(rows), expected)
    assert [many.is_feasible(one.decode(row)) for row in rows] == expected
    jobs = [optimizer.ask() for optimizer in (GP(one, seed=1), GP(many, seed=1))]
    assert jobs[0] == jobs[1]


def test_columns_have_the_type_of_their_parameter_and_say_what_is_inactive() -> None:
    space = Space(f=Float(0, 1), i=Int(1, 9), big=Int(1, 2**70), o=Categorical(["a", None]), n=Categorical([1, 2]),
                  t=Categorical([True, False]), ci=Int(1, 9, when={"o": "a"}), cc=Categorical(["p", "q"], when={"o": "a"}),
                  k=Const(3), ck=Const("z", when={"o": "a"}))  # fmt: skip
    columns = columns_of(space)
    kinds = {name: array.dtype.kind for name, array in columns.items()}
    assert kinds == {"f": "f", "i": "i", "big": "O", "o": "O", "n": "i", "t": "O", "ci": "f", "cc": "O", "k": "i", "ck": "O"}
    off = np.array([value is None for value in columns["o"]])
    assert off.any() and not off.all()
    np.testing.assert_array_equal(np.isnan(columns["ci"]), off)
    for name in ("cc", "ck"):
        np.testing.assert_array_equal([value is None for value in columns[name]], off)
    assert list(columns) == list(space.parameters)


def test_a_header_names_what_is_vectorised() -> None:
    described = Space(x=Float(0, 1), constraints=[Vectorised(divides)]).describe()["constraints"]
    assert "divides" in str(described) and described != Space(x=Float(0, 1), constraints=[divides]).describe()["constraints"]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda c: True, "returned bool of shape .* allowed is an array of"),
        (lambda c: c["x"][:1] > 0, "allowed is an array of"),
        (lambda c: ["yes"] * len(c["x"]), "allowed is an array of"),
        (lambda c: c["x"] > 0 and c["x"] < 1, "raised ValueError.*becomes `&`"),
    ],
)
def test_a_wrong_answer_is_one_sentence(function: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Random(Space(x=Float(0, 1), constraints=[Vectorised(function)])).ask()


def test_what_is_no_constraint_is_refused() -> None:
    for wrong in ("x > 0", [3], 3):
        with pytest.raises(TypeError, match="a constraint must be a function"):
            Space(x=Float(0, 1), constraints=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a function of columns"):
        Vectorised(3)  # type: ignore[arg-type]


def test_a_row_is_asked_once_and_the_later_constraints_only_of_what_the_first_allow() -> None:
    seen: list[tuple[Any, ...]] = []

    def first(config: Any) -> bool:
        return bool(config["x"] + config["y"] < 1.5)

    def second(config: Any) -> bool:
        assert first(config)
        seen.append(tuple(config.values()))
        return bool(config["x"] < 0.9)

    space = Space(x=Float(0, 1), y=Float(0, 1), n=Int(1, 30), c=Categorical(["a", "b"]), constraints=[first, second])
    optimizer = GP(space, initial=3)
    for _ in range(3):
        optimizer.tell(optimizer.ask(), 1.0)  # type: ignore[arg-type]
    seen.clear()
    optimizer.decide(optimizer.history)
    assert seen and len(seen) == len(set(seen))


@pytest.mark.parametrize("make", [GP, Random, Sobol])
@pytest.mark.parametrize("vectorised", [True, False])
def test_one_in_ten_thousand_is_found_with_few_questions(make: Any, vectorised: bool) -> None:
    asked = [0]
    radius = (1e-4 * 0.75 / math.pi) ** (1 / 3)

    def inside(c: Any) -> Any:
        asked[0] += np.size(c["a"])
        return (c["a"] - 0.7) ** 2 + (c["b"] - 0.2) ** 2 + (c["c"] - 0.5) ** 2 < radius**2

    space = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), constraints=[Vectorised(inside) if vectorised else inside])
    optimizer = make(space, seed=1)
    configs = []
    for _ in range(8):
        job = optimizer.ask()
        configs.append(tuple(job.config.values()))
        optimizer.tell(job, job.config["a"])
    assert len(set(configs)) == 8
    assert asked[0] < 150_000  # by rejection the middle of the space alone takes 2.5 million


@pytest.mark.parametrize("make", [GP, Random, Sobol])
def test_what_is_never_feasible_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"no feasible (point|configuration)"):
        make(Space(a=Float(0, 1), constraints=[lambda c: False])).ask()
