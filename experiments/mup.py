"""Does what was tuned on a narrow model hold on a wide one? The coordinate check, and the best rate by width.

    python -m experiments.mup                    # measures what is missing, a line at a time, then prints both tables
    python -m experiments.mup --table            # only prints them, from experiments/results/mup.jsonl

Coordinate check (Yang et al. 2022, appendix D.1): after a few steps, how large are the changes of activations, by width? Under
mup they neither grow nor vanish. Shown is the slope of log2 change over log2 width: 0 is flat, 0.5 or 1 is growing.

Best rate: models of width 64 to 512 are trained for a short while at every rate of a grid, three seeds each. The best rate is
the lowest point of a parabola through the three best neighbours in log2 of the rate. Under mup it should stay within an octave;
under the standard parametrisation it falls as models grow. muP is measured with GPT-2's first weights and with larger ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from experiments.speed.sizes import text
from models.data.batches import Corpus
from models.train import TrainRun

RESULTS = Path(__file__).parent / "results" / "mup.jsonl"
# By the name that stands in the results: what is trained with. GPT-2's first weights are those of a model twelve times as wide
# as the narrowest here; muP carries over what the narrowest is given, so that it should be given what suits it.
PARAMETRISATIONS: Mapping[str, Mapping[str, Any]] = {
    "standard": {"parametrisation": "standard"},
    "mup": {"parametrisation": "mup"},
    "mup, init_std 0.06": {"parametrisation": "mup", "init_std": 0.06},
}
CHECKED, TUNED, SEEDS = (64, 128, 256, 512, 1024), (64, 128, 256, 512), 3
RATES = tuple(2.0**k for k in range(-11, -2))
CHECK_RATE, CHECK_STEPS = 2.0**-7, 5
HEAD = 16  # features; wider models have more heads
STEPS = 150
MODEL: Mapping[str, Any] = {
    "layers": 2, "context": 32, "batch": 8, "base_hidden": 64, "base_head": HEAD, "weight_decay": 0.0, "clip": 1.0,
    "beta2": 0.95, "warmup": 15, "schedule": "cosine", "eval_tokens": 16_384,
}  # fmt: skip
Line = dict[str, Any]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def config(parametrisation: str, width: int, lr: float) -> dict[str, Any]:
    """In the names of `models`."""
    return {**MODEL, **PARAMETRISATIONS[parametrisation], "hidden": width, "heads": width // HEAD, "lr": lr}


# -- coordinate check ----------------------------------------------------------------------------------------------------


def activations(run: TrainRun, ids: Tensor) -> dict[str, Tensor]:
    """What the parts of a model put out, by name, and its logits."""
    found: dict[str, Tensor] = {}
    blocks = run.model.blocks
    named = {"embedding": run.model.tokens, "first block": blocks[0], "last block": blocks[-1], "normed": run.model.norm}
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out.detach().clone()))
        for name, part in named.items()
    ]
    with torch.no_grad():
        found["logits"] = run.model(ids)
    for hook in hooks:
        hook.remove()
    return found


def changes(parametrisation: str, width: int, seed: int, corpus: Corpus, more: Mapping[str, Any] = {}) -> dict[str, float]:
    """Mean absolute change of activations over the first steps at a constant rate, by part of the model."""
    plain = {"schedule": "constant", "warmup": 0, "eval_tokens": 32}
    chosen = {**config(parametrisation, width, CHECK_RATE), **plain, **more}
    run = TrainRun(chosen, seed, CHECK_STEPS, corpus, "steps")
    ids = run.validation.ids[:1, :-1]
    before = activations(run, ids)
    run.advance(CHECK_STEPS)
    after = activations(run, ids)
    return {name: float((after[name] - old).abs().mean()) for name, old in before.items()}


def slopes(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By part: the slope of log2 of the change over log2 of the width, by least squares over all lines."""
    widths = np.log2([line["width"] for line in lines])
    return {
        name: float(np.polyfit(widths, np.log2([line["changes"][name] for line in lines]), 1)[0])
        for name in lines[0]["changes"]
    }


# -- the best rate -------------------------------------------------------------------------------------------------------


def best_rate(losses: Mapping[float, float]) -> float:
    """The lowest point of a parabola through the best rate and its neighbours, in log2; the best itself at an end."""
    rates = sorted(losses)
    values = [losses[rate] if np.isfinite(losses[rate]) else np.inf for rate in rates]
    i = int(np.argmin(values))
    if i in (0, len(rates) - 1) or not np.isfinite(values[i - 1] + values[i + 1]):
        return rates[i]
    left, middle, right = values[i - 1 : i + 2]
    bend = left - 2 * middle + right
    return float(2 ** (log2(rates[i]) + 0.5 * (left - right) / bend)) if bend > 0 else rates[i]


def loss(parametrisation: str, width: int, lr: float, seed: int, corpus: Corpus) -> float:
    """Of a short training; nan if it diverged."""
    return TrainRun(config(parametrisation, width, lr), seed, STEPS, corpus, "steps").advance(STEPS)[0]["loss"]


# -- the command ---------------------------------------------------------------------------------------------------------


def wanted() -> Iterator[Line]:
    """All lines, without what is measured."""
    for parametrisation in PARAMETRISATIONS:
        for seed in range(SEEDS):
            for width in CHECKED:
                yield {"kind": "check", "parametrisation": parametrisation, "width": width, "seed": seed}
            for width in TUNED:
                for lr in RATES:
                    yield {"kind": "rate", "parametrisation": parametrisation, "width": width, "lr": lr, "seed": seed}


def measured(line: Line, corpus: Corpus) -> Line:
    where = line["parametrisation"], line["width"]
    if line["kind"] == "check":
        return {**line, "changes": changes(*where, line["seed"], corpus)}
    return {**line, "loss": loss(*where, line["lr"], line["seed"], corpus)}


def recorded(results: Path) -> list[Line]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []


def measure(results: Path) -> None:
    """Appends what is missing, a line at a time."""
    torch.set_num_threads(1)
    corpus = text()
    done = [{name: line[name] for name in line if name not in ("changes", "loss", "torch")} for line in recorded(results)]
    results.parent.mkdir(parents=True, exist_ok=True)
    for line in wanted():
        if line not in done:
            with open(results, "a") as file:
                file.write(json.dumps({**measured(line, corpus), "torch": torch.__version__}) + "\n")


def tables(lines: Sequence[Line]) -> str:
    """Markdown."""
    checks = [line for line in lines if line["kind"] == "check"]
    rates = [line for line in lines if line["kind"] == "rate"]
    kinds = {(line["kind"], line["parametrisation"]) for line in lines}
    if not kinds >= {(kind, name) for kind in ("check", "rate") for name in PARAMETRISATIONS}:
        raise ValueError("there are no results yet of some of it: leave --table out to measure")
    parts = list(checks[0]["changes"])
    rows = ["| slope of changes over width | " + " | ".join(parts) + " |", "|---" * (len(parts) + 1) + "|"]
    for name in PARAMETRISATIONS:
        found = slopes([line for line in checks if line["parametrisation"] == name])
        rows.append(f"| {name} | " + " | ".join(f"{found[part]:+.2f}" for part in parts) + " |")
    widths = sorted({line["width"] for line in rates})
    rows += ["", "| log2 of the best rate | " + " | ".join(map(str, widths)) + " | spread |", "|---" * (len(widths) + 2) + "|"]
    for name in PARAMETRISATIONS:
        losses = [mean_losses(rates, name, width) for width in widths]
        best = [best_rate(one) for one in losses]
        ends = [rate in (min(one), max(one)) for rate, one in zip(best, losses, strict=True)]
        cells = [f"{log2(rate):.2f}" + ", the grid's end" * end for rate, end in zip(best, ends, strict=True)]
        spread = f"{log2(max(best) / min(best)):.2f} octaves" + " or more" * any(ends)
        rows.append(f"| {name} | {' | '.join(cells)} | {spread} |")
    rows += ["", "| loss at the best rate of the grid | " + " | ".join(map(str, widths)) + " |", "|---" * (len(widths) + 1) + "|"]
    for name in PARAMETRISATIONS:
        least = [np.nanmin(list(mean_losses(rates, name, width).values())) for width in widths]
        rows.append(f"| {name} | " + " | ".join(f"{one:.3f}" for one in least) + " |")
    return "\n".join(rows)


def mean_losses(rates: Sequence[Line], parametrisation: str, width: int) -> dict[float, float]:
    """Over the seeds, by rate; nan where one diverged."""
    mine = [line for line in rates if (line["parametrisation"], line["width"]) == (parametrisation, width)]
    return {lr: float(np.mean([line["loss"] for line in mine if line["lr"] == lr])) for lr in {line["lr"] for line in mine}}


@app.command(help=__doc__)
def main(
    table: Annotated[bool, typer.Option("--table", help="measure nothing")] = False,
    results: Annotated[Path, typer.Option(help="file of results")] = RESULTS,
) -> None:
    if not table:
        measure(results)
    try:
        print(tables(recorded(results)))
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
