"""The table of duels: tokens a second, and how many times as fast ours is as the others in the same duel."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.ledger.markdown import markdown_table
from experiments.speed.sizes import CUDA, peak_flops

Line = Mapping[str, Any]
HEAD = ["device", "size", "loop", "parameters", "tokens/s", "MFU", "ours is so many times as fast", "first step", "loss after"]


def speed_table(lines: Sequence[Line]) -> str:
    """A row a contender, duel by duel."""
    return markdown_table(HEAD, [contender_cells(line, one) for line in lines for one in line["contenders"]])


def contender_cells(line: Line, one: Line) -> list[str]:
    """A contender of a duel; beside it ours that was made the same way."""
    how = one["name"].partition(" ")[2]
    ours = next((other for other in line["contenders"] if other["name"] == f"ours {how}".strip()), None)
    ratio = "" if ours is None or one["name"].startswith("ours") else rate_ratio(ours, one)
    return [
        f"{line['device']} {line['precision']}", line["size"], one["name"], f"{one['parameters']:,}",
        f"{statistics.median(one['rates']):,.0f}", flops_utilisation(line, one), ratio, f"{one['first_step']:.1f} s",
        f"{one['loss']:.3f} ({one['steps']} steps)",
    ]  # fmt: skip


def rate_ratio(ours: Line, other: Line) -> str:
    """The median over rounds of the ratio within a round, and its range."""
    ratios = [a / b for a, b in zip(ours["rates"], other["rates"], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def flops_utilisation(line: Line, one: Line) -> str:
    """Model FLOPs utilisation (PaLM, appendix B) where the device's peak is known."""
    from models.config import GPTConfig
    from models.predict.cost import flops_per_token

    fastest = peak_flops(line["machine"])
    if line["device"] == "cpu" or fastest is None:
        return ""
    shape = CUDA[line["size"]]
    config = GPTConfig(shape.layers, shape.hidden, shape.heads, vocabulary=shape.vocabulary or 65, context=shape.context)
    return f"{100 * flops_per_token(config) * statistics.median(one['rates']) / fastest:.1f} %"
