"""Prompts that ask for a list: a template and the examples in it, as two choices of a space."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from experiments.decoding.metrics import Question

# A template: what stands before all, a question with its answer, and what parts them. An answer ends its line.
TEMPLATES: Mapping[str, str] = {
    "topic": "Topic: {topic}\nList: {answer}\n",
    "question": "Question: Name ten {topic}.\nAnswer: {answer}\n",
    "chat": "<|im_start|>user\nName ten {topic}, in one line.<|im_end|>\n<|im_start|>assistant\n{answer}\n<|im_end|>\n",
}
SHORT = {
    "seasons of the year": "spring, summer, autumn, winter",
    "continents": "Africa, Antarctica, Asia, Australia, Europe, North America, South America",
    "days of the week": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday",
}
LONG = {
    "Greek letters": "alpha, beta, gamma, delta, epsilon, zeta, eta, theta, iota, kappa",
    "materials": "wood, glass, plastic, concrete, paper, leather, cotton, wool, rubber, ceramic",
    "school supplies": "backpack, ruler, glue, scissors, calculator, folder, stapler, tape, compass, binder",
}
EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "short": SHORT, "long": LONG, "both": dict(pair for pairs in zip(SHORT.items(), LONG.items(), strict=True) for pair in pairs),
}  # fmt: skip
PROMPTS: list[dict[str, str]] = [
    {"template": template, "examples": examples} for template, examples in product(TEMPLATES, EXAMPLES)
]


def write_prompt(config: Mapping[str, Any], question: Question) -> str:
    """The examples of a configuration, and the question without its answer."""
    template = TEMPLATES[config["template"]]
    shown = [template.format(topic=topic, answer=answer) for topic, answer in EXAMPLES[config["examples"]].items()]
    asked = template.partition("{answer}")[0].format(topic=question.text)
    return "\n".join([*shown, asked.rstrip(" ")])
