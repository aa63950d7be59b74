"""Coarse to fine: where each stage searches, what it keeps, and how the stages of a guide are written."""

import math

import numpy as np
import pytest

from hpo import Categorical, Float, Int, Narrowing, Random, Space, Study, minimize
from hpo.optimizers.narrowing import near


def space():
    return Space({"lr": Float(1e-6, 1e-1, log=True), "width": Int(1, 64), "kind": Categorical(["a", "b", "c"])})


def loss(config):
    return (math.log10(config["lr"]) + 3.3) ** 2 + ((config["width"] - 40) / 64) ** 2 + (config["kind"] != "b")


def configs_of(study):
    return [job.config for job in study.history.jobs.values()]


@pytest.mark.parametrize("options", [{}, {"factor": 0.25}])
def test_each_stage_lies_around_the_best_that_was_known_when_it_began(options):
    optimizer, factor = Narrowing(space(), seed=1, points=12, **options), options.get("factor", 0.5)
    study = minimize(loss, optimizer.space, optimizer, quiet=True)
    jobs = list(study.history.jobs.values())
    assert [job.note.record["narrowing"]["stage"] for job in jobs] == [0] * 12 + [1] * 12 + [2] * 12
    for stage, share in ((1, factor), (2, factor**2)):
        first = 12 * stage
        center = min((job.config for job in jobs[:first]), key=loss)
        assert jobs[first].note.record["narrowing"]["around"] == center
        for name, wide in (("lr", share), ("width", max(share, 1.5 / 64))):
            spec = study.space.parameters[name]
            places = [spec.encode(job.config[name]) for job in jobs[first : first + 12]]
            assert max(places) - min(places) <= wide + 1 / 64 and len(set(places)) > 1
            assert min(places) - 1 / 64 <= spec.encode(center[name]) <= max(places) + wide
    assert loss(study.best.config) <= min(loss(job.config) for job in jobs[:12])


def test_it_is_better_than_random_on_a_smooth_function():
    """Over 20 seeds at equal trials: better in at least 15 (with equal odds 2 per cent)."""
    wins = 0
    for seed in range(20):
        best = [minimize(loss, space(), cls(space(), seed=seed), 48, quiet=True).best.config for cls in (Narrowing, Random)]
        wins += loss(best[0]) < loss(best[1])
    assert wins >= 15


GUIDE = [
    {"lr": [1e-5, 1e-4, 1e-3], "width": [8, 16, 32]},
    {"lr": [5e-5, 1e-4, 2e-4, 5e-4], "width": [12, 16, 20, 24]},
    {"lr": (1e-4, 3e-4, "log"), "width": [14, 16, 18]},
]


def test_the_stages_of_a_guide():
    study = minimize(loss, space(), Narrowing(space(), stages=GUIDE, points=5), quiet=True)
    found = configs_of(study)
    assert [(c["lr"], c["width"]) for c in found[:9]] == [(lr, width) for lr in GUIDE[0]["lr"] for width in GUIDE[0]["width"]]
    assert [(c["lr"], c["width"]) for c in found[9:25]] == [(lr, width) for lr in GUIDE[1]["lr"] for width in GUIDE[1]["width"]]
    assert len(found) == 9 + 16 + 5
    assert all(1e-4 <= c["lr"] <= 3e-4 and c["width"] in (14, 16, 18) for c in found[25:])
    assert {c["kind"] for c in found} == {"a"}, "what no stage names stays in the middle, and then at the best"


def test_a_coarse_point_outside_of_a_fine_range_is_not_lost():
    stages = [{"width": [40]}, {"width": [1, 2, 3]}, {"kind": ["a", "b"]}]
    study = minimize(loss, space(), Narrowing(space(), stages=stages), quiet=True)
    assert study.best.config["width"] == 40 and [c["width"] for c in configs_of(study)] == [40, 1, 2, 3, 40, 40]


def test_what_a_person_adds_is_searched_around():
    optimizer = Narrowing(space(), points=4)
    Study(optimizer)
    for _ in range(4):
        optimizer.tell(optimizer.ask(), 9.0)
    optimizer.add({"lr": 5e-4, "width": 40, "kind": "b"}, 0.1)
    job = optimizer.ask()
    assert job.note.record["narrowing"]["around"] == {"lr": 5e-4, "width": 40, "kind": "b"} and 24 <= job.config["width"] <= 56


def test_the_share_of_a_range_and_of_choices():
    rng = np.random.default_rng(0)
    float_spec, choice = Float(0.0, 1.0), Categorical(["a", "b", "c", "d"])
    at_edge = [near(float_spec, 0.02, 0.2, rng) for _ in range(2000)]
    assert 0.0 <= min(at_edge) < 0.01 and 0.19 < max(at_edge) <= 0.2, "a surrounding at the edge is as wide as elsewhere"
    kept = sum(near(choice, "c", 0.2, rng) == "c" for _ in range(4000))
    assert abs(kept / 4000 - (0.8 + 0.2 / 4)) < 0.03
    assert {near(Int(1, 5), 3, 0.01, rng) for _ in range(100)} in ({2, 3, 4}, {2, 3}, {3, 4})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stages": [{"rate": [1]}]}, "a stage names 'rate', which is not one of"),
        ({"stages": [{"lr": [1.0]}]}, "lr"),
        ({"stages": [{"lr": (1e-9, 1e-3)}]}, "lr"),
        ({"stages": ["coarse"]}, "a stage is 'coarse'; allowed is a mapping"),
        ({"stages": 0}, "stages is 0; allowed are a number of at least 1"),
        ({"factor": 1.0}, "factor is 1.0; allowed are numbers above 0 and below 1"),
        ({"points": 0}, "points is 0; allowed is an integer of at least 1"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises((TypeError, ValueError)) as caught:
        Narrowing(space(), **options)
    assert said in str(caught.value)
