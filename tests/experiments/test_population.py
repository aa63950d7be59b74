"""Population-based training beside random search in small: what counts within the seconds, the table, claims and lines."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import hpo
from experiments import job, population
from experiments.job import DEFAULT, GPTObjective
from hpo.executors.checkpoints import checkpoint_name

TOKENS = 2048


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of 2,048 tokens that are judged on 1,024, and seconds without end."""
    for name, value in (("HORIZON", TOKENS), ("MIN_RESOURCE", 1024), ("SECONDS", float("inf"))):
        monkeypatch.setattr(population, name, value)
    monkeypatch.setattr(job, "JUDGED_ON", 1024)
    options: Any = {**population.USUAL, "population": 4, "generations": 2, "max_resource": TOKENS}
    monkeypatch.setitem(population.METHODS, "PBT", lambda space, seed: hpo.PBT(hpo.Random(space, seed=seed), **options))


@pytest.mark.usefixtures("small")
def test_a_search_hands_over_the_lowest_loss_of_all_its_jobs() -> None:
    found = population.measure_population(population.FIXED, "PBT", 3)
    assert found["jobs"] == 8 and found["whole"] == 4 and found["trials"] == 5, "one of four is a clone"
    assert [loss for _, _, loss in found["falls"]] == sorted((loss for _, _, loss in found["falls"]), reverse=True)
    assert found["falls"][-1][1:] == (found["until"], round(found["searched_loss"], 5))
    assert {name: found["config"][name] for name in population.SHAPE} == {name: DEFAULT[name] for name in population.SHAPE}
    assert 0 < found["loss"] < 5 and found["loss"] != found["searched_loss"]
    again = population.measure_population(population.FIXED, "PBT", 3)
    assert population.checkpoint_of(again) == population.checkpoint_of(found), "what does not depend on the clock comes out again"
    assert json.loads(json.dumps(found))["loss"] == found["loss"] and {"used", "falls"} <= {*found}


def test_what_finishes_after_the_seconds_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later jobs have lower losses; the last one in time stays by its second name."""
    clock = count()
    monkeypatch.setattr(population.time, "process_time", lambda: float(next(clock)))

    class Written(hpo.Inline):
        """With a file for every result."""

        def wait(self, timeout: float | None = None) -> Any:
            outcome = super().wait(timeout)
            assert outcome is not None
            (tmp_path / checkpoint_name(outcome[0].key)).write_text(str(outcome[0].trial))
            return outcome

    best = population.Best(tmp_path, 3.0, begun=0.0)
    study = hpo.Study(hpo.Manual(hpo.Space({"x": (0.0, 9.0)}), configs=[{"x": float(x)} for x in range(1, 7)]))
    hpo.run(study, Written(lambda config: -config["x"]), watch=best.observe)
    assert len(study.history.results) == 6 and best.finished == 2
    assert best.checkpoint.read_text() == str(best.key[0]) == str(best.finished - 1)  # type: ignore[index]
    assert best.used <= 3.0 and best.loss == -float(best.finished)


@pytest.mark.parametrize("space", [*population.HELD])
def test_every_method_starts_and_no_clone_changes_its_shape(space: str) -> None:
    made = {name: make(population.search_space(space), 3).adapt(GPTObjective()) for name, make in population.METHODS.items()}
    assert all(optimizer.seed == 3 and optimizer.ask() for optimizer in made.values())
    populations = [optimizer for optimizer in made.values() if isinstance(optimizer, hpo.PBT)]
    assert len(populations) == 3 and all(optimizer.horizon == population.HORIZON for optimizer in populations)
    explored = [{*(optimizer.explore or ())} for optimizer in populations]
    assert all({"lr", "sgd_lr", "batch"} <= names and not {*population.SHAPE, "optimizer"} & names for names in explored)


def test_the_default_call_is_the_default_of_pbt() -> None:
    usual = {name: value for name, value in population.USUAL.items() if name != "max_resource"}
    assert {name: getattr(hpo.PBT, name) for name in usual} == usual


def line(method: str, seed: int, loss: float | None) -> dict[str, Any]:
    return {"space": population.WHOLE, "method": method, "seed": seed, "loss": loss, "whole": 4, "jobs": 9, "used": 15.5}


def test_the_table_pairs_seeds_and_the_claims_compare_medians() -> None:
    random = [line("random", seed, 2.0 + seed / 10) for seed in range(population.SEEDS)]
    better = [line("PBT", seed, 1.9 + seed / 10 if seed else None) for seed in range(population.SEEDS)]
    shown = population.population_table([*random, *better])
    assert "| whole | random | 8 | 2.350 |" in shown and "| 7 of 8 | 4.0 | 9.0 | 15.5 |" in shown
    assert "| whole | PBT | 8 | 2.350 |" in shown, "without a success it is as bad as the worst, 2.7"
    verdicts = [claim.rule([*random, *better[:-1]]) for claim in population.CLAIMS]
    assert [verdict.holds for verdict in verdicts] == [None, None, None] and "7 of 8 seeds" in verdicts[0].evidence
    lower = [line("PBT", seed, 1.9 + seed / 10) for seed in range(population.SEEDS)]
    assert population.default_call([*random, *lower]).holds is True
    assert population.default_call([*random, *better]).holds is False, "equal is not below"
    assert population.tuned_call([*random, *(one | {"method": "PBT, tuned"} for one in lower)]).holds is True
    assert population.bandit_call([*random, *(one | {"method": "PB2"} for one in lower)]).holds is True


def test_all_stored_searches_are_read() -> None:
    ledger = population.open_population(population.RESULTS)
    assert len(ledger.latest()) == len(ledger.measurements) == sum(1 for _ in ledger.path.open())
