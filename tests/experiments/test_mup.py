"""The coordinate check as a test: under mup activations change equally at every width; and how a best rate is found."""

import json
from math import nan
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from experiments import mup
from tests.models.tiny import CORPUS

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("optimizer", "widest", "standard"),  # the slope of logits under the standard parametrisation, at least
    [
        ("adamw", 1024, 0.5), ("lion", 1024, 0.5), pytest.param("muon", 512, 0.4, marks=pytest.mark.slow),
        pytest.param("muon", 1024, 0.5, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_coordinates_are_flat_under_mup(optimizer: str, widest: int, standard: float) -> None:
    more = {"optimizer": optimizer, "context": 16, "batch": 2} | ({"lr": 2.0**-9} if optimizer == "lion" else {})
    widths = (64, 256, widest)
    found = {
        name: mup.width_slopes([{"width": w, "changes": mup.activation_changes(name, w, 0, CORPUS, more)} for w in widths])
        for name in ("standard", "mup")
    }
    for part in ("first block", "last block", "logits"):
        assert abs(found["mup"][part]) < 0.25, (part, found)
    assert found["standard"]["logits"] > standard, found


def test_changes_keep_their_size_over_depth_under_mup() -> None:
    more = {"context": 16, "batch": 2, "base_layers": 2}
    sizes = [mup.activation_changes("mup", 64, 0, CORPUS, {**more, "layers": layers})["logits"] for layers in (2, 4, 16)]
    assert max(sizes) < 1.6 * min(sizes), sizes


def test_the_best_rate_is_the_lowest_point_of_a_parabola() -> None:
    losses = {2.0**k: (k + 5.3) ** 2 for k in range(-9, -1)}
    assert mup.best_rate(losses) == pytest.approx(2**-5.3)
    assert mup.best_rate({0.1: 1.0, 0.2: 2.0, 0.4: 3.0}) == 0.1
    assert mup.best_rate({0.1: 3.0, 0.2: 2.0, 0.4: float("nan")}) == 0.2


def test_the_command_measures_and_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mup.jsonl"
    calls: list[float] = []
    monkeypatch.setattr(mup, "mup_corpus", lambda: CORPUS)
    monkeypatch.setattr(
        mup, "short_loss", lambda name, width, lr, seed, _: calls.append(lr) or (nan if lr > 0.1 else abs(lr - 2.0**-6) + seed)
    )
    monkeypatch.setattr(mup, "activation_changes", lambda name, width, seed, _: {"logits": width / 64})
    for _ in range(2):
        done = CliRunner().invoke(mup.app, ["--results", str(file)])
    assert done.exit_code == 0 and "| standard | +1.00 |" in done.output and "0.00 octaves" in done.output
    rates = [line for line in map(json.loads, file.read_text().splitlines()) if line["kind"] == "rate"]
    assert len(calls) == len(rates) and {line["loss"] for line in rates if line["lr"] > 0.1} == {None}
    told = CliRunner().invoke(mup.app, ["--table", "--results", str(tmp_path / "none.jsonl")])
    assert told.exit_code == 0 and told.output.startswith("nothing is measured yet")
    file.write_text(file.read_text().splitlines()[0] + "\n")
    assert "no parametrisation has both" in CliRunner().invoke(mup.app, ["--table", "--results", str(file)]).output


def test_the_page_shows_what_was_measured() -> None:
    page = (mup.RESULTS.parents[2] / "models" / "README.md").read_text()
    ledger = mup.open_mup(mup.RESULTS)
    assert len(ledger.latest()) == len(ledger.measurements) == sum(1 for _ in mup.RESULTS.open())
    *_, rates, losses = mup.mup_tables(ledger).split("\n\n")
    for table in (rates, losses):
        assert table in page, table
