"""The tables and sentences: scores with intervals, ours less the others, and which models have learned nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from experiments.ledger.markdown import markdown_table
from experiments.sentiment.arms import ARMS
from experiments.sentiment.corpora import CORPORA
from experiments.sentiment.scores import ScoreDraws, draw_scores, learned_nothing, read_outcomes
from hpo.values import quantity

Lines = Mapping[tuple[str, str], Mapping[int, Any]]  # by task and arm, then by seed
PAIRS = (("Optuna", "default"), ("GP", "default"), ("ASHA(GP)", "default"), ("GP", "Optuna"), ("ASHA(GP)", "Optuna"),
         ("ASHA(GP)", "GP"))  # fmt: skip
ENOUGH = 2  # seeds that a comparison needs


def sentiment_tables(lines: Sequence[Mapping[str, Any]]) -> str:
    """All that the lines say."""
    by: dict[tuple[str, str], dict[int, Any]] = {}
    for line in lines:
        by.setdefault((line["task"], line["arm"]), {})[line["seed"]] = line
    parts = [tabulate_arms(by), tabulate_effort(by), tabulate_pairs(by), "\n".join(list_failures(by))]
    return "\n\n".join(part for part in parts if part)


def outcomes_of(lines: Mapping[int, Any], seeds: Sequence[int]) -> np.ndarray:
    """(S, N)."""
    return np.stack([read_outcomes(lines[seed]["outcomes"]) for seed in seeds])


def draws_of(lines: Mapping[int, Any], seeds: Sequence[int]) -> ScoreDraws:
    one = lines[seeds[0]]
    return draw_scores(outcomes_of(lines, seeds), len(one["classes"]), one["positive"])


def arms_there(by: Lines) -> Iterator[tuple[str, str]]:
    return ((task, arm) for task, arm in itertools.product(CORPORA, ARMS) if (task, arm) in by)


def tabulate_arms(by: Lines) -> str:
    rows = []
    for task, arm in arms_there(by):
        lines = by[task, arm]
        found = draws_of(lines, sorted(lines))
        cells = [f"{found.means[score]:.3f} [{low:.3f}, {high:.3f}]" for score in ("macro_f1", "accuracy", "f1")
                 for low, high in [found.interval(score)]]  # fmt: skip
        nothing = "" if arm == "majority" else f"{sum(why is not None for why in verdicts(lines).values())} of {len(lines)}"
        rows.append([task, arm, len(lines), *cells, nothing])
    return markdown_table(["task", "arm", "seeds", "macro-F1", "accuracy", "F1 of positive", "learned nothing"], rows)


def tabulate_effort(by: Lines) -> str:
    """Medians over seeds of what was done, and of the score on the validation texts."""
    rows = []
    for task, arm in arms_there(by):
        lines = [line for line in by[task, arm].values() if "best" in line]
        if lines:
            counts = [[line["configurations"] for line in lines], [len(line["evaluations"]) for line in lines]]
            steps, seconds = median(line["steps"] for line in lines), median(line["seconds"] for line in lines)
            valid = median(line["best"]["score"] for line in lines)
            cost = median(1000 * line["seconds"] / line["steps"] for line in lines)
            rows.append([task, arm, *(f"{median(one):.0f}" for one in counts), f"{steps:.0f}", f"{seconds:.0f}", f"{cost:.0f}",
                         f"{valid:.3f}"])  # fmt: skip
    head = ["task", "arm", "configurations", "evaluations", "steps", "CPU s", "ms a step, all in", "validation macro-F1"]
    return markdown_table(head, rows) if rows else ""


def tabulate_pairs(by: Lines) -> str:
    """Macro-F1 of one arm less another's, over the seeds that both have."""
    rows = []
    for task, (arm, other) in itertools.product(CORPORA, PAIRS):
        mine, others = by.get((task, arm), {}), by.get((task, other), {})
        seeds = sorted({*mine} & {*others})
        if len(seeds) >= ENOUGH:
            mean, low, high = draws_of(mine, seeds).difference(draws_of(others, seeds))
            rows.append([task, f"{arm} less {other}", len(seeds), f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"])
    return markdown_table(["task", "arms", "seeds", "macro-F1"], rows) if rows else ""


def verdicts(lines: Mapping[int, Any]) -> dict[int, str | None]:
    """By seed, why the model has learned nothing; None where it has learned something."""
    return {seed: learned_nothing(outcomes_of(lines, [seed]), len(line["classes"]), line["majority"])
            for seed, line in sorted(lines.items())}  # fmt: skip


def list_failures(by: Lines) -> Iterator[str]:
    """A sentence for every arm of which some models, or all of them together, have learned nothing."""
    for task, arm in arms_there(by):
        lines = by[task, arm]
        if arm == "majority":
            continue
        seeds = [seed for seed, why in verdicts(lines).items() if why is not None]
        one = lines[min(lines)]
        whole = learned_nothing(outcomes_of(lines, sorted(lines)), len(one["classes"]), one["majority"])
        if seeds:
            which = ", ".join(map(str, seeds))
            yield f"{task}, {arm}: {len(seeds)} of {quantity(len(lines), 'models')} learned nothing (seeds {which})"
        if whole is not None:
            yield f"{task}, {arm}: LEARNED NOTHING over all seeds: {whole}"
