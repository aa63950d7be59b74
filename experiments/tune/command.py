"""Tune a small GPT on a text, live, and leave a folder with a report. The same command goes on where it stopped.

    python -m experiments.tune                                        # ASHA over a GP, three minutes, Shakespeare
    python -m experiments.tune --scheduler pbt --sampler random --seconds 600 --text my.txt --folder runs/mine
    python -m experiments.tune --config runs/tune/settings.toml --seconds 600      # go on for longer

Exit codes: 0 done, 2 a setting or a file that cannot be used (one sentence says which), 130 ended by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from experiments.job import SPACES
from experiments.tune.prepare import prepare
from experiments.tune.search import INTERRUPTED, carry_out
from experiments.tune.settings import ENGINES, SAMPLERS, SCHEDULERS, TOKENIZERS, read_toml

ANEW = "compile compiles each new shape anew, which on a CPU takes many seconds of a trial"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=__doc__.partition("\n")[0] if __doc__ else None)
def tune(
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; flags override it")] = None,
    space: Annotated[str | None, typer.Option(help=f"what may be tuned: {', '.join(SPACES)} [standard]")] = None,
    sampler: Annotated[str | None, typer.Option(help=f"what to try: {', '.join(SAMPLERS)}, or module:Class [gp]")] = None,
    scheduler: Annotated[str | None, typer.Option(help=f"how long: {', '.join(SCHEDULERS)}, or module:Class [asha]")] = None,
    seconds: Annotated[float | None, typer.Option(help="of search and finals, over all runs, without start-up [180]")] = None,
    trials: Annotated[int | None, typer.Option(help="fresh trials at most [no limit]")] = None,
    text: Annotated[str | None, typer.Option(help="shakespeare, a file, or hf:PATH:CONFIG [shakespeare]")] = None,
    tokenizer: Annotated[str | None, typer.Option(help=f"{', '.join(TOKENIZERS)} [char]")] = None,
    workers: Annotated[int | None, typer.Option(help="processes that train [2]")] = None,
    seed: Annotated[int | None, typer.Option(help="of the search and of every training [0]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N [cpu]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or fp16 [float32]")] = None,
    horizon: Annotated[int | None, typer.Option(help="tokens of a whole training")] = None,
    min_resource: Annotated[int | None, typer.Option(help="tokens of the lowest rung")] = None,
    reduction_factor: Annotated[float | None, typer.Option(help="between two rungs [3]")] = None,
    context: Annotated[int | None, typer.Option(help="tokens that the model sees at once [64]")] = None,
    memory: Annotated[int | None, typer.Option(help="bytes a worker may take to train [what is free]")] = None,
    engine: Annotated[
        str | None, typer.Option(help=f"how a step is carried out: {', '.join(ENGINES)}; {ANEW} [eager]")
    ] = None,
    activation_checkpointing: Annotated[
        bool | None, typer.Option(help="compute activations again: less memory, more time [no]")
    ] = None,
    population: Annotated[int | None, typer.Option(help="of PBT [what the seconds allow]")] = None,
    folder: Annotated[str | None, typer.Option(help="where everything is left [runs/tune]")] = None,
    disk: Annotated[str | None, typer.Option(help="what its checkpoints may take, such as 20GB [no limit]")] = None,
) -> int:
    flags = {name: value for name, value in locals().items() if name != "config" and value is not None}
    command = shlex.join([interpreter(), "-m", "experiments.tune", *sys.argv[1:]])
    try:
        stored = read_toml(config)[0] if config is not None else {}
        work = prepare({**stored, **flags}, command)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        return refuse(error, "tune")
    return carry_out(work)


def interpreter() -> str:
    """The Python that runs this, as one would call it from the current folder."""
    here = os.path.join(os.getcwd(), "")
    return sys.executable.removeprefix(here) or "python"


def refuse(error: Exception, name: str) -> int:
    """Prints one sentence of the command of a name on stderr, and ends with the exit code."""
    words = " ".join(str(error).split())
    print(f"{name}: {words}", file=sys.stderr)
    return 2


def call(app: typer.Typer, name: str) -> int:
    """Runs a command line, and returns its exit code; usage errors are one sentence, too."""
    try:
        code = typer.main.get_command(app)(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):  # before there was anything to finish
        print(f"{name}: interrupted before it began", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # every usage error has it, whatever package it comes from
            raise
        return refuse(ValueError(error.format_message()), name)
    return int(code or 0)


def main() -> int:
    """The command line."""
    return call(app, "tune")
