"""`python -m models.calibrate`: measures this machine, or compares predictions with real steps; prints words or JSON.

    python -m models.calibrate           measure (or read what was measured), and print what this machine does
    python -m models.calibrate --check   random configs of 10k to 30M parameters: predicted and measured, side by side
    --json                               the same as data
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.calibrate.comparison import Compared, compare_random, summary
from models.calibrate.machine import Machine, Table, rate_at
from models.calibrate.store import machine, machine_path, read_machine

WIDTH, ATTENTION, ARRAY = 256, 256 * 64, 1 << 18  # sizes at which rates are printed
HEAD = f"{'parameters':>12} {'ms a step':>20} {'ratio':>6} {'MB of growth':>20} {'ratio':>6}  kind"
UNDER = f"{'':>12} {'predicted, measured':>20} {'':>6} {'predicted, measured':>20}"


def machine_lines(found: Machine, path: Path, measured: bool) -> list[str]:
    """The rates of a device in words and units; the first line says what was measured and in which file it is."""
    threads = f"{found.threads} thread{'s' if found.threads > 1 else ''}"
    done = "Measured now and written to" if measured else "Measured before and read from"
    lines = [f"Speed and memory of {found.device} with {threads} and torch {found.torch}. {done} {path}", ""]
    lines.append(f"{'':24}{'float32':>12}{'bf16':>12}{'fp16':>12}{'by hand':>12}")
    lines.append(_row(f"products, width {WIDTH}", found.matmul, WIDTH, 1e9, "GFLOP/s"))
    lines.append(_row(f"output map, width {WIDTH}", found.output, WIDTH, 1e9, "GFLOP/s"))
    lines.append(_row("attention, 256 tokens", found.attention, ATTENTION, 1e9, "GFLOP/s"))
    elementwise = {"float32": found.pointwise["autograd"]}
    elementwise |= {"kernels": found.pointwise["kernels"]} if "kernels" in found.pointwise else {}
    lines.append(_row("elementwise, 0.25 MB", elementwise, ARRAY, 1e9, "GB/s"))
    loss = {"float32" if way == "autograd" else way: table for way, table in found.loss.items()}
    lines.append(_row("loss, 1 million logits", loss, 1 << 20, 1e6, "million logits/s"))
    excess = {way: [(1, value)] for way, value in found.excess.items()}
    lines.append(_row("a step / its parts", excess, 1, 1, "times"))
    yes = "compiled" if found.kernels else "none: no compiler, several threads, or no CPU"
    lines += [
        "",
        f"an operation           {1e6 * found.overhead:.1f} microseconds, {1e6 * found.recorded:.1f} through autograd",
        f"update                 {rate_at(found.bandwidth, ARRAY) / 1e9:.1f} GB/s",
        f"process                {found.base / 1e6:.0f} MB before it trains, of {found.total / 1e9:.1f} GB",
        f"kernels for a CPU      {yes}",
    ]
    return lines


def _row(name: str, tables: Mapping[str, Table], size: float, unit: float, words: str) -> str:
    cells = (f"{rate_at(tables[way], size) / unit:12.4g}" if way in tables else f"{'-':>12}" for way in _WAYS)
    return f"{name:24}{''.join(cells)}  {words}"


_WAYS = ("float32", "bf16", "fp16", "kernels")


def comparison_line(one: Compared) -> str:
    """The line of a config: parameters, milliseconds and megabytes as predicted and as measured, and its unusual options."""
    told, real = 1e3 * one.prediction.seconds_per_step, 1e3 * one.measured.seconds
    grown = one.predicted_growth / 1e6, one.measured_growth / 1e6
    times = f"{told:10.2f}{real:10.2f} {one.seconds_ratio:6.2f}"
    return f"{one.parameters:12,} {times} {grown[0]:10.1f}{grown[1]:10.1f} {one.memory_ratio:6.2f}  {one.kind}"


def summary_lines(found: Sequence[Compared]) -> list[str]:
    """Lines about the ratios of all configs together."""
    names = {"seconds": "seconds a step", "memory": "growth of the process, where above 40 MB"}
    return [_summary(names[name], row) for name, row in summary(found).items()]


def _summary(name: str, row: Mapping[str, float]) -> str:
    if not row["count"]:
        return f"{name}: none of these configs"
    ends = f"least {row['least']:.2f}, most {row['most']:.2f}"
    off = f"{row['off']:.0f} off by more than a quarter"
    return f"{name}: predicted / measured has median {row['median']:.2f}, {ends} ({row['count']:.0f} configs, {off})"


def comparison_data(found: Sequence[Compared]) -> dict[str, Any]:
    """Every config with its predicted and measured numbers, and the summary."""
    ratios = [{"seconds_ratio": one.seconds_ratio, "memory_ratio": one.memory_ratio} for one in found]
    return {"configs": [asdict(one) | ratio for one, ratio in zip(found, ratios, strict=True)], "summary": summary(found)}


def print_comparison(on: Machine, count: int, seed: int, as_json: bool) -> None:
    """Train `count` random configs. Prints a line for each when it is done, or all of them as JSON at the end."""
    if as_json:
        print(json.dumps(comparison_data(list(compare_random(on, count, seed))), indent=1))
        return
    asked = f"{count} random config{'s' if count != 1 else ''} of seed {seed}"
    print(f"Predicted and measured steps of {asked} on {on.device}, each in a process of its own; nothing is written.\n")
    print(HEAD, UNDER, sep="\n")
    found = []
    for one in compare_random(on, count, seed):
        found.append(one)
        print(comparison_line(one), flush=True)
    print("", *summary_lines(found), sep="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m models.calibrate", description="Measure this machine.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a training")
    parser.add_argument("--check", action="store_true", help="compare predictions with real steps")
    parser.add_argument("--count", type=int, default=12, help="random configs of the check")
    parser.add_argument("--seed", type=int, default=0, help="of these configs")
    parser.add_argument("--json", action="store_true", help="print data instead of words")
    asked = parser.parse_args(arguments)
    path = machine_path(asked.device, asked.threads)
    known = read_machine(path) is not None
    on = machine(asked.device, asked.threads)
    if asked.check:
        print_comparison(on, asked.count, asked.seed, asked.json)
    elif asked.json:
        print(json.dumps(asdict(on), indent=1))
    else:
        print(*machine_lines(on, path, not known), sep="\n")
