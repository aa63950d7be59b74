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

import datetime
import json
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.speed.duel import Entry, duel
from experiments.speed.sizes import CPU, CUDA, STEPS, peak_flops

RESULTS = Path(__file__).parent.parent / "results" / "speed.jsonl"
ROUNDS, SECONDS = 7, 3.0
STEPS_JUDGED = {"30k": STEPS, "1M": STEPS, "10M": 60}  # others: 60
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def names(device: str, nanogpt: Path | None, compiled: bool) -> list[str]:
    """The contenders; ours first."""
    plain = "nanoGPT" if nanogpt else "plain"
    if device == "cpu":
        eager = ["ours", plain, "trainer", "ours tanh", "trainer tanh"]
        return [f"{name} compile" for name in eager[:3]] if compiled else eager
    return ["ours", "ours graph", "ours compile", plain, f"{plain} compile"]


def machine(device: str) -> dict[str, str]:
    """What a result was measured on."""
    import torch

    return {
        "machine": torch.cuda.get_device_name(device) if device != "cpu" else processor(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "python": platform.python_version(),
    }


def processor() -> str:
    """What the CPU calls itself, and the widest vectors that it says it has."""
    file = Path("/proc/cpuinfo")
    lines = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line) if file.exists() else {}
    known = {name.strip(): value.split() for name, value in lines.items()}
    widest = next((flag for flag in ("amx_tile", "avx512f", "avx2") if flag in known.get("flags", [])), "")
    return " ".join([*known.get("model name", [platform.processor() or platform.machine()]), widest]).strip()


def measure(
    sizes: Sequence[str], device: str, precision: str, nanogpt: Path | None, compiled: bool, rounds: int, results: Path
) -> None:
    """Appends one line a contender and size."""
    run = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    for size in sizes:
        shape = (CPU if device == "cpu" else CUDA)[size]
        entries = [Entry(name, shape, device, precision, nanogpt) for name in names(device, nanogpt, compiled)]
        for record in duel(entries, rounds, SECONDS, STEPS_JUDGED.get(size, 60)):
            line = {"run": run, "size": size, **record, **machine(device)}
            results.parent.mkdir(parents=True, exist_ok=True)
            with open(results, "a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{size} {record['name']}: {statistics.median(record['rates']):,.0f} tokens/s", flush=True)


def table(results: Path) -> list[str]:
    """Markdown: the newest line of every size, device, precision and contender."""
    if not results.is_file():
        raise FileNotFoundError(f"there are no results in {results}: leave --table out to measure")
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in map(json.loads, results.read_text().splitlines()):
        newest[line["device"], line["precision"], line["size"], line["name"]] = line
    rows = [
        "| device | size | loop | parameters | tokens/s | MFU | ours is so many times as fast | first step | loss after |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return [*rows, *(_row(line, newest) for line in newest.values())]


def _row(line: dict[str, Any], newest: dict[tuple[str, ...], dict[str, Any]]) -> str:
    how = line["name"].partition(" ")[2]
    ours = newest.get((line["device"], line["precision"], line["size"], f"ours {how}".strip()))
    ratio = "" if ours is None or line["name"].startswith("ours") or ours["run"] != line["run"] else _ratio(ours, line)
    cells = [
        f"{line['device']} {line['precision']}", line["size"], line["name"], f"{line['parameters']:,}",
        f"{statistics.median(line['rates']):,.0f}", _mfu(line), ratio, f"{line['first_step']:.1f} s",
        f"{line['loss']:.3f} ({line['steps']} steps)",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _ratio(ours: dict[str, Any], other: dict[str, Any]) -> str:
    ratios = [a / b for a, b in zip(ours["rates"], other["rates"], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def _mfu(line: dict[str, Any]) -> str:
    """Model FLOPs utilisation (PaLM, appendix B) where the device's peak is known."""
    from models.config import GPTConfig
    from models.predict.cost import flops_per_token

    fastest = peak_flops(line["machine"])
    if line["device"] == "cpu" or fastest is None:
        return ""
    shape = CUDA[line["size"]]
    config = GPTConfig(
        shape.layers, shape.hidden, shape.heads, vocabulary=shape.vocabulary or 65, context=shape.context
    )
    return f"{100 * flops_per_token(config) * statistics.median(line['rates']) / fastest:.1f} %"


@app.command(help=__doc__)
def main(
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    size: Annotated[list[str] | None, typer.Option(help="a size; may be given several times (default: all)")] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, bf16 or fp16 (default: float32 on CPU, else bf16)")
    ] = None,
    nanogpt: Annotated[Path | None, typer.Option(help="folder of a checkout of nanoGPT")] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="on CPU: everybody compiled instead of everybody eager")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1)] = ROUNDS,
    results: Annotated[Path, typer.Option(help="file of results")] = RESULTS,
    only_table: Annotated[bool, typer.Option("--table", help="measure nothing")] = False,
    shakespeare: Annotated[
        bool, typer.Option("--shakespeare", help="train nanoGPT's character model to its loss")
    ] = False,
) -> None:
    if compiled and device != "cpu":
        raise typer.BadParameter("--compile is for the CPU; on a GPU both ways are measured anyway")
    if shakespeare and (size or nanogpt or compiled or only_table):
        raise typer.BadParameter("--shakespeare goes with --device and --precision only")
    known = CPU if device == "cpu" else CUDA
    unknown = [name for name in size or [] if name not in known]
    if unknown:
        raise typer.BadParameter(f"size is {unknown[0]!r}, but must be one of {', '.join(known)}")
    if shakespeare:
        from experiments.speed.shakespeare import race

        print(race(device, precision or ("float32" if device == "cpu" else "bf16")))
        return
    kind = precision or ("float32" if device == "cpu" else "bf16")
    try:
        if not only_table:
            measure(size or list(known), device, kind, nanogpt and nanogpt.resolve(), compiled, rounds, results)
        print("\n".join(table(results)))
    except (RuntimeError, FileNotFoundError) as error:  # a contender cannot run, or there is nothing to print
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
