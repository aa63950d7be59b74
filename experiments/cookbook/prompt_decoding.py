"""A prompt and decoding parameters by random search, 30 trials (guide D, 3): mean quality over test prompts.

Temperature and top_p of 0.1 to 1, 100 to 1000 tokens (divided as steps are, so 4 to 40), penalties of 0 to 2, and what
stands before a prompt. The model is a small GPT of this text; quality is ROUGE-1 with the line's own next words. Beside default
and greedy decoding; the value is of lines that the search has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hpo
from experiments.cookbook.gpt import advance_training, start_training
from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import DEFAULT
from experiments.cookbook.text import find_text, load_parts, load_stream
from experiments.decoding.metrics import Question, rouge_1
from experiments.decoding.objective import DecodingObjective
from models.decoding.completer import Completer

RANGES: dict[str, Any] = {
    "before": ["", "\n", "= = "], "temperature": (0.1, 1.0), "top_p": (0.1, 1.0), "max_tokens": hpo.Int(100, 1000),
    "frequency_penalty": (0.0, 2.0), "presence_penalty": (0.0, 2.0),
}  # fmt: skip
USUAL: Mapping[str, Any] = {"before": "", "max_tokens": 550, "temperature": 1.0}
STEPS, PROMPTS, WORDS = 2000, 16, 8  # of training, in the guide's; to search with, and twice as many to try; of a prompt


def prompt_decoding(scale: Reduction) -> Outcome:
    run = start_training({**DEFAULT, "lr": 1e-3, "batch_size": 32}, scale, STEPS)
    advance_training(run, scale, STEPS)
    lines = [words for line in load_parts(find_text())[1] if len(words := line.split()) >= 3 * WORDS // 2][: 3 * PROMPTS]
    asked = [Question(" ".join(words[:WORDS]), (" ".join(words[WORDS : 4 * WORDS]),)) for words in lines]
    def measure(config: Mapping[str, Any], part: list[Question] = asked[:PROMPTS]) -> float:
        model = Completer(run.model, load_stream())
        objective = DecodingObjective(model, part, lambda rest, one: rest["before"] + one.text, rouge_1, {}, 4)
        small = {**config, "max_tokens": scale.count_steps(config["max_tokens"])}
        return objective(small, scale.seed, len(part)).advance(len(part))[0]["value"]
    trials = scale.count_trials(30)
    study = hpo.maximize(lambda config: measure(config), RANGES, "random", trials, seed=scale.seed, quiet=True)
    best, *beside = (measure(one, asked[PROMPTS:]) for one in (study.best.config, USUAL, {**USUAL, "temperature": 0.0}))
    facts = {"best": format_config(study.best.config), "while searching": f"{study.best.value:.4f}"}
    return Outcome("ROUGE-1", best, dict(zip(("default", "greedy"), beside, strict=True)), is_higher_better=True, facts=facts)
