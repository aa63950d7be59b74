"""ParEGO: the one loss that a trial's model sees, derived again; and what the name stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hpo
from hpo.rng import stream
from hpo.testing import changed_jobs
from surrogates import standardise

SPACE = hpo.Space(x=hpo.Float(-1.0, 2.0), y=hpo.Float(0.0, 1.0))
NAMES = ["f", "g", "h"]


def losses(config: dict[str, Any]) -> tuple[float, float, float]:
    x, y = config["x"], config["y"]
    return x**2 + y, 1000.0 * ((x - 1.0) ** 2 + y), 1.0 - y + 0.1 * x


def search(acquisition: str, trials: int = 14) -> hpo.Study:
    optimizer = hpo.GP(SPACE, seed=2, acquisition=acquisition)
    return hpo.minimize(losses, SPACE, optimizer, trials, objectives=NAMES, quiet=True)


def test_the_model_is_of_a_new_augmented_chebyshev_function_every_trial() -> None:
    study, seen = search("parego"), []
    for until in (len(study.history.events), len(study.history.events) - 6):
        history = study.history.prefix(until)
        rows = np.array([history.losses(key) for key in history.finished_keys])
        z = [standardise(column).z for column in rows.T]
        w = stream(2, history.next_trial, "weights").dirichlet([1.0, 1.0, 1.0])
        one = []
        for i in range(len(rows)):
            parts = [w[j] * (z[j][i] - min(z[j])) for j in range(3)]
            one.append(max(parts) + 0.05 * sum(parts))  # Knowles 2006, eq. 2
        model = study.optimizer.posterior(history)  # type: ignore[attr-defined]
        np.testing.assert_allclose(model.y, standardise(np.array(one)).z, rtol=1e-12)
        seen.append(w)
    assert not np.allclose(*seen)


def test_it_is_log_ei_of_that_model_by_name(tmp_path: Any) -> None:
    study, same = search("parego", 9), search("logei", 9)
    assert [job.config for job in study.history.jobs.values()] == [job.config for job in same.history.jobs.values()]
    assert study.header.optimizer["acquisition"] == "parego"
    assert changed_jobs(study.history, lambda: hpo.GP(SPACE, seed=2, acquisition="parego")) == []
    path = tmp_path / "study.sqlite"
    hpo.minimize(losses, SPACE, hpo.GP(SPACE, acquisition="parego"), 2, objectives=NAMES, log=path, quiet=True)
    loaded = hpo.load(path)
    assert isinstance(loaded.optimizer, hpo.GP) and loaded.optimizer.acquisition == "parego"


def test_of_one_objective_it_is_log_ei_and_takes_terms() -> None:
    for acquisition in ("parego", "logei"):
        hpo.GP(SPACE, acquisition=acquisition, cost="seconds")
    found = [hpo.minimize(lambda c: c["x"] ** 2 + c["y"], SPACE, hpo.GP(SPACE, acquisition=one), 8, quiet=True)
             for one in ("parego", "logei")]  # fmt: skip
    assert found[0].best.config == found[1].best.config


def test_it_finds_a_front() -> None:
    reference, random = (4.0, 4000.0, 1.5), hpo.minimize(losses, SPACE, "random", 20, seed=2, objectives=NAMES, quiet=True)
    assert search("parego", 20).hypervolume(reference) > random.hypervolume(reference)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="acquisition 'parrego' is not one of"):
        hpo.GP(SPACE, acquisition="parrego")
