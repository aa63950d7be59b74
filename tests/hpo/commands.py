"""The command `hpo` in this process, and a folder of real studies for it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import hpo
from hpo.cli import main
from tests.hpo.objectives import Traces

SPACE = hpo.Space(
    lr=hpo.Float(1e-4, 1.0, log=True), layers=hpo.Int(1, 8), norm=hpo.Categorical(["layer", "rms"]),
    momentum=hpo.Float(0.0, 0.9, when={"norm": "rms"}),
)  # fmt: skip
SPACE_JSON = {
    "lr": {"float": [1e-4, 1.0], "log": True}, "layers": {"int": [1, 8]}, "norm": {"choices": ["layer", "rms"]},
    "momentum": {"float": [0.0, 0.9], "when": {"norm": ["rms"]}},
}  # fmt: skip
LINE_JSON = {"x": {"float": [0.0, 1.0]}}
NAMES = ("gp", "asha", "pbt", "front", "bounds", "failing", "none")


class Answer(NamedTuple):
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout, which strict readers take."""
        (line,) = self.out.splitlines()
        return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


class Commands:
    """Runs commands in a folder, as a person would who stands there."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: Any) -> Answer:
        self.capsys.readouterr()
        status = main([str(word) for word in words])
        return Answer(status, *self.capsys.readouterr())

    def done(self, *words: Any) -> Answer:
        """A command that must succeed without a word on stderr."""
        answer = self(*words)
        assert (answer.status, answer.err) == (0, ""), answer
        return answer

    def document(self, *words: Any) -> Any:
        return self.done(*words, "--json").document

    def refusal(self, *words: Any, status: int = 2) -> str:
        """The one sentence by which a command refuses; nothing stands on stdout."""
        answer = self(*words)
        assert answer.status == status and answer.out == "", answer
        (line,) = answer.err.splitlines()
        assert line.startswith("hpo: ") and "Traceback" not in line
        return line.removeprefix("hpo: ")


def loss(config: dict[str, Any]) -> float:
    return float(abs(config["lr"] - 0.01) + config["layers"] / 10)


def deep(config: dict[str, Any]) -> float:
    if config["layers"] > 4:
        raise ValueError("too [deep]")
    return loss(config)


def steps(config: dict[str, Any], report: Any) -> None:
    for step in range(1, 10):
        report(step, loss(config) + 1 / step)


def several(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": config["lr"], "size": 8.0 - config["layers"] + config["lr"]}


def sized(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": loss(config), "size": 8.0 - config["layers"]}


def fails(config: dict[str, Any]) -> float:
    raise ValueError("nothing works")


def build_studies(folder: Path) -> Path:
    """A log for each of NAMES."""
    quiet: dict[str, Any] = {"quiet": True, "catch": ValueError}
    made = {name: folder / f"{name}.db" for name in NAMES}
    hpo.minimize(loss, SPACE, hpo.GP(SPACE, seed=1), 12, log=made["gp"], **quiet)
    hpo.minimize(steps, SPACE, hpo.ASHA(hpo.GP(SPACE, seed=2), max_resource=9), 9, unit="steps", log=made["asha"], **quiet)
    line = hpo.Space(x=hpo.Float(0.0, 1.0))
    pbt = hpo.PBT(hpo.Random(line, seed=1), population=4, generations=3, max_resource=9, truncation=0.4)
    hpo.minimize(Traces(folder / "traces"), line, pbt, unit="steps", log=made["pbt"], **quiet)
    hpo.minimize(several, SPACE, hpo.NSGA2(SPACE, population=4), 12, objectives={"loss": "min", "size": "max"},
                 log=made["front"], **quiet)  # fmt: skip
    hpo.minimize(sized, SPACE, hpo.GP(SPACE, seed=3, constraints={"size": 5.0}), 10, log=made["bounds"], **quiet)
    hpo.minimize(deep, SPACE, hpo.Random(SPACE, seed=4), 8, log=made["failing"], **quiet)
    hpo.minimize(fails, SPACE, hpo.Random(SPACE, seed=5), 3, log=made["none"], **quiet)
    write_json(folder / "space.json", SPACE_JSON)
    write_json(folder / "good.json", {"lr": 0.012, "layers": 1, "norm": "layer"})
    write_json(folder / "bad.json", {"lr": 0.9, "layers": 8, "norm": "rms", "momentum": 0.1})
    return folder


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """For processes: this checkout first."""
    root = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
