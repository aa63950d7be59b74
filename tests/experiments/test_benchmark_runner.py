"""The benchmark's runner: studies that repeat and diverge, what is stored of them, and the queue."""

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.benchmark import methods, peers, records, runner, study
from experiments.benchmark.methods import METHODS, Absent, Method
from experiments.benchmark.peers import Exhausted
from experiments.benchmark.study import Observed, Plan
from experiments.benchmark.tasks import TASKS, Task
from experiments.ledger.digest import digest
from experiments.ledger.lines import Record, append_line, read_lines
from hpo import Categorical, Float, Int, Space

QUICK = [name for name, method in METHODS.items() if method.seeds == 20]
OWN = [name for name in QUICK if METHODS[name].is_ours]


def method(name: str) -> Method:
    """A method whose packages are here; else the test is skipped."""
    for package in METHODS[name].packages:
        pytest.importorskip(package)
    return METHODS[name]


def odd_space() -> Space:
    """Everything an adapter must translate: logarithms, steps, both, choices of all types, two levels of conditions."""
    return Space(
        lr=Float(1e-5, 1e-1, log=True),
        width=Int(32, 250, log=True, step=32),
        depth=Int(2, 11, step=3),
        batch=Int(1, 512, log=True),
        kind=Categorical(["a", None, True, 1, 0.5]),
        fixed=3,
        momentum=Float(-1.0, 1.0, when={"kind": ["a", True]}),
        levels=Int(1, 3, when={"kind": ["a", True]}),
        third=Categorical([0.1, 0.2], when={"levels": 3}),
    )


def odd(config: dict[str, Any]) -> float:
    return (math.log10(config["lr"]) + 3) ** 2 + abs(config["width"] - 128) / 64 + config.get("momentum", 0.5)


def diverging(config: dict[str, Any], seed: int) -> float:
    return math.nan if config["lr"] > 2e-3 else odd(config)


ODD = Task("odd", "mixed", odd_space, odd, -1.0)
DIVERGING = Task("diverging", "mixed", odd_space, odd, -1.0, diverging)
HOPELESS = Task("hopeless", "mixed", odd_space, odd, -1.0, lambda config, seed: math.nan)


# -- studies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
def test_a_seed_gives_the_same_study_whatever_ran_before(name: str) -> None:
    first = study.run_study(TASKS["conditional"], method(name), 3, 13)
    study.run_study(TASKS["branin"], method("random"), 4, 3)
    again = study.run_study(TASKS["conditional"], method(name), 3, 13)
    other = study.run_study(TASKS["conditional"], method(name), 4, 13)
    assert again["values"] == first["values"] and again["regret"] == first["regret"]
    assert other["values"] != first["values"]
    assert None not in first["values"] and len(set(first["values"])) > 6


@pytest.mark.parametrize("name", QUICK)
def test_every_asked_configuration_lies_in_the_space(name: str) -> None:
    space = odd_space()
    peer = method(name).make(space, 0, 30)
    asked = []
    for _ in range(30):
        config = peer.ask()
        assert space.check(config) == config
        assert [type(config[n]) for n in ("lr", "width", "depth", "batch")] == [float, int, int, int]
        asked.append(dict(config))
        peer.tell(config, odd(config))
    assert {"momentum" in config for config in asked} == {True, False}
    assert peer.best() in asked or name == "Nevergrad"  # which may recommend what it has not asked
    assert space.check(peer.best()) == peer.best()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("task", [DIVERGING, HOPELESS])
def test_diverged_runs_are_survived(name: str, task: Task) -> None:
    record = study.run_study(task, method(name), 0, 16)
    assert len(record["values"]) == 16
    if name != "Nevergrad":  # which stays near the middle of the space
        assert None in record["values"]
    assert (record["regret"][-1] is None) == (task is HOPELESS)
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("name", ["Optuna TPE", "Optuna GP", "GP", "random"])
def test_results_that_were_not_asked_are_learnt_from(name: str) -> None:
    space = odd_space()
    peer: Any = method(name).make(space, 0, 30)
    configs = [space.decode(row) for row in space.domain.sobol(0, 12)]
    for config in configs:
        peer.tell(config, odd(config))
    assert peer.best() == min(configs, key=odd)
    assert space.check(peer.ask())
    assert len(peer.optimizer.history.results) == 12 if name in OWN else len(peer.study.trials) == 13


def test_nevergrad_is_told_the_worst_loss_for_a_diverged_run() -> None:
    peer: Any = method("Nevergrad").make(odd_space(), 0, 10)
    told: list[float] = []
    peer.optimizer = SimpleNamespace(ask=peer.optimizer.ask, tell=lambda candidate, loss: told.append(loss))
    for value in (math.nan, 2.0, 5.0, 3.0, math.nan):
        peer.tell(peer.ask(), value)
    assert told == [math.inf, 2.0, 5.0, 3.0, 5.0]


class Scripted(Method):
    """A method that asks for what it is given and recommends the first."""

    def make(self, space: Space, seed: int, budget: int) -> Any:
        left: Iterator[dict[str, float]] = iter([{"x": x} for x in (3.0, 1.0, 2.0, 0.5)])

        def ask() -> dict[str, float]:
            try:
                return next(left)
            except StopIteration:
                raise Exhausted from None

        return SimpleNamespace(ask=ask, tell=lambda *_: None, best=lambda: {"x": 3.0}, versions=lambda: {"it": "1"})


def test_a_record_says_what_was_seen_and_how_good_the_incumbent_was() -> None:
    task = Task("line", "classical", lambda: Space(x=Float(0.0, 4.0)), lambda config: config["x"] ** 2, 0.0)
    record = study.run_study(task, Scripted("scripted", 1, "none"), 0, 100)
    assert record["values"] == [9.0, 1.0, 4.0, 0.25]  # it ended early, having nothing left to ask
    assert record["regret"] == [9.0, 1.0, 1.0, 0.25]
    assert record["n"] == 100 and record["regret_at"] == {} and record["versions"]["it"] == "1"
    assert record["ask_seconds"] >= 0 and "digest" not in record
    assert records.measurement(Plan("branin", "SMAC", 0, 5)).line({})["task_digest"] == TASKS["branin"].digest


def test_regret_of_a_noisy_task_is_that_of_the_recommendation() -> None:
    task = Task(
        "line", "noisy", lambda: Space(x=Float(0, 4)), lambda config: config["x"], 0.5, lambda config, seed: 0.0
    )
    trace, recommended = Observed(task, 30), iter([2.0, 1.0, 3.0])
    for i in range(30):
        trace.add({"x": 0.1}, math.nan if i == 0 else 1.0, lambda: {"x": next(recommended)})
    assert all(math.isnan(value) for value in trace.regret[:9])
    assert trace.regret[9:] == [1.5] * 15 + [0.5] * 5 + [2.5]
    assert trace.record()["regret_at"] == {"25": 0.5}


def test_numbers_keep_seven_digits() -> None:
    assert study.round_value(1234.56789) == 1234.568
    assert study.round_value(math.inf) is None and study.round_value(math.nan) is None


def test_every_evaluation_has_noise_of_its_own() -> None:
    assert len({study.noise_seed(seed, i) for seed in range(20) for i in range(100)}) == 2000


# -- methods and digests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gp", "GP()", "GP(one)", "GP(a:b:c)", "GP(initial=)", "GP(*initial)", "GP(a=1)(b=2)"])
def test_unknown_methods_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown method"):
        methods.find(name)


def test_a_peer_that_is_not_installed_says_how_to_install_it() -> None:
    absent = Method("Nobody", 1, "nobody:Nobody", ("surely_not_installed",))
    assert absent.absence is not None
    assert "Nobody" in absent.absence and "surely_not_installed" in absent.absence and "[peers]" in absent.absence
    with pytest.raises(Absent, match="Nobody is skipped"):
        absent.make(odd_space(), 0, 1)
    assert METHODS["GP"].absence is None


def test_versions_leave_out_what_is_absent() -> None:
    assert [*peers.package_versions("numpy", "surely-not-installed")] == ["numpy"]


# -- what is stored ----------------------------------------------------------------------------------------------------


def line(name: str = "GP", task: str = "branin", seed: int = 0, **more: Any) -> dict[str, Any]:
    own = {"digest": digest(*METHODS[name].sources)} if METHODS[name].is_ours else {}
    return {"task": task, "method": name, "seed": seed, "n": 5, "values": [1.0], "regret": [1.0], **own, **more}


def fill(folder: Path, name: str, *lines: dict[str, Any]) -> Path:
    for each in lines:
        append_line(records.file_of(folder, name), each)
    return records.file_of(folder, name)


def counting(folder: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a method that count."""
    return list(records.ledger_of(folder, name).current().values())


def test_older_lines_of_ours_do_not_count_and_go_when_all_are_replaced(tmp_path: Path) -> None:
    old = [line(seed=0, digest="old"), line(seed=1, digest="old")]
    path = fill(tmp_path, "GP", *old, line(seed=0, values=[2.0]))
    every = [Plan("branin", "GP", seed, 5) for seed in range(2)]
    assert runner.list_missing(every, tmp_path) == [every[1]]
    assert records.ledger_of(tmp_path, "GP").prune() == 0 and len([*read_lines(path)]) == 3
    fill(tmp_path, "GP", line(seed=1))
    assert records.ledger_of(tmp_path, "GP").prune() == 2
    assert [record["values"] for record in read_lines(path)] == [[2.0], [1.0]]
    assert records.ledger_of(tmp_path, "GP").prune() == 0


def test_lines_of_peers_always_count(tmp_path: Path) -> None:
    fill(tmp_path, "SMAC", line("SMAC", versions={"smac": "0.1"}))
    assert len(counting(tmp_path, "SMAC")) == 1 and records.is_current(line("SMAC"))
    assert records.ledger_of(tmp_path, "SMAC").prune() == 0


def test_lines_of_a_task_that_has_changed_do_not_count(tmp_path: Path) -> None:
    now = TASKS["branin"].digest
    path = fill(tmp_path, "SMAC", line("SMAC", seed=0, task_digest="old"), line("SMAC", seed=1, task_digest=now))
    fill(tmp_path, "SMAC", line("SMAC", seed=2), line("SMAC", "no such task", task_digest="old"))
    found = {(record["task"], record["seed"]) for record in counting(tmp_path, "SMAC")}
    assert found == {("branin", 1), ("branin", 2), ("no such task", 0)}
    assert [records.is_current(record) for record in read_lines(path)] == [False, True, True, True]
    assert records.ledger_of(tmp_path, "SMAC").prune() == 0
    fill(tmp_path, "SMAC", line("SMAC", seed=0, task_digest=now))
    assert records.ledger_of(tmp_path, "SMAC").prune() == 1
    assert [record.get("task_digest") for record in read_lines(path)] == [now, None, "old", now]


def test_a_line_of_a_method_that_is_gone_does_not_count() -> None:
    assert not records.is_current({**line(), "method": "GP(gone_module:greedy)"})
    assert not records.is_current({**line(), "method": "TPE of old"})


def test_another_number_of_evaluations_is_another_study(tmp_path: Path) -> None:
    fill(tmp_path, "GP", line())
    assert runner.list_missing([Plan("branin", "GP", 0, 6)], tmp_path) == [Plan("branin", "GP", 0, 6)]


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_work_goes_seed_by_seed() -> None:
    some = [Method("cheap", 2, ""), Method("dear", 1, "")]
    order = [(p.seed, p.method, p.task) for p in runner.plans(["s", "t"], some, None, 5)]
    first = [(0, "cheap", "s"), (0, "cheap", "t"), (0, "dear", "s"), (0, "dear", "t")]
    assert order == [*first, (1, "cheap", "s"), (1, "cheap", "t")]
    assert len(runner.plans(["s", "t"], some, 1, 5)) == 4
    assert runner.plans(["s"], [], None, 5) == []
    later = [(p.seed, p.method) for p in runner.plans(["s"], some, None, 5, 100)]
    assert later == [(100, "cheap"), (100, "dear"), (101, "cheap")]


def work(folder: Path, left: list[Plan], **more: Any) -> tuple[runner.Work, list[str]]:
    said: list[str] = []
    return runner.Work(left, folder, said.append, **more), said


def test_an_absent_peer_is_named_once_and_passed_over(tmp_path: Path) -> None:
    one, two, three = Plan("s", "HEBO", 0, 5), Plan("t", "HEBO", 0, 5), Plan("t", "random", 0, 5)
    queue, said = work(tmp_path, [two, three])
    for plan in (one, two):
        future: Future[Record] = Future()
        future.set_exception(Absent("HEBO is skipped"))
        queue.finish(plan, future)
    assert said == ["HEBO is skipped"] and queue.failed == 0
    assert queue.take() == three and queue.take() is None


def test_a_study_that_fails_is_reported_and_not_stored(tmp_path: Path) -> None:
    queue, said = work(tmp_path, [])
    future: Future[Record] = Future()
    future.set_exception(KeyError("oops"))
    queue.finish(Plan("branin", "random", 0, 5), future)
    assert queue.failed == 1 and "random on branin, seed 0: failed with KeyError" in said[0]
    assert not list(tmp_path.iterdir())


def test_nothing_is_started_after_the_deadline(tmp_path: Path) -> None:
    queue, _ = work(tmp_path, [Plan("branin", "random", 0, 5)], deadline=time.monotonic() - 1)
    runner.run_queue(queue, 1)
    assert len(queue.left) == 1 and not list(tmp_path.iterdir())


def test_a_study_that_fails_in_its_process_leaves_the_others(tmp_path: Path) -> None:
    bad, good = Plan("no such task", "random", 0, 5), Plan("branin", "random", 0, 5)
    queue, said = work(tmp_path, [bad, good])
    runner.run_queue(queue, 2)
    assert (queue.done, queue.failed) == (1, 1) and any("no such task" in sentence for sentence in said)
    (record,) = read_lines(tmp_path / "random.jsonl")
    assert record["values"] == study.run_study(TASKS["branin"], METHODS["random"], 0, 5)["values"]


# -- recheck -----------------------------------------------------------------------------------------------------------


def test_recheck_takes_two_studies_of_a_peer(tmp_path: Path) -> None:
    fill(tmp_path, "SMAC", *(line("SMAC", task, seed) for task in ("branin", "levy8", "mixed8") for seed in range(3)))
    again = records.first_two(tmp_path, "SMAC", ["branin", "levy8"])
    assert [(record["task"], record["seed"]) for _, record in again] == [("branin", 0), ("levy8", 1)]


def rechecked(folder: Path, tasks: list[str]) -> tuple[int, list[str]]:
    """How many studies of random search differ, and what was said."""
    said: list[str] = []
    return runner.recheck_studies(folder, [METHODS["random"]], tasks, said.append), said


def made_by_older(folder: Path, *tasks: str) -> list[dict[str, Any]]:
    """Two studies of random search on each task, as other sources would have left them."""
    plans = [Plan(task, "random", seed, 4) for task in tasks for seed in (0, 1)]
    lines = [{**records.measurement(plan).line(study.run(plan)), "digest": "0ld"} for plan in plans]
    fill(folder, "random", *lines)
    return lines


def test_lines_of_older_sources_count_again_where_every_value_is_the_same(tmp_path: Path) -> None:
    old = made_by_older(tmp_path, "branin", "levy8")
    assert not counting(tmp_path, "random") and len(records.ledger_of(tmp_path, "random").list_stale()) == 4
    code, said = rechecked(tmp_path, ["branin", "levy8"])
    assert code == 0 and len(said) == 3 and said[-1] == "random.jsonl: 4 lines of older sources count again"
    found = list(read_lines(tmp_path / "random.jsonl"))
    assert all(records.is_current(record) and record["measured_by"] == "0ld" for record in found)
    assert [record["values"] for record in found] == [record["values"] for record in old]


def test_one_value_that_differs_keeps_those_of_its_task_out(tmp_path: Path) -> None:
    """Others count again; those that do not stay in the file, until they were made anew."""
    old, path = made_by_older(tmp_path, "branin", "levy8"), tmp_path / "random.jsonl"
    right = old[2]["values"]
    old[2]["values"] = [0.0] * 4
    path.unlink()
    fill(tmp_path, "random", *old)
    code, said = rechecked(tmp_path, ["branin", "levy8"])
    assert code == 1 and "the same" in said[0] and said[1].startswith("levy8, random, seed 0, n 4: differs in values")
    assert said[2:] == [
        "random.jsonl: 2 lines of older sources count again",
        "random.jsonl: lines of older sources that differ stay what they are, and will be measured again",
    ]
    assert [*read_lines(path)][2:] == old[2:]
    every = [Plan(record["task"], "random", record["seed"], 4) for record in old]
    assert runner.list_missing(every, tmp_path) == every[2:]
    assert rechecked(tmp_path, ["branin"])[0] == 0, "seeds 0 and 1, and nothing of levy8"
    now = records.measurement(every[2]).digest
    fill(tmp_path, "random", *({**record, "digest": now, "values": right} for record in old[2:]))
    assert records.ledger_of(tmp_path, "random").prune() == 2 and len([*read_lines(path)]) == 4


def test_each_of_several_older_sources_speaks_for_its_own_lines(tmp_path: Path) -> None:
    old = made_by_older(tmp_path, "branin")
    fill(tmp_path, "random", *({**old[1], "seed": seed, "digest": "0lder", "values": [0.0] * 4} for seed in (2, 3)))
    code, said = rechecked(tmp_path, ["branin"])
    assert code == 1 and [sentence.partition(":")[0] for sentence in said[:2]] == [
        "branin, random, seed 0, n 4", "branin, random, seed 2, n 4",
    ]  # fmt: skip
    assert [record["seed"] for record in counting(tmp_path, "random")] == [0, 1]
