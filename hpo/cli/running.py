"""Command run: searches over any command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hpo.cli.app import Json, No, app
from hpo.cli.driving import parse_objectives, parse_option
from hpo.cli.output import describe_trial, print_json, trial_text
from hpo.cli.places import read_mapping
from hpo.commands.plan import CommandPlan
from hpo.failures import RepeatedFailure

SPACE = 'a space such as {"lr": {"float": [1e-5, 0.1], "log": true}}'


@app.command("run")
def run_command(
    words: Annotated[list[str], typer.Argument(metavar="STUDY.toml | -- COMMAND ...", show_default=False)],
    space: Annotated[str | None, typer.Option(metavar="SPACE.json", help="of a command that is given here")] = None,
    metric: Annotated[list[str], typer.Option(metavar="NAME=REGEX", help="the number in a group, repeatedly; or json")] = [],  # noqa: B006
    step: Annotated[str | None, typer.Option(metavar="REGEX", help="how far a training is")] = None,
    optimizer: Annotated[str | None, typer.Option(metavar="NAME", help="gp, asha, module:Class ... [gp]")] = None,
    option: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="of the optimizer, repeatedly")] = [],  # noqa: B006
    objective: Annotated[list[str], typer.Option(metavar="NAME[=max]", help="repeatedly [the first metric]")] = [],  # noqa: B006
    trials: Annotated[int | None, typer.Option(help="trials in all")] = None,
    seconds: Annotated[float | None, typer.Option(help="seconds in all")] = None,
    horizon: Annotated[int | None, typer.Option(help="the largest budget, in steps")] = None,
    workers: Annotated[int | None, typer.Option(help="commands at once [1]")] = None,
    executor: Annotated[str | None, typer.Option(metavar="NAME", help="threads, processes, ray, slurm ... [threads]")] = None,
    resource: Annotated[list[str], typer.Option(metavar="NAME=AMOUNT", help="of a command: gpu=1, cpu=2, repeatedly")] = [],  # noqa: B006
    executor_option: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="of the executor, repeatedly")] = [],  # noqa: B006
    timeout: Annotated[float | None, typer.Option(help="seconds that one may run")] = None,
    seed: Annotated[int | None, typer.Option(help="of the search")] = None,
    log: Annotated[str | None, typer.Option(help="a path or a URL [beside the file; study.db]")] = None,
    folder: Annotated[str | None, typer.Option(help="of the trials' outputs [beside the log, .trials]")] = None,
    json: Json = False,
) -> None:
    """Searches for the best configuration of any command, as a file or the options say; again, it goes on where it was.

    hpo run study.toml, or: hpo run --space space.json --metric 'loss=val loss (\\S+)' -- python train.py {flags}
    """
    given: dict[str, Any] = {
        "step": step, "optimizer": optimizer, "trials": trials, "seconds": seconds, "horizon": horizon, "workers": workers,
        "timeout": timeout, "seed": seed, "log": log, "folder": folder, "objectives": parse_objectives(objective),
        "options": dict(map(parse_option, option)) or None, "executor": executor,
        "resources": dict(parse_option(text, "--resource", "gpu=1") for text in resource) or None,
        "executor_options": dict(parse_option(text, "--executor-option", "devices=[0,1]") for text in executor_option) or None,
        "metrics": _parse_metrics(metric),
        "space": None if space is None else read_mapping(space, SPACE),
    }  # fmt: skip
    if len(words) == 1 and words[0].endswith(".toml"):
        plan = CommandPlan.read(Path(words[0])).amend(given)
    else:
        lacking = [option for option, value in (("--space", space), ("--metric", metric)) if not value]
        if lacking:
            raise ValueError(f"a command needs {lacking[0]}, and a search in a file is such as study.toml; {words[0]!r} came")
        named = {name: value for name, value in given.items() if value is not None}
        plan = CommandPlan.of({"log": "study.db", "command": words, **named}, "the command line")
    try:
        study = plan.search(quiet=json)
    except RepeatedFailure as failure:
        raise ValueError(f"the search has ended, since its first trials failed in the same way, the last with {failure.error}; "
                         f"called again it goes on") from None  # fmt: skip
    try:
        trials_found = study.pareto if len(study.header.objectives) > 1 else [study.best]
    except ValueError as error:
        raise No(error) from None
    finally:
        study.history.log.close()
    if json:
        return print_json([describe_trial(trial) for trial in trials_found])
    for trial in trials_found:
        print(f"best: {trial_text(trial, study.header.unit)}")


def _parse_metrics(texts: list[str]) -> dict[str, str] | str | None:
    if texts == ["json"]:
        return "json"
    for text in texts:
        if "=" not in text:
            raise ValueError(rf"--metric is {text!r}; allowed are NAME=REGEX, such as 'loss=val loss (\S+)', and json")
    return {name: pattern for name, _, pattern in (text.partition("=") for text in texts)} or None
