"""The mean quality of what a model writes, as an objective over prompts and decoding parameters. Imports no torch.

    objective = DecodingObjective(model, questions, write_prompt, list_f1)
    hpo.maximize(objective, space, "gp", trials=30, unit="questions", horizon=24)

It is a Run in the unit of questions: a scheduler may judge a configuration by the first few, and goes on from there. Sampling is
noisy. What is written depends on the trial's seed, so that replicates of a configuration are other texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.decoding.metrics import Metric, Question, distinct_n
from models.decoding.completion import CompletionModel
from models.decoding.parameters import DecodingParameters, split_decoding
from models.seeds import mix

Write = Callable[[Mapping[str, Any], Question], str]


@dataclass(frozen=True)
class DecodingObjective:
    """A factory of Runs: (config, seed, horizon) -> DecodingRun.

    model       what completes prompts, here or at an endpoint
    questions   at least `horizon` of them, judged in this order
    write       makes the prompt of a question by the part of the configuration that does not say how to decode
    metric      quality of a text, higher is better
    fixed       decoding parameters that a configuration does not have, such as a stop text
    replicates  completions of every question, with a seed each; where temperature is 0 there is one
    """

    model: CompletionModel
    questions: Sequence[Question]
    write: Write
    metric: Metric
    fixed: Mapping[str, Any]
    replicates: int = 1

    def __call__(self, config: Mapping[str, Any], seed: int, horizon: int) -> DecodingRun:
        if horizon > len(self.questions):
            raise ValueError(f"the horizon is {horizon} questions, but there are {len(self.questions)}")
        return DecodingRun(self, config, seed)


class DecodingRun:
    """A Run: `until` is the number of questions that were judged."""

    def __init__(self, objective: DecodingObjective, config: Mapping[str, Any], seed: int) -> None:
        self.objective, self.seed = objective, seed
        self.parameters, self.rest = split_decoding({**objective.fixed, **config})
        self.texts: list[list[str]] = []  # of each question so far, one or `replicates`

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        """Answers the questions up to `until`. Metrics: value, the share of different words and word pairs."""
        new = self.objective.questions[len(self.texts) : until]
        self.texts += complete_questions(self.objective, self.parameters, self.rest, new, self.seed)
        asked = zip(self.objective.questions, self.texts, strict=False)
        scores = [mean(self.objective.metric(text, question) for text in texts) for question, texts in asked]
        every = [text for texts in self.texts for text in texts]
        return {"value": mean(scores), "distinct_1": distinct_n(every, 1), "distinct_2": distinct_n(every, 2)}, []

    def save(self, path: str) -> None:
        """Writes the texts so far."""
        Path(path).write_text(json.dumps(self.texts), encoding="utf-8")

    def load(self, path: str) -> None:
        """Goes on behind the texts that were saved."""
        self.texts = json.loads(Path(path).read_text(encoding="utf-8"))


def complete_questions(
    objective: DecodingObjective, parameters: DecodingParameters, rest: Mapping[str, Any], questions: Sequence[Question],
    seed: int,
) -> list[list[str]]:  # fmt: skip
    """The texts of each question: `replicates`, or one where no chance is left."""
    times = 1 if parameters.temperature == 0 else objective.replicates
    prompts = [objective.write(rest, question) for question in questions for _ in range(times)]
    seeds = [mix(seed, time) for _ in questions for time in range(times)]
    found = [one.text or "" for one in objective.model.complete(prompts, parameters, seeds)]
    return [found[first : first + times] for first in range(0, len(found), times)]
