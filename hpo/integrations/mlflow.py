"""MLflow: a tracker that writes to an MLflow server or to its database in a file. `pip install 'hpo-lm[mlflow]'`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from hpo.integrations.trackers import Finish, Tracker, require, study_identity, study_name
from hpo.job import Key
from hpo.study import Study
from hpo.trial import first_objective

BATCH = 900  # metrics of one request; the server takes 1000
LONGEST = 6000  # characters of a parameter
STUDY, TRIAL, UNTILS, CONFIG = "hpo.study", "hpo.trial", "hpo.untils", "hpo.source"  # tags of a run


class MLflow(Tracker):
    """A run for each trial: its configuration as parameters, its metrics by step, a failure as a failed run with its error.

    uri          of the tracking server, such as "http://127.0.0.1:5000", or of a database: "sqlite:///mlflow.db"; None: where
                 MLFLOW_TRACKING_URI says
    experiment   its name (default: the log's name and a few letters that tell studies apart); made where there is none

    The metric `until` is the budget of the last result. MLflow itself knows what was written: each run is tagged with the study,
    the trial and its budgets. So several drivers write one study into one experiment. What `mlflow.search_runs` gives of it can
    be read again by hpo.integrations.tables.
    """

    def __init__(self, uri: str | None = None, experiment: str | None = None) -> None:
        super().__init__()
        require("mlflow", "mlflow")
        self.uri, self.experiment = uri, experiment
        self._client: Any = None
        self._home = ""  # the experiment
        self._study = ""

    def open(self, study: Study) -> Iterable[Key]:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else importing it reports to its makers
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(self.uri)
        self._study = study_identity(study.history)
        name = self.experiment or study_name(study.history)
        found = self._client.get_experiment_by_name(name)
        self._home = found.experiment_id if found is not None else self._make_experiment(name)
        return {(int(run.data.tags[TRIAL]), int(until)) for run in self._find_runs() for until in _untils(run)}

    def _make_experiment(self, name: str) -> str:
        try:
            return str(self._client.create_experiment(name))
        except Exception:  # another driver may have made it meanwhile
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def write(self, study: Study, done: Finish) -> None:
        from mlflow.entities import Metric, Param

        runs = list(self._find_runs(done.key[0]))
        if any(str(done.key[1]) in _untils(run) for run in runs):  # another driver came first
            return
        objective, until = first_objective(study.history), done.key[1]
        at = round(1000 * done.ended)
        points = [(objective, value, step) for step, value in done.curve]
        others = {"until": float(until), **{name: value for name, value in done.metrics.items() if name != objective}}
        points += [(name, value, until) for name, value in others.items()]
        metrics = [Metric(_word(name), float(value), at, step) for name, value, step in points]
        run = runs[0].info.run_id if runs else self._make_run(done)
        if not runs:
            params = [Param(_word(name), str(value)[:LONGEST]) for name, value in done.config.items()]
            for start in range(0, len(params), 100):
                self._client.log_batch(run, params=params[start : start + 100])
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(run, metrics=metrics[start : start + BATCH])
        if done.error is not None:
            self._client.set_tag(run, "hpo.error", done.error[:LONGEST])
        self._client.set_terminated(run, "FAILED" if done.error is not None else "FINISHED", at)
        before = _untils(runs[0]) if runs else []
        self._client.set_tag(run, UNTILS, ",".join([*before, str(until)]))  # last: now it is written

    def _make_run(self, done: Finish) -> str:
        tags = {STUDY: self._study, TRIAL: str(done.key[0]), "hpo.seed": str(done.seed)}
        if done.source is not None:
            tags[CONFIG] = f"trial {done.source[0]} at {done.source[1]}"
        made = self._client.create_run(self._home, round(1000 * done.started), tags, done.name)
        return str(made.info.run_id)

    def _find_runs(self, trial: int | None = None) -> Iterator[Any]:
        """The runs of this study, or of one of its trials."""
        words = [f"tags.`{STUDY}` = '{self._study}'"] + ([] if trial is None else [f"tags.`{TRIAL}` = '{trial}'"])
        token = None
        while True:
            page = self._client.search_runs([self._home], " AND ".join(words), max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _untils(run: Any) -> list[str]:
    return [until for until in run.data.tags.get(UNTILS, "").split(",") if until]


def _word(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-. :/]", "_", name)
