"""The table of arms, differences with intervals, and the claim.

    S seeds of an arm, Q questions held out, D draws
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np

from experiments.ledger.claims import Claim, Verdict
from experiments.ledger.markdown import markdown_table

ARMS = ("greedy", "default", "GP")
DRAWS = 10_000
Scores = Mapping[str, np.ndarray]  # (S, Q) by arm


def scores_by_arm(lines: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """(S, Q) of each arm that has lines."""
    found = {arm: [line["scores"] for line in lines if line["arm"] == arm] for arm in ARMS}
    return {arm: np.array(scores) for arm, scores in found.items() if scores}


def draw_means(scores: Scores) -> dict[str, np.ndarray]:
    """(D,) means of each arm over drawn questions, the same for all arms, and, independently, drawn seeds of its own."""
    rng, questions = np.random.default_rng(0), next(iter(scores.values())).shape[1]
    drawn = np.stack([np.bincount(row, minlength=questions) for row in rng.integers(questions, size=(DRAWS, questions))])
    means = {}
    for arm, each in scores.items():
        by_seed = drawn @ each.T / questions  # (D, S)
        means[arm] = by_seed[np.arange(DRAWS)[:, None], rng.integers(len(each), size=(DRAWS, len(each)))].mean(1)
    return means


def percentile_interval(draws: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval."""
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return low, high


def better_baseline(scores: Scores) -> str:
    """Of greedy and default the one with the higher mean on the questions held out."""
    return max(("greedy", "default"), key=lambda arm: float(scores[arm].mean()))


def judge_decoding(lines: Sequence[Mapping[str, Any]]) -> Verdict:
    """Holds if the interval of the difference from the better baseline is above 0, and no more word pairs come again."""
    scores = scores_by_arm(lines)
    if {*scores} != {*ARMS}:
        return Verdict(None, f"lines of {', '.join(arm for arm in ARMS if arm not in scores)} are missing")
    other, draws = better_baseline(scores), draw_means(scores)
    low, high = percentile_interval(draws["GP"] - draws[other])
    gain = float(scores["GP"].mean() - scores[other].mean())
    distinct = {arm: mean(line["distinct_2"] for line in lines if line["arm"] == arm) for arm in ("GP", other)}
    pairs = f"different word pairs {100 * distinct['GP']:.0f} % and {100 * distinct[other]:.0f} %"
    holds = low > 0 and distinct["GP"] >= distinct[other]
    return Verdict(holds, f"F1 {gain:+.3f} [{low:+.3f}, {high:+.3f}] beside {other}; {pairs}")


CLAIM = Claim(
    "Decoding parameters that were tuned together with the prompt write better lists on topics held out than the better of "
    "greedy and default decoding, each with its best prompt, and do not repeat themselves more",
    judge_decoding,
)


def decoding_tables(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row of each arm, a row of each difference, and what GP chose."""
    scores = scores_by_arm(lines)
    draws = draw_means(scores)
    rows = []
    for arm, each in scores.items():
        low, high = percentile_interval(draws[arm])
        of = [line for line in lines if line["arm"] == arm]
        cells = [f"{mean(line[name] for line in of):.2f}" for name in ("right", "items", "distinct_1", "distinct_2", "value")]
        cost = [f"{mean(line[name] for line in of):.0f}" for name in ("evaluations", "seconds")]
        rows.append([arm, len(each), f"{each.mean():.3f} [{low:.3f}, {high:.3f}]", *cells, *cost])
    head = ["arm", "seeds", "F1, held out", "right", "items", "distinct-1", "distinct-2", "F1, search", "evaluations", "CPU s"]
    pairs = []
    for other in ("greedy", "default"):
        if other in scores and "GP" in scores:
            low, high = percentile_interval(draws["GP"] - draws[other])
            pairs.append([f"GP less {other}", f"{scores['GP'].mean() - scores[other].mean():+.3f} [{low:+.3f}, {high:+.3f}]"])
    chosen = [[line["arm"], line["seed"], describe_config(line["config"])] for line in lines]
    parts = [markdown_table(head, rows), markdown_table(["arms", "F1, held out"], pairs) if pairs else "",
             markdown_table(["arm", "seed", "chosen"], chosen)]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def describe_config(config: Mapping[str, Any]) -> str:
    """`template topic, temperature 0.31`."""
    return ", ".join(f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}" for name, value in config.items())
