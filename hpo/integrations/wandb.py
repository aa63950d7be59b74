"""Weights & Biases: a tracker that writes runs, by default offline. `pip install 'hpo-lm[wandb]'`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from hpo.integrations.trackers import Diary, Finish, Tracker, require, study_identity, study_name
from hpo.job import Key
from hpo.study import Study
from hpo.trial import first_objective

MODES = ("offline", "online")


class WandB(Tracker):
    """A run for each trial, in a group for the study: its configuration, the first objective by step, metrics as summary, a
    failure as a failed run.

    project   of Weights & Biases (default: the log's name and a few letters that tell studies apart)
    folder    where files stand, in `wandb` below it
    mode      "offline", from which nothing leaves the machine until `wandb sync --append FOLDER/wandb/offline-run-*` is called,
              or "online", for which you have logged in
    entity    user or team

    A trial that goes on after a pause is the same run: online it is resumed, offline it has one more folder of the same id with
    what has come since. The summary's `until` is the budget of the last result. Each result takes about half a second.
    """

    def __init__(
        self, project: str | None = None, folder: str | Path = ".", mode: str = "offline", entity: str | None = None
    ) -> None:
        super().__init__()
        require("wandb", "wandb")
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; allowed are {list(MODES)}")
        self.project, self.folder, self.mode, self.entity = project, Path(folder), mode, entity
        self._diary: Diary | None = None

    def open(self, study: Study) -> Iterable[Key]:
        self._diary = Diary(self.folder / "wandb" / "written.txt", study_identity(study.history))
        return self._diary.read()

    def write(self, study: Study, done: Finish) -> None:
        import wandb

        assert self._diary is not None, "open comes first"
        history, objective = study.history, first_objective(study.history)
        settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True)
        run = wandb.init(
            project=self.project or study_name(history), entity=self.entity, dir=str(self.folder), mode=self.mode,  # type: ignore[arg-type]
            id=f"{study_identity(history)}-{done.key[0]}", name=done.name, group=study_name(history), config=dict(done.config),
            reinit="create_new", resume="allow" if self.mode != "offline" else None, settings=settings,
        )  # fmt: skip
        failed = True
        try:
            steps: dict[int, dict[str, float]] = defaultdict(dict)
            for step, value in done.curve:
                steps[step][objective] = value
            steps[done.key[1]] |= {name: value for name, value in done.metrics.items() if name != objective}
            for step in sorted(steps):
                if steps[step]:
                    run.log(steps[step], step=step)
            run.summary.update({**done.metrics, "until": done.key[1], **({"error": done.error} if done.error else {})})
            failed = done.error is not None
        finally:
            run.finish(exit_code=int(failed))
        self._diary.append(done.key)
