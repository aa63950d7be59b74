"""A text as a judge model sees it: its perplexity behind the prompt, with a penalty on repetition.

A text that loops is very likely to most models, so that perplexity alone would reward it (Holtzman et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import torch
import torch.nn.functional as F

from experiments.decoding.metrics import Question, distinct_n
from models.decoding.completer import Completer


@dataclass(frozen=True)
class PerplexityJudge:
    """A metric: minus the logarithm of the perplexity, minus `penalty` times the share of word pairs that are repetitions.

    An empty text is worth what a word drawn evenly from the vocabulary is, so that silence never wins.
    """

    judge: Completer
    penalty: float = 2.0  # nats
    template: str = "{}"  # what the judge reads before the text, with the question in it

    def __call__(self, text: str, question: Question) -> float:
        if not text.strip():
            return -float(torch.log(torch.tensor(float(self.judge.model.config.words))))
        nats = measure_nats(self.judge, self.template.format(question.text), text)
        return -nats - self.penalty * (1 - distinct_n([text], 2))


def measure_nats(judge: Completer, prompt: str, text: str) -> float:
    """Mean nats a token of a text behind a prompt, which must not be empty. What is before the judge's context is not seen.

    Prompt and text are encoded apart, as a text is sampled behind the tokens of its prompt."""
    before, after = (list(judge.tokenizer.encode(part)) for part in (prompt, text))
    if not before or not after:
        raise ValueError("the prompt or the text is empty, but a judge needs at least one token of each")
    ids = torch.tensor([[*before, *after]])[:, -judge.model.config.context :]
    count = min(len(after), ids.size(1) - 1)
    with torch.inference_mode():
        logits = judge.model(ids[:, :-1])[0, -count:]
    return float(F.cross_entropy(logits.float(), ids[0, -count:]))


def perplexity(judge: Completer, prompt: str, text: str) -> float:
    """exp of `measure_nats`."""
    return exp(measure_nats(judge, prompt, text))
