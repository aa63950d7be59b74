"""Pages that are executed, and what every page keeps: links that lead somewhere, commands that exist.

A page is Markdown. In order, every block of

    python    whose first line is `# name.py` is written to a file of that name, else it is run at once
    toml      whose first line is `# name.toml` is written to a file of that name
    sh        is run line by line; `# exit code 1` behind a command says how it should end
    text      holds lines that the commands of the last block before it should have printed

A block of python with a line `# needs package` is left out where this package is not installed, with the commands that run it.
Blocks without a language are shown only.
"""

import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fresh import python

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = {"--seeds": "1"}  # of the benchmark, so that it takes seconds
LOADED = ("hpo.run", "hpo.cli", "scipy.stats", "matplotlib.figure")  # what most programs of a page import
TRAINERS = ("transformers.trainer", "transformers.models.gpt2.modeling_gpt2")  # and some
LINK = re.compile(r"\]\(([^()\s]+)\)")


@dataclass
class Transcript:
    """What came of the blocks of a page, in order."""

    folder: Path
    said: dict[str, str] = field(default_factory=dict)  # command -> what it printed
    shown: list[tuple[str, str]] = field(default_factory=list)  # a line of a text block, and what the commands before said
    problems: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)  # programs that were left out -> the package that each needs

    def python(self, block: str) -> None:
        name = re.fullmatch(r"# (\w+\.py)", block.splitlines()[0])
        needed = re.search(r"^# needs (\w+)$", block, re.MULTILINE)
        if needed is not None and find_spec(needed[1]) is None:
            self.absent[name[1] if name is not None else block] = needed[1]
        elif name is not None:
            (self.folder / name[1]).write_text(block, encoding="utf-8")
        else:
            self._record(f"block {len(self.said)}", self._run(["-c", block]), 0)

    def toml(self, block: str) -> None:
        name = re.fullmatch(r"# (\w+\.toml)", block.splitlines()[0])
        assert name is not None, "a block of TOML begins with its name"
        (self.folder / name[1]).write_text(block, encoding="utf-8")

    def sh(self, block: str) -> None:
        self.said["last"] = ""
        for line in block.splitlines():
            command = shlex.split(line, comments=True)
            assert command[0] == "python", f"a page runs python, but {line!r} came"
            if self.absent.keys() & set(command):
                continue
            for option in SHORT.keys() & set(command):
                command[command.index(option) + 1] = SHORT[option]
            expected = int(found[1]) if (found := re.search(r"# exit code (\d)", line)) else 0
            self.said["last"] += self._record(line, self._run(command[1:]), expected)

    def text(self, block: str) -> None:
        self.shown += [(line.strip(), self.said["last"]) for line in block.splitlines() if line.strip()]

    def missing(self) -> list[str]:
        """Lines that the page shows and no command said."""
        return [line for line, said in self.shown if line not in said]

    def _record(self, name: str, done: subprocess.CompletedProcess[str], expected: int) -> str:
        self.said[name] = self.said.get(name, "") + done.stdout
        if done.returncode != expected or done.stderr:
            self.problems.append(f"{name!r} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def _run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        program = self.folder / arguments[0]
        uses_trainer = program.is_file() and "from transformers import" in program.read_text(encoding="utf-8")
        return python(*LOADED, *TRAINERS * uses_trainer).run(arguments, self.folder, environment)


def execute(page: Path, folder: Path) -> Transcript:
    """Every block of a page, one after the other, in a folder."""
    transcript = Transcript(folder)
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        ways = {"python": transcript.python, "toml": transcript.toml, "sh": transcript.sh, "text": transcript.text}
        ways[language](block)
    return transcript


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """(file or folder, heading or "") that a page links to, pictures among them; addresses on the web are left out."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            name, _, heading = target.partition("#")
            yield (page.parent / name if name else page), heading


def headings(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def paths(page: Path) -> Iterator[str]:
    """Files that a page names in code type, with a folder before them; those of a run and of a user are left out."""
    for name in re.findall(r"`([\w.*/-]+/[\w.*-]+\.(?:py|toml|jsonl|json|md|txt|c))`", page.read_text(encoding="utf-8")):
        if not name.startswith("runs/"):
            yield name


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(module, options) of every `python -m module ...` on a page, in blocks or in a sentence; "hpo show" stands for a module."""
    for line in re.findall(r"python -m ([^\n`#]+)", page.read_text(encoding="utf-8")):
        module, *rest = line.split()
        if module == "hpo" and rest:
            module = f"hpo {rest.pop(0)}"
        yield module, [word.partition("=")[0] for word in rest if word.startswith("--")]


def run_here(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m module arguments` in this process, which has imported most of it already; for commands that only print. Those of
    the tests run in a process of their own: pytest loads them in its own way, which runpy does not know."""
    if module.startswith("tests."):
        return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    said, complained, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(complained), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that a module which is now run was imported before
        patch.setattr(sys, "argv", [module, *arguments])
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess([module, *arguments], status, said.getvalue(), complained.getvalue())
