"""A training by itself: checkpoints every so many steps, of which the newest stay, and the best; perplexity and accuracy."""

from __future__ import annotations

from math import exp
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from models.config import split
from models.snapshots import Snapshots
from tests.models.laws import timeless
from tests.models.tiny import STEP, make

torch.set_num_threads(1)
SAVING = {"save_every": 10, "eval_every": 5}


def test_saving_changes_no_bit_and_each_file_goes_on(tmp_path: Path) -> None:
    plain = make({"eval_every": 5})
    expected = plain.advance(60 * STEP)
    run = make(SAVING, folder=tmp_path)
    assert timeless(run.advance(60 * STEP)) == timeless(expected)
    assert list(run.snapshots.list_steps()) == [10, 20, 30, 40, 50, 60]  # type: ignore[union-attr]
    for step, path in run.snapshots.list_steps().items():  # type: ignore[union-attr]
        again = make({"eval_every": 5})
        again.load(path)
        assert again.steps == step and timeless(again.advance(60 * STEP))[0] == timeless(expected)[0]


def test_the_newest_stay_and_the_best(tmp_path: Path) -> None:
    run = make({**SAVING, "keep": 2, "lr": 3e-3}, folder=tmp_path)
    _, curve = run.advance(60 * STEP)
    losses = {place // STEP: loss for place, loss in curve}
    best = min((losses[step], step) for step in range(10, 61, 10))[1]
    kept = Snapshots(tmp_path)
    assert list(kept.list_steps()) == sorted({50, 60, best})
    assert kept.newest() == kept.list_steps()[60] and kept.best() == kept.list_steps()[best]


def test_the_best_stays_however_old_it_is(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, keep=1)
    for step, value in enumerate((0.3, 0.9, 0.5, 0.4), 1):
        kept.add(step, "accuracy", value, lambda path: path.touch())
    assert list(kept.list_steps()) == [2, 4]
    kept.add(5, "accuracy", None, lambda path: path.touch())
    assert list(kept.list_steps()) == [2, 5] and kept.best() == kept.list_steps()[2]


def test_a_folder_without_files_has_none(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path / "none")
    assert kept.newest() is None and kept.best() is None and kept.list_steps() == {}


def test_what_cannot_be_saved_is_refused() -> None:
    with pytest.raises(ValueError, match="save_every is 10, but no folder was given"):
        make({"save_every": 10})
    with pytest.raises(ValueError, match="save_every is 7, but must be a multiple of eval_every, which is 5"):
        split({"save_every": 7, "eval_every": 5})
    with pytest.raises(ValueError, match="stop_metric is 'f1', but a language model has loss, perplexity, accuracy"):
        make({"stop_metric": "f1"})


def test_perplexity_and_accuracy_are_those_of_the_loss_s_tokens() -> None:
    run = make({})
    metrics, _ = run.advance(20 * STEP)
    assert metrics["perplexity"] == pytest.approx(exp(metrics["loss"]), rel=1e-12)
    right = count = 0
    total = 0.0
    with torch.no_grad():
        for ids, targets in zip(run.validation.ids.split(run.validation.chunk), run.validation._targets(), strict=True):
            logits = run.model(ids[:, :-1])
            counted = targets != -100
            right += int((logits.argmax(-1)[counted] == targets[counted]).sum())
            total += float(F.cross_entropy(logits[counted], targets[counted], reduction="sum"))
            count += int(counted.sum())
    assert metrics["accuracy"] == right / count and 0 < metrics["accuracy"] < 1
    assert metrics["loss"] == pytest.approx(total / count, rel=1e-6)


def test_patience_may_ask_for_more_and_for_accuracy() -> None:
    """Losses that fall by less than `min_delta` are no better; accuracy is to rise."""
    steady = make({"eval_every": 5, "patience": 2, "min_delta": 100.0})
    assert steady.advance(60 * STEP)[0]["steps"] == 15  # the first is better than none
    free = make({"eval_every": 5, "patience": 2, "lr": 1e-3})
    assert free.advance(60 * STEP)[0]["steps"] == 60
    strict = make({"eval_every": 5, "patience": 2, "stop_metric": "accuracy", "min_delta": 0.5, "lr": 1e-3})
    assert strict.advance(60 * STEP)[0]["steps"] == 15
