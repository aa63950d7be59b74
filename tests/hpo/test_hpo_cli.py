"""The command `hpo`: how it is called, how it ends, and what it says to wrong input."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from hpo.cli.app import app
from tests.hpo.commands import Commands, environment, write_json

ROOT = Path(__file__).resolve().parents[2]
ON_A_LOG = ("show", "watch", "best", "export", "plot", "report", "replay", "ask", "tell", "enqueue", "retry", "score", "delete")
REST = {"export": ["t.csv"], "plot": ["p.svg"], "tell": ["0", "1"], "enqueue": ["good.json"], "score": ["good.json"],
        "report": ["r.html"], "delete": ["--yes"]}  # fmt: skip
TORCH = "import sys, hpo.cli; sys.exit(' '.join({'torch', 'pandas', 'matplotlib', 'sqlalchemy'} & {*sys.modules}) or 0)"


def call(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpo", *words]
    return subprocess.run(command, cwd=folder, env=environment(), text=True, capture_output=True, check=False)


def test_every_command_has_json() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {*ON_A_LOG, "studies", "compare", "import", "run", "serve"} == {*commands}
    assert [name for name, one in commands.items() if "--json" not in {text for p in one.params for text in p.opts}] == []
    assert [name for name, one in commands.items() if not one.help] == []


def test_the_entry_point_is_the_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"hpo": "hpo.cli:main"}


def test_importing_it_is_light() -> None:
    done = subprocess.run([sys.executable, "-c", TORCH], env=environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_as_a_process(studies: Path) -> None:
    said = call("best", "gp.db", folder=studies)
    assert said.returncode == 0 and said.stdout.startswith("trial ") and said.stderr == ""
    helped = call("--help", folder=studies)
    assert helped.returncode == 0 and all(name in helped.stdout for name in ON_A_LOG)
    refused = call("best", "absent.db", folder=studies)
    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", "hpo: there is no log 'absent.db'\n")


def test_nobody_reads_on(studies: Path) -> None:
    """As in `hpo show gp.db | head -0`: where a command prints at its end, and where it prints while it works."""
    for words in ("best gp.db --json", "show asha.db"):
        command = f"{sys.executable} -m hpo {words} | true; echo ${{PIPESTATUS[0]}}"
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, cwd=studies, env=environment(), text=True, capture_output=True, check=False)
        assert done.stdout.strip() == "141" and done.stderr == ""


@pytest.mark.parametrize("name", ON_A_LOG)
def test_no_log_there(name: str, commands: Commands, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(studies)
    assert commands.refusal(name, "absent.db", *REST.get(name, [])) == "there is no log 'absent.db'"
    assert not (studies / "absent.db").exists(), "nothing is made by looking"


@pytest.mark.parametrize("name", ON_A_LOG)
def test_a_file_that_is_no_log(name: str, commands: Commands, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(studies)
    before = (studies / "bad.json").read_bytes()
    said = commands.refusal(name, "bad.json", *REST.get(name, []))
    assert said.startswith("the file 'bad.json' is not a log of this framework")
    assert (studies / "bad.json").read_bytes() == before


DAMAGE: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("{"), "nan": lambda path: path.write_text('{"lr": NaN, "layers": 1, "norm": "rms"}'),
    "list": lambda path: write_json(path, [1]), "unknown": lambda path: write_json(path, {"depth": 3}),
    "deep": lambda path: path.write_text("[" * 100_000), "bytes": lambda path: path.write_bytes(b"\xff\xfe"),
    "missing": lambda path: write_json(path, {"lr": 0.1}), "gone": lambda path: path.unlink(missing_ok=True),
    "folder": lambda path: (path.unlink(missing_ok=True), path.mkdir()),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["score", "enqueue"])
def test_broken_configurations(name: str, damage: str, commands: Commands, studies: Path, tmp_path: Path) -> None:
    path, log = tmp_path / "config.json", shutil.copy(studies / "gp.db", tmp_path / "gp.db")
    DAMAGE[damage](path)
    before = Path(log).read_bytes()
    assert commands.refusal(name, log, path, "--json")
    assert Path(log).read_bytes() == before


@pytest.mark.parametrize("words", [["show"], ["show", "--depth", "3"], ["shwo"], ["compare", "gp.db", "--trials", "3"]])
def test_misspelt_commands(words: list[str], commands: Commands, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(studies)
    assert commands.refusal(*words)


UNKNOWN = [
    ["show", "gp.db", "--trial", "99"], ["show", "gp.db", "--trial", "3,7"], ["show", "gp.db", "--trial", "three"],
    ["show", "gp.db", "--trial", "-3"], ["compare", "gp.db", "--trials", "3", "99"], ["compare", "gp.db"],
    ["compare", "gp.db", "asha.db", "--trials", "0", "1"], ["tell", "gp.db", "99", "1"], ["tell", "gp.db", "0,5", "1"],
    ["retry", "gp.db", "--trial", "0"], ["plot", "gp.db", "p.svg", "--kind", "portrait"], ["plot", "gp.db", "p.doc"],
    ["plot", "gp.db", "p.svg", "--objective", "speed"], ["plot", "gp.db", "p.svg", "--kind", "pareto"],
    ["plot", "none.db", "p.svg"], ["export", "gp.db", "t.xls"], ["export", "gp.db", "absent/t.csv"],
    ["report", "gp.db", "absent/r.html"], ["show", "memory://"], ["show", "redis://x"],
    ["score", "gp.db", "good.json", "--optimizer", "x"], ["studies", "absent.db"], ["delete", "gp.db", "--json"],
]  # fmt: skip


@pytest.mark.parametrize("words", UNKNOWN, ids=" ".join)
def test_what_is_not_there(words: list[str], commands: Commands, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(studies)
    before = (studies / "gp.db").read_bytes()
    assert commands.refusal(*words)
    assert (studies / "gp.db").read_bytes() == before
