"""Checkpoints behind a URL of fsspec: the same studies as in a folder; whole or not there; lost where it is not reached."""

from __future__ import annotations

import atexit
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

import hpo
from hpo import SQLiteLog, Study, run
from hpo.executors import Lost, standing_name
from hpo.executors.inline import Inline
from hpo.executors.remote import RemoteCheckpoints, open_checkpoints
from hpo.executors.worker import Worker
from hpo.job import Job, Key, Result
from tests.hpo.cases import ROOT
from tests.hpo.objectives import Traces, line
from tests.hpo.test_hpo_disk import MAKERS, SIZE, STOP, Heavy
from tests.hpo.test_hpo_failures import Forgetting, losses
from tests.hpo.test_hpo_leases import PATIENCE, eventually


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place that is seen whole once it is all there, and one where a file is renamed."""
    if request.param == "file":
        yield f"file://{tmp_path}/c"
        return
    yield f"memory://{tmp_path}/c"
    system = fsspec.filesystem("memory")
    if system.exists(f"{tmp_path}"):
        system.rm(f"{tmp_path}", recursive=True)


def names(url: str) -> set[str]:
    system, root = fsspec.core.url_to_fs(url)
    return {entry.rpartition("/")[2] for entry in system.ls(root, detail=False)}


def size(url: str) -> int:
    system, root = fsspec.core.url_to_fs(url)
    return sum(entry["size"] for entry in system.ls(root, detail=True))


# -- studies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("name", ["asha", "pbt"])
def test_a_study_is_that_of_a_folder(
    name: str, folders: bool, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every source is loaded from there, clones included; what is of no use goes; nothing stays on this machine."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    traces = Traces(tmp_path / "traces", folders=folders)
    study, usual = Study(MAKERS[name]()), Study(MAKERS[name]())
    run(study, Forgetting(traces, 9, url), STOP.get(name), keep=4)
    run(usual, Forgetting(traces, 9, tmp_path / "u"), STOP.get(name), keep=4)
    assert losses(study) == losses(usual)
    assert names(url) == {path.name for path in (tmp_path / "u").iterdir()} == {
        standing_name(study.history, key) for key in study.keep()
    }
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_on_every_executor_within_a_budget(executor: str, tmp_path: Path) -> None:
    url = f"{'file' if executor == 'processes' else 'memory'}://{tmp_path}/c"
    options: dict[str, Any] = {"executor": executor, "quiet": True, **({} if executor == "inline" else {"workers": 2})}
    study = hpo.minimize(Heavy(tmp_path / "heavy"), line(), MAKERS["pbt"](), folder=url, disk=6 * SIZE, keep=2, **options)
    usual = Study(MAKERS["pbt"]())
    run(usual, Inline(Traces(tmp_path / "usual"), 9))
    assert losses(study) == losses(usual) and SIZE <= size(url) <= 6 * SIZE
    assert standing_name(study.history, study.best.key) in names(url)


def test_a_budget_counts_what_stands_there(url: str, tmp_path: Path) -> None:
    heavy, most = Heavy(tmp_path / "heavy"), list[int]()

    def watch(study: Study, key: Key | None) -> None:
        if key is not None:
            most.append(size(url))

    study = Study(MAKERS["asha"]())
    run(study, Forgetting(heavy, 9, url), STOP["asha"], watch, disk=4 * SIZE)
    assert max(most) == 4 * SIZE and heavy.repeats() > 2


MAIN = """
import sys
from pathlib import Path
from hpo import SQLiteLog, run, Study
from tests.hpo.test_hpo_disk import MAKERS, STOP
from tests.hpo.test_hpo_failures import Forgetting
from tests.hpo.objectives import Traces

name, folder, slow = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
study = Study(MAKERS[name](), log=SQLiteLog(folder / "log.db"))
run(study, Forgetting(Traces(folder / "traces", slow), 9, f"file://{folder}/c"), STOP.get(name))
"""


def start(name: str, folder: Path, slow: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", MAIN, name, str(folder), str(slow)], cwd=ROOT)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asha", "pbt"])
def test_after_a_death_the_study_goes_on_from_there(name: str, tmp_path: Path) -> None:
    traces = Traces(tmp_path / "traces")
    for _ in range(3):
        count = len(traces.lines()) if traces.journal.exists() else 0
        life = start(name, tmp_path, 0.02)
        eventually(lambda: traces.journal.exists() and len(traces.lines()) > count + 6)  # noqa: B023
        life.send_signal(signal.SIGKILL)
        assert life.wait() == -signal.SIGKILL
    for litter in ("0-1.ckpt.17.half", "0-9.ckpt.17.half", "0-3.5.ckpt"):
        (tmp_path / "c" / litter).write_text("of a process that died")
    assert start(name, tmp_path, 0.0).wait(PATIENCE) == 0
    study, usual = Study(MAKERS[name](), log=SQLiteLog(tmp_path / "log.db")), Study(MAKERS[name]())
    run(usual, Inline(Traces(tmp_path / "usual"), 9), STOP.get(name))
    assert losses(study) == losses(usual)
    assert names(f"file://{tmp_path}/c") == {standing_name(study.history, key) for key in study.keep()}


# -- whole or not there ----------------------------------------------------------------------------------------------------


class Flaky:
    """A file system of which some calls fail."""

    def __init__(self, system: Any) -> None:
        self.system, self.error, self.at = system, ConnectionError("unplugged"), ""

    def __getattr__(self, name: str) -> Any:
        if name == self.at or {name, self.at} == {"get_file", "cat_file"}:  # what is in memory is read by the second
            raise self.error
        return getattr(self.system, name)


def work(url: str, tmp_path: Path, at: str = "", error: Exception | None = None, **flags: Any) -> tuple[Worker, Flaky]:
    checkpoints = RemoteCheckpoints(url)
    system, root = checkpoints._place
    flaky = Flaky(system)
    flaky.at, flaky.error = at, error or flaky.error  # type: ignore[assignment]
    checkpoints.__dict__["_place"] = flaky, root
    return Worker(Traces(tmp_path / "traces", **flags), 9, checkpoints), flaky


@pytest.mark.parametrize("at", ["put_file", "get_file"])
@pytest.mark.parametrize("error", [ConnectionError("unplugged"), RuntimeError("a library's own")], ids=["system", "library"])
def test_a_place_that_is_not_reached_costs_an_attempt(at: str, error: Exception, url: str, tmp_path: Path) -> None:
    first, flaky = work(url, tmp_path)
    if at == "put_file":
        flaky.at, flaky.error = at, error  # type: ignore[assignment]
        lost = first.execute(Job(0, {"x": 0.5}, 3))
        assert isinstance(lost, Lost) and lost.cause == "disk" and names(url) == set()
        assert lost.message.startswith("saving 0-3.ckpt: OSError: ") and url in lost.message and str(error) in lost.message
        flaky.at = ""
    assert isinstance(first.execute(Job(0, {"x": 0.5}, 3)), Result) and names(url) == {"0-3.ckpt"}
    second, flaky = work(url, tmp_path, at if at == "get_file" else "", error)
    found = second.execute(Job(0, {"x": 0.5}, 9, (0, 3)))
    if at == "get_file":
        assert isinstance(found, Lost) and found.cause == "disk" and found.message.startswith("loading 0-3.ckpt: OSError: ")
        flaky.at = ""
        found = second.execute(Job(0, {"x": 0.5}, 9, (0, 3)))
    assert isinstance(found, Result) and not list(second.checkpoints.folder.iterdir())
    for worker in (first, second):
        worker.checkpoints.close()


def test_a_file_is_renamed_only_when_it_is_all_there(tmp_path: Path) -> None:
    """Where what is written is seen at once. What was half-written goes."""
    url = f"file://{tmp_path}/c"
    worker, flaky = work(url, tmp_path, "mv")
    assert isinstance(worker.execute(Job(0, {"x": 0.5}, 3)), Lost)
    assert names(url) == set(), "it was deleted with the attempt"
    seen = list[set[str]]()
    real = flaky.system.put_file

    class Watching(Flaky):
        def put_file(self, *given: Any) -> None:
            real(*given)
            seen.append(names(url))

    worker.checkpoints.__dict__["_place"] = Watching(flaky.system), worker.checkpoints._place[1]  # type: ignore[attr-defined]
    assert isinstance(worker.execute(Job(0, {"x": 0.5}, 3)), Result)
    assert all(name.endswith(".half") for name in seen[0]) and names(url) == {"0-3.ckpt"}
    worker.checkpoints.close()


def test_a_missing_source_is_said(url: str, tmp_path: Path) -> None:
    worker, _ = work(url, tmp_path)
    said = "the checkpoint 0-3.ckpt, which the job starts from, is gone"
    assert worker.execute(Job(0, {"x": 0.5}, 9, (0, 3))) == Lost("source", said)
    worker.checkpoints.close()


def test_what_cannot_be_deleted_goes_later(url: str, tmp_path: Path) -> None:
    worker, flaky = work(url, tmp_path, "rm_file")
    for trial in range(3):
        assert isinstance(worker.execute(Job(trial, {"x": 0.5}, 3)), Result)
    checkpoints = worker.checkpoints
    checkpoints.drop([(0, 3)])
    assert len(names(url)) == 3
    flaky.at = ""
    checkpoints.drop([(7, 3)])  # there is none
    checkpoints.keep({(1, 3): 0}, checkpoints.list_names())
    assert names(url) == {"1-3.ckpt"}
    checkpoints.close()


def test_saves_inside_a_job_stand_there_too(url: str, tmp_path: Path) -> None:
    from hpo.executors.interim import save

    first, second = open_checkpoints(url), open_checkpoints(url)
    run_ = Traces(tmp_path / "traces")({"x": 0.5}, 0, 9)
    run_.advance(5)
    save(run_, first, first.interim_path((0, 9), 0), (0, 9), 0)
    assert names(url) == {"0-9.ckpt.part"}
    path = second.find_interim((0, 9), 2)
    assert path is not None and second.find_interim((0, 9), 0) is None
    with second.fetch(path) as there:
        assert there.read_text().startswith("[5,")
    assert second.measure() == {}, "what jobs in flight write does not count"
    assert isinstance(Worker(Traces(tmp_path / "traces"), 9, second).execute(Job(0, {"x": 0.5}, 9), {(0, 9): 1}), Result)
    assert [entry[1:3] for entry in Traces(tmp_path / "traces").lines()] == [[0, 5], [5, 9]], "the next attempt goes on there"
    assert names(url) == {"0-9.ckpt.part", "0-9.1.ckpt"}
    second.drop_interim((0, 9), 1)
    assert names(url) == {"0-9.1.ckpt"}
    for one in (first, second):
        one.close()


# -- refused ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("executor", "folder", "said"),
    [
        ("inline", "nowhere://a/b", "folder is 'nowhere://a/b', which cannot be used: ValueError: Protocol not known: nowhere"),
        ("processes", "memory://a/b", "folder is 'memory://a/b', which other processes do not see; allowed are a path and"),
        ("threads", Path("s3://bucket/a"), "a URL is given as a string, since a path loses its //"),
    ],
)
def test_refused_in_one_sentence(executor: str, folder: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        hpo.minimize(Traces(tmp_path / "t"), line(), "random", 2, horizon=9, executor=executor, folder=folder, quiet=True)


def test_on_another_machine_they_have_a_folder_of_their_own(url: str, tmp_path: Path) -> None:
    """The sender's temporary folder is not there: what is saved goes through one that is, and is gone with the process."""
    sent = RemoteCheckpoints(url)
    text = pickle.dumps(sent)
    here = pickle.loads(text)
    assert here.folder == sent.folder, "on the same machine it is one folder"
    sent.close()
    there = pickle.loads(text)
    try:
        assert there.folder != sent.folder and there.folder.is_dir()
        assert isinstance(Worker(Traces(tmp_path / "traces"), 9, there).execute(Job(0, {"x": 0.5}, 3)), Result)
        assert names(url) == {"0-3.ckpt"}
    finally:
        there.close()
        atexit.unregister(there.close)
    assert not there.folder.exists()


def test_several_threads_read_one_checkpoint_at_once(tmp_path: Path) -> None:
    """As clones of one donor do."""
    checkpoints = open_checkpoints(f"memory://{tmp_path}/read")
    sent = checkpoints.folder / "0-1.ckpt"
    sent.write_bytes(bytes(range(256)) * 4096)
    whole = sent.read_bytes()
    checkpoints.store(sent)

    def read(_: int) -> bytes:
        with checkpoints.fetch(sent) as path:
            return path.read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert all(found == whole for found in pool.map(read, range(200)))
    checkpoints.close()
