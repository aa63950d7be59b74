"""A study of three objectives in a folder: the default configuration first, then the search, then the files beside the log.

front.json     the record: every configuration that was trained to the end, with the verdicts
front.png      the picture
report.html    the report of the study, as study.report() has it
log.sqlite, settings.toml, search.json, checkpoints/    as experiments/tune has them; checkpoints of the front are kept
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from experiments.front.objective import OBJECTIVES, FrontObjective
from experiments.front.record import Record
from experiments.front.settings import FrontSettings
from experiments.front.table import sentences, show_table
from experiments.front.verdict import measure_again
from experiments.job import default
from experiments.tune.folder import Folder, write_file
from experiments.tune.live import make_panel
from experiments.tune.prepare import set_up
from experiments.tune.search import completion_sentence, end_cleanly, ignore_interrupts
from hpo.executors import Inline, Processes
from hpo.executors.base import Lost
from hpo.job import Job
from hpo.loop import Stop
from hpo.rng import training_seed
from hpo.run import run
from hpo.study import Study

if TYPE_CHECKING:
    from models.data.batches import Corpus


@dataclass(frozen=True)
class FrontStudy:
    """A study that can be run: everything that could be refused has been checked."""

    settings: FrontSettings
    folder: Folder
    corpus: Corpus
    objective: FrontObjective
    study: Study
    command: str


def prepare_front(values: Mapping[str, Any], command: str) -> FrontStudy:
    """A study from settings by name; raises as experiments.tune.prepare does, before any file is written."""
    setup = set_up(FrontSettings.of(values))
    settings = setup.settings
    assert isinstance(settings, FrontSettings)
    objective = FrontObjective(setup.objective, settings.sequences, settings.warmup, settings.repeats)
    horizon = settings.horizon
    study = Study(setup.optimizer, objectives=OBJECTIVES, unit="tokens", horizon=horizon, log=setup.open_log())
    return FrontStudy(settings, setup.folder, setup.corpus, objective, study, command)


def carry_out_front(work: FrontStudy) -> int:
    """Runs the whole job, and returns the exit code, as experiments.tune does."""
    return end_cleanly(lambda: finish_front(work), lambda: conclude_front(work, hurry=True), work.command)


def finish_front(work: FrontStudy) -> None:
    """Trains what is left, and writes the files."""
    if work.folder.is_complete(work.settings):
        typer.echo(f"{completion_sentence(work.folder)}; the front is measured again")
    else:
        train_default(work)
        search_front(work)
    conclude_front(work, hurry=False)


def train_default(work: FrontStudy) -> None:
    """Trains the default configuration to the end in this process, before the search and outside its seconds, and adds its
    result as trial 0: whatever the search promotes, there is something to compare with. Nothing if there are results already, or
    if the default does not fit into the memory."""
    config, history = default(work.settings.space), work.study.history
    if history.jobs or not work.study.space.is_feasible(config):
        return
    typer.echo(f"the default configuration first: {work.settings.horizon:,} tokens")
    job = Job(history.next_trial, config, work.settings.horizon, seed=training_seed(work.settings.seed, history.next_trial))
    work.objective.warm()
    pool = Inline(work.objective, work.settings.horizon, work.folder / "checkpoints")
    try:
        pool.submit(job)
        outcome = pool.wait()
    finally:
        pool.close()
    assert outcome is not None
    result = outcome[1]
    if isinstance(result, Lost):
        raise OSError(result.message)
    work.study.optimizer.add(config, work.study.check_result(result), seed=job.seed)


def search_front(work: FrontStudy) -> None:
    """Runs the study until its seconds or trials are used up. The driver waits while a worker works (no lookahead), since a
    proposal that is computed meanwhile would be in the way of what is measured."""
    settings = work.settings
    with ignore_interrupts():
        pool = Processes(work.objective, settings.horizon, work.folder / "checkpoints", settings.workers)
    run(work.study, pool, Stop(settings.trials, settings.seconds), make_panel(settings))
    work.folder.update_search(complete={"seconds": settings.seconds, "trials": settings.trials})


def conclude_front(work: FrontStudy, hurry: bool) -> None:
    """Measures the front again, and writes all files beside the log; in a hurry (after a Ctrl-C) without measuring."""
    from experiments.front.picture import draw_front

    if work.study.history.highest_budget is None:
        typer.echo("no training has succeeded, so there is no front")
        return
    record = Record.of(work.study, work.settings)
    if not hurry:
        record = measure_again(record, work.objective, work.corpus.vocabulary)
    write_file(work.folder / "front.json", json.dumps(record.to_json(), indent=1) + "\n")
    draw_front(record, work.folder / "front.png")
    work.study.report(work.folder / "report.html", f"A small GPT on {work.settings.text}: loss, bytes and time")
    show_table(record)
    typer.echo("\n".join(sentences(record)))
    typer.echo(f"{work.folder / 'front.png'}, {work.folder / 'front.json'}, {work.folder / 'report.html'}")
