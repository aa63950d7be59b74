"""hpo ask, tell, enqueue, retry: a study driven from outside is the study that the library drives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.cli.driving import parse_result
from hpo.trial import best_key
from tests.hpo.commands import LINE_JSON, SPACE, SPACE_JSON, Commands, environment, loss, write_json

OPTIMIZERS: dict[str, tuple[list[Any], Any]] = {
    "gp": (["--optimizer", "gp", "--seed", 3], lambda: hpo.GP(SPACE, seed=3)),
    "asha": (["--optimizer", "asha", "--option", "max_resource=9", "--option", "sampler=tpe", "--unit", "steps"],
             lambda: hpo.ASHA(hpo.TPE(SPACE), max_resource=9)),
    "pbt": (["--optimizer", "pbt", "--option", "max_resource=4", "--option", "population=4", "--option", "generations=2"],
            lambda: hpo.PBT(hpo.Random(SPACE), population=4, generations=2, max_resource=4)),
    "grid": (["--optimizer", "grid", "--option", "points=2"], lambda: hpo.Grid(SPACE, points=2)),
}  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_json(tmp_path / "space.json", SPACE_JSON)
    return tmp_path / "log.db"


def value(job: dict[str, Any]) -> float:
    return loss(job["config"]) + 1 / job["until"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_job_for_job_as_in_the_library(name: str, commands: Commands, log: Path) -> None:
    """With two jobs in flight, told by TRIAL,UNTIL. The space in JSON is the same space."""
    options, make = OPTIMIZERS[name]
    twin, running = hpo.Study(make()), []
    for _ in range(14):
        while len(running) < 2:
            answer = commands("ask", log, "--new", log.parent / "space.json", *options)
            job = twin.optimizer.ask()
            if job is None:
                assert answer.status == 1 and answer.out == ""
                break
            said = answer.document
            assert (said["trial"], said["until"], said["config"], said["seed"]) == (*job.key, job.config, job.seed)
            assert said["source"] == (None if job.source is None else list(job.source)) and said["attempt"] == 0
            running.append((said, job))
        if not running:
            break
        said, job = running.pop(0)
        told = commands.document("tell", log, f"{job.trial},{job.until}", value(said))
        twin.optimizer.tell(job, value(said))
        assert told["trial"] == job.trial and told["best"]["trial"] == best_key(twin.history)[0]
    assert [event.canonical() for event in hpo.load(log).history.events] == [event.canonical() for event in twin.history.events]


def test_an_end_is_a_no(commands: Commands, log: Path) -> None:
    begin = ["ask", log, "--new", log.parent / "space.json", "--optimizer", "manual"]
    commands.done(*begin)
    waits = commands(*begin, "--json")
    assert waits.status == 1 and waits.document == {"trial": None, "finished": False, "pending": [[0, 1]]}
    commands.done("tell", log, 0, 1.5)
    ended = commands(*begin, "--json")
    assert ended.status == 1 and ended.document == {"trial": None, "finished": True, "pending": []}
    assert "finished" in commands.refusal("ask", log, status=1)


def test_trials_are_counted_over_all_asks(commands: Commands, log: Path) -> None:
    begin = ["ask", log, "--new", log.parent / "space.json", "--optimizer", "random", "--trials", 2]
    for trial in range(2):
        assert commands.done(*begin).document["trial"] == trial
        commands.done("tell", log, trial, 1.0)
    events = len(hpo.load(log).history)
    for _ in range(3):
        assert commands(*begin).status == 1
    assert len(hpo.load(log).history) == events + 1, "the limit is recorded once"
    assert commands.done("ask", log, "--trials", 3).document["trial"] == 2, "more are allowed"
    assert commands("ask", log, "--trials", 3).status == 1
    assert commands.done("ask", log).document["trial"] == 3, "no limit"


def test_a_space_in_lists_is_refused(commands: Commands, log: Path) -> None:
    """[0, 1] may be a range or a choice; to guess would search something else."""
    for wrong in ([1e-5, 0.1], {"float": [1]}, {"floats": [1, 2]}, {"float": [0.1, 0.2], "logs": True}, {"choices": []}):
        path = write_json(log.parent / "wrong.json", {"lr": wrong})
        said = commands.refusal("ask", log, "--new", path)
        assert "'lr'" in said and "wrong.json" in said and not log.exists()
    for other in ({}, [1], "x"):
        commands.refusal("ask", log, "--new", write_json(log.parent / "wrong.json", other))
        assert not log.exists()


@pytest.mark.parametrize("wrong", [["--optimizer", "gpp"], ["--option", "initial"], ["--option", "points=3"], ["--seed", "-1"],
                                   ["--objective", "loss=up"], ["--horizon", "0"], ["--optimizer", "absent:Thing"]])  # fmt: skip
def test_wrong_settings_of_a_new_study(wrong: list[str], commands: Commands, log: Path) -> None:
    commands.refusal("ask", log, "--new", log.parent / "space.json", *wrong)
    assert not log.exists()


def test_another_study_is_refused(commands: Commands, log: Path) -> None:
    commands.done("ask", log, "--new", log.parent / "space.json", "--seed", 1)
    assert "seed was 1 and is now 2" in commands.refusal("ask", log, "--new", log.parent / "space.json", "--seed", 2)
    commands.refusal("ask", log, "--shell", "--json")


# -- tell --------------------------------------------------------------------------------------------------------------


def test_results_by_name_and_in_order(commands: Commands, log: Path) -> None:
    objectives = ["--objective", "loss", "--objective", "size=max"]
    for trial, words in enumerate((["0.5", "3"], ["size=3", "loss=-0.5", "extra=7"], ["-1e3", "-0.0"])):
        commands.done("ask", log, "--new", log.parent / "space.json", "--optimizer", "random", *objectives)
        commands.done("tell", log, trial, *words)
    results = hpo.load(log).history.results
    assert [dict(results[trial, 1].metrics) for trial in range(3)] == [
        {"loss": 0.5, "size": 3.0}, {"size": 3.0, "loss": -0.5, "extra": 7.0}, {"loss": -1000.0, "size": -0.0}]  # fmt: skip


WRONG = [[], ["low"], ["1", "2"], ["1", "loss=2"], ["size=2"], ["loss=1", "loss=2"], ["=1"], ["loss="], ["--eror", "x"],
         ["--lost", "1"], ["loss=1=2"], ["--error"]]  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_results_change_nothing(words: list[str], commands: Commands, log: Path) -> None:
    commands.done("ask", log, "--new", log.parent / "space.json", "--optimizer", "random")
    before = len(hpo.load(log).history)
    commands.refusal("tell", log, 0, *words)
    assert len(hpo.load(log).history) == before


def test_failures_are_results(commands: Commands, log: Path) -> None:
    for trial, words in enumerate((["nan"], ["inf"], ["--error", "out of [memory]"], ["3", "--error", "late"])):
        commands.done("ask", log, "--new", log.parent / "space.json", "--optimizer", "random")
        assert commands.document("tell", log, trial, *words) == {
            "trial": trial, "until": 1, "lost": False, "failure": True, "best": None}  # fmt: skip
    history = hpo.load(log).history
    assert [history.results[trial, 1].error for trial in range(4)] == [None, None, "out of [memory]", "late"]
    assert "out of [memory]" in commands.done("show", log).out


def test_the_first_result_stands(commands: Commands, log: Path) -> None:
    commands.done("ask", log, "--new", log.parent / "space.json", "--optimizer", "random")
    commands.done("tell", log, 0, 1.0)
    for words in (["2.0"], ["--lost"], ["--error", "x"]):
        assert "already, which stands" in commands.refusal("tell", log, 0, *words, status=1)
    assert hpo.load(log).best.value == 1.0


def test_a_lost_job_comes_again(commands: Commands, log: Path) -> None:
    first = commands.done("ask", log, "--new", log.parent / "space.json", "--optimizer", "random").document
    assert commands.document("tell", log, 0, "--lost")["lost"]
    assert commands.document("show", log)["lost"][0]["trial"] == 0
    assert commands.done("ask", log).document == {**first, "attempt": 1}


def test_resume_gives_out_what_was_asked_by_hand(commands: Commands, log: Path) -> None:
    jobs = [commands.done("ask", log, "--new", log.parent / "space.json", "--optimizer", "random").document for _ in range(2)]
    again = [commands.done("ask", log, "--resume").document, commands.done("ask", log).document]
    assert again == [{**job, "attempt": 1} for job in jobs]
    assert commands.done("ask", log).document["trial"] == 2


def test_resume_leaves_a_driver_its_jobs(commands: Commands, log: Path) -> None:
    """What a run has in flight is the run's, as long as its lease lasts."""
    study = hpo.Study(hpo.Random(SPACE), log=log)
    study.history.driver = study.history.run()
    held = study.optimizer.ask()
    assert held is not None and commands.document("show", log)["pending"][0]["driver"] == study.history.driver
    assert commands.done("ask", log, "--resume").document["trial"] == 1
    study.history.refresh()
    assert held.key in study.history.pending


def test_words_without_a_study() -> None:
    history = hpo.Study(hpo.Random({"x": (0.0, 1.0)}), objectives=["a"]).history
    assert parse_result(history, ["1_000"]).metrics == {"a": 1000.0}
    assert parse_result(history, ["b=2", "a=1"], "late").error == "late"


# -- enqueue, retry ----------------------------------------------------------------------------------------------------


def test_what_a_person_proposes_is_asked_next(commands: Commands, studies: Path, tmp_path: Path) -> None:
    log, config = shutil.copy(studies / "gp.db", tmp_path / "log.db"), json.loads((studies / "bad.json").read_text())
    assert commands.document("enqueue", log, studies / "bad.json") == {"queued": [config]}
    assert commands.document("show", log)["queued"] == [config] and "queued: lr=0.9" in commands.done("show", log).out
    assert commands.done("ask", log).document["config"] == config
    assert commands.document("show", log)["queued"] == []


def test_retry(commands: Commands, studies: Path, tmp_path: Path) -> None:
    log = shutil.copy(studies / "failing.db", tmp_path / "log.db")
    history = hpo.load(log).history
    failed = [key[0] for key in history.results if history.is_failure(key)]
    one = commands.document("retry", log, "--trial", failed[1])["queued"]
    assert [job["trial"] for job in one] == [failed[1]]
    text = commands.done("retry", log).out
    assert f"{len(failed) - 1} configurations" in text and "the failures stay" in text
    assert commands.document("retry", log) == {"queued": []}
    asked = [commands.done("ask", log).document["config"] for _ in failed]
    assert asked == [history.jobs[trial, 1].config for trial in (failed[1], *(t for t in failed if t != failed[1]))]


# -- a study whose optimizer a log cannot hold -------------------------------------------------------------------------

NEARBY = """
import numpy as np
from hpo.rng import stream

class Nearest:
    def __init__(self, space, seed=0, points=4):
        self.space, self.seed, self.points = space, seed, points

    def sample(self, history, trial):
        return self.space.decode(self.space.domain.random(stream(self.seed, trial, "near"), self.points)[-1])

def cheap(config):
    return config["x"] < 0.5

def make():
    import hpo
    return hpo.Random(hpo.Space(x=hpo.Float(0.0, 1.0), constraints=[cheap]))
"""


def test_optimizers_of_ones_own(commands: Commands, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class is registered, and the log's options make it; constraints come with an instance that a function makes."""
    monkeypatch.setattr(hpo.optimizers, "OPTIMIZERS", {**hpo.OPTIMIZERS})
    monkeypatch.chdir(log.parent)
    own = log.parent / "nearest_of_a_test.py"
    own.write_text(NEARBY)
    monkeypatch.syspath_prepend(str(log.parent))
    line = write_json(log.parent / "line.json", LINE_JSON)
    commands.done("ask", log, "--new", line, "--optimizer", f"./{own.name}:Nearest", "--option", "points=2")
    for words in (["ask", log], ["replay", log], ["tell", log, "0", "1"]):
        assert "--optimizer module:name" in commands.refusal(*words)
    assert commands.document("show", log)["optimizer"]["points"] == 2, "reading needs no code"
    assert commands.document("tell", log, 0, 1, "--optimizer", f"./{own.name}:Nearest")["trial"] == 0
    assert commands.done("ask", log, "--optimizer", f"{own.stem}:Nearest").document["trial"] == 1
    commands.refusal("ask", log, "--optimizer", f"./{own.name}:absent")
    bounded = log.parent / "bounded.db"
    hpo.Study(import_module(own.stem).make(), log=bounded).history.log.close()
    assert "cheap" in commands.refusal("ask", bounded)
    assert commands.done("ask", bounded, "--optimizer", f"{own.stem}:make").document["config"]["x"] < 0.5


# -- a shell script ----------------------------------------------------------------------------------------------------

SCRIPT = """
hpo() { "$PYTHON" -m hpo "$@"; }
resume=--resume
while job=$(hpo ask log.db --new line.json --optimizer gp --seed 5 --trials 7 --shell $resume 2>> end); do
    resume=
    eval "$job"
    if [ "$trial" = "$STALL" ]; then touch stalled; sleep 600; fi
    loss=$(awk -v x="$config_x" 'BEGIN { printf "%.17g", (x - 0.3) * (x - 0.3) }')
    hpo tell log.db "$trial,$until" loss="$loss" seconds=1 > /dev/null || exit 3
done
"""


def test_a_shell_script_is_killed_and_goes_on(tmp_path: Path) -> None:
    """Killed between an ask and its tell, it ends with the trials of a study that nobody interrupted."""
    write_json(tmp_path / "line.json", LINE_JSON)
    (tmp_path / "drive.sh").write_text(SCRIPT)
    start: dict[str, Any] = {"cwd": tmp_path, "env": environment() | {"PYTHON": sys.executable, "STALL": ""}}
    stalled = {**start, "env": start["env"] | {"STALL": "3"}}
    first = subprocess.Popen(["bash", "drive.sh"], start_new_session=True, **stalled)
    while not (tmp_path / "stalled").exists():
        assert first.poll() is None
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert [*hpo.load(tmp_path / "log.db").history.pending] == [(3, 1)]
    assert subprocess.run(["bash", "drive.sh"], check=False, **start).returncode == 0
    assert (tmp_path / "end").read_text().endswith("hpo: nothing to ask: the search is finished\n")
    study, twin = hpo.load(tmp_path / "log.db"), hpo.Study(hpo.GP({"x": (0.0, 1.0)}, seed=5))
    assert len(study.history.results) == 7 and not study.history.pending and not study.history.retries
    for trial in range(7):
        job, key = twin.optimizer.ask(), (trial, 1)
        assert job is not None and job.config == study.history.jobs[key].config
        assert abs(study.history.results[key].metrics["loss"] - (job.config["x"] - 0.3) ** 2) < 1e-15
        twin.optimizer.tell(job, study.history.results[key].metrics["loss"])
    assert study.best.value < 1e-3
