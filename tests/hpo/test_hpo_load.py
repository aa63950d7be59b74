"""hpo.load: a study from its file; what a file cannot hold is given again, by name, or the study is only read."""

import json
import re
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hpo import (
    ASHA,
    GP,
    OPTIMIZERS,
    Around,
    Categorical,
    Const,
    Finals,
    Float,
    Inline,
    Int,
    Manual,
    Optimizer,
    Random,
    Sampler,
    Space,
    SQLiteLog,
    Stop,
    Study,
    load,
    make,
    run,
)
from hpo.logs import LogError
from hpo.testing import Drive, changed_jobs
from tests.hpo.cases import ROOT, build, mixed_rules
from tests.hpo.toys.sampler import Nearby
from tests.hpo.toys.scheduler import Leaders

SPACE = Space(
    x=Float(1e-4, 0.1 + 0.2, log=True), layers=Int(2, 12, step=2), kind=Categorical(["a", 3, 2.5, True, None]), bias=Const("ä"),
    pair=Categorical([(1, 2), [3], {"a": None}]), loss=Categorical({"mse": abs, "l1": min}), rate=Float(0.0, 1.0, step=0.1),
    momentum=Float(0.0, 1.0, when={"kind": ["a", True]}), depth=Int(1, 4, when={"layers": 4}),
)  # fmt: skip

GRID = {"x": 0.1, "layers": 2, "kind": 3, "pair": [1, 2], "loss": "mse", "rate": 0.5}


def near(config: Mapping[str, Any]) -> bool:
    return bool(config["x"] < 0.5)


def far(config: Mapping[str, Any]) -> bool:
    return bool(config["x"] > 0.05)


def price(config: Mapping[str, Any]) -> float:
    return 1.0 + float(config["x"])


def greedy(posterior: Any, incumbent: float) -> Any:
    return -posterior.mean


def write(path: Path, optimizer: Optimizer, jobs: int = 6, **header: Any) -> Study:
    """A study of some jobs, its file closed."""
    study = Study(optimizer, log=SQLiteLog(path), **header)
    for i in range(jobs):
        job = study.optimizer.ask()
        if job is not None:
            study.optimizer.tell(job, {name: float(i % 5) for name in study.header.objectives})
    study.history.log.close()
    return study


OPTIONS: dict[str, Callable[[], Optimizer]] = {
    **{name: lambda name=name: make(name, SPACE, 3) for name in OPTIMIZERS if name != "manual"},  # type: ignore[misc]
    "manual": lambda: Manual(SPACE, seed=3, configs=[GRID, {**GRID, "kind": None}]),
    "grid with values": lambda: make("grid", SPACE, values={"x": [0.01, 0.1]}, points={"layers": 2}, placement="midpoints"),
    "gp with options": lambda: GP(
        SPACE, seed=5, acquisition="pi", kernel="rbf", initial=2, samples=2, explore_every=0, cost="loss",
        constraints={"loss": 3.5},
    ),
    "finals": lambda: Finals(ASHA(GP(SPACE, seed=1, initial=2), max_resource=9), keep=2),
    "asha(gp)": lambda: ASHA(GP(SPACE, seed=1, initial=2), max_resource=9, reduction_factor=2.5),
    "median with rungs": lambda: make("median", SPACE, rungs=(1, 5), max_resource=10),
    "pbt that explores": lambda: make("pbt", SPACE, 2, explore=["x"], factors=(0.5, 2.0), max_resource=20),
    "pbt with rules": lambda: make("pbt", SPACE, 2, explore=mixed_rules(SPACE), selection="tournament", max_resource=20),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_optimizer_is_the_one_that_wrote_the_file(name: str, tmp_path: Path) -> None:
    """A law for what is listed in OPTIMIZERS, with its options: the same next job from the file alone as from the instance."""
    write(tmp_path / "s.sqlite", OPTIONS[name](), objectives={"loss": "max"}, unit="steps", lost_limit=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = load(tmp_path / "s.sqlite")
    same = OPTIONS[name]()
    assert type(study.optimizer) is type(same) and study.optimizer.describe() == same.describe()
    assert json.dumps(study.optimizer.space.describe()) == json.dumps(SPACE.describe())
    assert study.header == Study(same, objectives={"loss": "max"}, unit="steps", lost_limit=2).header
    job = same.decide(study.history)
    assert study.optimizer.ask() == job


def test_a_loaded_study_runs_on(tmp_path: Path) -> None:
    write(tmp_path / "s.sqlite", Random({"x": (0.0, 1.0)}))
    study = load(tmp_path / "s.sqlite")
    run(study, Inline(lambda config: config["x"], 1), Stop(trials=9))
    assert len(load(str(tmp_path / "s.sqlite")).history.results) == 9


FRESH = """
import sys, hpo
study = hpo.load(sys.argv[1])
print(study.optimizer.decide(study.history).to_json())
"""


def test_in_a_fresh_process(tmp_path: Path) -> None:
    study = write(tmp_path / "s.sqlite", build("asha(gp)", SPACE, 0))
    done = subprocess.run([sys.executable, "-c", FRESH, str(tmp_path / "s.sqlite")], cwd=ROOT, text=True, capture_output=True)
    job = study.optimizer.decide(study.history)
    assert job is not None and eval(done.stdout) == job.to_json(), done.stderr


# -- what a file cannot hold -----------------------------------------------------------------------------------------

PLAIN = {"x": (0.0, 1.0)}
UNKNOWN = "the optimizer '{}', which is none of hpo.optimizers and was not registered"
WITH_CODE: dict[str, tuple[Callable[[], Any], str, str]] = {  # how it is made, what cannot stand in a file, how it is said again
    "cost": (lambda: GP(PLAIN, cost=price), "the cost '.*price' of GP cannot stand in a file", "GP(space, seed=0, cost=...)"),
    "acquisition": (
        lambda: GP(PLAIN, acquisition=greedy), "the acquisition '.*greedy' of GP", "GP(space, seed=0, acquisition=...)",
    ),
    "prior": (lambda: GP(PLAIN, prior=Around(Space(PLAIN), {"x": 0.5})), "the prior .*Around", "GP(space, seed=0, prior=...)"),
    "lambda": (lambda: GP(PLAIN, cost=lambda config: 1.0), "the cost '.*<lambda> .*' of GP", "GP(space, seed=0, cost=...)"),
    "in a scheduler": (
        lambda: ASHA(GP(PLAIN, cost=price), max_resource=9), "the cost '.*price' of GP",
        "ASHA(GP(space, seed=0, cost=...), max_resource=9)",
    ),
    "of somebody else": (lambda: Own(PLAIN, seed=1), UNKNOWN.format("Own"), "Own(space, seed=1, replace=True)"),
    "a plain class": (lambda: Nearby(Space(PLAIN), 1, 3), UNKNOWN.format("Nearby"), "Nearby(space, seed=1, points=3)"),
    "in another": (
        lambda: Leaders(Nearby(Space(PLAIN))), UNKNOWN.format("Leaders"), "Leaders(Nearby(space, points=8), horizon=9)",
    ),
}  # fmt: skip


class Own(Random):
    """Somebody's own optimizer."""


@pytest.mark.parametrize("name", WITH_CODE)
def test_without_an_option_that_is_code_the_study_is_read(name: str, tmp_path: Path) -> None:
    fresh, said, call = WITH_CODE[name]
    path = tmp_path / "s.sqlite"
    wrote = write(path, fresh(), 3)
    before = path.read_bytes()
    with pytest.warns(UserWarning, match=rf"s\.sqlite' was opened for reading: {said}"):
        study = load(path)
    assert study.history.digest == wrote.history.digest and study.best == wrote.best and len(study.rows()) == 3
    assert repr(study) == repr(wrote) and repr(study).startswith(f"Study({call.partition('(')[0]}, 3 results")
    assert study.header == wrote.header and study.optimizer.space.parameters.keys() == {"x"}
    job = wrote.optimizer.decide(wrote.history)
    assert job is not None
    acts = [
        study.optimizer.ask,
        study.recommend,
        lambda: study.history.start(job, 0),
        lambda: study.optimizer.add({"x": 0.5}, 1.0),
        lambda: study.optimizer.enqueue({"x": 0.5}),
        lambda: run(study, Inline(lambda config, seed, horizon: None, study.header.horizon, tmp_path / "checkpoints")),
    ]
    for act in acts:
        with pytest.raises(PermissionError, match=rf"{said}.*hpo\.load\(path, optimizer={re.escape(call)}\) takes it again"):
            act()
    assert path.read_bytes() == before
    again = load(path, optimizer=fresh())
    assert again.optimizer.ask() == job


def test_constraints_are_given_again_by_name(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    space = Space({"x": (0.0, 1.0)}, constraints=[near, far])
    wrote = write(path, ASHA(GP(space, initial=2), max_resource=3))
    with pytest.warns(UserWarning, match=r"the constraints \['.*near', '.*far'\] cannot stand in a file"):
        study = load(path)
    assert study.best == wrote.best and study.recommend() == wrote.recommend()
    call = re.escape("ASHA(GP(space, seed=0, initial=2), max_resource=3)")
    with pytest.raises(PermissionError, match=rf"hpo\.load\(path, constraints=\[\.\.\.\] or optimizer={call}\) takes it again"):
        study.optimizer.ask()
    for others in ([], [near], [far, near]):
        with pytest.raises(ValueError, match=r"the constraints of the log '.*s\.sqlite' are \['.*near', '.*far'\], but \["):
            load(path, constraints=others)
    with pytest.raises(ValueError, match="give one of the two"):
        load(path, constraints=[near, far], optimizer=GP(space))
    again = load(path, constraints=[near, far])
    assert again.optimizer.ask() == wrote.optimizer.decide(wrote.history)
    assert load(path, optimizer=ASHA(GP(space, initial=2), max_resource=3)).best == wrote.best


def test_another_optimizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    write(path, GP(PLAIN, cost=price))
    said = r"belongs to another study, in '.*s\.sqlite': optimizer\.name was 'GP' and is now 'Random'"
    with pytest.raises(ValueError, match=said):
        load(path, optimizer=Random(PLAIN))
    for wrong in ("gp", GP):
        with pytest.raises(TypeError, match=r"optimizer is an instance such as GP\(space\)"):
            load(path, optimizer=wrong)  # type: ignore[arg-type]


def test_nothing_that_a_file_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.sqlite"
    (tmp_path / "pwned.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for i, change in enumerate([
        {"name": "pwned.GP"}, {"name": "Optimizer"}, {"name": "Sampler"}, {"name": "make"}, {"name": "__import__"}, {},
        {"name": "Random", "cost": "pwned.price"}, {"name": "ASHA", "sampler": {"name": "pwned"}}, {"name": None},
        {"name": "GP", "cost": "pwned.price"}, {"name": "GP", "prior": {"name": "pwned"}}, {"name": "ASHA", "sampler": "pwned"},
        {"name": "GP", "kernel": ["pwned"]},
    ]):  # fmt: skip
        class Forged(Random):
            def describe(self, change: dict[str, Any] = change) -> dict[str, Any]:
                return change

        write(path.with_name(f"{i}.sqlite"), Forged(PLAIN), 2)
        with pytest.warns(UserWarning, match="was opened for reading"):
            study = load(path.with_name(f"{i}.sqlite"))
        assert len(study.history.results) == 2 and "pwned" not in sys.modules
        with pytest.raises(PermissionError):
            study.optimizer.ask()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"space": 3}, "holds space=3; it should be of the type dict"),
        ({"space": {}}, "describes no space"),
        ({"space": {"parameters": {"x": {"pwned": 3}}}}, "describes the parameter 'x' as"),
        ({"space": {"parameters": {"x": {"float": [1.0, 0.0]}}}}, "describes the parameter 'x' in a way that fails"),
        ({"objectives": [["loss", "up"]]}, "objective 'loss' has the direction 'up'"),
        ({"objectives": []}, "a study needs at least one objective"),
        ({"objectives": [3]}, "cannot be read"),
        ({"horizon": "1"}, "holds horizon='1'"),
        ({"seed": None}, "holds seed=None"),
        ({"later": 1}, r"holds \['later'\], which this version of the framework does not know"),
        ({"version": 4}, "is of the later version 4"),
    ],
)
def test_headers_of_another_make_are_refused_by_name(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    log = SQLiteLog(tmp_path / "s.sqlite")
    header = {**Random(PLAIN).header().to_json(), **change}
    log.open(header)
    log.close()
    if "version" in change:
        with pytest.raises(LogError, match=said):
            Study(Random(PLAIN), log=log.path)
    with pytest.raises(ValueError, match=said) as caught:
        load(log.path)
    assert str(log.path) in str(caught.value)


def test_there_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no log '.*no\.sqlite'"):
        load(tmp_path / "no.sqlite")
    with pytest.raises(FileNotFoundError, match=r"there is no log '.*s\.sqlite'"):
        load(tmp_path / "no/s.sqlite")


def test_reading_leaves_others_alone(tmp_path: Path) -> None:
    """A study is looked at while its driver works."""
    path = tmp_path / "s.sqlite"
    study = Study(Random(PLAIN), log=SQLiteLog(path))
    looks = load(path)
    for i in range(5):
        job = study.optimizer.ask()
        assert job is not None and study.optimizer.tell(job, float(i))
        looks.history.refresh()
        assert len(looks.history.results) == i + 1


def test_a_file_that_another_writer_holds_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    write(path, Random(PLAIN), 2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert len(load(path).history.results) == 2
    other.close()


def test_the_sampler_of_a_scheduler_may_be_any(tmp_path: Path) -> None:
    for name, cls in OPTIMIZERS.items():
        if issubclass(cls, Sampler) and name != "manual":
            path = tmp_path / f"{name}.sqlite"
            write(path, ASHA(make(name, SPACE, 3), max_resource=3), 2)  # type: ignore[arg-type]
            assert load(path).optimizer.describe()["sampler"]["name"] == cls.__name__


def test_a_driven_study_is_the_same(tmp_path: Path) -> None:
    """With lost jobs, additions and results told twice."""
    log = SQLiteLog(tmp_path / "s.sqlite")
    history = Drive(build("asha", SPACE, 0), log=log).run(30, lost=0.2, foreign=0.2)
    again = load(tmp_path / "s.sqlite")
    assert again.history.digest == history.digest and again.history.results == history.results


# -- asking by hand behind a run -------------------------------------------------------------------------------------------


def first_of(config: Mapping[str, Any]) -> float:
    return float(config["x"])


def ended(path: Path, optimizer: Optimizer) -> Study:
    """A study whose run has used up its trials."""
    study = Study(optimizer, log=path)
    run(study, Inline(first_of) if isinstance(optimizer, Sampler) else Inline(budgeted, optimizer.horizon), Stop(trials=4))
    assert study.history.limited
    return study


def budgeted(config: Mapping[str, Any], report: Any) -> None:
    for step in range(1, 10):
        report(step, config["x"] / step)


@pytest.mark.parametrize("make_one", [lambda: Random(Space(x=Float(0, 1)), seed=2),
                                      lambda: ASHA(Random(Space(x=Float(0, 1)), seed=2), max_resource=9)])  # fmt: skip
@pytest.mark.parametrize("again", [True, False], ids=["loaded", "the same process"])
def test_a_limit_does_not_bind_who_asks_by_hand(make_one: Callable[[], Optimizer], again: bool, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    study = ended(path, make_one())
    if again:
        study.history.log.close()
        study = load(path)
    before = len(study.history)
    assert study.history.limited and len(study.history) == before, "looking changes nothing"
    for trial in (4, 5):
        job = study.optimizer.ask()
        assert job is not None and job.trial == trial and study.optimizer.tell(job, 1.0)
    assert changed_jobs(study.history, make_one) == []
    study.history.log.close()
    more = Study(make_one(), log=path)
    run(more, Inline(first_of) if isinstance(more.optimizer, Sampler) else Inline(budgeted, 9), Stop(trials=4))
    assert more.history.fresh == 6, "a run's own limit binds it as before"


def test_asking_where_nothing_may_be_written_is_refused(tmp_path: Path) -> None:
    """Whether there is a next job or not."""
    space = Space(x=Float(0, 1))
    grid = lambda: Manual(space, configs=[{"x": 0.5}, {"x": 0.25}])  # noqa: E731
    for name, make_one in (("limited", lambda: Random(space)), ("dry", grid), ("open", lambda: Random(space))):
        path = tmp_path / name
        study = Study(make_one(), log=path)
        stop = {"limited": Stop(trials=2), "dry": Stop(), "open": Stop(when=lambda history: len(history.results) >= 2)}
        run(study, Inline(first_of), stop[name])
        study.history.log.close()
        events = len(study.history)
        read = Study(make_one(), log=SQLiteLog(path, readonly=True))
        with pytest.raises(PermissionError, match="was opened for reading"):
            read.optimizer.ask()
        assert len(read.history.results) == 2 == len(study.history.results) and len(read.history) == events
