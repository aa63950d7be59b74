"""What a type checker says of a user's file with a plain class: nothing; and of what is no optimizer: an error."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USER = """
from typing import Any

from hpo import ASHA, History, Hyperband, Job, Space, Study, minimize


class Halves:
    def __init__(self, space: Space) -> None:
        self.space = space

    def sample(self, history: History, trial: int) -> dict[str, Any]:
        return {"x": 0.5 ** trial}


class Thirds:
    def __init__(self, space: Space) -> None:
        self.space = space

    def propose(self, history: History) -> Job | None:
        return Job(history.next_trial, {"x": 1 / 3}, 1)


space = Space(x=(0.0, 1.0))
minimize(lambda config: config["x"], space, Halves(space), 3)
Study(Thirds(space))
Study(ASHA(Halves(space)))
Hyperband(Halves(space), max_resource=9)
"""


@pytest.mark.slow
def test_a_plain_class_is_an_optimizer_to_a_type_checker(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    said = []
    for name, text in (("good.py", USER), ("bad.py", USER + "Study(space)\n")):
        (tmp_path / name).write_text(text)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir",
                   str(tmp_path / "cache"), str(tmp_path / name)]  # fmt: skip
        said.append(subprocess.run(command, cwd=ROOT, text=True, capture_output=True).stdout)
    assert "Success" in said[0] and 'has incompatible type "Space"' in said[1] and "Found 1 error" in said[1]
