"""The command that deletes: delete."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hpo.cli.app import Json, LogPlace, No, app
from hpo.cli.output import print_json
from hpo.cli.places import study_at
from hpo.logs import delete_study
from hpo.values import quantity

BESIDE = ("", "-journal", "-wal", "-shm")  # of a log's file, what SQLite may have left next to it


@app.command()
def delete(
    log: LogPlace,
    yes: Annotated[bool, typer.Option("--yes", help="without a question")] = False,
    json: Json = False,
) -> None:
    """Deletes a study for good, with all its results. Checkpoints stay where they are."""
    with study_at(log) as study:  # else it is no log, and stays
        place, path, results = study.history.log.place, study.history.log.path, len(study.history.results)
        name = getattr(study.history.log, "study", None)  # one among others in a database
        living = [driver.process for driver, _ in study.history.log.drivers()]
    if path is None and name is None:
        raise ValueError(f"the log {place!r} is neither a file nor a study in a database, so there is nothing to delete")
    _confirm(place, results, living, yes, json)
    if name is not None:
        delete_study(log, name)
    else:
        for suffix in BESIDE:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    print_json({"deleted": place, "results": results}) if json else print(f"deleted: {place}, {quantity(results, 'results')}")


def _confirm(place: str, results: int, living: list[str], yes: bool, json: bool) -> None:
    """Asks on stderr. ValueError where nobody could answer, No where the answer is no."""
    if yes:
        return
    if json or not sys.stdin.isatty():
        raise ValueError(f"deleting {place!r} needs a yes; give --yes")
    at_work = f"; {quantity(len(living), 'drivers')} may be at work there" if living else ""
    if not typer.confirm(f"Delete {place} with {quantity(results, 'results')}{at_work}?", err=True):
        raise No(f"{place} stays")
