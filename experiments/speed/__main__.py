"""How fast our training loop is, side by side with others in one run.

    python -m experiments.speed --nanogpt FOLDER       # one CPU thread: ours, nanoGPT's model and loop, transformers.Trainer
    python -m experiments.speed --device cuda          # a GPU in bf16: engines of ours and a plain loop, MFU, first step
    python -m experiments.speed --shakespeare --device cuda      # seconds until character Shakespeare is at 1.4697
    python -m experiments.speed --table                # only prints what experiments/results/speed.jsonl holds

Every contender has a process of its own; they take turns within a round. Shown are median tokens a second, the ratio of ours
to the others (the median over rounds of the ratio within a round, and its range), seconds to the first step from the start of
building (without imports), and the validation loss after equally many steps, with which everybody begins. `tanh` is with the
approximation of GELU that GPT2LMHeadModel has if nobody asks for another. FOLDER is a checkout of karpathy/nanoGPT; without
one, a plain loop in its style stands in for it.
"""

from __future__ import annotations

import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.ledger import Data, Ledger, Measurement, Recheck, Results, Seconds, Table, conduct, new_app, use_data
from experiments.ledger.command import keep_lines
from experiments.ledger.environment import processor
from experiments.ledger.sources import training_rows
from experiments.speed.duel import Entry, duel
from experiments.speed.sizes import CPU, CUDA, STEPS
from experiments.speed.table import speed_table

RESULTS = Path(__file__).parent.parent / "results" / "speed.jsonl"
ROUNDS, SECONDS = 7, 3.0
STEPS_JUDGED = {"30k": STEPS, "1M": STEPS, "10M": 60}  # others: 60
KEY = ("machine", "device", "precision", "size", "rival", "compiled")  # a line is of a duel: of all of its contenders
app = new_app()


def contenders(device: str, rival: str, compiled: bool) -> list[str]:
    """Their names; ours first."""
    if device == "cpu":
        eager = ["ours", rival, "trainer", "ours tanh", "trainer tanh"]
        return [f"{name} compile" for name in eager[:3]] if compiled else eager
    return ["ours", "ours graph", "ours compile", rival, f"{rival} compile"]


def machine_name(device: str) -> str:
    """What a result is measured on."""
    if device == "cpu":
        return processor()
    import torch

    return torch.cuda.get_device_name(device)


def measure_duel(key: dict[str, Any], nanogpt: Path | None, rounds: int) -> dict[str, Any]:
    """All contenders of a size, in turns."""
    device, precision, size = key["device"], key["precision"], key["size"]
    shape = (CPU if device == "cpu" else CUDA)[size]
    names = contenders(device, key["rival"], key["compiled"])
    entries = [Entry(name, shape, device, precision, nanogpt) for name in names]
    found = list(duel(entries, rounds, SECONDS, STEPS_JUDGED.get(size, 60)))
    versions = {"torch": version("torch"), "transformers": version("transformers"), "python": platform.python_version()}
    return {"contenders": found, **versions}


def speed_measurement(key: dict[str, Any], nanogpt: Path | None = None, rounds: int = ROUNDS) -> Measurement:
    """One duel, on one machine."""
    trained = training_rows("adamw", engines=("eager", "graph", "compile"))
    sources = ("experiments.speed.duel:duel", "experiments.speed.contenders:make", *trained)
    return Measurement(key, partial(measure_duel, key, nanogpt, rounds), sources, group=str(key))


def open_speed(path: Path, nanogpt: Path | None = None) -> Ledger:
    """Every duel that the file has, of whatever machine."""
    return Ledger.of_file(path, KEY, lambda *values: speed_measurement(dict(zip(KEY, values, strict=True)), nanogpt))


def speed_report(ledger: Ledger) -> str:
    """The table of all that the file has."""
    return speed_table(list(open_speed(ledger.path).latest().values()))


@app.command(help=keep_lines(__doc__))
def main(
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    size: Annotated[list[str] | None, typer.Option(help="a size; may be given several times (default: all)")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or fp16 (default: float32 on CPU, else bf16)")] = None,
    nanogpt: Annotated[Path | None, typer.Option(help="folder of a checkout of nanoGPT")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="on CPU: everybody compiled instead of everybody eager")] = False,
    rounds: Annotated[int, typer.Option(min=1)] = ROUNDS,
    shakespeare: Annotated[bool, typer.Option("--shakespeare", help="train nanoGPT's character model to its loss")] = False,
    table: Table = False, recheck: Recheck = False, seconds: Seconds = float("inf"), results: Results = RESULTS,
    data: Data = None,
) -> None:  # fmt: skip
    if compiled and device != "cpu":
        raise typer.BadParameter("--compile is for the CPU; on a GPU both ways are measured anyway")
    if shakespeare and (size or nanogpt or compiled or table or recheck):
        raise typer.BadParameter("--shakespeare goes with --device and --precision only")
    known = CPU if device == "cpu" else CUDA
    unknown = [name for name in size or [] if name not in known]
    if unknown:
        raise typer.BadParameter(f"size is {unknown[0]!r}, but must be one of {', '.join(known)}")
    use_data(data)
    kind = precision or ("float32" if device == "cpu" else "bf16")
    if shakespeare:
        from experiments.speed.shakespeare import race

        print(race(device, kind))
        return
    folder = nanogpt and nanogpt.resolve()
    if table or recheck:
        ledger = open_speed(results, folder)
    else:
        common = {"machine": machine_name(device), "device": device, "precision": kind}
        how = {"rival": "nanoGPT" if nanogpt else "plain", "compiled": compiled or device != "cpu"}
        ledger = Ledger(results, [speed_measurement({**common, "size": one, **how}, folder, rounds) for one in size or known])
    conduct(ledger, speed_report, table, recheck, seconds)


if __name__ == "__main__":
    app()
