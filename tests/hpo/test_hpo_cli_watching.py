"""`hpo watch`: a study that other processes drive, in a pipe, as JSON and on a terminal."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.analysis.snapshot import snapshot
from hpo.follow import Follower
from hpo.leases import Leases
from tests.hpo import servers
from tests.hpo.commands import Commands, environment
from tests.hpo.test_hpo_live import on_a_terminal, posix

DRIVER = """
import sys, time, hpo
from pathlib import Path

def f(config, report):
    for step in range(1, 10):
        while step == 4 and Path(sys.argv[2]).exists():
            time.sleep(0.01)
        report(step, config["x"] + 1 / step)

space = hpo.Space.of({"x": (0.0, 1.0)})
asha = hpo.ASHA(hpo.Random(space, seed=1), max_resource=9)
hpo.minimize(f, space, asha, 8, unit="epochs", log=sys.argv[1], quiet=True)
"""


def call(*words: Any, **options: Any) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    return subprocess.Popen([sys.executable, *map(str, words)], **{**pipes, **options})


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 600.0
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def copy(studies: Path, name: str, folder: Path) -> Path:
    return Path(shutil.copy(studies / f"{name}.db", folder / f"{name}.db"))


@pytest.fixture
def driver(tmp_path: Path) -> Any:
    """A driver that holds still in its first training to the end, until `hold` is gone."""
    (tmp_path / "hold").touch()
    process = call("-c", DRIVER, tmp_path / "s.db", tmp_path / "hold")
    wait_for(lambda: (tmp_path / "s.db").exists() and _has_begun(tmp_path / "s.db"))
    yield process
    process.kill()
    process.communicate()


def _has_begun(path: Path) -> bool:
    try:
        study = hpo.load(path)
    except ValueError:  # it is being made
        return False
    try:
        return any(until == 9 for _, until in study.history.pending)
    finally:
        study.history.log.close()


def test_it_follows_to_the_end_what_another_process_does(driver: Any, tmp_path: Path, commands: Commands) -> None:
    watch = call("-m", "hpo", "watch", tmp_path / "s.db", "--every", "0.05", "--json")
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    assert first["running"] == 1 and not first["ended"] and first["trials_limit"] == 8
    (one,) = first["drivers"]
    assert one["is_alive"] and one["who"] == f"process {driver.pid}" and len(one["in_flight"]) == 1
    (tmp_path / "hold").unlink()
    said, complaint = watch.communicate()
    assert driver.wait() == 0 and watch.returncode == 0 and complaint == ""
    documents = [first, *map(json.loads, said.splitlines())]
    assert [one["events"] for one in documents] == sorted(one["events"] for one in documents)
    last = documents[-1]
    study = hpo.load(tmp_path / "s.db")
    assert last["ended"] and last["drivers"] == [] and last["results"] == len(study.history.results)
    assert last["best"]["trial"] == study.best.number and last["stopped"] == "8 trials were started"
    assert {rung["until"]: rung["finished"] for rung in last["rungs"]} == {u: len(study.history.at(u)) for u in (1, 3, 9)}


def test_a_driver_that_is_killed_is_seen_dead_and_its_job_stays(driver: Any, tmp_path: Path, commands: Commands) -> None:
    driver.kill()
    driver.wait()
    found = commands.document("watch", tmp_path / "s.db", "--once")
    (one,) = found["drivers"]
    assert not one["is_alive"] and len(one["in_flight"]) == 1 and not found["ended"], "somebody may take it over"
    said = commands.done("watch", tmp_path / "s.db", "--once").out
    assert "dead" in said and "0 drivers" in said and f"process {driver.pid}" in said
    (tmp_path / "hold").unlink()
    assert call("-c", DRIVER, tmp_path / "s.db", tmp_path / "hold").wait() == 0
    assert commands.document("watch", tmp_path / "s.db")["ended"]


def test_lines_in_a_pipe(studies: Path, commands: Commands) -> None:
    said = commands.done("watch", studies / "asha.db").out.splitlines()
    assert said[0].startswith(str(studies / "asha.db")) and "9 of 9 trials" in said[1] and "best " in said[1]
    assert said[-1] == "the study has ended: 9 trials were started" and any("paused" in line for line in said)


@pytest.mark.parametrize("name", ["gp", "pbt", "front", "bounds", "failing", "none"])
def test_every_kind_of_study_that_has_ended(name: str, studies: Path, commands: Commands) -> None:
    before = (studies / f"{name}.db").read_bytes()
    found = commands.document("watch", studies / f"{name}.db")
    study = hpo.load(studies / f"{name}.db")
    assert found["ended"] and found["results"] == len(study.history.results)
    assert found["failures"] == sum(map(study.history.is_failure, study.history.results))
    assert len(found["front"]) == (len(study.pareto) if name == "front" else 0)
    assert (found["best"] is None) == (name in ("front", "none"))
    assert (studies / f"{name}.db").read_bytes() == before, "watching writes nothing"


def test_nothing_is_read_twice(studies: Path, tmp_path: Path) -> None:
    study = hpo.load(copy(studies, "gp", tmp_path))
    follower, asked, read = Follower(study), [], study.history.log.read
    study.history.log.read = lambda after: asked.append(after) or read(after)  # type: ignore[method-assign, func-returns-value]
    other = hpo.load(tmp_path / "gp.db")
    for count in range(3):
        now, fresh = follower.look()
        assert len(fresh) == (count > 0) and now.finished == 12 + count
        other.optimizer.add({"lr": 0.1, "layers": 1 + count, "norm": "layer"}, 1.0)
    before = len(hpo.load(studies / "gp.db").history)
    assert asked == [before, before, before + 1], "each look reads on behind what is known"


def test_a_study_by_hand_goes_on_until_its_limit(tmp_path: Path) -> None:
    study = hpo.Study(hpo.Random(hpo.Space(x=hpo.Float(0, 1))), log=tmp_path / "hand.db")
    follower = Follower(hpo.load(tmp_path / "hand.db"))
    assert not follower.is_finished(follower.look()[0]), "it has not begun"
    job = study.optimizer.ask()
    assert job is not None
    (flying,) = follower.look()[0].drivers or ()
    assert flying.number is None and flying.in_flight == (job.key,) and not follower.is_finished(follower.look()[0])
    study.optimizer.tell(job, 1.0)
    assert not follower.is_finished(follower.look()[0]), "somebody may ask for more"
    study.history.limit("trials", 1)
    assert follower.is_finished(follower.look()[0])


def test_silence_is_counted_from_a_change_on(tmp_path: Path) -> None:
    study = hpo.Study(hpo.Random(hpo.Space(x=hpo.Float(0, 1))), log=tmp_path / "s.db")
    leases = Leases(study.history, study.history.run({"trials": 5, "seconds": None}), 0.2)
    follower = Follower(hpo.load(tmp_path / "s.db"))
    silences = [(follower.look()[0].drivers or ())[0].silence]
    assert silences == [None], "a row in a file does not say how old it is"
    wait_for(lambda: silences.append((follower.look()[0].drivers or ())[0].silence) or silences[-1] is not None)
    leases.close()
    assert silences[-1] is not None and silences[-1] >= 0.0 and follower.look()[0].drivers == ()


# -- what a careless user does ------------------------------------------------------------------------------------------


def test_of_several_studies_one_is_named(tmp_path: Path, commands: Commands) -> None:
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
    url = f"sqlite:///{tmp_path}/all.db"
    for name in ("a", "b"):
        hpo.minimize(lambda config: config["x"], {"x": (0.0, 1.0)}, "random", 2, log=f"{url}?study={name}", quiet=True)
    which = "say which one: hpo watch URL STUDY, with one of ['a', 'b']"
    assert commands.refusal("watch", url) == f"{url!r} holds 2 studies; {which}"
    assert "there is no study 'c' in" in commands.refusal("watch", url, "c")
    for words in ([url, "b"], [f"{url}?study=b"], [tmp_path / "all.db", "b"]):
        assert commands.document("watch", *words)["results"] == 2
    other = hpo.load(f"{url}?study=b")
    assert commands.document("watch", url, "b")["best"]["trial"] == other.best.number


@pytest.mark.parametrize("name", [name for name in servers.SHARED if name != "mariadb"])
def test_every_kind_of_log(name: str, place: Path, commands: Commands) -> None:
    url = servers.url(name, place, "watched")
    hpo.minimize(lambda config: config["x"], {"x": (0.0, 1.0)}, "random", 3, log=url, quiet=True)
    found = commands.document("watch", url)
    assert found["ended"] and found["results"] == 3 and found["drivers"] == [] and found["trials_limit"] == 3


def test_an_empty_study_is_waited_for(tmp_path: Path, commands: Commands) -> None:
    hpo.Study(hpo.Random(hpo.Space(x=hpo.Float(0, 1))), log=tmp_path / "empty.db")
    assert "0 trials, 0 results" in commands.done("watch", tmp_path / "empty.db", "--once").out
    assert not commands.document("watch", tmp_path / "empty.db", "--once")["ended"]


def test_a_damaged_study_is_refused_before_and_while_it_is_watched(studies: Path, tmp_path: Path, commands: Commands) -> None:
    path = copy(studies, "gp", tmp_path)
    follower = Follower(hpo.load(path))
    follower.look()
    path.write_bytes(path.read_bytes()[:3000])
    assert commands.refusal("watch", path, "--once")
    path.unlink()
    with pytest.raises(hpo.logs.LogError, match="is gone"):
        follower.look()


@pytest.mark.parametrize("words", [["--every", "0"], ["--every", "-1"], ["--every", "nan"], ["no-such-study"]])
def test_wrong_words(words: list[str], studies: Path, commands: Commands) -> None:
    assert commands.refusal("watch", studies / "gp.db", *words)


@posix
def test_on_a_terminal_it_draws_and_ctrl_c_is_clean(driver: Any, tmp_path: Path, studies: Path) -> None:
    said = on_a_terminal(["-m", "hpo", "watch", str(studies / "asha.db")], "xterm")
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said)
    for words in ("9 of 9 trials", "finished", "paused", "no driver works on it", "best loss", "the study has ended"):
        assert words in plain
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1
    watch = call("-m", "hpo", "watch", tmp_path / "s.db", "--every", "0.05")
    assert watch.stdout is not None
    watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, complaint = watch.communicate()
    assert watch.returncode == 130 and complaint in ("", "hpo: interrupted\n")


def test_the_snapshot_of_a_reader_is_that_of_the_driver(studies: Path) -> None:
    study = hpo.load(studies / "asha.db")
    mine, theirs = snapshot(study.history), Follower(hpo.load(studies / "asha.db")).look()[0]
    for name in ("rungs", "spent", "started", "finished", "failed", "best", "trials", "pace", "latest"):
        assert getattr(mine, name) == getattr(theirs, name), name
