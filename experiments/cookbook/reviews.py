"""Reviews as guide E has them: the texts, a Trainer around a small encoder, what is searched."""

from __future__ import annotations

from typing import Any

import numpy as np
import transformers
from transformers import BertConfig, BertForSequenceClassification, EvalPrediction, Trainer, TrainingArguments

from experiments.cookbook.scale import Reduction
from experiments.sentiment.corpora import read_reviews, read_tweets, reviews_file, tweets_file
from models.classify.alphabet import Alphabet
from models.classify.scores import accuracy, count_confusions, f1_by_class
from models.classify.texts import Labelled, LabelledTexts, split_texts

LENGTH = 128  # characters
MORE = 8  # times as many reviews as a language model has texts: they are short, and have one label each
ONCE: dict[str, Any] = {
    "learning_rate": 2e-5, "num_train_epochs": 3, "seed": 1, "per_device_train_batch_size": 64, "optim": "adamw",
}  # fmt: skip


def suggest_values(trial: Any) -> dict[str, Any]:
    """Transformers' default space, and the optimizer."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 5),
        "seed": trial.suggest_int("seed", 1, 40),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 8, 16, 32, 64]),
        "optim": trial.suggest_categorical("optim", ["sgd", "adamw"]),
    }


def find_tweets() -> list[Labelled]:
    """Positive ones, 1, and others, 0."""
    return [(text, int(label == 2)) for text, label in read_tweets(tweets_file())]


def find_labelled() -> list[Labelled]:
    """Reviews where they are, else tweets."""
    return read_reviews(reviews_file()) if reviews_file().exists() else find_tweets()


def find_corpus(scale: Reduction) -> LabelledTexts:
    """Reviews or tweets: MORE times as many to train on as a language model has, and
    of all a tenth to test."""
    return split_texts(find_labelled(), ("negative", "positive"), (MORE * scale.texts, 0, -(-MORE * scale.texts // 9)))


def make_classifier(corpus: LabelledTexts, scale: Reduction, folder: str) -> Trainer:
    """The guide's Trainer around a small encoder."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    alphabet = Alphabet((text for text, _ in corpus.train), LENGTH)
    shape = BertConfig(
        vocab_size=alphabet.vocabulary, hidden_size=768 // scale.width, intermediate_size=3072 // scale.width,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=LENGTH, pad_token_id=alphabet.filling,
    )  # fmt: skip
    args = TrainingArguments(  # the guide's
        folder, per_device_train_batch_size=64, per_device_eval_batch_size=128, learning_rate=ONCE["learning_rate"], seed=1,
        weight_decay=0.01, eval_strategy="epoch", save_strategy="epoch", save_total_limit=3, load_best_model_at_end=True,
        metric_for_best_model="f1", report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    train, test = ([make_row(alphabet, text, label) for text, label in part] for part in (corpus.train, corpus.test))
    trainer = Trainer(model_init=lambda: BertForSequenceClassification(shape), args=args, train_dataset=train, eval_dataset=test,
                      compute_metrics=compute_scores)  # type: ignore[arg-type]  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def make_row(alphabet: Alphabet, text: str, label: int) -> dict[str, Any]:
    """A text as ids, cut and filled up to LENGTH, where it has characters, and its class."""
    ids = alphabet.encode(text)
    return {"input_ids": ids.tolist(), "attention_mask": (ids != alphabet.filling).astype(int).tolist(), "labels": label}


def compute_scores(found: EvalPrediction) -> dict[str, float]:
    """Accuracy, and F1 of the positive texts."""
    confusions = count_confusions(np.asarray(found.label_ids), np.asarray(found.predictions).argmax(-1), 2)
    return {"accuracy": float(accuracy(confusions)), "f1": float(f1_by_class(confusions)[1])}


def name_texts() -> str:
    """Which texts `find_corpus` finds."""
    return reviews_file().stem if reviews_file().exists() else tweets_file().stem


def score_positive(corpus: LabelledTexts) -> float:
    """F1 on the test texts of always saying "positive"."""
    labels = np.array([label for _, label in corpus.test])
    return float(f1_by_class(count_confusions(labels, np.ones_like(labels), 2))[1])
