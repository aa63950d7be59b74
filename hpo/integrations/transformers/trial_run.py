"""TrialRun: a trial of a shared Trainer as a Run. The unit of its budget is an evaluation of its training."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerState

from hpo.integrations.optuna.spaces import Known
from hpo.integrations.transformers.cloning import STATE
from hpo.integrations.transformers.hp_space import Source
from hpo.integrations.transformers.shared import Order, SharedTrainer, find_best_step, list_evaluations
from hpo.job import Curve
from hpo.values import format_value, is_several, plain

MEASURED = ("_runtime", "_per_second", "_time")  # ends of metrics that are another's at every run
RUN = "trial_run.json"  # beside a checkpoint: whether its training has come to its end, and what was adopted


@dataclass(frozen=True)
class TrialFactory:
    """A Run factory of a shared trainer, over known distributions."""

    shared: SharedTrainer
    known: Known
    number: int = 0

    def bind_trial(self, number: int, seed: int) -> TrialFactory:
        """The factory of one trial."""
        return TrialFactory(self.shared, self.known, number)

    def __call__(self, config: Mapping[str, Any], seed: int, horizon: int) -> TrialRun:
        return TrialRun(self, config, seed, horizon)


class TrialRun:
    """A trial: parts of a training that follow one another, and between them a checkpoint in a folder of its own."""

    def __init__(self, factory: TrialFactory, config: Mapping[str, Any], seed: int, horizon: int) -> None:
        self.factory, self.horizon = factory, horizon
        self.source = Source(factory.number, seed, config, factory.known)
        self.folder = Path(tempfile.mkdtemp(prefix="hpo-trial-"))
        self.state: TrainerState | None = None
        self.checkpoint: Path | None = None
        self.ended, self.adopted = False, 0
        self.met: dict[str, float] = {}

    def advance(self, until: int) -> tuple[dict[str, float], Curve]:
        """Trains to the evaluation `until`, or to the end. The metrics of the one that counts, and the objective at each."""
        if not self.ended:
            self._train(until)
        assert self.state is not None
        shared, evaluations = self.factory.shared, list_evaluations(self.state)
        best = evaluations[find_best_step(evaluations, shared.args)]
        found = {name: float(value) for name, value in best.items() if not name.endswith(MEASURED)}
        places = range(self.adopted + 1, until + 1)
        curve = tuple((k, self._judge(one)[0]) for k, one in zip(places, evaluations.values(), strict=False))
        return {**found, **dict(zip(shared.space.names, self._judge(best), strict=True)), **self.met}, curve

    def _train(self, until: int) -> None:
        start = None if self.checkpoint is None else str(self.checkpoint)
        part = self.factory.shared.lead(Order(self.source, until, self.horizon, start, self.adopted))
        self.state, self.ended = part.state, part.ended
        self.met = part.trial.list_met()
        self._take(part.checkpoint, moves=part.is_own)

    def _judge(self, metrics: Mapping[str, float]) -> list[float]:
        """The objectives of an evaluation. ValueError where `compute_objective` returns others than the directions say."""
        shared = self.factory.shared
        value: Any = shared.trainer.compute_objective(dict(metrics))
        several, count = list(value) if is_several(value) else [value], len(shared.space.names)
        found = [plain(one) for one in several]
        if len(found) != count or not all(isinstance(one, int | float) for one in found):
            allowed = "a number" if count == 1 else f"{count} numbers, one a direction"
            raise ValueError(f"compute_objective returned {format_value(value)}; allowed is {allowed}")
        return [float(one) for one in found]

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def _take(self, path: Path | None, moves: bool) -> None:
        """Goes on from a checkpoint; None where a training came to its end without one. It stays where it is if the trainer
        wanted it there; else it moves out of the way."""
        if path is not None and moves:
            path = Path(shutil.move(path, self.folder / path.name))
        before, self.checkpoint = self.checkpoint, path
        if before is not None and before != path and before.parent == self.folder:
            shutil.rmtree(before)

    def save(self, path: str) -> None:
        """Writes the checkpoint as a folder; of a training at its end without one, only what it has found."""
        assert self.state is not None, "the Run was not advanced"
        if self.checkpoint is not None:
            shutil.copytree(self.checkpoint, path)
        Path(path).mkdir(exist_ok=True)
        self.state.save_to_json(str(Path(path) / STATE))
        (Path(path) / RUN).write_text(json.dumps({"ended": self.ended, "adopted": self.adopted}))

    def load(self, path: str) -> None:
        """Goes on from a checkpoint of this trial."""
        self.state = TrainerState.load_from_json(str(Path(path) / STATE))
        run = json.loads((Path(path) / RUN).read_text())
        self.ended, self.adopted = run["ended"], run["adopted"]
        self.checkpoint = self.folder / f"checkpoint-{self.state.global_step}"
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        shutil.copytree(path, self.checkpoint)

    def adopt(self, path: str) -> None:
        """Goes on from another trial's checkpoint, with this trial's hyperparameters: its learning rates, decay and schedule."""
        self.load(path)
        assert self.state is not None and self.checkpoint is not None
        shared = self.factory.shared
        shared.adopt(shared.space.make_trial(self.source), self.checkpoint)
        self.ended, self.adopted = False, self.adopted + len(list_evaluations(self.state))

    def close(self) -> None:
        """Deletes the Run's own folder; what the trainer saved stays."""
        shutil.rmtree(self.folder, ignore_errors=True)
