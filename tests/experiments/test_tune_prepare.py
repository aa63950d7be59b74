"""Preparing a study: what is decided once, the space of what fits, and what is refused before anything is left."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.job import DEFAULT, SPACES, default, space
from experiments.tune import machine
from experiments.tune.build import make_objective
from experiments.tune.memory import Fits, check_room, memory_room, worker_room
from experiments.tune.prepare import Search, complete, prepare
from experiments.tune.settings import Settings
from hpo.optimizers.finals import default_trial
from hpo.upgrade import upgrade_header


def test_population_is_decided_once() -> None:
    short = complete(Settings(scheduler="pbt", seconds=30))
    long = Settings(scheduler="pbt", seconds=3000)
    assert complete(long).population != short.population
    assert complete(long, short).population == short.population
    assert complete(Settings()).population is None


def test_the_objective_trains_as_the_settings_say() -> None:
    made = make_objective(Settings(engine="compile", activation_checkpointing=True, context=32, precision="bf16"))
    assert (made.engine, made.activation_checkpointing, made.context, made.precision) == ("compile", True, 32, "bf16")


def test_the_memory_is_decided_once_and_shared_by_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_free", lambda: 10 * 10**9)
    assert complete(Settings(workers=4)).memory == 2_500_000_000 - machine.LIBRARY
    assert complete(Settings(workers=40)).memory == 1
    elsewhere = Settings(memory=7)
    assert complete(Settings(), elsewhere).memory == 7
    assert complete(Settings(memory=9), elsewhere).differences(elsewhere) == ["memory was 7 and is now 9"]


def room_of(settings: Settings) -> Fits | None:
    return memory_room(settings, make_objective(settings), 84)


def check_memory(settings: Settings, given: bool = True) -> None:
    room = room_of(settings)
    assert room is not None
    check_room(settings, room, given)


@pytest.mark.parametrize(
    "changed", [{"kernels": True}, {"kernels": False}, {"engine": "compile"}, {"activation_checkpointing": True}]
)
def test_the_space_is_of_what_the_settings_predict(changed: dict[str, Any]) -> None:
    made = Settings(context=512, memory=10**9, **changed)
    fits = room_of(made)
    assert isinstance(fits, Fits)
    assert fits.kernels == (made.kernels is not False and made.engine == "eager")


def test_a_study_from_before_there_was_a_limit_keeps_its_space() -> None:
    old = Settings.of({"seed": 3})
    done = complete(Settings(seed=3), old)
    assert done.memory is None
    assert room_of(done) is None


def test_hardly_any_memory_is_refused_in_one_sentence() -> None:
    tight = Settings(context=256, memory=1_000_000)
    with pytest.raises(
        ValueError, match=r"memory is 1000000, but must be at least [0-9]+ bytes .* at context 256"
    ) as caught:
        check_memory(tight)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    check_memory(replace(tight, memory=least))


def test_too_many_workers_are_refused_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_free", lambda: 5 * machine.LIBRARY)
    many = Settings(workers=500)
    with pytest.raises(
        ValueError, match=r"workers is 500, but must be at most 4 for each to have [0-9]+ bytes"
    ) as caught:
        check_memory(complete(many), given=False)
    assert "memory is" not in str(caught.value)
    check_memory(complete(replace(many, workers=4)), given=False)
    with pytest.raises(ValueError, match="workers is 5, but must be at most 4"):
        check_memory(complete(replace(many, workers=5)), given=False)


def test_one_worker_may_be_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_free", lambda: machine.LIBRARY)
    for workers in (1, 2):
        with pytest.raises(ValueError, match=r"what is free on cpu leaves no worker [0-9]+ bytes to train"):
            check_memory(complete(Settings(workers=workers)), given=False)


def test_a_limit_that_an_earlier_version_wrote_down_is_the_same_limit() -> None:
    room = room_of(Settings(memory=10**9))
    described = space("standard", room).describe()
    earlier = json.loads(json.dumps(described).replace("experiments.tune.memory.Fits", "experiments.spaces.Fits"))
    assert earlier != described
    assert upgrade_header({"space": earlier}, "here")["space"] == described


LONG = {"sampler": "random", "context": 512, "min_resource": 16_384, "scheduler": "none"}


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """prepare() on a small text, in a folder that is let go of before it is opened again."""
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 200)
    held: list[Search] = []

    def prepared(**values: Any) -> Search:
        if held:
            held.pop().folder.close()
        held.append(
            prepare({"text": str(tmp_path / "tiny.txt"), "folder": str(tmp_path / "run"), **LONG, **values}, "tune")
        )
        return held[-1]

    return prepared


@pytest.mark.parametrize("name", SPACES)
def test_a_long_context_in_little_memory_offers_what_fits(opened: Any, name: str) -> None:
    work, limit = opened(space=name, memory=60_000_000), 60_000_000
    room = worker_room(work.objective, limit, work.corpus.vocabulary, bool(work.settings.kernels))
    asked = [work.study.optimizer.ask() for _ in range(10)]
    assert all(job is not None and room.bytes_needed(job.config) <= limit for job in asked)
    assert room.bytes_needed(default(name)) > limit
    assert all(dict(job.config) != default(name) for job in asked if job is not None)
    assert work.study.history.queue_head is None and default_trial(work.study.history) is None  # nor do the finals train it


def test_the_default_takes_part_where_it_fits(opened: Any) -> None:
    job = opened(memory=10**9).study.optimizer.ask()
    assert job is not None
    assert dict(job.config) == DEFAULT


def test_a_study_goes_on_in_the_space_that_it_began_in(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_free", lambda: 2 * 10**9)
    first = opened()
    assert first.settings.memory == 10**9 - machine.LIBRARY
    described = first.study.header.space
    monkeypatch.setattr(machine, "_free", lambda: 10**6)  # another machine, or a busy one
    again = opened(workers=1)
    assert (again.settings.memory, again.study.header.space) == (first.settings.memory, described)
    with pytest.raises(ValueError, match="holds another study: memory was 600000000 and is now 5"):
        opened(memory=5)


@pytest.mark.parametrize(("begun", "later"), [("off", "on"), ("on", "off")])
def test_it_goes_on_so_with_and_without_kernels(
    opened: Any, monkeypatch: pytest.MonkeyPatch, begun: str, later: str
) -> None:
    monkeypatch.setenv("CC", sys.executable)  # there is a compiler
    monkeypatch.setenv("HPO_KERNELS", begun)
    first = opened()
    described = first.study.header.space
    monkeypatch.setenv("HPO_KERNELS", later)
    again = opened()
    assert first.settings.kernels == again.settings.kernels == (begun == "on")
    assert again.study.header.space == described


def test_workers_without_memory_leave_no_folder(opened: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_free", lambda: 5 * machine.LIBRARY)
    with pytest.raises(ValueError, match="workers is 500, but must be at most 4"):
        opened(workers=500)
    with pytest.raises(ValueError, match=r"memory is 1, but must be at least [0-9]+ bytes for each of 500 workers"):
        opened(workers=500, memory=1)
    assert not (tmp_path / "run").exists()


def test_nothing_is_left_where_nothing_fits(opened: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="memory is 12345, but must be at least"):
        opened(memory=12_345)
    assert not (tmp_path / "run").exists()
