"""LlamaTune's projection beside the same sampler without: the functions, what is measured and shown."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import projection
from experiments.benchmark.functions import branin, hartmann6
from experiments.projection import (
    FUNCTIONS,
    OFF,
    ON,
    PLAIN,
    SAMPLERS,
    SPECIAL,
    TOP,
    WAYS,
    drawn_columns,
    measure_projection,
    projection_tables,
    searches,
)


def config_of(task: str, row: np.ndarray) -> dict[str, float]:
    return dict(FUNCTIONS[task].space().decode(row))


@pytest.mark.parametrize("task", [name for name in FUNCTIONS if " of " in name])
def test_only_the_drawn_columns_matter(task: str) -> None:
    count, d = (int(word) for word in task.split(", ")[1].split(" of "))
    columns, rng = drawn_columns(d, count), np.random.default_rng(0)
    row = rng.random(d)
    other = rng.random(d)
    other[columns] = row[columns]
    true = FUNCTIONS[task].true
    assert true(config_of(task, row)) == true(config_of(task, other)) != true(config_of(task, rng.random(d)))
    plain = hartmann6({f"x{k + 1}": row[i] for k, i in enumerate(columns)}) if count == 6 else branin(
        {"x1": -5 + 15 * row[columns[0]], "x2": 15 * row[columns[1]]})  # fmt: skip
    assert true(config_of(task, row)) == pytest.approx(plain)


def test_knobs_are_best_off_where_they_should_be() -> None:
    true = FUNCTIONS["knobs20"].true
    best = dict.fromkeys(FUNCTIONS["knobs20"].space().parameters, 7)
    best |= dict.fromkeys(OFF, 0) | dict.fromkeys(ON, round(0.6 * TOP)) | {n: round(p * TOP) for n, p in PLAIN.items()}
    assert true(best) == pytest.approx(0.0, abs=1e-12)
    rng = np.random.default_rng(0)
    for name in (*OFF, *ON, *PLAIN):
        others = [true(best | {name: int(value)}) for value in rng.integers(0, TOP + 1, 50) if value != best[name]]
        assert min(others) > 0.0
    assert true(best | {OFF[0]: 1}) > true(best | {OFF[0]: TOP}) == pytest.approx(0.5)  # nothing near 0 tells of it
    assert {*SPECIAL["knobs20"]} >= {*OFF, *ON} and not {*SPECIAL["knobs20"]} & {*PLAIN}


def test_a_search_is_measured_and_told_values_are_tried() -> None:
    task = FUNCTIONS["knobs20"]
    found = {way: measure_projection(task, SAMPLERS["random"], WAYS[way], 0)["regret"]["50"] for way in WAYS}
    assert len({*found.values()}) == len(found)
    told, plain = (WAYS[way].make(SAMPLERS["random"], task, 3) for way in ("LlamaTune", "LlamaTune, not told"))
    zeros = [sum(sampler.ask().config[name] == 0 for _ in range(40) for name in SPECIAL["knobs20"]) for sampler in (told, plain)]
    assert zeros[0] > 24 and zeros[1] < 4  # a fifth of 240 is 48


def test_every_comparison_has_its_other_side_and_differs_from_it() -> None:
    found = [*searches()]
    for task in FUNCTIONS:
        made = [WAYS[way].make(SAMPLERS["random"], FUNCTIONS[task], 0) for way in projection.ways_on(task)]
        assert len({str(one.ask().config) for one in made}) == len(made) >= 2
    assert len({*found}) == len(found)
    assert all((task, sampler, "without", seed) in {*found} for task, sampler, _, seed in found)


def test_the_table_compares_seeds_with_themselves() -> None:
    lines = [{"task": "bowl60", "sampler": "TPE", "way": way, "seed": seed, "scale": 1e-6, "regret": {"50": value}}
             for way, values in (("without", (1.0, 4.0, 5.0)), ("LlamaTune", (2.0, 8.0))) for seed, value in enumerate(values)]
    assert "| bowl60, LlamaTune |  | 1.00 ± 0.00 |  |  |" in projection_tables(lines)
    assert projection.EVALUATIONS == projection.MARKS[-1] == 50
