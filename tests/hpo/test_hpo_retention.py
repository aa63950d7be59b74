"""`keep=`: which checkpoints stay. Of live ones, of the best so many trials, of all; and what no study may keep."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import (
    ASHA,
    PBT,
    FreezeThaw,
    Hyperband,
    Inline,
    Key,
    MemoryLog,
    Optimizer,
    Random,
    Simulator,
    SQLiteLog,
    Stop,
    Study,
    run,
)
from hpo.executors import standing_name
from hpo.testing.spaces import rugged_loss
from tests.hpo.objectives import Reports, Traces, line, square
from tests.hpo.test_hpo_long import MAKERS, SPACE, Work

STUDIES: dict[str, Callable[[], Optimizer]] = {
    "random": lambda: Random(SPACE, seed=1),
    "asha": lambda: ASHA(Random(SPACE, seed=1), max_resource=27),
    "hyperband": lambda: Hyperband(Random(SPACE, seed=1), max_resource=27),
    "pbt": lambda: PBT(Random(SPACE, seed=1), population=6, generations=5, max_resource=27),
    "freezethaw": lambda: FreezeThaw(Random(SPACE, seed=1), max_resource=9),
}


def fails(config: dict[str, Any], until: int, seed: int) -> float:
    return float("nan") if seed % 5 == 0 else rugged_loss(config, until, seed)


def best_by_hand(study: Study, count: int) -> list[Key]:
    """Each trial by its last finished key: the highest budgets first, at each the lowest losses."""
    history = study.history
    last = {key[0]: key for key in sorted(history.results)}
    good = [key for key in last.values() if not history.is_failure(key)]
    return sorted(good, key=lambda key: (-key[1], history.losses(key), key))[:count]


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("keep", ["live", 1, 5, 40, "all"])
def test_what_stands_is_what_was_asked_for(name: str, keep: str | int) -> None:
    """At every finish, with failures and five workers: the best so many trials, and what is kept without being asked."""
    study = Study(STUDIES[name](), horizon=27 if name == "random" else None)
    simulator = Simulator(fails, workers=5, straggle=0.5)
    made, most = set[Key](), 0

    def watch(study: Study, key: Key | None) -> None:
        nonlocal most
        if key is not None:
            made.add(key)
            if isinstance(keep, int):
                best = best_by_hand(study, keep)
                most = max(most, len(best))
                assert set(best) <= simulator.kept
            elif keep == "all":
                assert made == simulator.kept

    run(study, simulator, Stop(trials=30), watch, keep=keep)
    assert simulator.kept == set(study.keep()) & made
    usual = Study(STUDIES[name](), horizon=27 if name == "random" else None)
    plain = Simulator(fails, workers=5, straggle=0.5)
    run(usual, plain, Stop(trials=30))
    assert usual.history.results.keys() == made, "what stays changes no proposal"
    assert plain.kept <= simulator.kept
    if isinstance(keep, int):
        assert simulator.kept == plain.kept | set(best_by_hand(study, keep)), "and nothing else"
        assert most > 3 or keep == 1


def test_of_several_objectives_the_next_fronts_follow() -> None:
    def losses(config: dict[str, Any], until: int, seed: int) -> dict[str, float]:
        return {"loss": config["x"] + (seed % 7), "size": 7.0 - config["x"] + seed % 7}

    for order in ("crowding", "epsilon"):
        study = Study(Random(SPACE, seed=2), objectives={"loss": "min", "size": "min"}, order=order)
        simulator = Simulator(losses)
        run(study, simulator, Stop(trials=40), keep=25)
        front, best = {trial.key for trial in study.pareto}, study.history.rank(study.history.results)[:25]
        assert len(front) < 25 and front < set(best)
        assert len(simulator.kept) == 25 and front < simulator.kept
        levels = [[sum(study.history.losses(key)) for key in keys] for keys in (best, simulator.kept)]
        assert sorted(levels[0]) == pytest.approx(sorted(levels[1])), "of the same fronts"


def test_only_what_keeps_the_bounds_is_among_the_best() -> None:
    def sized(config: dict[str, Any], until: int, seed: int) -> dict[str, float]:
        return {"loss": rugged_loss(config, until, seed), "size": float(seed % 3)}

    study = Study(hpo.TPE(SPACE, seed=1, constraints={"size": 1.0}))
    simulator = Simulator(sized)
    run(study, simulator, Stop(trials=40), keep=8)
    history = study.history
    good = [key for key in history.results if history.results[key].metrics["size"] <= 1.0]
    assert simulator.kept == set(history.rank(good)[:8]) != set(history.rank(history.results)[:8])


@pytest.mark.parametrize("name", ["random", "asha", "hyperband"])
def test_a_finish_costs_the_same_in_a_long_study(name: str) -> None:
    study, rng, running = Study(MAKERS[name]()), random.Random(0), list[Any]()
    study.retain(20)
    costs = []
    for jobs in (100, 150, 700, 150):  # the second and the last are compared
        lines = 0
        for _ in range(jobs):
            while len(running) < 4 and (job := study.optimizer.ask()) is not None:
                running.append(job)
            job = running.pop(rng.randrange(len(running)))
            study.optimizer.tell(job, rugged_loss(job.config, job.until, job.seed))
            with Work() as work:
                study.release()
            lines += work.lines
        costs.append(lines / jobs)
    assert costs[3] < 1.35 * costs[1], costs


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_study_that_is_opened_again_keeps_what_it_is_asked_for_then(tmp_path: Path) -> None:
    def go(trials: int, keep: Any) -> list[Key]:
        study = Study(Random(line(), seed=1), horizon=9, log=SQLiteLog(tmp_path / "s.sqlite"))
        run(study, Inline(Traces(tmp_path / "traces"), 9, tmp_path / "c"), Stop(trials=trials), keep=keep)
        assert names(tmp_path / "c") <= {standing_name(study.history, key) for key in study.history.results}
        study.history.log.close()
        return [key for key in best_by_hand(study, trials) if (tmp_path / "c" / standing_name(study.history, key)).exists()]

    assert len(go(9, "all")) == 9
    best = go(12, "all")
    assert len(best) == 12
    assert go(12, 5) == best[:5]
    assert go(12, "live") == best[:3]


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_minimize_and_maximize_take_it(executor: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"trials": 4, "executor": executor, "quiet": True, "keep": "all"}
    for call in (hpo.minimize, hpo.maximize):
        folder, name = tmp_path / call.__name__, "loss" if call is hpo.minimize else "value"
        study = call(Renamed(tmp_path / "traces", name), line(), "random", folder=folder, **options)
        assert names(folder) == {f"{trial}-{until}.ckpt" for trial, until in study.history.results} and len(names(folder)) == 4


class Renamed(Traces):
    """Traces whose loss has another name."""

    def __init__(self, journal: Path, name: str) -> None:
        super().__init__(journal)
        self.name = name

    def __call__(self, config: dict[str, Any], seed: int, horizon: int) -> Any:
        made = super().__call__(config, seed, horizon)
        advance = made.advance
        made.advance = lambda until: ({self.name: advance(until)[0]["loss"]}, ())
        return made


REFUSED: list[tuple[dict[str, Any], Any, str]] = [
    ({"keep": "best"}, Traces("t"), "keep is 'best'; allowed are 'live', 'all' and an integer of at least 1: how many"),
    ({"keep": 0}, Traces("t"), "keep is 0; allowed"),
    ({"keep": True}, Traces("t"), "keep is True; allowed"),
    ({"keep": 2.5}, Traces("t"), "keep is 2.5; allowed"),
    ({"keep": None}, Traces("t"), "keep is None; allowed"),
    ({"keep": 3}, square, r"keep is 3, but f\(config\) has no checkpoints; give a Run factory"),
    ({"disk": "1GB"}, Reports("j"), r"disk is '1GB', but f\(config, report\) has no checkpoints"),
    ({"disk": "20 gigabytes"}, Traces("t"), "disk is '20 gigabytes'; allowed are an integer of at least 1, which counts bytes"),
    ({"disk": 0}, Traces("t"), "disk is 0; allowed"),
    ({"disk": "20G"}, Traces("t"), "disk is '20G'; allowed"),
    ({"disk": "0GB"}, Traces("t"), "disk is '0GB'; allowed"),
    ({"disk": -5}, Traces("t"), "disk is -5; allowed"),
    ({"disk": True}, Traces("t"), "disk is True; allowed"),
    ({"keep": "all", "disk": 100}, Traces("t"), "keep is 'all', under which no checkpoint goes, but disk is 100; give one"),
]


@pytest.mark.parametrize(("options", "objective", "said"), REFUSED, ids=[str(options) for options, _, _ in REFUSED])
def test_refused_in_one_sentence(options: dict[str, Any], objective: Any, said: str, tmp_path: Path) -> None:
    """Before a log is made; `run` closes the executor."""
    with pytest.raises(ValueError, match=said):
        hpo.minimize(objective, line(), "random", 2, horizon=9, log=tmp_path / "s.sqlite", quiet=True, **options)
    assert not (tmp_path / "s.sqlite").exists()
    study, executor = Study(Random(line()), log=MemoryLog()), Inline(objective)
    with pytest.raises(ValueError, match=said):
        run(study, executor, Stop(trials=2), **options)
    assert not executor._checkpoints.folder.exists() and not study.history.jobs


def test_sizes_as_people_write_them() -> None:
    from hpo.arguments import retention

    written = {"20GB": 20 * 10**9, "20 gb": 20 * 10**9, "1.5TB": 15 * 10**11, "512MiB": 2**29, "3KiB": 3072, "7 kB": 7000,
               "9B": 9, "12": 12, 10: 10, 2e9: 2 * 10**9, " 1 GiB ": 2**30}  # fmt: skip
    assert {value: retention("live", value, "run")[1] for value in written} == written
    assert retention(3.0, None, "run") == (3, None)
