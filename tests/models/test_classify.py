"""Classification: texts of a CSV file, a GPT with a head under the laws of a Run, scores beside scikit-learn's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.classify.run import ClassifyRun, EncodedTexts, classify, score_logits
from models.classify.texts import LabelledTexts, read_labelled, read_parts, split_texts
from models.config import GPTConfig
from models.snapshots import Snapshots
from tests.models.laws import RunLaws

torch.set_num_threads(1)
TINY: dict[str, Any] = {"layers": 1, "hidden": 16, "heads": 2, "context": 12, "batch": 4, "lr": 1e-2, "warmup": 3, "dropout": 0.1}


def make_texts() -> LabelledTexts:
    """Words that a letter tells apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80).tolist()
    texts = [("".join(rng.choice(list(("ab", "xy")[label] + "cdef"), 8)), label) for label in labels]
    return split_texts(texts, ("no", "yes"), (50, 15, 15))


DATA = EncodedTexts(make_texts(), 12)


def make(overrides: Mapping[str, Any], horizon: int = 96, folder: Path | None = None) -> ClassifyRun:
    return ClassifyRun({**TINY, **overrides}, 0, horizon, DATA, folder)


class TestClassifyRun(RunLaws):
    horizon, half = 96, 24
    busy = {"eval_every": 2, "patience": 30}

    def make(self, overrides: Mapping[str, Any]) -> ClassifyRun:
        return make(overrides)


def test_it_learns_and_says_by_what_it_is_judged() -> None:
    metrics, curve = make({"eval_every": 10}, 60).advance(60)
    assert metrics["accuracy"] > 0.9 and metrics["macro_f1"] > 0.9 and metrics["steps"] == 60
    assert [step for step, _ in curve] == [10, 20, 30, 40, 50, 60] and curve[-1][1] == metrics["loss"]


def test_epochs_are_its_own_length() -> None:
    run = make({"epochs": 2.0})
    assert run.advance(96)[0]["steps"] == 2 * 13  # 50 texts: 13 batches, the last of two
    rows = torch.cat([run.draw_batch()[0] for run.step in range(13)])
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, DATA.train[0].tolist()))  # each text once an epoch
    assert make({"epochs": 2.0, "data_fraction": 0.5}).whole == 2 * 7


@pytest.mark.parametrize("metric", ["loss", "accuracy", "macro_f1", "f1"])
def test_patience_reads_any_metric(metric: str) -> None:
    run = make({"lr": 0.0, "eval_every": 2, "patience": 3, "stop_metric": metric})
    assert run.advance(96)[0]["steps"] == 8  # the first is better than none, three are not


def test_the_best_by_a_metric_that_is_to_rise_stays(tmp_path: Path) -> None:
    run = make({"eval_every": 4, "save_every": 4, "keep": 1, "stop_metric": "macro_f1"}, 40, tmp_path)
    run.advance(40)
    kept, best = Snapshots(tmp_path), Snapshots(tmp_path).best()
    assert best is not None and len(kept.list_steps()) in (1, 2) and 40 in kept.list_steps()
    heir = make({}, 40)
    heir.load(best)
    assert heir.evaluate()["macro_f1"] == pytest.approx(float(best.stem.rpartition("-")[2]), rel=1e-5)


def test_scores_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    torch.manual_seed(0)
    logits, labels = torch.randn(200, 3), torch.randint(0, 3, (200,))
    texts = LabelledTexts(("a", "b", "c"), (), (), (), "b")
    found, guess = score_logits(logits, labels, texts), logits.argmax(-1).numpy()
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, guess))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, guess, average="macro"))
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, guess, labels=[1], average="macro"))
    assert found["loss"] == pytest.approx(metrics.log_loss(labels, logits.softmax(-1).numpy()), rel=1e-5)


def test_the_filling_is_not_read() -> None:
    model = DATA.make_model(GPTConfig(**{name: TINY[name] for name in ("layers", "hidden", "heads", "context")}), 1)
    torch.nn.init.normal_(model.verdict.weight)
    short, long = EncodedTexts(DATA.texts, 12), EncodedTexts(DATA.texts, 10)
    one, other = (classify(model, data.encode([("abc", 0)])[0]) for data in (short, long))
    torch.testing.assert_close(one, other)


def test_a_csv_is_read_and_empty_rows_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    rows = ['label,text', 'good,"a, ""fine"" day"', ",lost", "bad,", "", "bad,rain", 'good,"two\nlines"', "bad"]
    path.write_text("\n".join(rows), encoding="utf-8")
    assert read_labelled(path) == ([('a, "fine" day', 1), ("rain", 0), ("two\nlines", 1)], ("bad", "good"))
    path.write_text("label,text\n" + "\n".join(f"{i % 2},text {i}" for i in range(40)), encoding="utf-8")
    parts = read_parts(path)
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [32, 4, 4] and parts.positive == "1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("label,words\n1,a\n0,b", "has no column 'text'; its columns are label, words"), ("", "has no column 'text'"),
     ("label,text\n1,a\n1,b", r"has the classes \('1',\), but at least two are needed")],
)  # fmt: skip
def test_a_csv_that_is_none_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        read_labelled(tmp_path / "texts.csv")


@pytest.mark.parametrize("share", [0, 0.5, 0.6, -0.1, float("nan")])
def test_parts_that_would_overlap_or_be_empty_are_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("label,text\n" + "\n".join(f"{i % 2},text {i}" for i in range(10)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"share is .*, but must be above 0 and below 0\.5"):
        read_parts(path, share=share)
    parts = read_parts(path, share=0.4)
    every = [text for part in (parts.train, parts.valid, parts.test) for text, _ in part]
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [2, 4, 4] and len({*every}) == 10


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"label,text\n1,a\n0,b\n", "has 2 labelled texts, but at least 3 are needed for three parts"),
     ("label,text\n1,caf\xe9\n0,b\n".encode("latin-1"), "is no CSV file in UTF-8: .* byte 0xe9"),
     (b"label,text\n1," + b"a" * 200_000 + b"\n0,b\n0,c\n", "is no CSV file in UTF-8: field larger than field limit")],
    ids=["few", "latin", "huge"],
)  # fmt: skip
def test_a_file_that_cannot_be_parted_is_refused(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_parts(tmp_path / "texts.csv")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [({"ema": 0.9}, "ema is 0.9, but a classifier does not read it; allowed is 0.0"),
     ({"stop_metric": "perplexity"}, "stop_metric is 'perplexity', but a classifier has loss, accuracy, macro_f1, f1"),
     ({"data_fraction": 0.001}, "data_fraction is 0.001, which leaves none of 50 texts"),
     ({"context": 8}, "context is 8, but the texts were encoded with 12"), ({"save_every": 5}, "no folder was given")],
)  # fmt: skip
def test_what_a_classifier_does_not_read_is_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(config)


def test_parts_and_texts_that_are_empty_are_refused() -> None:
    empty = EncodedTexts(split_texts([("a", 0), ("b", 1), ("", 1)], ("no", "yes"), (3, 0, 0)), 12)
    with pytest.raises(ValueError, match=r"text . is empty, so that it has nothing"):
        _ = empty.train
    with pytest.raises(ValueError, match="a part of the texts is empty, but must have at least one text"):
        _ = empty.valid


def test_what_diverged_is_not_the_best(tmp_path: Path) -> None:
    run = make({"eval_every": 2, "save_every": 2, "lr": 1e30, "clip": 0.0, "warmup": 0}, 8, tmp_path)
    run.advance(8)
    assert run.diverged and Snapshots(tmp_path).best() is None
