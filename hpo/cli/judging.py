"""Commands that ask the optimizer without changing the log: score, replay."""

from __future__ import annotations

from math import isfinite
from typing import Any

from hpo.analysis.belief import Belief, NoModelError, score_config
from hpo.analysis.lines import join_config, short
from hpo.analysis.replays import replay_jobs
from hpo.cli.app import Json, LogPlace, No, Own, app
from hpo.cli.driving import CONFIG, Config
from hpo.cli.output import print_json
from hpo.cli.places import read_mapping, study_at
from hpo.job import Job
from hpo.study import Study


@app.command()
def score(log: LogPlace, config: Config, optimizer: Own = None, json: Json = False) -> None:
    """What the model believes of a configuration before it is paid for."""
    with study_at(log, optimizer, driven=True) as study:
        given = study.space.check(read_mapping(config, CONFIG))
        try:
            belief = score_config(study.optimizer, study.history, given)
        except NoModelError as error:
            raise No(error) from None
        if json:
            intervals = {name: interval._asdict() for name, interval in belief.values.items()}
            return print_json({**vars(belief), "values": intervals, "config": given})
        _print_belief(study, given, belief)


def _print_belief(study: Study, config: dict[str, Any], belief: Belief) -> None:
    print(f"{join_config(config)}, at {belief.until} {study.header.unit}")
    for name, (mean, low, high) in belief.values.items():
        print(f"{name}: {_words(mean)}, 95 % between {_words(low)} and {_words(high)}")
    if belief.better is not None:
        goal = "better than the best" if len(belief.values) == 1 else "on the front"
        print(f"P({goal}): {belief.better:.3g}")
    if belief.feasible is not None:
        print(f"P(within the bounds): {belief.feasible:.3g}")
    if belief.place is None:
        print("rank: none, since the next proposals do not ask the model yet")
    else:
        print(f"rank: {belief.place} of {belief.among} (itself, the next proposal, and random ones)")
    for key in belief.tried:
        print(f"tried already: trial {key[0]} at {key[1]}, {study.objective}={short(study.trial(key).value)}")


def _words(value: float) -> str:
    return short(value) if isfinite(value) else "worse than any result"


@app.command()
def replay(log: LogPlace, optimizer: Own = None, json: Json = False) -> None:
    """Every job proposed again, from what its proposal had read. Exit status 1: some come out differently."""
    with study_at(log, optimizer, driven=True) as study:
        found = list(replay_jobs(study.history, study.optimizer))
        differ = [(was, now) for was, now in found if now is None or was.to_json() != now.to_json()]
        if json:
            pairs = [{"was": was.to_json(), "now": None if now is None else now.to_json()} for was, now in differ]
            print_json({"jobs": len(found), "same": len(found) - len(differ), "different": pairs})
        else:
            print(f"{len(found) - len(differ)} of {len(found)} jobs are the same")
            for was, now in differ:
                print(f"trial {was.trial} until {was.until} ({join_config(was.config)}) came out as {_describe_job(now)}")
        if differ:
            raise No(f"{len(differ)} of {len(found)} jobs came out differently")


def _describe_job(job: Job | None) -> str:
    return "nothing" if job is None else f"trial {job.trial} until {job.until} ({join_config(job.config)})"
