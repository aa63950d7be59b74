"""Commands by which a shell script or another language drives a study: ask, tell, enqueue, retry."""

from __future__ import annotations

import json as text_json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from hpo.analysis.lines import join_config, trial_line
from hpo.cli.app import Json, LogPlace, No, Own, app
from hpo.cli.output import describe_trial, print_json
from hpo.cli.places import parse_key, read_mapping, read_space, study_at
from hpo.history import History
from hpo.job import Job, Result
from hpo.limits import is_lifted
from hpo.loop import Stop
from hpo.optimizers import make
from hpo.queue import enqueue_failures
from hpo.study import Study
from hpo.trial import best_key
from hpo.values import format_value, quantity, whole

CONFIG = 'a configuration such as {"lr": 0.001, "layers": 6}'

Config = Annotated[str, typer.Argument(metavar="CONFIG.json", help="a file, or - for stdin", show_default=False)]


@dataclass(frozen=True)
class Plan:
    """What a new study is made with, as the command line has it."""

    space: str
    optimizer: str
    options: Sequence[str]
    objectives: Sequence[str]
    seed: int
    unit: str
    horizon: int | None

    @contextmanager
    def study(self, log: str) -> Iterator[Study]:
        """The study, begun or, where the log holds it already, reopened. ValueError where the log holds another one."""
        options = dict(parse_option(text) for text in self.options)
        optimizer = make(self.optimizer, read_space(self.space), whole("seed", self.seed, 0), **options)
        objectives = parse_objectives(self.objectives)
        study = Study(optimizer, objectives=objectives, unit=self.unit, horizon=self.horizon, log=log)
        try:
            yield study
        finally:
            study.history.log.close()


def parse_option(text: str, what: str = "--option", example: str = "max_resource=27") -> tuple[str, Any]:
    """name=value, the value as JSON or else as text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{what} is {format_value(text)}; allowed is such as {example}")
    try:
        return name, text_json.loads(value)
    except ValueError:
        return name, value


def parse_objectives(texts: Sequence[str]) -> dict[str, str] | None:
    """Objectives by direction: "loss" is minimised, as "loss=min" is. None without any."""
    return {name: way or "min" for name, _, way in (text.partition("=") for text in texts)} or None


@app.command()
def ask(
    log: LogPlace,
    new: Annotated[str | None, typer.Option(metavar="SPACE.json", help="begin this study, or go on with it")] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="of a new study: gp, asha, module:Class ... [gp]; else as for show")
    ] = None,
    option: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="of a new study's optimizer, repeatedly")] = [],  # noqa: B006
    objective: Annotated[list[str], typer.Option(metavar="NAME[=max]", help="of a new study, repeatedly [loss]")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="of a new study")] = 0,
    unit: Annotated[str, typer.Option(help="of a new study's budgets")] = "evaluations",
    horizon: Annotated[int | None, typer.Option(help="the largest budget of a new study [the optimizer's]")] = None,
    trials: Annotated[int | None, typer.Option(help="no new trial beyond so many")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="first what was asked by hand and not told, again")] = False,
    shell: Annotated[bool, typer.Option("--shell", help="print assignments for eval: trial=3, config_lr=0.01")] = False,
    json: Json = False,
) -> None:
    """The next job, as JSON: train this configuration until that budget. Exit status 1: none now.

    One script alone drives a study that it resumes: whatever any script has asked and not told is then given out again.
    """
    if shell and json:
        raise ValueError("--shell and --json are two ways to print a job; give one of them")
    plan = None if new is None else Plan(new, optimizer or "gp", option, objective, seed, unit, horizon)
    with study_at(log, optimizer, driven=True) if plan is None else plan.study(log) as study:
        if resume:
            lose_unattended(study.history)
        job = next_job(study, trials)
        if job is None:
            return _answer_nothing(study.history, json)
        return print(_assignments(study, job)) if shell else print_json(_job_document(study.history, job))


def lose_unattended(history: History) -> list[Job]:
    """Loses every pending job that no driver has, so that asks give them out again. These jobs."""
    holders = history.attempts.holders
    found = [job for key, job in history.pending.items() if holders.get(key) is None]
    for job in found:
        history.lose(job, "driver")
    return found


def next_job(study: Study, trials: int | None) -> Job | None:
    """The next job of a study whose trials are limited as those of a run are, and counted over all asks."""
    history, stop = study.history, Stop(trials)
    history.by_hand = trials is None
    if trials is None:
        return study.optimizer.ask()
    if history.limited and is_lifted(history.last_limit, stop.limits):
        history.run(stop.limits)

    def limit(history: History) -> None:
        if not history.limited and stop.is_full(history):
            history.limit("trials", trials)

    return study.optimizer.ask(limit)


def _answer_nothing(history: History, json: bool) -> None:
    waiting = list(history.pending)
    if json:
        print_json({"trial": None, "finished": not waiting, "pending": waiting})
    if waiting:
        raise No(f"nothing to ask before another result: {quantity(len(waiting), 'jobs')} pending, {waiting[:5]}")
    raise No("nothing to ask: the search is finished")


def _job_document(history: History, job: Job) -> dict[str, Any]:
    return {"trial": job.trial, "until": job.until, "config": job.config, "source": job.source, "seed": job.seed,
            "attempt": history.attempt(job.key)}  # fmt: skip


def _assignments(study: Study, job: Job) -> str:
    """Lines of a shell. What is inactive is unset, in case an earlier job has set it."""
    source = "" if job.source is None else ",".join(map(str, job.source))
    config = {_variable(name): value for name, value in job.config.items()}
    values = {"trial": job.trial, "until": job.until, "source": source, "seed": job.seed, **config}
    texts = {name: value if isinstance(value, str) else text_json.dumps(value) for name, value in values.items()}
    gone = [name for name in map(_variable, study.space.parameters) if name not in config]
    return "\n".join([*(f"{name}={shlex.quote(text)}" for name, text in texts.items()), *(f"unset {name}" for name in gone)])


def _variable(name: str) -> str:
    return "config_" + re.sub(r"[^A-Za-z0-9_]", "_", name)


@app.command(context_settings={"ignore_unknown_options": True})  # so that -0.5 is a value
def tell(
    log: LogPlace,
    trial: Annotated[str, typer.Argument(metavar="TRIAL[,UNTIL]", help="of a job that ask gave out", show_default=False)],
    values: Annotated[
        list[str], typer.Argument(metavar="VALUE|NAME=VALUE...", help="objectives in order, or named metrics", show_default=False)
    ] = [],  # noqa: B006
    error: Annotated[str | None, typer.Option(help="the configuration's own fault: the trial has failed")] = None,
    lost: Annotated[bool, typer.Option("--lost", help="the machine's fault: the next ask gives the job out again")] = False,
    optimizer: Own = None,
    json: Json = False,
) -> None:
    """Records the result of a job. A value that is no finite number, such as nan, is a failure of its configuration."""
    with study_at(log, optimizer, driven=True) as study:
        history = study.history
        job = history.jobs[parse_key(study, trial)]
        if lost and (values or error is not None):
            raise ValueError("--lost says that there is no result, but one came beside it")
        result = Result() if lost else parse_result(history, values, error)
        if job.key in history.results or not (history.lose(job) if lost else history.finish(job, result)):
            raise No(f"trial {job.trial} has a result at {job.until} already, which stands")
        _answer_told(study, job, json)


def parse_result(history: History, values: Sequence[str], error: str | None = None) -> Result:
    """The result that words on the command line say. ValueError in one sentence where they say none."""
    names = list(history.header.objectives)
    if not values and error is None:
        raise ValueError(f"no result came; allowed are a value for each of {names}, metrics as name=value, --error and --lost")
    bare = [text for text in values if "=" not in text]
    if bare and len(bare) < len(values):
        raise ValueError(f"{bare[0]!r} came without a name beside {len(values) - len(bare)} with one; allowed is one of the two")
    numbers = [_parse_number(text.rpartition("=")[2], text) for text in values]
    objectives = history.header.objectives
    in_order = numbers[0] if len(numbers) == 1 else numbers
    metrics = Result.of(in_order, objectives).metrics if bare else _named(values, numbers)
    return Result.of(Result(metrics, error=error), objectives)


def _named(values: Sequence[str], numbers: Sequence[float]) -> dict[str, float]:
    names = [text.rpartition("=")[0] for text in values]
    twice = [name for name in names if not name or names.count(name) > 1]
    if twice:
        raise ValueError(f"the metric {twice[0]!r} came {names.count(twice[0])} times; allowed are different names")
    return dict(zip(names, numbers, strict=True))


def _parse_number(text: str, word: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{word!r} is no result; allowed are a number, and a metric such as loss=0.5") from None


def _answer_told(study: Study, job: Job, json: bool) -> None:
    history, key = study.history, job.key
    best = best_key(history)
    if json:
        failure = key in history.results and history.is_failure(key)
        return print_json({"trial": job.trial, "until": job.until, "lost": key not in history.results, "failure": failure,
                           "best": None if best is None else describe_trial(study.trial(best))})  # fmt: skip
    if key in history.results:
        return print(trial_line(history, key))
    print(f"trial {job.trial} until {job.until} is lost, and given out again next")


@app.command()
def enqueue(log: LogPlace, config: Config, optimizer: Own = None, json: Json = False) -> None:
    """Gives a configuration to the next fresh trial."""
    with study_at(log, optimizer, driven=True) as study:
        given = study.space.check(read_mapping(config, CONFIG))
        study.optimizer.enqueue(given)
        return print_json({"queued": [given]}) if json else print(f"queued: {join_config(given)}")


@app.command()
def retry(
    log: LogPlace,
    trial: Annotated[list[int], typer.Option(help="some of those that failed, repeatedly [all]")] = [],  # noqa: B006
    optimizer: Own = None,
    json: Json = False,
) -> None:
    """Gives the configurations of failed trials to the next fresh trials, after a fix. The failures stay in the log."""
    with study_at(log, optimizer, driven=True) as study:
        found = enqueue_failures(study.history, trial or None)
        if json:
            return print_json({"queued": [{"trial": number, "config": config} for number, config in found.items()]})
        for number, config in found.items():
            print(f"queued again: {join_config(config)} (trial {number})")
        print(f"{quantity(len(found), 'configurations')} for the next fresh trials; the failures stay, since a log only grows")
