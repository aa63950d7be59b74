"""The page surrogates/README.md: every file on it is written, every command run, and what it shows is what they say."""

import os
import re
import shlex
import subprocess
import sys
from ast import literal_eval
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "surrogates" / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = {"--seeds": "1"}  # of the benchmark, so that it takes seconds
PINNED = ("numpy", "scipy", "torch")  # with other versions than constraints.txt names, searches may end elsewhere


@dataclass
class Session:
    """What came of the blocks, in order."""

    folder: Path
    said: dict[str, str] = field(default_factory=dict)  # command -> what it printed
    shown: list[tuple[str, str]] = field(default_factory=list)  # a line of a text block, and what the commands before said
    problems: list[str] = field(default_factory=list)

    def python(self, block: str) -> None:
        name = re.fullmatch(r"# (\w+\.py)", block.splitlines()[0])
        if name is None:
            self.problems.append(f"a block of python has no file name: {block.splitlines()[0]!r}")
        else:
            (self.folder / name[1]).write_text(block, encoding="utf-8")

    def sh(self, block: str) -> None:
        self.said["last"] = ""
        for line in block.splitlines():
            command = shlex.split(line, comments=True)
            expected = int(found[1]) if (found := re.search(r"# exit code (\d)", line)) else 0
            done = self.run(command)
            self.said[line] = self.said.get(line, "") + done.stdout
            self.said["last"] += done.stdout
            if done.returncode != expected or done.stderr:
                self.problems.append(f"{line!r} ended with {done.returncode}: {done.stderr}")

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        assert command[0] == "python"
        for option in SHORT.keys() & set(command):
            command[command.index(option) + 1] = SHORT[option]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run([sys.executable, *command[1:]], cwd=self.folder, env=environment, capture_output=True,
                              text=True, timeout=900, check=False)  # fmt: skip

    def text(self, block: str) -> None:
        self.shown += [(line.strip(), self.said["last"]) for line in block.splitlines() if line.strip()]


def played(page: Path, folder: Path) -> Session:
    """Every block of a page, one after the other, in a folder."""
    session = Session(folder)
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        {"python": session.python, "sh": session.sh, "text": session.text}[language](block)
    return session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return played(PAGE, tmp_path_factory.mktemp("page"))


def test_every_block_runs(session: Session) -> None:
    assert session.problems == []
    assert len(session.said) > 6


def test_what_the_page_shows_is_what_the_commands_say(session: Session) -> None:
    assert len(session.shown) > 6
    assert [line for line, said in session.shown if line not in said] == []


def test_the_picture_is_there(session: Session) -> None:
    assert (session.folder / "look.png").read_bytes()[:4] == b"\x89PNG"


def pinned() -> bool:
    """Whether the versions that searches depend on are those that were tested."""
    named = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
    return all(version(name).partition("+")[0] == named[name] for name in PINNED)


def claimed(pattern: str) -> list[float]:
    """The numbers that the page claims in a sentence."""
    (found,) = re.findall(pattern, PAGE.read_text(encoding="utf-8"))
    return [float(number) for number in ([found] if isinstance(found, str) else found)]


def benchmarked(session: Session) -> str:
    """What the benchmark printed."""
    (said,) = (said for line, said in session.said.items() if "experiments.benchmark" in line)
    return said


def test_the_race_is_won(session: Session) -> None:
    reached = {name: float(loss) for name, loss in re.findall(r"^(\w+): ([\d.]+);", session.said["python race.py"], re.M)}
    assert reached["mine"] < 0.5 < reached["random"]
    if pinned():
        claims = claimed(r"random search ended at ([\d.]+\d), `mine` at ([\d.]+\d)")
        assert claims == pytest.approx([reached["random"], reached["mine"]], rel=1e-3)


def test_the_benchmark_finds_what_the_page_claims(session: Session) -> None:
    study = r"GP\(my_acquisition:mine\) on branin, seed 0: regret ([\d.e-]*\d)"
    (reached,) = (float(number) for number in re.findall(study, benchmarked(session)))
    assert reached < 0.1
    if pinned():
        assert claimed(study) == pytest.approx([reached], rel=1e-3)


def test_the_benchmark_names_it(session: Session) -> None:
    said = benchmarked(session)
    assert "6 studies run, 0 failed, 0 left" in said
    assert "GP(my_acquisition:mine) on branin, seed 0: regret" in said
    assert "| task | method | seeds of both | median at 25 (GP's) | lower at 25 |" in said
    assert "in GP's place would have a mean rank of" in said and "mean rank [95 %]" in said
    assert len(list((session.folder / "runs" / "mine").glob("*.jsonl"))) == 3
    assert (session.folder / "runs" / "mine" / "page" / "index.html").exists()


def test_parallel_jobs_keep_apart(session: Session) -> None:
    batches = [literal_eval(line) for line in session.said["python parallel.py"].splitlines()]
    assert len(batches) == 3
    for batch in batches[1:]:  # the first is Sobol's
        gaps = [max(abs(a - c), abs(b - d)) for i, (a, b) in enumerate(batch) for c, d in batch[:i]]
        assert len(gaps) == 6 and min(gaps) > 0.5


def test_files_that_the_page_points_at_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:acquisitions|linting|tests)/[\w/]+\.py)`", page))
    assert len(named) > 6
    assert [name for name in named if not (ROOT / name).exists() and not (PAGE.parent / name).exists()] == []
    lines = len((PAGE.parent / "acquisitions" / "nei.py").read_text(encoding="utf-8").splitlines())
    assert f"in {lines} lines" in page
