"""Random search without replacement: nothing twice, a finite space to its end, what is left equally probable."""

from collections import Counter

import pytest

from hpo import Categorical, Float, Int, Random, Space, Study
from hpo.testing import NewnessLaws, SamplerLaws


def finite(**more):
    return Space({"n": Int(1, 4), "kind": Categorical(["a", "b"]), "m": Int(1, 3, when={"kind": "b"}), **more})


class TestWithoutReplacement(SamplerLaws, NewnessLaws):
    jobs, invariance = 13, "rank"

    def make(self, space, seed):
        return Random(space, seed=seed, replace=False)


def exhaust(optimizer):
    found = []
    while (job := optimizer.ask()) is not None:
        found.append(job.config)
        optimizer.tell(job, 1.0)
        assert len(found) < 100
    return found


def test_a_finite_space_is_gone_through_once():
    optimizer = Random(finite(), replace=False)
    assert not optimizer.is_endless and not optimizer.repeats
    found = exhaust(optimizer)
    assert len(found) == 4 * (1 + 3) == len({tuple(sorted(config.items())) for config in found})


def test_constraints_and_what_somebody_else_asked_for_are_left_out():
    space = Space({"n": Int(1, 30), "m": Int(1, 30)}, constraints=lambda config: config["n"] * config["m"] == 12)
    optimizer = Random(space, replace=False)
    Study(optimizer)
    optimizer.enqueue({"n": 3, "m": 4})
    assert sorted(config["n"] for config in exhaust(optimizer)) == [1, 2, 3, 4, 6, 12]


@pytest.mark.slow
def test_what_is_left_is_equally_probable():
    """The last of eight, over 800 seeds: a chi-square of seven degrees of freedom stays below 26 (0.1 per cent)."""
    last = Counter(exhaust(Random(Space({"n": Int(1, 8)}), seed=seed, replace=False))[-1]["n"] for seed in range(800))
    assert sum((last[n] - 100) ** 2 / 100 for n in range(1, 9)) < 26


def test_real_numbers_go_on_and_older_studies_open():
    assert Random(finite(lr=Float(0.0, 1.0)), replace=False).is_endless and Random(finite()).is_endless
    with pytest.raises(TypeError, match="replace is 'no'; allowed are True and False"):
        Random(finite(), replace="no")
