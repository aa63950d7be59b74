"""Ranges as other tools write them become the ranges that they are, or are refused in a sentence."""

from typing import Any

import pytest
from scipy import stats

from hpo import Categorical, Const, Float, Int, Integer, Real, Space


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (Real(1e-5, 5e-5, "log-uniform"), Float(1e-5, 5e-5, log=True)),
        (Real(0, 0.1, prior="uniform"), Float(0.0, 0.1)),
        (Integer(8, 32), Int(8, 32)),
        (Integer(1, 1000, "log-uniform"), Int(1, 1000, log=True)),
        (stats.uniform(0.1, 0.9), Float(0.1, 1.0)),
        (stats.uniform(loc=2, scale=3), Float(2.0, 5.0)),
        (stats.loguniform(1e-4, 1), Float(1e-4, 1.0, log=True)),
        (stats.reciprocal(1e-4, 1), Float(1e-4, 1.0, log=True)),
        (stats.randint(2, 9), Int(2, 8)),
        ({"type": "float", "low": 1e-6, "high": 1e-3, "log": True}, Float(1e-6, 1e-3, log=True)),
        ({"type": "real", "low": 1e-6, "high": 1e-3, "prior": "log-uniform"}, Float(1e-6, 1e-3, log=True)),
        ({"type": "float", "min": 0.0, "max": 1.0, "step": 0.25}, Float(0.0, 1.0, step=0.25)),
        ({"type": "int", "low": 2, "high": 10, "step": 2}, Int(2, 10, step=2)),
        ({"type": "choice", "values": ["a", "b"]}, Categorical(["a", "b"])),
        ({"type": "categorical", "choices": [1, 2], "when": {"n": 3}}, Categorical([1, 2], when={"n": 3})),
        ({"type": "const", "value": 7}, Const(7)),
    ],
)
def test_it_is_the_range_that_it_says(foreign: Any, ours: Any) -> None:
    rest = {"n": Int(1, 5)}
    made = Space({**rest, "x": foreign}).parameters["x"]
    assert type(made) is type(ours) and made.describe() == Space({**rest, "x": ours}).parameters["x"].describe()


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        (stats.norm(0, 1), "the distribution 'norm' is no range"),
        ({"type": "gaussian", "low": 0.0}, "the type is 'gaussian'; allowed are float, int"),
        ({"type": "float", "low": 0.0}, "the key 'high' is missing"),
        ({"type": "float", "low": 0.0, "high": 1.0, "base": 2}, "'base' is no key of type 'float'"),
        ({"type": "int", "low": 0, "high": 5, "prior": "normal"}, "prior is 'normal'; allowed are 'uniform' and 'log-uniform'"),
        ({"low": 0.0, "high": 1.0}, "allowed are Float, Int, Categorical"),
    ],
)
def test_what_is_none_is_refused_by_name(foreign: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match="parameter 'x'") as caught:
        Space({"x": foreign})
    assert said in str(caught.value)
