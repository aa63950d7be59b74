"""Every program at its stated size, once, as lines of the ledger; and the table of README.md."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.cookbook.outcome import Outcome, write_number
from experiments.cookbook.programs import PROGRAMS, find_scale, run_program
from experiments.cookbook.text import find_text
from experiments.ledger import Ledger, Measurement
from experiments.ledger.environment import environment
from experiments.ledger.markdown import markdown_table
from experiments.ledger.measurement import result
from experiments.ledger.sources import STUDY, gp_rows, training_rows

RESULTS = Path(__file__).resolve().parents[1] / "results" / "cookbook.jsonl"
TIMED = ("three_objectives", "several_machines", "managed_tuner", "nanogpt")  # in which jobs take turns as they come
SAMPLERS = {  # that programs make by name
    "tpe_nine": "tpe", "gp_sampler": "gp", "optuna_study": "gp", "three_objectives": "gp", "hotel_reviews": "gp",
    "several_machines": "tpe", "managed_tuner": "gp", "retraining_pipeline": "gp", "nanogpt": "asha_stopping",
}  # fmt: skip


def measure_program(name: str) -> dict[str, Any]:
    """What a program found, on which text, in how many seconds of processor time, so that other work on the machine does not
    count. Programs import torch and transformers, which is outside."""
    import_module(f"experiments.cookbook.{name}")
    started = sum(os.times()[:4])  # with the processes that a program starts
    outcome = run_program(name, find_scale(name))
    found = {"outcome": asdict(outcome), "text": Path(find_text()).stem, "scale": asdict(find_scale(name))}
    return {**found, "seconds": round(sum(os.times()[:4]) - started, 1), **environment()}


def program_measurements() -> Iterator[Measurement]:
    """One of each program."""
    for name, (guide, _) in PROGRAMS.items():
        rows = [f"hpo.optimizers:OPTIMIZERS[{SAMPLERS[name]}]"] if name in SAMPLERS else []
        models = gp_rows().values() if SAMPLERS.get(name) == "gp" else ()
        code = (f"experiments.cookbook.{name}:{name}", "experiments.cookbook.programs:find_scale")
        yield Measurement({"program": name, "guide": guide}, partial(measure_program, name),
                          (*code, *rows, *models, *STUDY, *training_rows("adamw")), group=name)  # fmt: skip


def compare_outcomes(line: Mapping[str, Any]) -> dict[str, Any]:
    """What must come out the same again: all but seconds; of a program that measures times, or whose drivers take turns as they
    come, nothing but its size."""
    kept = {name: value for name, value in result(line).items() if name != "seconds"}
    return {**kept, "outcome": None} if line["program"] in TIMED else kept


def open_cookbook(path: Path = RESULTS) -> Ledger:
    """The ledger of this experiment."""
    return Ledger(path, list(program_measurements()), compare_outcomes)


def tabulate_programs(lines: list[Mapping[str, Any]]) -> str:
    """The program, its number in the guide, the trials, the result, and what is beside it; at the end those not measured yet."""
    rows, there = [], {line["program"] for line in lines}
    for line in lines:
        outcome, name = Outcome(**line["outcome"]), line["program"]
        beside = "; ".join(f"{other} {write_number(value)}" for other, value in outcome.beside.items())
        worse = [other for other in outcome.beside if not outcome.is_no_worse(other)]
        verdict = f"worse than {', '.join(worse)}" if worse else "no worse"
        found = f"{outcome.measure} {write_number(outcome.value)}"
        took = f"{line['seconds']:.0f} s"
        rows.append([line["guide"], f"[{name}]({name}.py)", PROGRAMS[name][1], found, beside, verdict, took])
    rows += [[PROGRAMS[name][0], f"[{name}]({name}.py)", PROGRAMS[name][1], "not measured yet", "", "", ""]
             for name in PROGRAMS if name not in there]  # fmt: skip
    return markdown_table(["guide", "program", "what it does", "result", "beside", "verdict", "took"], rows)
