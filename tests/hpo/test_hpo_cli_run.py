"""hpo run: a file, or options, and any command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.commands.command import choose_executor, name_outputs
from tests.hpo.clusters import PBS, needs
from tests.hpo.commands import Answer, Commands
from tests.hpo.test_hpo_commands import SCRIPT

STUDY = f"""
command = "{sys.executable} {SCRIPT} {{flags}} --steps=27 --pause=0.02"
optimizer = "asha"
trials = 9
step = 'step (\\d+):'
metrics.loss = 'val loss (\\S+)'
options.max_resource = 9
space.lr = {{ float = [1e-3, 0.5], log = true }}
"""

ENDLESS = STUDY.replace("asha", "random").replace("options.max_resource = 9", "")


@pytest.fixture
def hpo_run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    return Commands(capsys)


def test_a_file_says_all_and_the_search_goes_on(hpo_run: Commands, tmp_path: Path) -> None:
    first = hpo_run.done("run", "study.toml")
    assert first.out.splitlines()[-1].startswith("best: trial") and " at 9 steps: loss=" in first.out
    (best,) = hpo_run.document("run", "study.toml", "--trials", 11, "--workers", 2)
    study = hpo.load("study.db")
    assert len(study.history.trials) == 11 and best["trial"] == study.best.number
    assert study.header.unit == "steps" and study.header.objectives == {"loss": "min"}
    assert len(list((tmp_path / "study.trials").iterdir())) == 11
    study.history.log.close()
    assert hpo_run("run", "study.toml", "--seed", 5).status == 2, "another search than the log's"


def test_a_command_is_given_behind_two_dashes(hpo_run: Commands, tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text(json.dumps({"lr": {"float": [0.01, 0.5]}}))
    found = hpo_run.done(
        "run", "--json", "--space", "space.json", "--metric", "value=val loss (\\S+)", "--objective", "value=max", "--trials", 3,
        "--optimizer", "random", "--folder", "outputs", "--", sys.executable, SCRIPT, "--lr={lr}", "--steps=5",
    ).document  # fmt: skip
    study = hpo.load("study.db")
    assert found[0]["metrics"]["value"] == max(result.metrics["value"] for result in study.history.results.values())
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["0", "1", "2"]
    study.history.log.close()


def test_several_objectives_have_a_front(hpo_run: Commands) -> None:
    plain = STUDY.replace('optimizer = "asha"', 'optimizer = "random"').replace("options.max_resource = 9", "horizon = 3")
    Path("two.toml").write_text(plain + "metrics.train = 'train loss (\\S+),'\nobjectives = { loss = 'min', train = 'max' }\n")
    front = hpo_run.document("run", "two.toml", "--trials", 3)
    assert front and set(front[0]["metrics"]) == {"loss", "train"} and Path("two.db").exists()


@pytest.mark.parametrize(
    "text, words",
    [
        ("trials = ", "is no TOML"),
        (STUDY + "trails = 3", "'study.toml' has the name 'trails'; allowed are command, metrics"),
        (STUDY.replace("command", "# command"), "'study.toml' has no 'command'"),
        (STUDY + "space.x = [0, 1]", "space.x is the list [0, 1], which may be a range or a choice"),
        (STUDY + "environment = 3", "has environment = 3; allowed is a table of names"),
        (STUDY + "files.'a.json' = 3", "files.a.json is 3; allowed is a table with base and keys"),
        (STUDY.replace("(\\S+)", "("), "the metric 'loss' is 'val loss (', which is no regular expression"),
        (STUDY.replace("max_resource", "most"), "'asha' has no option 'most'"),
        (ENDLESS, "a training that is followed by its steps needs horizon, the last of them"),
        (ENDLESS.replace("step =", "# step =").replace("{flags}", "{flags} {checkpoint}"), "needs horizon"),
        (STUDY + "objectives = {accuracy = 'max'}", "objectives names 'accuracy', which is none of the metrics ['loss']"),
        (STUDY.replace("{flags}", ""), "the hyperparameter 'lr' has no place in the command"),
    ],
)
def test_wrong_files_are_one_sentence(hpo_run: Commands, text: str, words: str) -> None:
    Path("study.toml").write_text(text)
    answer: Answer = hpo_run("run", "study.toml")
    assert answer.status == 2 and words in answer.err and answer.err.count("\n") == 1, answer
    assert not Path("study.trials").exists() and not Path("study.db").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["nothing.toml"], "No such file or directory: 'nothing.toml'"),
        (["ls"], "a command needs --space, and a search in a file is such as study.toml; 'ls' came"),
        (["--metric", "x=(.)", "ls"], "a command needs --space"),
        (["--metric", "x", "ls"], "--metric is 'x'; allowed are NAME=REGEX"),
    ],
)
def test_wrong_options_are_one_sentence(hpo_run: Commands, words: list[Any], said: str) -> None:
    answer = hpo_run("run", *words)
    assert answer.status == 2 and said in answer.err, answer


def test_a_search_that_fails_from_the_first_is_one_sentence(hpo_run: Commands) -> None:
    Path("study.toml").write_text(STUDY.replace(f"{sys.executable} {SCRIPT}", "nowhere-to-be-found"))
    answer = hpo_run("run", "study.toml")
    assert answer.status == 2 and answer.err.count("\n") == 1, answer
    assert "since its first trials failed in the same way, the last with CommandError: the command 'nowhere-to-be" in answer.err


def test_two_files_keep_their_outputs_apart(hpo_run: Commands) -> None:
    for name in ("study", "other"):
        Path(f"{name}.toml").write_text(STUDY + "files.'a.json' = {}\nenvironment.CONFIG = '{a.json}'\n")
        hpo_run.done("run", f"{name}.toml", "--trials", 1, "--seed", 1 if name == "other" else 0)
    found = [json.loads(Path(f"{name}.trials/0/a.json").read_text())["lr"] for name in ("study", "other")]
    assert found == [pytest.approx(hpo.load(f"{name}.db").history.jobs[0, 1].config["lr"]) for name in ("study", "other")]
    assert found[0] != found[1] and not Path("trials").exists()


DEVICES = f"""
command = ["{sys.executable}", "-c", "import os; print('device', os.environ['CUDA_VISIBLE_DEVICES'], 'lr', {{lr}})"]
optimizer = "random"
trials = 4
metrics.device = 'device (\\d+)'
space.lr = {{ float = [1e-3, 0.5] }}
resources.gpu = 1
executor_options.devices = [3, 5]
"""


def test_every_command_sees_its_own_device(hpo_run: Commands) -> None:
    """Two of a machine that need not have any: two at once, by the resources."""
    Path("study.toml").write_text(DEVICES)
    hpo_run.done("run", "study.toml")
    study = hpo.load("study.db")
    assert {result.metrics["device"] for result in study.history.results.values()} <= {3.0, 5.0}
    refused = hpo_run("run", "study.toml", "--workers", 3)
    assert refused.status == 2 and "3 workers with 1 GPUs each came, but 2 GPUs are here" in refused.err
    refused = hpo_run("run", "study.toml", "--executor", "threads")
    assert refused.status == 2 and "the threads executor has no option 'resources'" in refused.err
    study.history.log.close()


def test_a_batch_system_is_a_table(hpo_run: Commands) -> None:
    needs("batch")
    table = {"submit": PBS.submit, "cancel": PBS.cancel, "status": PBS.status, "line": PBS.line, "header": [*PBS.header]}
    system = "\n".join(f"executor_options.system.{name} = {json.dumps(value)}" for name, value in table.items())
    plain = STUDY.replace("asha", "random").replace("options.max_resource = 9\n", "").replace("step =", "# step =")
    Path("study.toml").write_text(f"{plain}executor = 'batch'\nexecutor_options.poll = 0.1\nworkers = 2\n{system}\n")
    assert hpo_run.done("run", "study.toml", "--trials", 2).out.splitlines()[-1].startswith("best: trial ")
    assert len(list(Path("study.trials").iterdir())) == 2
    Path("study.toml").write_text(f"{plain}executor = 'batch'\nexecutor_options.system.submit = 'qsub'\n")
    answer = hpo_run("run", "study.toml")
    assert answer.status == 2 and "executor_options.system has {'submit': 'qsub'}; allowed are submit, cancel" in answer.err


@pytest.mark.parametrize(
    ("workers", "resources", "devices", "expected"),
    [(None, None, 8, "threads"), (1, None, 8, "threads"), (4, None, 1, "threads"), (4, None, 2, "processes"),
     (None, {"gpu": 1}, 0, "processes"), (4, None, 0, "threads")],
)  # fmt: skip
def test_where_commands_run(
    workers: int | None, resources: dict[str, float] | None, devices: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(devices))))
    assert choose_executor(workers, resources) == expected


def test_outputs_stand_beside_the_log() -> None:
    names = {"a/study.db": "a/study.trials", "sqlite:///x/all.db?study=my%20own": "my_own.trials",
             "postgresql://me:secret@host/database": "database.trials"}  # fmt: skip
    assert {log: str(name_outputs(log)) for log in names} == names
