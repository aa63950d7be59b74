"""What trackers have written, read back from their own files by their own packages, in one form."""

from __future__ import annotations

import csv
import json
import sqlite3
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Written:
    """A trial as its tracker has it. points: how often each (metric, step, value) was logged."""

    config: dict[str, Any] = field(default_factory=dict)
    points: Counter[tuple[str, int, float]] = field(default_factory=Counter)
    state: str = ""
    summary: dict[str, Any] = field(default_factory=dict)


Found = dict[int, Written]


def single(value: float) -> float:
    """A value as four bytes hold it, which TensorBoard keeps."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def read_csv(folder: Path) -> Found:
    found: Found = defaultdict(Written)
    with (folder / "trials.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            trial = found[int(row["trial"])]
            trial.config = {"x": float(row["config.x"]), "norm": row["config.norm"]}
            trial.state = "failed" if row["error"] else "finished"
            for name in ("loss", "size"):
                if row.get(name):
                    trial.points[name, int(row["until"]), float(row[name])] += 1
    return found


def read_tensorboard(folder: Path) -> Found:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import plugin_data_pb2

    found: Found = defaultdict(Written)
    for path in sorted((folder / "runs").glob("*/trial-*/events*")):
        trial = found[int(path.parent.name.removeprefix("trial-"))]
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag == "_hparams_/session_start_info":
                    data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
                    items = data.session_start_info.hparams.items()
                    trial.config = {name: cell.string_value or cell.number_value for name, cell in items}
                else:
                    trial.points[value.tag, event.step, value.tensor.float_val[0]] += 1
    return found


def read_mlflow(folder: Path) -> Found:
    from mlflow.tracking import MlflowClient

    client, found = MlflowClient(f"sqlite:///{folder}/mlflow.db"), {}
    for home in client.search_experiments():
        for run in client.search_runs([home.experiment_id]):
            config = {"x": float(run.data.params["x"]), "norm": run.data.params["norm"]}
            trial = found[int(run.data.tags["hpo.trial"])] = Written(config, state=run.info.status.lower())
            for name in run.data.metrics:
                for point in client.get_metric_history(run.info.run_id, name):
                    trial.points[name, point.step, point.value] += 1
    return found


def records(path: Path) -> Iterator[bytes]:
    """The records of a file of Weights & Biases, which is a log as LevelDB has it behind seven bytes."""
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole, at = whole + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            yield whole
            whole = b""


def read_wandb(folder: Path) -> Found:
    from wandb.proto.wandb_internal_pb2 import Record

    found: Found = defaultdict(Written)
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        trial = found[int(path.stem.rpartition("-")[2])]
        for record in map(Record.FromString, records(path)):
            for item in record.run.config.update:
                if not item.key.startswith("_"):
                    trial.config[item.key] = json.loads(item.value_json)
            cells = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for name, value in cells.items():
                if not name.startswith("_"):
                    trial.points[name, cells["_step"], value] += 1
            for item in record.summary.update:
                trial.summary[item.key or item.nested_key[0]] = json.loads(item.value_json)
            if record.HasField("exit"):
                trial.state = "failed" if record.exit.exit_code else "finished"
    return found


def read_trackio(folder: Path) -> Found:
    found: Found = defaultdict(Written)
    (path,) = (folder / "trackio").glob("*.db")
    with sqlite3.connect(path) as db:
        for name, config in db.execute("SELECT run_name, config FROM configs"):
            cells = {key: value for key, value in json.loads(config).items() if not key.startswith("_")}
            found[int(name.rpartition("-")[2])].config = cells
        for name, step, metrics in db.execute("SELECT run_name, step, metrics FROM metrics"):
            trial = found[int(name.rpartition("-")[2])]
            for metric, value in json.loads(metrics).items():
                if metric == "error":
                    trial.state = "failed"
                else:
                    trial.points[metric, step, value] += 1
    return found


def make_csv(folder: Path) -> Any:
    from hpo.integrations.trackers import CSV

    return CSV(folder / "trials.csv")


def make_tensorboard(folder: Path) -> Any:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from hpo.integrations.tensorboard import TensorBoard

    return TensorBoard(folder / "runs")


def make_mlflow(folder: Path) -> Any:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    pytest.importorskip("alembic", reason="MLflow's database needs alembic, which is not installed")
    from hpo.integrations.mlflow import MLflow

    return MLflow(f"sqlite:///{folder}/mlflow.db")


def make_wandb(folder: Path) -> Any:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from hpo.integrations.wandb import WandB

    return WandB(folder=folder)


def make_trackio(folder: Path) -> Any:
    pytest.importorskip("trackio", reason="trackio is not installed")
    from hpo.integrations.trackio import Trackio

    return Trackio("study")


TRACKERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Found]]] = {
    "csv": (make_csv, read_csv), "tensorboard": (make_tensorboard, read_tensorboard), "mlflow": (make_mlflow, read_mlflow),
    "wandb": (make_wandb, read_wandb), "trackio": (make_trackio, read_trackio),
}  # fmt: skip
