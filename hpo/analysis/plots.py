"""`study.plot`: every picture of a study as a method. Each returns a Matplotlib figure, and saves it if a path is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.analysis.paths import check_picture
from hpo.analysis.subject import Subject
from hpo.ancestry import key_of
from hpo.bounds import explain_infeasible
from hpo.job import Key
from hpo.values import quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hpo.analysis.importance import Correlations, Importance


@dataclass(frozen=True)
class Plots:
    """The pictures of a study. `objective` names one of several (default: the first); `path` ends in .png, .svg or .pdf.

    ValueError in a sentence for another path (FileNotFoundError if its folder does not exist) and if there is nothing to draw,
    ModuleNotFoundError without Matplotlib.
    """

    subject: Subject

    def history(self, path: str | Path | None = None, *, objective: str | None = None) -> Figure:
        """Every result over the seconds of the search, and the best so far."""
        from hpo.analysis.figures import draw_history

        check_picture(path)
        return _save(draw_history(self._successful(objective)), path)

    def curves(self, path: str | Path | None = None, *, objective: str | None = None) -> Figure:
        """Every trial's learning curve from budget to budget."""
        from hpo.analysis.figures import draw_curves

        check_picture(path)
        return _save(draw_curves(self._successful(objective)), path)

    def pareto(self, path: str | Path | None = None) -> Figure:
        """Every result at the highest budget by two objectives, with the Pareto front; one panel for each pair."""
        from hpo.analysis.figures import draw_pareto

        check_picture(path)
        if len(self.subject.history.header.objectives) < 2:
            raise ValueError(f"a front needs several objectives, and this study has one, {self.subject.objective!r}")
        return _save(draw_pareto(self._successful(None)), path)

    def importance(self, path: str | Path | None = None, *, objective: str | None = None) -> Figure:
        """Sobol indices of the hyperparameters. ValueError if there is no model yet; `slices` shows the results themselves."""
        from hpo.analysis.parameters import draw_importance

        check_picture(path)
        found = self._model(self.subject.select(objective))
        if not any(found.total.values()):
            raise ValueError("the model sees no difference between configurations")
        return _save(draw_importance(found), path)

    def effects(self, path: str | Path | None = None, *, objective: str | None = None) -> Figure:
        """The modelled objective over each of the hyperparameters that mattered most. ValueError as for `importance`."""
        from hpo.analysis.parameters import draw_effects

        check_picture(path)
        subject = self.subject.select(objective)
        return _save(draw_effects(self._model(subject), subject), path)

    def slices(self, path: str | Path | None = None, *, objective: str | None = None) -> Figure:
        """Every result over the value of each hyperparameter."""
        from hpo.analysis.parameters import draw_slices

        check_picture(path)
        subject = self._successful(objective)
        return _save(draw_slices(self._comparable(subject), subject), path)

    def parallel(self, path: str | Path | None = None, *, objective: str | None = None) -> Figure:
        """Parallel coordinates: every result is a line through all hyperparameters."""
        from hpo.analysis.parameters import draw_parallel

        check_picture(path)
        subject = self._successful(objective)
        return _save(draw_parallel(self._comparable(subject), subject), path)

    def lineage(
        self, path: str | Path | None = None, *, trial: int | Key | None = None, objective: str | None = None
    ) -> Figure:
        """Whose weights came from whom, as a tree, and the jobs that made one trial: by default the best, else a number or a key.
        ValueError if no trial was cloned, or if none is the best."""
        from hpo.analysis.tree import draw_lineage

        check_picture(path)
        subject = self._successful(objective)
        if not subject.has_clones:
            raise ValueError("a lineage needs clones, and no trial of this study was cloned")
        winner = subject.leader if trial is None else key_of(subject.history, trial)
        if winner is None:
            raise ValueError(f"no trial is the best, {explain_infeasible(subject.history)}; trial= names one of them")
        return _save(draw_lineage(subject, winner), path)

    def _successful(self, objective: str | None) -> Subject:
        subject = self.subject.select(objective)
        if not subject.successes:
            results = quantity(len(subject.history.results), "results")
            raise ValueError(f"there is nothing to draw: no trial has succeeded among {results}")
        return subject

    def _model(self, subject: Subject) -> Importance:
        from hpo.analysis.importance import Importance, importance

        leader = subject.leader
        best = None if leader is None else subject.history.jobs[leader].config
        found = importance(subject.history, subject.space, best, subject.place)
        if not isinstance(found, Importance):
            raise ValueError(f"{found.reason}; study.plot.slices() shows the results themselves")
        return found

    def _comparable(self, subject: Subject) -> Correlations:
        from hpo.analysis.importance import correlations

        found = correlations(subject.history, subject.space, subject.place)
        if not found.keys or not found.tau:
            raise ValueError(f"there is nothing to draw: {found.reason}")
        return found


def _save(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        from hpo.analysis.drawing import save_figure

        save_figure(figure, path)
    return figure
