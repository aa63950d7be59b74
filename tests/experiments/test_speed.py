"""The comparison of training loops: real processes in turns, judged after equally many steps."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from experiments.speed import __main__ as command
from experiments.speed.duel import Entry, duel
from experiments.speed.judging import CONFIG
from experiments.speed.sizes import STEPS, Size, peak_flops
from experiments.speed.trainer import Trainer
from models.schedule import lr_at

TINY = Size(1, 16, 2, 8, 4, micro=2)


def test_contenders_of_one_shape_learn_alike_and_are_timed_in_turns() -> None:
    entries = [Entry(name, TINY, "cpu", "float32") for name in ("ours", "plain")]
    ours, plain = duel(entries, rounds=2, seconds=0.05, steps=60)
    assert ours["parameters"] == plain["parameters"] and ours["steps"] == plain["steps"] == 60
    assert ours["loss"] == pytest.approx(plain["loss"], rel=0.05)
    for one in (ours, plain):
        assert len(one["rates"]) == 2 and one["steps_a_round"] >= 1 and min(one["rates"]) > 0 and one["first_step"] > 0


def test_a_contender_that_cannot_run_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"nanoGPT: FileNotFoundError: there is no model.py in .*, which should be a checkout"):
        list(duel([Entry("nanoGPT", TINY, "cpu", "float32", tmp_path)], 1, 0.05, 10))
    nothing = CliRunner().invoke(command.app, ["--table", "--results", str(tmp_path / "none.jsonl")])
    assert nothing.exit_code == 0 and nothing.output.startswith("nothing is measured yet")
    for odd in (["--compile", "--device", "cuda"], ["--shakespeare", "--size", "30k"]):
        assert CliRunner().invoke(command.app, odd).exit_code == 2
    arguments = ["--size", "30k", "--nanogpt", str(tmp_path), "--results", str(tmp_path / "speed.jsonl")]
    done = CliRunner().invoke(command.app, arguments)
    assert done.exit_code == 1 and "there is no model.py" in done.output and "Traceback" not in done.output


def test_the_table_shows_ratios_within_a_run_and_a_careless_user_gets_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "speed.jsonl"
    key = {"machine": "NVIDIA H100", "device": "cuda", "precision": "bf16", "size": "1M", "rival": "plain", "compiled": True}
    one = {"parameters": 10**6, "first_step": 1.0, "loss": 2.0, "steps": 60}
    found = [{**one, "name": "ours", "rates": [30.0, 20.0]}, {**one, "name": "plain", "rates": [10.0, 10.0]}]
    file.write_text(json.dumps({**key, "contenders": found}) + "\n")
    printed = CliRunner().invoke(command.app, ["--table", "--results", str(file)])
    assert printed.exit_code == 0 and "2.50 (2.00–3.00)" in printed.output and " % |" in printed.output
    wrong = CliRunner().invoke(command.app, ["--size", "huge"])
    assert wrong.exit_code != 0 and "huge" in wrong.output
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12 and peak_flops("Some CPU") is None


def test_the_trainer_has_the_schedule_of_all() -> None:
    pytest.importorskip("accelerate")
    trainer = Trainer(TINY, "cpu", "float32", compiled=False)
    rates = []
    for step in (0, 1, 199):
        trainer.steps(step + 1 - sum(n for n, _ in rates))
        (group, *_) = trainer.trainer.optimizer.param_groups
        rates.append((step + 1 - sum(n for n, _ in rates), group["lr"]))
    for (_, rate), step in zip(rates, (1, 2, 200), strict=True):  # what the next step will have
        assert rate == pytest.approx(lr_at(step, STEPS, CONFIG))


def test_the_command_measures_a_duel_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, asked = tmp_path / "speed.jsonl", []

    def answer(entries: list[Entry], rounds: int, seconds: float, steps: int) -> list[dict[str, Any]]:
        asked.append([entry.name for entry in entries])
        found = {"parameters": 10, "first_step": 1.0, "loss": 2.0, "steps": steps}
        return [{**found, "name": entry.name, "rates": [10.0 + i] * rounds} for i, entry in enumerate(entries)]

    monkeypatch.setattr(command, "duel", answer)
    for arguments in (["--size", "30k"], ["--size", "30k"], ["--size", "30k", "--compile"]):
        done = CliRunner().invoke(command.app, [*arguments, "--results", str(file)])
    three = ["ours", "plain", "trainer"]
    assert asked == [[*three, "ours tanh", "trainer tanh"], [f"{name} compile" for name in three]]
    assert done.output.count("| cpu float32 | 30k |") == 8 and done.output.count("0.91 (0.91–0.91)") == 2, "10 / 11 in both duels"
    assert len(file.read_text().splitlines()) == 2 and "older than the code" not in done.output


def test_the_page_shows_what_was_measured() -> None:
    page = (command.RESULTS.parents[2] / "experiments" / "README.md").read_text()
    assert command.speed_report(command.open_speed(command.RESULTS)) in page
