"""How many drivers does a study in a database bear, beside Optuna's RDBStorage, and what does a long one cost?

    python -m experiments.storage                       # every database that answers; six minutes
    python -m experiments.storage --only postgresql --trials 1000
    python -m experiments.storage --table               # only prints what experiments/results/storage.jsonl holds

Drivers: 16 processes (8 at an SQLite file) ask and tell one study of a trivial objective by random search, as fast as they can.
Optuna's RDBStorage with its RandomSampler does the same with as many processes, on the same server or disk, half of its trials
before ours and half after them. Writing: one driver writes a study of three events a trial; then a new one reads it.
The servers are those of HPO_TEST_POSTGRES and HPO_TEST_MYSQL (default: this machine's); one that does not answer is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.ledger import Data, Ledger, Measurement, Recheck, Results, Seconds, Table, conduct, new_app, use_data
from experiments.ledger.command import keep_lines
from experiments.ledger.environment import environment
from experiments.ledger.markdown import markdown_table
from experiments.storage.drivers import compare_drivers
from experiments.storage.places import DATABASES, name_server, place
from experiments.storage.writing import measure_long_study

RESULTS = Path(__file__).parent.parent / "results" / "storage.jsonl"
KEY = ("part", "database", "trials", "peer_trials", "processes")
LOGS = ("hpo.logs.studies", "hpo.logs.database", "hpo.logs.rows", "hpo.logs.sqlite", "hpo.logs.tables", "hpo.logs.turns")
SOURCES = {"drivers": "experiments.storage.drivers:compare_drivers", "writing": "experiments.storage.writing:measure_long_study"}


def measure(part: str, database: str, trials: int, peer_trials: int, processes: int) -> dict[str, Any]:
    """One comparison of drivers, or one long study."""
    work: Callable[[tuple[str, str]], dict[str, Any]] = partial(measure_long_study, trials=trials)
    if part == "drivers":
        work = partial(compare_drivers, trials=trials, peer_trials=peer_trials, processes=processes)
    with place(database) as urls:
        found = work(urls)
    versions = environment("sqlalchemy", "psycopg", "pymysql", "optuna")
    return {**found, "server": name_server(database), **versions, "date": time.strftime("%F")}


def storage_measurement(*key: Any) -> Measurement:
    named = dict(zip(KEY, key, strict=True))
    return Measurement(named, partial(measure, **named), (SOURCES[key[0]], *LOGS), group=str(key))


def storage_measurements(
    databases: Sequence[str], trials: int, peer_trials: int, processes: int | None, written: int
) -> Iterator[Measurement]:
    """Every comparison, then every long study."""
    for database in databases:
        number = processes or (8 if database.startswith("sqlite") else 16)
        yield storage_measurement("drivers", database, trials, peer_trials, number)
    for database in databases:
        yield storage_measurement("writing", database, written, 0, 1)


def open_storage(path: Path, wanted: Sequence[Measurement] = ()) -> Ledger:
    """What is wanted; without anything wanted, what the file has."""
    return Ledger(path, wanted) if wanted else Ledger.of_file(path, KEY, storage_measurement)


def storage_table(ledger: Ledger) -> str:
    """Two tables of all that the file has."""
    lines = list(open_storage(ledger.path).latest().values())
    drivers = [
        [line["server"], line["database"], str(line["processes"]), *_row(line["ours"]), f"{line['peer']['per_second']:.1f}",
         f"{line['peer']['cpu_ms']:.1f}", f"**{line['ratio']:.1f}**", f"{line['ours']['lost']} / {line['ours']['twice']}"]
        for line in lines if line["part"] == "drivers"
    ]  # fmt: skip
    head = ["server", "log", "processes", "trials", "trials/s", "CPU ms a trial", "least share", "slowest call, s",
            "Optuna, trials/s", "its CPU ms", "ratio", "lost / twice"]  # fmt: skip
    written = [
        [line["database"], f"{line['trials']:,}", f"{line['events']:,}", " / ".join(map(str, line["cpu_ms"].values())),
         " / ".join(map(str, line["ms"].values())), f"{line['cpu_seconds']:.1f}", f"{line['read_seconds']:.2f}",
         f"{line['read_cpu']:.2f}"]
        for line in lines if line["part"] == "writing"
    ]  # fmt: skip
    below = ["log", "trials", "events", "CPU ms an event at 10%, 30%, 100%", "ms an event there", "CPU s in all", "read, s",
             "its CPU s"]  # fmt: skip
    return f"{markdown_table(head, drivers)}\n\n{markdown_table(below, written)}"


def _row(ours: dict[str, Any]) -> list[str]:
    return [f"{ours['trials']:,}", f"{ours['per_second']:.1f}", f"{ours['cpu_ms']:.1f}", f"{ours['least_share']:.2f}",
            f"{ours['slowest']:.1f}"]  # fmt: skip


app = new_app()


@app.command(help=keep_lines(__doc__))
def main(
    only: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(DATABASES)}; may come several times")] = None,
    trials: Annotated[int, typer.Option(min=1, help="of the study that many drivers share")] = 5_000,
    peer_trials: Annotated[int, typer.Option(min=2, help="Optuna's")] = 1_000,
    processes: Annotated[int | None, typer.Option(min=1, help="drivers; by default 16, at an SQLite file 8")] = None,
    written: Annotated[int, typer.Option(min=1, help="trials of the long study")] = 10_000,
    table: Table = False, recheck: Recheck = False, seconds: Seconds = float("inf"), results: Results = RESULTS,
    data: Data = None,
) -> None:  # fmt: skip
    unknown = [name for name in only or () if name not in DATABASES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} came; allowed are {list(DATABASES)}")
    use_data(data)
    wanted = [] if table or recheck else [*storage_measurements(only or DATABASES, trials, peer_trials, processes, written)]
    conduct(open_storage(results, wanted), storage_table, table, recheck, seconds)


if __name__ == "__main__":
    app()
