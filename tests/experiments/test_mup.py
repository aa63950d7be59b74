"""The coordinate check as a test: under mup activations change equally at every width; and how a best rate is found."""

import json
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
        ("adamw", 1024, 0.5), ("lion", 1024, 0.5), ("muon", 512, 0.4),
        pytest.param("muon", 1024, 0.5, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_coordinates_are_flat_under_mup(optimizer: str, widest: int, standard: float) -> None:
    more = {"optimizer": optimizer, "context": 16, "batch": 2} | ({"lr": 2.0**-9} if optimizer == "lion" else {})
    widths = (64, 256, widest)
    found = {
        name: mup.slopes([{"width": w, "changes": mup.changes(name, w, 0, CORPUS, more)} for w in widths])
        for name in ("standard", "mup")
    }
    for part in ("first block", "last block", "logits"):
        assert abs(found["mup"][part]) < 0.25, (part, found)
    assert found["standard"]["logits"] > standard, found


def test_changes_keep_their_size_over_depth_under_mup() -> None:
    more = {"context": 16, "batch": 2, "base_layers": 2}
    sizes = [mup.changes("mup", 64, 0, CORPUS, {**more, "layers": layers})["logits"] for layers in (2, 4, 16)]
    assert max(sizes) < 1.6 * min(sizes), sizes


def test_the_best_rate_is_the_lowest_point_of_a_parabola() -> None:
    losses = {2.0**k: (k + 5.3) ** 2 for k in range(-9, -1)}
    assert mup.best_rate(losses) == pytest.approx(2**-5.3)
    assert mup.best_rate({0.1: 1.0, 0.2: 2.0, 0.4: 3.0}) == 0.1
    assert mup.best_rate({0.1: 3.0, 0.2: 2.0, 0.4: float("nan")}) == 0.2


def test_the_command_prints_what_was_recorded_and_measures_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mup.jsonl"
    told = CliRunner().invoke(mup.app, ["--table", "--results", str(file)])
    assert told.exit_code == 1 and "no results yet" in told.output
    calls = []
    monkeypatch.setattr(mup, "text", lambda: CORPUS)
    monkeypatch.setattr(mup, "loss", lambda name, width, lr, seed, _: calls.append(lr) or abs(lr - 2.0**-6) + seed)
    monkeypatch.setattr(mup, "changes", lambda name, width, seed, _: {"logits": width / 64})
    for _ in range(2):
        done = CliRunner().invoke(mup.app, ["--results", str(file)])
    assert done.exit_code == 0 and "| standard | +1.00 |" in done.output and "0.00 octaves" in done.output
    assert len(calls) == len([line for line in map(json.loads, file.read_text().splitlines()) if line["kind"] == "rate"])


def test_the_page_shows_what_was_measured() -> None:
    page = (mup.RESULTS.parents[2] / "models" / "README.md").read_text()
    *_, rates, losses = mup.tables(mup.recorded(mup.RESULTS)).split("\n\n")
    for table in (rates, losses):
        assert table in page, table
