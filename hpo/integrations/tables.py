"""Trials from a table: a CSV file, what Weights & Biases exports, what MLflow's search_runs gives.

    csv       a column for every parameter and every objective; config.<name> and metrics.<name>, as study.dataframe() has them,
              where a parameter and a metric have the same name
    wandb     the runs table of a project as its page downloads it (Name, State, hyperparameters and summaries by their names), or
              as its API is used to save it (columns `config` and `summary` that hold dictionaries)
    mlflow    mlflow.search_runs(...).to_csv(): status, params.<name>, metrics.<name>

So a study that was begun elsewhere is continued and examined here. Runs that have not ended are left out; those that crashed, or
have no number for an objective, are failures.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas

import hpo
from hpo import arguments
from hpo.job import Result
from hpo.logs import Log
from hpo.parameters import Categorical, Const, Float, Int, Parameter
from hpo.space import Config, Space
from hpo.values import format_value, identity, is_finite, plain, quantity, whole

STATES: dict[str, tuple[str, ...]] = {"csv": (), "wandb": ("State", "state"), "mlflow": ("status",)}  # the column, by format
PREFIXES = {  # of the columns of parameters and of metrics; where two columns have one name, the first prefix counts
    "csv": (("config.", ""), ("metrics.", "")),
    "wandb": (("config.", ""), ("summary.", "")),
    "mlflow": (("params.",), ("metrics.",)),
}
PRUNED = "pruned"
ENDED = {  # states of W&B, MLflow and Optuna, in small letters, and why the run is a failure
    "finished": None, "complete": None, PRUNED: None, "failed": "the run failed", "fail": "the run failed",
    "crashed": "the run crashed", "killed": "the run was killed",
}  # fmt: skip
OPEN = ("running", "scheduled", "waiting", "pending", "preempting", "preempted")
NAMES = {"nan": math.nan, "NaN": math.nan, "inf": math.inf, "Infinity": math.inf, "null": None, "true": True, "false": False}


class Row(NamedTuple):
    """A run that has ended: its configuration, its result, and the budget at which it stands (None: the horizon)."""

    config: Config
    result: Result
    until: int | None


class Record(NamedTuple):
    """A run as the table has it: values or texts of its parameters and of its metrics, and its state in small letters."""

    config: dict[str, Any]
    metrics: dict[str, Any]
    state: str


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
    budget       the column with the budget that a run was trained to; by default every run stands at the horizon, and so does a
                 failure whose budget is empty. What Optuna has pruned is left out by default
    skip         leave out runs that do not lie in the space or have no budget; otherwise the first such run is a ValueError that
                 says why

    ValueError also for a state that is not known, and where no run is left.

        import pandas
        from hpo.integrations.tables import import_table
        frame = pandas.DataFrame({"lr": [1e-4, 1e-3, 1e-2], "loss": [2.4, 2.1, 2.9]})
        study = import_table(frame, {"lr": (1e-5, 1e-1, "log")}, objectives=["loss"])
        print(study.best.config, study.optimizer.ask().config)
    """
    space = Space.of(space)
    names = arguments.directions(objectives) or {"loss": "min"}
    rows = read_table(table, space, names, budget, skip)
    made = arguments.optimizer_over(space, optimizer, seed)
    most, allowed = max(row.until or 1 for row in rows), made.horizon if horizon is None else horizon
    if most > allowed:  # before there is a log
        raise ValueError(f"a run of the table was trained to {budget} {most}; allowed is up to the horizon {allowed}")
    study = hpo.Study(made, objectives=names, horizon=horizon, log=log, unit=budget or "evaluations")
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
) -> list[Row]:
    """The runs of a table that have ended, in its order; see `import_table`. ValueError for a column that is missing."""
    space = Space.of(space)
    frame = table if isinstance(table, pandas.DataFrame) else pandas.read_csv(table, dtype=str, keep_default_na=False)
    kind = find_format(frame)
    records = [_split(record, kind) for record in frame.to_dict("records")]
    if not records:
        raise ValueError("the table has no runs")
    needed = [name for name, spec in space.parameters.items() if not getattr(spec, "when", None)]
    _check_names(kind, needed, (record.config for record in records))
    _check_names(kind, objectives, (record.metrics for record in records))
    _check_names(kind, [budget] if budget else [], ({**record.config, **record.metrics} for record in records))
    ended = [(place, record) for place, record in enumerate(records) if _has_ended(place, record, budget)]
    if not ended:
        raise ValueError(f"none of {quantity(len(records), 'runs')} of the table has ended")
    rows = []
    for place, record in ended:
        try:
            rows.append(_read_row(record, space, objectives, budget))
        except ValueError as error:
            if not skip:
                raise ValueError(f"run {place} of the table: {error}") from None
    if not rows:
        raise ValueError(f"none of {quantity(len(ended), 'runs')} of the table lies in the space")
    return rows


def find_format(frame: pandas.DataFrame) -> str:
    """Which of STATES a table is, by its columns."""
    names = {str(name) for name in frame.columns}
    if "status" in names and any(name.startswith(("params.", "metrics.")) for name in names):
        return "mlflow"
    return "wandb" if {"Name", "State"} <= names or {"config", "summary"} <= names else "csv"


def _check_names(kind: str, names: Iterable[str], parts: Iterable[Mapping[str, Any]]) -> None:
    there = {name for part in parts for name in part}
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(f"the table ({kind}) has no column for {missing[0]!r}; it has {sorted(there)}")


def _split(record: Mapping[Any, Any], kind: str) -> Record:
    """A row of the table with parameters and metrics apart, each under their own names."""
    cells = {str(column): value for column, value in record.items()}
    if kind == "wandb" and {"config", "summary"} <= set(cells):
        cells |= {f"{part}.{name}": value for part in ("config", "summary") for name, value in _read_mapping(part, cells).items()}
    column = next((name for name in STATES[kind] if name in cells), None)
    state = "finished" if column is None else str(cells.pop(column)).strip().lower()
    config, metrics = ({name: value for prefix in reversed(prefixes) for name, value in _under(prefix, cells)}
                       for prefixes in PREFIXES[kind])  # fmt: skip
    return Record(config, metrics, state)


def _under(prefix: str, cells: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name.removeprefix(prefix), value) for name, value in cells.items() if name.startswith(prefix)]


def _read_mapping(part: str, cells: dict[str, Any]) -> Mapping[str, Any]:
    """The dictionary of a column, which is taken out; also where a file holds it as Python or JSON prints it."""
    value = found = cells.pop(part)
    if isinstance(value, str):
        try:
            found = ast.literal_eval(Spelled().visit(ast.parse(value.strip(), mode="eval")))
        except (ValueError, SyntaxError, RecursionError):
            found = None
    if not isinstance(found, Mapping):
        raise ValueError(f"the column {part!r} holds {format_value(value)}; allowed is a dictionary")
    return found


class Spelled(ast.NodeTransformer):
    """Replaces names by the values that they spell: those that Python prints for no number, and JSON's."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(NAMES[node.id]), node) if node.id in NAMES else node


def _has_ended(place: int, record: Record, budget: str | None) -> bool:
    """Whether a run is to be read. One that was pruned has ended before the horizon, so without a budget nobody knows where."""
    if record.state not in ENDED and record.state not in OPEN:
        known = ", ".join((*ENDED, *OPEN))
        raise ValueError(f"run {place} of the table: its state is {format_value(record.state)}; allowed are {known}")
    return record.state in ENDED and not (record.state == PRUNED and budget is None)


def _read_row(record: Record, space: Space, objectives: Mapping[str, str], budget: str | None) -> Row:
    config = read_config(record.config, space)
    result = _read_result(record.metrics, objectives, ENDED[record.state])
    return Row(config, result, None if budget is None else _read_budget(record, budget, result))


def _read_budget(record: Record, budget: str, result: Result) -> int | None:
    """ValueError where it is no integer of at least 1; None where a failure has none."""
    value = record.metrics.get(budget, record.config.get(budget))
    if _is_empty(value) and result.error:
        return None
    number = _read_number(value)
    return whole(f"the budget {budget!r}", number if is_finite(number) else value, 1)


def read_config(record: Mapping[str, Any], space: Space) -> Config:
    """The configuration of a record of values or texts. ValueError in one sentence where it does not lie in the space."""
    values: dict[str, Any] = {}
    for name, spec in space.parameters.items():
        if not _is_empty(record.get(name)):
            values[name] = _read_value(name, spec, record[name])
        elif name in record and isinstance(spec, Categorical) and None in spec.values:
            values[name] = None
    active = space.active(values)
    return space.check({name: value for name, value in values.items() if name in active})


def _read_value(name: str, spec: Parameter, value: Any) -> Any:
    if isinstance(spec, Float | Int):
        number = _read_number(value)
        if not is_finite(number):
            raise ValueError(f"{name!r} is {format_value(value)}; allowed is a number")
        return float(number) if isinstance(spec, Float) else int(number) if number == int(number) else number
    if isinstance(spec, Categorical | Const):
        return _find_choice(spec.values if isinstance(spec, Categorical) else [spec.value], value)
    return value


def _find_choice(choices: Sequence[Any], value: Any) -> Any:
    """The choice that a value or text stands for: the same, else written the same, else of the same worth; else the value."""
    found = [choice for choice in choices if choice == value and type(choice) is type(value)]
    found += [choice for choice in choices if str(choice) == str(value)]
    found += [choice for choice in choices if identity(_worth(choice)) == identity(_worth(value))]
    return found[0] if found else value


def _worth(value: Any) -> Any:
    """The number or the truth value that a text spells; anything else as it is."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    number = _read_number(value)
    return value if math.isnan(number) else number


def _read_result(metrics: Mapping[str, Any], objectives: Mapping[str, str], error: str | None) -> Result:
    values = {name: float(_read_number(metrics.get(name))) for name in objectives}
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    if error is None and len(known) < len(values):
        error = f"the run has no {next(name for name in values if name not in known)}"
    return Result(known, error=error)


def _read_number(value: Any) -> float:
    """The number of a value or text, an integer with all its digits; NaN where there is none, or none that a float can hold."""
    value = plain(value)
    if isinstance(value, str):
        value = _parse(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and (isinstance(value, float) or is_finite(value)) else math.nan


def _parse(text: str) -> float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return math.nan


def _is_empty(value: Any) -> bool:
    if value is None or value is pandas.NA or value is pandas.NaT:
        return True
    value = plain(value)
    return not value.strip() if isinstance(value, str) else isinstance(value, float) and math.isnan(value)
