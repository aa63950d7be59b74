"""Older logs: files that were written by older code, and what their headers meant.

stored/ holds `<study>.<version of the log>.sqlite`, each made by the code of its day: three workers by hand, one pinned
configuration, one that was added, one loss. The one of hyperband is of the first commit that had logs.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hpo import (
    ASHA,
    GP,
    OPTIMIZERS,
    PBT,
    Around,
    Categorical,
    Finals,
    Float,
    Grid,
    History,
    Hyperband,
    Int,
    Job,
    Optimizer,
    Random,
    Scheduler,
    Sobol,
    Space,
    Study,
    load,
    make,
    upgrade,
)
from hpo.job import Note
from hpo.logs import Event, LogError, open_log
from hpo.testing import changed_jobs
from hpo.upgrade import upgrade_event, upgrade_header, upgrade_options

STORED = Path(__file__).parent / "stored"
CONFIG = {"x": 0.5, "n": 3, "kind": "a"}


def space() -> Space:
    return Space(x=Float(0.0, 1.0), n=Int(1, 9), kind=Categorical(["a", "b"]), m=Float(0.1, 0.9, when={"kind": "b"}))


STUDIES: dict[str, Callable[[], Optimizer]] = {
    "hyperband": lambda: Hyperband(Sobol(space(), seed=1), max_resource=9),
    "pbt": lambda: PBT(Random(space(), seed=2), population=4, generations=6, max_resource=12),
    "explorer": lambda: PBT(Random(space(), seed=5), population=4, generations=6, max_resource=12, explore=["kind", "x"],
                            truncation=0.5, resample=0.4),
    "grid": lambda: ASHA(Grid(space(), points=3, seed=3), max_resource=9),
    # its code has moved since, and no model speaks in it: fits differ by a bit from processor to processor
    "finals": lambda: Finals(ASHA(GP(space(), prior=Around(space(), CONFIG), initial=30, seed=4), max_resource=9), 2),
}  # fmt: skip
FILES = sorted(path.name for path in STORED.glob("*.sqlite"))


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copy(STORED / name, folder / name))


def test_there_is_a_file_of_every_version() -> None:
    assert {int(name.split(".")[1]) for name in FILES} == set(range(1, upgrade.VERSION + 1))


@pytest.mark.filterwarnings("ignore:.*is of version 1")
@pytest.mark.parametrize("name", FILES)
def test_a_stored_log_opens_replays_and_goes_on(name: str, tmp_path: Path) -> None:
    path, fresh = copied(name, tmp_path), STUDIES[name.partition(".")[0]]
    before = open_log(path, readonly=True)
    header, events = before.open({}), list(before.read(0))
    study = Study(fresh(), unit="steps", log=path)
    history = study.history
    assert len(history) == len(events) and history.added and history.events[0].kind == "enqueue"
    assert changed_jobs(history, fresh) == []
    for job in list(history.pending.values()):
        assert study.optimizer.tell(job, 1.0)
    for _ in range(8):
        if (job := study.optimizer.ask()) is None:
            break
        assert study.optimizer.tell(job, 1.0)
    assert len(history) > len(events)
    history.log.close()
    after = open_log(path, readonly=True)
    assert after.open({}) == header and list(after.read(0))[: len(events)] == events, "what is stored stays as it is"
    again = Study(fresh(), unit="steps", log=path)
    assert again.history.digest == history.digest and changed_jobs(again.history, fresh) == []


@pytest.mark.filterwarnings("ignore:.*is of version 1")
@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("finals")])
def test_a_stored_log_loads_from_its_file_alone(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*opened for reading")
        study = load(copied(name, tmp_path))
    assert study.optimizer.describe() == STUDIES[name.partition(".")[0]]().describe() and study.optimizer.ask() is not None


def test_an_option_that_came_later_closes_nothing() -> None:
    sampler = {"name": "GP", "acquisition": "logei", "kernel": "matern52", "initial": None}
    old = {"name": "ASHA", "max_resource": 9, "sampler": sampler}
    assert upgrade_options(old)["sampler"] == {**GP(space(), acquisition="logei").describe(), "explore_every": 0}
    for name, options in upgrade.ADDED.items():
        cls = next(cls for cls in OPTIMIZERS.values() if cls.__name__ == name)
        assert set(options) <= set(cls.__dataclass_fields__)


def test_a_renamed_option_is_read_and_no_longer_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "RENAMED", {"PBT": {"exploration": "explore"}, "Random": {}})
    old = {name: value for name, value in STUDIES["pbt"]().describe().items() if name != "explore"}
    assert upgrade_options({"exploration": ["x"], **old})["explore"] == ["x"]

    class Mine(PBT):
        pass

    for wrong in (lambda: PBT(Random(space()), exploration=["x"]), lambda: Mine(Random(space()), exploration=["x"]),  # type: ignore[call-arg]
                  lambda: make("pbt", space(), exploration=["x"])):  # fmt: skip
        with pytest.raises(TypeError, match="PBT has no option 'exploration' any more; it is called 'explore'"):
            wrong()


def test_every_renamed_and_moved_name_is_there_now() -> None:
    for name in upgrade.MOVED.values():
        module, _, attribute = name.rpartition(".")
        assert find_spec(name) if attribute.islower() else hasattr(import_module(module), attribute), name


def test_code_that_has_moved_is_found_in_options_and_constraints() -> None:
    def header(module: str) -> dict[str, Any]:
        prior = [f"{module}.Around", {"sd": "0.2"}]
        return {"version": 1, "optimizer": {"name": "Mine", "prior": prior, "label": f"{module}.Around's"},
                "space": {"parameters": {"p": {"const": f"{module}.Around"}}, "constraints": [f"{module}.Around", "a.b"]}}

    new, old = upgrade_header(header("hpo.optimizers.beliefs"), ""), header("hpo.optimizers.beliefs")
    assert new["optimizer"]["prior"] == ["hpo.priors.Around", {"sd": "0.2"}]
    assert new["space"]["constraints"] == ["hpo.priors.Around", "a.b"]
    assert new["space"]["parameters"] == old["space"]["parameters"] and new["optimizer"]["label"] == old["optimizer"]["label"]
    assert upgrade_header(new, "") == new and new["version"] == upgrade.VERSION
    with pytest.raises(LogError, match="the log here is of the later version 99; this version of the framework reads up to"):
        upgrade_header({"version": 99}, "here")


def test_flat_notes_are_sorted_into_drawers() -> None:
    def started(note: dict[str, Any]) -> Event:
        job = {"trial": 0, "config": {}, "until": 1, "source": None, "seed": 0, "note": note}
        return Event("start", {"job": job, "seen": 0, "attempt": 0}, 0.0)

    flat = {"rung": 0, "bracket": 3, "queued": 4, "finals": True, "sobol": 5, "gp": {"loss": {"n": 3}}}
    sorted_ = {"member": {"rung": 0, "bracket": 3}, "study": {"queued": 4, "finals": True},
               "record": {"sobol": 5, "gp": {"loss": {"n": 3}}}}  # fmt: skip
    assert upgrade_event(started(flat)) == started(sorted_) == upgrade_event(started(sorted_))
    assert upgrade_event(started({})) == started({})
    finish = Event("finish", {"trial": 0, "until": 1, "result": {}}, 0.0)
    assert upgrade_event(finish) is finish


@dataclass(eq=False)
class Lanes(Scheduler):
    """A scheduler with a note of its own, which nobody else has heard of."""

    def propose(self, history: History) -> Job | None:
        for trial, keys in history.trials.items():
            if keys[-1] in history.results and keys[-1][1] < history.header.horizon:
                return self.resume(history, trial, history.header.horizon)
        return self.sampler.fresh(history, 1, {"lane": history.next_trial % 2, "colour": "red"})


def test_a_resume_copies_what_its_scheduler_wrote_and_nothing_else() -> None:
    study = Study(Lanes(Sobol(space(), seed=0)), horizon=3)
    study.optimizer.enqueue(CONFIG)
    for _ in range(2):
        first, second = study.optimizer.ask(), None
        assert first is not None and study.optimizer.tell(first, 1.0)
        second = study.optimizer.ask()
        assert second is not None and second.source == first.key and study.optimizer.tell(second, 1.0)
        assert second.note == Note(member={"lane": first.trial % 2, "colour": "red"}) and first.note.member == second.note.member
    assert first.note.record == {"sobol": 0} and study.history.jobs[0, 1].note.study == {"queued": 0}
    with pytest.raises(TypeError, match=r"the note of a job is \{'rung': 0\}; allowed is such as Note\(member="):
        Job(0, {}, 1, note={"rung": 0})  # type: ignore[arg-type]
