"""The tables: scores of the test texts, what was done for them, gains with verdicts, what was chosen; and the claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from statistics import median
from typing import Any

from experiments.finetuning.scores import SHOWN, draw_lines, find_gain, measure_of
from experiments.ledger.claims import Claim, Verdict
from experiments.ledger.markdown import markdown_table
from experiments.sentiment.scores import ScoreDraws
from hpo.values import format_value

Line = Mapping[str, Any]
Lines = Mapping[tuple[str, str], Mapping[int, Line]]  # by task and arm, then by seed
PAIRS = (("tuned", "default"), ("LoRA", "default"), ("random", "default"), ("tuned", "random"), ("LoRA", "tuned"))
ENOUGH = 2  # seeds that a comparison needs
CLAIMED = 5  # seeds that a claim needs
# Plain names: a claim's digest covers what its rule names, which must not be the trainings.
NAMES = ("minilm", "smollm2")
ORDER = ("untrained", "whole", "default", "random", "tuned", "LoRA")


def finetuning_tables(lines: Sequence[Line]) -> str:
    """All that the lines say."""
    by = group_lines(lines)
    parts = [tabulate_scores(by), tabulate_work(by), tabulate_gains(by), tabulate_choices(by)]
    return "\n\n".join(part for part in parts if part)


def group_lines(lines: Sequence[Line]) -> dict[tuple[str, str], dict[int, Line]]:
    by: dict[tuple[str, str], dict[int, Line]] = {}
    for line in lines:
        by.setdefault((line["task"], line["arm"]), {})[line["seed"]] = line
    return {key: by[key] for key in product(NAMES, ORDER) if key in by}


def tabulate_scores(by: Lines) -> str:
    rows = []
    for (task, arm), lines in by.items():
        found = draw_lines(lines, sorted(lines))
        rows.append([task, arm, len(lines), *(format_score(found, measure) for measure in SHOWN)])
    return markdown_table(["task", "arm", "seeds", *(f"{name}, held out" for name in SHOWN.values())], rows)


def format_score(found: ScoreDraws, measure: str) -> str:
    """Nothing for a measure that a task does not have."""
    if measure not in found.means:
        return ""
    low, high = found.interval(measure)
    return f"{found.means[measure]:.3f} [{low:.3f}, {high:.3f}]"


def tabulate_work(by: Lines) -> str:
    """Medians over seeds of what was done, and of the best loss on the validation texts."""
    rows = []
    for (task, arm), lines in by.items():
        if all("evaluations" in line for line in lines.values()):
            each = lines.values()
            counts = [median(line["configurations"] for line in each), median(len(line["evaluations"]) for line in each),
                      median(line["steps"] for line in each), median(line["seconds"] for line in each)]  # fmt: skip
            best = [median(line["best"]["steps"] for line in each), f"{median(-line['best']['score'] for line in each):.3f}"]
            rows.append([task, arm, *(f"{count:.0f}" for count in counts), f"{best[0]:.0f}", best[1]])
    head = ["task", "arm", "configurations", "evaluations", "steps", "CPU s", "steps of the best", "its validation loss"]
    return markdown_table(head, rows) if rows else ""


# -- gains -------------------------------------------------------------------------------------------------------------


def list_gains(by: Lines, task: str) -> Iterator[tuple[str, str, int, str, tuple[float, float, float]]]:
    """(arm, other, seeds, measure, gain) of every pair that has enough seeds."""
    for arm, other in PAIRS:
        mine, others = by.get((task, arm), {}), by.get((task, other), {})
        seeds = sorted({*mine} & {*others})
        if len(seeds) >= ENOUGH:
            yield arm, other, len(seeds), measure_of(mine), find_gain(mine, others, seeds, measure_of(mine))


def tabulate_gains(by: Lines) -> str:
    """How much better an arm is than another on the test texts, over the seeds that both have."""
    rows = [[task, f"{arm} beside {other}", seeds, SHOWN[measure], format_gain(gain), name_verdict(gain)]
            for task in NAMES for arm, other, seeds, measure, gain in list_gains(by, task)]  # fmt: skip
    return markdown_table(["task", "arms", "seeds", "measure", "better by", "verdict"], rows) if rows else ""


def format_gain(gain: tuple[float, float, float]) -> str:
    return f"{gain[0]:+.3f} [{gain[1]:+.3f}, {gain[2]:+.3f}]"


def name_verdict(gain: tuple[float, float, float]) -> str:
    """Won where the whole interval is above zero, lost where it is below."""
    return "won" if gain[1] > 0 else "lost" if gain[2] < 0 else "not told apart"


# -- choices -----------------------------------------------------------------------------------------------------------


def tabulate_choices(by: Lines) -> str:
    """The configuration of every best model of a search."""
    searched = ((task, arm, lines) for (task, arm), lines in by.items() if arm in ("random", "tuned", "LoRA"))
    rows = [[task, arm, seed, write_choice(line["best"]["config"])]
            for task, arm, lines in searched for seed, line in sorted(lines.items())]  # fmt: skip
    return markdown_table(["task", "arm", "seed", "chosen"], rows) if rows else ""


def write_choice(config: Mapping[str, Any]) -> str:
    """`learning_rate 0.00012, batch_size 8`."""
    return ", ".join(f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {format_value(value)}"
                     for name, value in config.items())  # fmt: skip


# -- claims ------------------------------------------------------------------------------------------------------------


def judge_pair(lines: Sequence[Line], arm: str, other: str) -> Verdict:
    """Whether an arm is better than another on every task, and by how much on each."""
    by = group_lines(lines)
    found = {task: (seeds, measure, gain) for task in NAMES for mine, its, seeds, measure, gain in list_gains(by, task)
             if (mine, its) == (arm, other) and seeds >= CLAIMED}  # fmt: skip
    if len(found) < len(NAMES):
        absent = ", ".join(task for task in NAMES if task not in found)
        return Verdict(None, f"of {CLAIMED} seeds of both on {absent} some are missing")
    said = [f"{task} {SHOWN[measure]} {name_verdict(gain)}, better by {format_gain(gain)} over {seeds} seeds"
            for task, (seeds, measure, gain) in found.items()]  # fmt: skip
    return Verdict(all(gain[1] > 0 for *_, gain in found.values()), "; ".join(said))


def judge_tuned(lines: Sequence[Line]) -> Verdict:
    return judge_pair(lines, "tuned", "default")


def judge_lora(lines: Sequence[Line]) -> Verdict:
    return judge_pair(lines, "LoRA", "tuned")


CLAIMS = (
    Claim("On held-out texts tuned fine-tuning is better than default hyperparameters with equal CPU seconds, on both tasks",
          judge_tuned),
    Claim("On held-out texts LoRA, its rank and rate tuned together, is better than tuned training of all weights with equal CPU "
          "seconds, on both tasks", judge_lora),
)  # fmt: skip
