"""Commands that read studies: studies, show, best, compare."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hpo.analysis.comparison import Contrast, Standing, compare_trials, header_differences
from hpo.analysis.lines import join_config, short
from hpo.analysis.progress import count_rungs
from hpo.cli.app import Json, LogPlace, No, app
from hpo.cli.output import describe_trial, print_json, print_table, trial_text
from hpo.cli.places import parse_key, study_at
from hpo.job import Job, Key
from hpo.load import write_call
from hpo.logs.listing import list_places
from hpo.queue import list_queued
from hpo.stopping import search_seconds
from hpo.study import Study
from hpo.trial import best_front, best_key
from hpo.values import format_value, quantity

SHOWN = 10  # results that `show` prints

Place = Annotated[str, typer.Argument(metavar="URL", help="a database of studies, or the log of one", show_default=False)]


@app.command()
def studies(url: Place, json: Json = False) -> None:
    """Every study of a database: what searches, how far it is, the best."""
    found = [_describe_study(name, place) for name, place in list_places(url).items()]
    if json:
        return print_json(found)
    rows = [(one["study"], one["optimizer"], one["results"], one["pending"], one["summary"]) for one in found]
    print_table(["study", "optimizer", "results", "pending", "best"], rows)


def _describe_study(name: str, place: str) -> dict[str, Any]:
    with study_at(place) as study:
        history = study.history
        return {
            "study": name, "log": history.log.place, "optimizer": study.header.optimizer.get("name"),
            "objectives": dict(study.header.objectives), "events": len(history), "results": len(history.results),
            "pending": len(history.pending) + len(history.retries), "summary": study.summary(),
        }  # fmt: skip


@app.command()
def show(
    log: LogPlace,
    trial: Annotated[str | None, typer.Option(metavar="TRIAL[,UNTIL]", help="one trial in place of the study")] = None,
    json: Json = False,
) -> None:
    """What a study searches, how far it is, what is pending; or everything about one trial."""
    with study_at(log) as study:
        if trial is not None:
            return _show_trial(study, parse_key(study, trial), json)
        return print_json(_describe(study)) if json else _print_study(study)


def _describe(study: Study) -> dict[str, Any]:
    history, header = study.history, study.header
    best = best_key(history)
    return {
        "log": history.log.place, "optimizer": dict(header.optimizer), "seed": header.seed, "space": dict(header.space),
        "objectives": dict(header.objectives), "unit": header.unit, "horizon": header.horizon, "events": len(history),
        "trials": len(history.trials), "results": len(history.results), "failures": sum(map(history.is_failure, history.results)),
        "pending": [_describe_job(study, job) for job in history.pending.values()],
        "lost": [_describe_job(study, job) for job in history.retries.values()],
        "queued": list_queued(history), "best": None if best is None else describe_trial(study.trial(best)),
        "front": [list(key) for key in best_front(history)], "seconds": search_seconds(history),
        "rungs": [{"until": rung.until, "finished": rung.finished, "failed": rung.failed, "best": rung.best}
                  for rung in count_rungs(history, len(history.pending))],
        "stopped": study.stop_reason or None,
    }  # fmt: skip


def _describe_job(study: Study, job: Job) -> dict[str, Any]:
    return {
        "trial": job.trial, "until": job.until, "config": dict(job.config), "source": job.source,
        "driver": study.history.attempts.holders.get(job.key),
    }  # fmt: skip


def _print_study(study: Study) -> None:
    history, header = study.history, study.header
    aims = ", ".join(f"{name} {way}" for name, way in header.objectives.items())
    print(f"{history.log.place}: {write_call(header.optimizer, header.seed)}")
    print(f"{aims}; up to {header.horizon} {header.unit}; {', '.join(header.space['parameters'])}")
    failures = sum(map(history.is_failure, history.results))
    counts = [quantity(len(history.trials), "trials"), quantity(len(history.results), "results"),
              quantity(failures, "failures"), f"{len(history.pending)} pending"]  # fmt: skip
    print(f"{', '.join(counts)}; {study.summary()}")
    for words, jobs in (("pending", history.pending), ("lost, and given out again next", history.retries)):
        for job in jobs.values():
            print(f"{words}: trial {job.trial} until {job.until}: {join_config(job.config)}")
    for config in list_queued(history):
        print(f"queued: {join_config(config)}")
    if study.stop_reason:
        print(f"no new trials: {study.stop_reason}")
    if len(history.budgets) > 1:
        rungs = count_rungs(history, len(history.pending))
        print_table([header.unit, "finished", "failed", "best"], [(r.until, r.finished, r.failed, r.best) for r in rungs])
    _print_results(study, list(history.results)[-SHOWN:])


def _print_results(study: Study, keys: list[Key]) -> None:
    names = list(study.header.objectives)
    rows = [[trial.number, trial.until, *map(trial.metrics.get, names), join_config(trial.config), trial.error]
            for trial in map(study.trial, keys)]  # fmt: skip
    if rows:
        print_table(["trial", "until", *names, "configuration", "error"], rows)


def _show_trial(study: Study, key: Key, json: bool) -> None:
    history = study.history
    keys = [there for there in history.trials[key[0]] if there[1] <= key[1]]
    if key not in history.results:
        found: dict[str, Any] = {**_describe_job(study, history.jobs[key]), "pending": True}
    else:
        trial = study.trial(key)
        found = {**describe_trial(trial), "curve": trial.curve, "lineage": study.lineage(key), "traceback": trial.traceback,
                 "pending": False}  # fmt: skip
    if json:
        return print_json({**found, "keys": keys})
    for name, value in {**found, "keys": keys}.items():
        if value is not None:
            print(f"{name}: {join_config(value) if isinstance(value, dict) else short(value)}")


@app.command()
def best(log: LogPlace, json: Json = False) -> None:
    """The best trial; with several objectives all of the front."""
    with study_at(log) as study:
        alone = len(study.header.objectives) == 1
        try:
            trials = [study.best] if alone else study.pareto
        except ValueError as error:
            raise No(error) from None
        if json:
            found = [describe_trial(trial) for trial in trials]
            return print_json(found[0] if alone else {"front": found})
        for trial in trials:
            print(trial_text(trial, study.header.unit))


@app.command()
def compare(
    logs: Annotated[list[str], typer.Argument(metavar="LOG...", help="several studies, or one", show_default=False)],
    trials: Annotated[
        tuple[str, str] | None, typer.Option(metavar="TRIAL[,UNTIL] TRIAL[,UNTIL]", help="two trials of one study")
    ] = None,
    json: Json = False,
) -> None:
    """Several studies, or two trials of one: what differs, and which results say so."""
    if trials is not None:
        if len(logs) > 1:
            raise ValueError(f"--trials compares two trials of one study, but {len(logs)} logs came")
        return _compare_trials(logs[0], trials, json)
    if len(logs) < 2:
        raise ValueError("one study is compared with nothing; allowed are several logs, and one with --trials 3 7")
    return _compare_studies(logs, json)


def _compare_studies(logs: list[str], json: bool) -> None:
    first: Study | None = None
    found: list[dict[str, Any]] = []
    for log in logs:
        with study_at(log) as study:
            first = first or study
            standing = Standing.of(study.history)
            differ = header_differences(first.history, study.history)
            found.append({"log": study.history.log.place, "optimizer": study.header.optimizer.get("name"),
                          "objective": study.objective, **vars(standing), "differences": differ})  # fmt: skip
    if json:
        return print_json(found)
    names = ["log", "optimizer", "objective", "trials", "results", "failures", "work", "seconds", "best", "key", "front"]
    print_table(names, [[one[name] for name in names] for one in found])
    for one in found[1:]:
        for name, (old, new) in one["differences"].items():
            print(f"{one['log']}: {name} is {_setting(name, new)}, and {_setting(name, old)} in {found[0]['log']}")


def _setting(name: str, value: Any) -> str:
    return write_call(value, 0) if name == "optimizer" else format_value(value)


def _compare_trials(log: str, trials: tuple[str, str], json: bool) -> None:
    with study_at(log) as study:
        first, second = (_last_result(study, parse_key(study, text), "," in text) for text in trials)
        contrast = compare_trials(study.history, first, second)
        return print_json(vars(contrast)) if json else _print_contrast(study, contrast)


def _last_result(study: Study, key: Key, exact: bool) -> Key:
    """The key itself, or the last one of its trial that has a result."""
    done = [there for there in study.history.trials[key[0]] if there in study.history.results]
    return key if exact or not done else done[-1]


def _print_contrast(study: Study, contrast: Contrast) -> None:
    a, b = (f"trial {trial} at {until}" for trial, until in contrast.keys)
    rows = [(name, *pair) for name, pair in {**contrast.config, **contrast.metrics}.items()]
    print_table(["", a, b], [*rows, *([("error", *contrast.errors)] if any(contrast.errors) else [])])
    if len(contrast.shared) > 1:
        print_table([study.header.unit, *(f"{study.objective} of {trial}" for trial, _ in contrast.keys)], contrast.shared)
    if contrast.keys[0][1] != contrast.keys[1][1]:
        print("their budgets differ, so neither is the better")
    else:
        print("neither is better" if contrast.better is None else f"{(a, b)[contrast.better]} is better")
