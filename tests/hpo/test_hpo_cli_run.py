"""hpo run: a file, or options, and any command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import hpo
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
    assert len(list((tmp_path / "trials").iterdir())) == 11
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
        (STUDY.replace("{flags}", ""), "the hyperparameter 'lr' has no place in the command"),
    ],
)
def test_wrong_files_are_one_sentence(hpo_run: Commands, text: str, words: str) -> None:
    Path("study.toml").write_text(text)
    answer: Answer = hpo_run("run", "study.toml")
    assert answer.status == 2 and words in answer.err and answer.err.count("\n") == 1, answer
    assert not Path("trials").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["nothing.toml"], "No such file or directory: 'nothing.toml'"),
        (["ls"], "the command line has no 'metrics'"),
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
