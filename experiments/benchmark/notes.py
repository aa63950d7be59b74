"""What must be known to read the numbers, in a sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.benchmark.collected import Collected

DESIGNS = {  # of a study of 100: the first design, and what it would be if the method were told of 25
    "BoTorch": "BoTorch begins with 5 to 20 points (two a column), and would with 5 if told 25",
    "SMAC": "SMAC begins with 20 or 25, and would with 6",
}


def notes(found: Collected) -> list[str]:
    """Every sentence that there is cause for."""
    return [*_planned(found), *_adopted(found)]


def _planned(found: Collected) -> Iterator[str]:
    """That early numbers are of longer studies, and for whom that makes a difference."""
    longest = max(len(trace.regret) for mine in found.traces.values() for trace in mine)
    early = [str(count) for count in found.checkpoints if count < longest]
    if early:
        told = [said for method, said in DESIGNS.items() if method in found.methods and longest == 100]
        scaled = f", by which some scale their first design: {'; '.join(told)}" if told else ""
        yield f"What is said of {' and '.join(early)} evaluations is read off studies that were planned for {longest}{scaled}."


def _adopted(found: Collected) -> Iterator[str]:
    """How many studies count though other sources made them."""
    for method in found.methods:
        mine = [trace for trace in found.of(method) if trace.current]
        if adopted := sum(trace.adopted for trace in mine):
            yield (
                f"{method}: {adopted} of {len(mine)} studies were run with older sources; they count because one of each task "
                f"was run again with newer ones and came out the same to the last digit (--recheck)."
            )
