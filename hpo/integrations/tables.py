"""Trials from a table: a CSV file, what Weights & Biases exports, what MLflow's search_runs gives.

    csv       a column for every parameter (or config.<name>, as study.dataframe() has it) and every objective
    wandb     the runs table of a project as its page downloads it (State, and hyperparameters and summaries by their names), or
              as its API is used to save it (columns `config` and `summary` that hold dictionaries)
    mlflow    mlflow.search_runs(...).to_csv(): status, params.<name>, metrics.<name>

So a study that was begun elsewhere is continued and examined here. Runs that have not ended are left out; those that crashed, or
have no number for an objective, are failures.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas

import hpo
from hpo import arguments
from hpo.job import Result
from hpo.logs import Log
from hpo.parameters import Categorical, Float, Int, Parameter
from hpo.space import Config, Space
from hpo.values import format_value, quantity

STATES: dict[str, tuple[str, ...]] = {"csv": (), "wandb": ("State", "state"), "mlflow": ("status",)}  # the column, by format
ENDED = {"finished": None, "crashed": "the run crashed", "failed": "the run failed", "killed": "the run was killed"}


class Row(NamedTuple):
    """A run that has ended: its configuration, its result, and the budget at which it stands (None: the horizon)."""

    config: Config
    result: Result
    until: int | None


def import_table(
    table: str | Path | pandas.DataFrame,
    space: Space | Mapping[str, Any],
    optimizer: Any = "gp",
    *,
    objectives: Mapping[str, str] | Sequence[str] | None = None,
    budget: str | None = None,
    skip: bool = False,
    seed: int = 0,
    horizon: int | None = None,
    log: str | Path | Log | None = None,
) -> hpo.Study:
    """A study with every run of a table; ask it for what comes next.

    table        a file, or a pandas.DataFrame; which of the three it is, its columns say
    optimizer    a name of hpo.OPTIMIZERS, or an instance over the same space
    objectives   as in hpo.minimize: the metrics that count
    budget       the column with the budget that a run was trained to; by default every run stands at the horizon
    skip         leave out runs that do not lie in the space; otherwise the first such run is a ValueError that says why

        import pandas
        from hpo.integrations.tables import import_table
        frame = pandas.DataFrame({"lr": [1e-4, 1e-3, 1e-2], "loss": [2.4, 2.1, 2.9]})
        study = import_table(frame, {"lr": (1e-5, 1e-1, "log")}, objectives=["loss"])
        print(study.best.config, study.optimizer.ask().config)
    """
    space = Space.of(space)
    names = arguments.directions(objectives) or {"loss": "min"}
    rows = list(read_table(table, space, names, budget, skip))
    study = hpo.Study(
        arguments.optimizer_over(space, optimizer, seed), objectives=names, horizon=horizon, log=log, unit=budget or "evaluations"
    )
    if len(study.history):
        raise ValueError(f"the log {study.history.log.place!r} holds a study already; a table is imported into a new one")
    for row in rows:
        study.optimizer.add(row.config, row.result, row.until)
    return study


def read_table(
    table: str | Path | pandas.DataFrame,
    space: Space | Mapping[str, Any],
    objectives: Mapping[str, str],
    budget: str | None = None,
    skip: bool = False,
) -> Iterator[Row]:
    """The runs of a table that have ended, in its order; see `import_table`. ValueError for a column that is missing."""
    space = Space.of(space)
    frame = table if isinstance(table, pandas.DataFrame) else pandas.read_csv(table, dtype=str, keep_default_na=False)
    kind = find_format(frame)
    records = [_flatten(record, kind) for record in frame.to_dict("records")]
    there = {name for record in records for name in record}
    wanted = [name for name, spec in space.parameters.items() if not getattr(spec, "when", None)]
    missing = [name for name in (*wanted, *objectives, *([budget] if budget else [])) if name not in there]
    if records and missing:
        raise ValueError(f"the table ({kind}) has no column for {missing[0]!r}; it has {sorted(there)}")
    left = 0
    for place, record in enumerate(records):
        state = str(record.get("state", "finished")).lower()
        if state not in ENDED:
            continue
        try:
            config = read_config(record, space)
        except ValueError as error:
            if not skip:
                raise ValueError(f"run {place} of the table: {error}") from None
            left += 1
            continue
        until = None if budget is None else int(float(record[budget]))
        yield Row(config, _read_result(record, objectives, ENDED[state]), until)
    if records and left == len(records):
        raise ValueError(f"none of {quantity(left, 'runs')} of the table lies in the space")


def find_format(frame: pandas.DataFrame) -> str:
    """Which of STATES a table is, by its columns."""
    names = {str(name) for name in frame.columns}
    if "status" in names and any(name.startswith(("params.", "metrics.")) for name in names):
        return "mlflow"
    return "wandb" if "State" in names or {"config", "summary"} <= names else "csv"


def _flatten(record: Mapping[Any, Any], kind: str) -> dict[str, Any]:
    """A record with parameters and metrics under their own names, and the run's state."""
    flat: dict[str, Any] = {}
    for column, value in record.items():
        name = str(column)
        if kind == "wandb" and name in ("config", "summary"):
            flat |= {str(key): one for key, one in _read_mapping(name, value).items()}
        elif name in STATES[kind]:
            flat["state"] = value
        elif kind == "mlflow":
            flat[name.removeprefix("params.").removeprefix("metrics.")] = value
        else:
            flat[name.removeprefix("config.")] = value
    return flat


def _read_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """A dictionary, also where a file holds it as Python prints it."""
    try:
        found = ast.literal_eval(re.sub(r"\bnan\b", "None", value)) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        found = None
    if not isinstance(found, Mapping):
        raise ValueError(f"the column {name!r} holds {format_value(value)}; allowed is a dictionary")
    return found


def read_config(record: Mapping[str, Any], space: Space) -> Config:
    """The configuration of a record of values or texts. ValueError in one sentence where it does not lie in the space."""
    there = {name: spec for name, spec in space.parameters.items() if name in record}
    values = {name: None if _is_empty(record[name]) else _read_value(name, spec, record[name]) for name, spec in there.items()
              if not _is_empty(record[name]) or (isinstance(spec, Categorical) and None in spec.values)}  # fmt: skip
    active = space.active(values)
    return space.check({name: value for name, value in values.items() if name in active})


def _read_value(name: str, spec: Parameter, value: Any) -> Any:
    if isinstance(spec, Float | Int):
        number = _read_number(value)
        if not math.isfinite(number):
            raise ValueError(f"{name!r} is {format_value(value)}; allowed is a number")
        return number if isinstance(spec, Float) or not number.is_integer() else int(number)
    if isinstance(spec, Categorical):
        found = [choice for choice in spec.values if choice == value and type(choice) is type(value)]
        found += [choice for choice in spec.values if str(choice) == str(value)]
        return found[0] if found else value
    return value


def _read_result(record: Mapping[str, Any], objectives: Mapping[str, str], error: str | None) -> Result:
    values = {name: _read_number(record.get(name)) for name in objectives}
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    if error is None and len(known) < len(values):
        error = f"the run has no {next(name for name in values if name not in known)}"
    return Result(known, error=error)


def _read_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
