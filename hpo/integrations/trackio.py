"""trackio: a tracker that writes to trackio's database on this machine. `pip install 'hpo-lm[trackio]'`."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Any

from hpo.integrations.trackers import Diary, Finish, Tracker, require, study_identity, study_name
from hpo.job import Key
from hpo.study import Study
from hpo.trial import first_objective


class Trackio(Tracker):
    """A run for each trial: its configuration, the first objective by step, every metric at the budgets where it was told.

    project   of trackio (default: the log's name and a few letters that tell studies apart)

    Where the database stands, the variable TRACKIO_DIR says before trackio is imported; nothing leaves the machine. `trackio
    show` is the page.
    """

    def __init__(self, project: str | None = None) -> None:
        super().__init__()
        require("trackio", "trackio")
        self.project = project
        self._name = ""
        self._diary: Diary | None = None

    def open(self, study: Study) -> Iterable[Key]:
        from trackio.utils import TRACKIO_DIR

        self._name = self.project or study_name(study.history)
        self._diary = Diary(TRACKIO_DIR / f"{self._name}.written.txt", study_identity(study.history))
        return self._diary.read()

    def write(self, study: Study, done: Finish) -> None:
        import trackio

        assert self._diary is not None, "open comes first"
        objective = first_objective(study.history)
        steps: dict[int, dict[str, Any]] = defaultdict(dict)
        for step, value in done.curve:
            steps[step][objective] = value
        steps[done.key[1]] |= {name: value for name, value in done.metrics.items() if name != objective}
        steps[done.key[1]] |= {"until": done.key[1], **({"error": done.error} if done.error else {})}
        with redirect_stdout(io.StringIO()):  # it prints what its page is called, at every trial
            run = trackio.init(
                self._name, name=f"{study_identity(study.history)[:6]}-{done.name}", group=study_name(study.history),
                config=dict(done.config), resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
            try:
                for step in sorted(steps):
                    run.log(dict(steps[step]), step=step)
            finally:
                trackio.finish()
        self._diary.append(done.key)
