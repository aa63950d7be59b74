"""The table of shapes: published sizes come out, labels are what is counted, and every shape fits its devices."""

import pytest

from models.config import split
from models.predict.shapes import SHAPES, Shape, shape_table


@pytest.mark.parametrize(
    ("name", "count"),
    [("124M", 124_439_808), ("350M", 354_823_168), ("774M", 774_030_080), ("1.5B GPT-2", 1_557_611_200)],
)
def test_gpt2s_counts_are_those_of_the_released_weights(name: str, count: int) -> None:
    assert SHAPES[name].parameters == count


def test_the_table_reaches_from_1m_to_30b() -> None:
    counts = [shape.parameters for shape in SHAPES.values()]
    assert counts == sorted(counts)
    assert counts[0] < 1.1e6
    assert counts[-1] > 29e9


def test_the_recipe_of_30b_and_1_5b() -> None:
    big, small = SHAPES["30B"], SHAPES["1.5B"]
    assert (big.heads, big.layers, big.hidden, big.batch) == (64, 48, 7168, 5)
    assert (small.heads, small.hidden, small.batch) == (24, 1536, 2)
    # No other depth is as near to the label.
    counts = {n: Shape("", 1.5e9, n, 1536, 24, 1024, 2, "").parameters for n in (48, 49, 50, 51, 52)}
    assert min(counts, key=lambda n: abs(counts[n] - 1.5e9)) == small.layers


@pytest.mark.parametrize("shape", SHAPES.values(), ids=lambda shape: shape.name)
def test_a_shape_is_a_config_that_fits_80_gb(shape: Shape) -> None:
    model, training = split(shape.config)
    assert training.accumulation(shape.devices) == 1
    assert model.hidden % model.heads == 0
    assert shape.memory().peak < 0.8 * 80e9
    assert abs(shape.difference) < 0.1


def test_a_label_that_is_off_says_so() -> None:
    lines = {line.split("  ")[0].strip(): line for line in shape_table().splitlines()}
    assert set(SHAPES) <= set(lines)
    off = {name: shape.difference for name, shape in SHAPES.items() if shape.difference}
    assert all(f"{difference:+.0%}" in lines[name] for name, difference in off.items())
