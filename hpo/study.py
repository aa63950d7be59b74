"""Study: an optimizer bound to a history under one header, and the answers that people want from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import ancestry, arguments, table
from hpo.analysis.hypervolume import Reference, front_volume, volume_curve
from hpo.analysis.paths import check_file
from hpo.analysis.plots import Plots
from hpo.analysis.subject import Subject
from hpo.bounds import explain_infeasible
from hpo.history import History
from hpo.job import Key, Result
from hpo.logs import Log, open_log
from hpo.optimizer import Optimizer
from hpo.plain import SupportsPropose, SupportsSample
from hpo.retention import Retention
from hpo.space import Space
from hpo.stopping import explain_stop
from hpo.trial import Trial, best_front, best_key, describe_best, first_objective, learning_curve
from hpo.values import quantity, whole

if TYPE_CHECKING:
    import pandas

    from hpo.analysis.importance import Correlations, Importance


class Study:
    """The header, the history and the optimizer of one search.

    objectives   name -> "min" or "max", or a list of names that are minimised; a result that is a plain number is the first one
    order        of several objectives, by which everything that sorts goes within a front: "crowding" (NSGA-II) or "epsilon",
                 which spreads the first few over the front (hpo/pareto.py)
    unit         the unit of every budget: "tokens", "steps", "epochs", "flops", "evaluations", ...
    horizon      the largest budget and the length of every training schedule (default: the optimizer's)
    log          where events are kept (default: in memory): a log, or the path of a SQLite file. An existing log is reopened;
                 ValueError names what differs.
    lost_limit   how often one job may be lost before that is an error
    """

    def __init__(
        self,
        optimizer: SupportsPropose | SupportsSample,
        *,
        objectives: Mapping[str, str] | Sequence[str] | None = None,
        order: str = "crowding",
        unit: str = "evaluations",
        horizon: int | None = None,
        log: str | Path | Log | None = None,
        lost_limit: int = 3,
    ) -> None:
        self.optimizer: Optimizer = arguments.instance(optimizer)
        optimizer = self.optimizer
        horizon = None if horizon is None else whole("horizon", horizon)
        objectives, unit = arguments.directions(objectives), arguments.text("unit", unit)
        lost_limit = whole("lost_limit", lost_limit, 1)
        store = None if log is None else open_log(log)
        try:
            optimizer.take_horizon(horizon, None if store is None else (store.header() or {}).get("optimizer"))
            horizon = optimizer.horizon if horizon is None else horizon
            if horizon < optimizer.horizon:
                name = type(optimizer).__name__
                raise ValueError(f"{name} trains up to {optimizer.horizon} {unit}, but the study's horizon is {horizon}")
            self.header = optimizer.header(objectives, unit, horizon, lost_limit, order)
            self.history = History(self.header, store)
            optimizer.bind(self.history)
        except BaseException:
            if store is not None and store is not log:  # opened here, so it must be closed here
                store.close()
            raise
        self._retention = Retention(optimizer, self.history)

    @classmethod
    def of(cls, optimizer: Optimizer) -> Study:
        """The study of an optimizer that was used by ask and tell alone, over the history that it has."""
        study = cls.__new__(cls)
        study.optimizer = optimizer = arguments.instance(optimizer)
        study.history = optimizer.history
        study.header = study.history.header
        study._retention = Retention(optimizer, study.history)
        return study

    # -- answers -----------------------------------------------------------------------------------------------------

    @property
    def objective(self) -> str:
        """The first objective's name."""
        return first_objective(self.history)

    def trial(self, key: Key) -> Trial:
        """The Trial of a finished key (trial, until). ValueError for any other key."""
        return Trial.of(self.history, key)

    def curve(self, key: Key) -> tuple[tuple[int, float], ...]:
        """(step, value) of the first objective from the start of the trial to a key, its rungs included."""
        return learning_curve(self.history, key)

    def lineage(self, trial: int | Key) -> tuple[Key, ...]:
        """The keys whose jobs made a trial's weights, from a start from nothing on; see hpo/ancestry.py."""
        return ancestry.lineage(self.history, trial)

    def schedule(self, trial: int | Key) -> ancestry.Schedule:
        """(until, configuration) of every phase of the training that made a trial: what `Replay` trains again."""
        return ancestry.schedule(self.history, trial)

    def successes(self) -> list[Key]:
        """Finished keys without failures at the highest budget that has any."""
        until = self.history.highest_budget
        return [] if until is None else [key for key in self.history.at(until) if not self.history.is_failure(key)]

    @property
    def best(self) -> Trial:
        """The lowest loss at the highest budget reached, of what meets the optimizer's constraints. Raises ValueError if no trial
        has succeeded or none meets them, and with several objectives, which have a front (`pareto`) instead."""
        key, names = best_key(self.history), list(self.header.objectives)
        if key is None:
            raise ValueError(self._nothing())
        if len(names) > 1:
            size = quantity(len(best_front(self.history)), "trials")
            raise ValueError(f"no single trial is the best in all of {names}: study.pareto holds the front of {size}, and "
                             f"study.recommend() chooses one of it")  # fmt: skip
        return self.trial(key)

    @property
    def pareto(self) -> list[Trial]:
        """The non-dominated trials at the highest budget reached, of what meets the optimizer's constraints. Raises ValueError if
        no trial has succeeded, or if none meets them."""
        front = best_front(self.history)
        if not front:
            raise ValueError(self._nothing())
        return [self.trial(key) for key in front]

    def hypervolume(self, reference: Reference) -> float:
        """What the front (`pareto`) dominates, below a reference (for a maximised objective: above it); 0 without a front.

        reference: a value of each objective, as they are reported: by name, or in their order. Exact for up to four objectives,
        from five on an estimate (surrogates/hypervolume.py). Results that are not better than it in all objectives add nothing.
        """
        return front_volume(self.history, reference)

    def hypervolume_curve(self, reference: Reference) -> list[float]:
        """The hypervolume after each result, in the order of their arrival."""
        return volume_curve(self.history, reference)

    def recommend(self) -> Trial:
        """The trial to use: the best by the optimizer's model if there is noise, else the lowest loss observed at the highest
        budget; with several objectives the first of the front by the study's order. Raises ValueError if no trial has succeeded,
        or if none meets the optimizer's constraints."""
        key = self.optimizer.recommend(self.history)
        if key is None:
            raise ValueError(self._nothing())
        return self.trial(key)

    def _nothing(self) -> str:
        """Why there is no best: nothing has succeeded, or nothing that did keeps the optimizer's bounds."""
        if said := explain_infeasible(self.history):
            return said
        errors = [result.error for result in self.history.results.values() if result.error]
        last = f"; the last error was: {errors[-1]}" if errors else ""
        return f"no trial has succeeded among {quantity(len(self.history.results), 'results')}{last}"

    def dataframe(self) -> pandas.DataFrame:
        """One row for each finished key: objectives, configuration, other metrics, times (see hpo.table)."""
        import pandas

        return pandas.DataFrame(self.rows(), columns=table.columns(self.history))

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `dataframe` as plain dictionaries."""
        return table.rows(self.history)

    def __repr__(self) -> str:
        """One line: the optimizer, how far the search is, and the best so far."""
        done, pending = len(self.history.results), len(self.history.pending) + len(self.history.retries)
        name = self.header.optimizer.get("name") or type(self.optimizer).__name__  # not the class of a `Recorded`
        return f"Study({name}, {quantity(done, 'results')}, {pending} pending, {self.summary()})"

    def summary(self) -> str:
        """The best so far in a few words: `best 0.1 (trial 3)`, with several objectives the size of the front and the best value
        of each: `front of 4, best loss=0.1 size=96`; where nothing meets the optimizer's constraints, that."""
        return describe_best(self.history)

    @property
    def stop_reason(self) -> str:
        """Why the search started no more trials, in a few words: a stop rule's sentence, a limit; empty while nothing did."""
        return explain_stop(self.history)

    # -- analysis ----------------------------------------------------------------------------------------------------

    @property
    def space(self) -> Space:
        """The space that is searched."""
        return self.optimizer.space

    def importance(self, *, objective: str | None = None) -> Importance | Correlations:
        """Which hyperparameters mattered: Sobol indices of a Gaussian process's mean, and marginal effects. With too few results
        for a model: the rank correlation of each hyperparameter with the loss. `print` shows either.

        objective: one of several, by its name (default: the first)
        """
        from hpo.analysis.importance import importance

        subject = self._subject.select(objective)
        best = None if subject.leader is None else self.history.jobs[subject.leader].config
        return importance(self.history, self.space, best, subject.place)

    @property
    def plot(self) -> Plots:
        """Pictures: `plot.history()`, `curves`, `importance`, `effects`, `slices`, `parallel` and, for several objectives,
        `pareto`; `lineage` where trials were cloned. Each returns a Matplotlib figure, and saves it if a path is given."""
        return Plots(self._subject)

    def report(self, path: str | Path = "report.html", title: str | None = None) -> Path:
        """Writes one self-contained page about the study, and returns its path. ModuleNotFoundError in a sentence without
        Matplotlib and Jinja2."""
        from hpo.analysis.report import write_report

        return write_report(self._subject, check_file(path), title)

    @property
    def _subject(self) -> Subject:
        return Subject.of(self.history, self.space)

    # -- what must stay ----------------------------------------------------------------------------------------------

    def retain(self, keep: str | int) -> None:
        """Sets which checkpoints `keep` names from now on: "live", "all" or a number of best trials; see `run`."""
        self._retention = Retention(self.optimizer, self.history, keep)

    def keep(self) -> list[Key]:
        """Keys whose checkpoints must stay: live ones, pending ones (another driver may have published them already) with their
        sources, and the best (or Pareto) ones, which may be recommended."""
        return self._retention.list_keys()

    def release(self) -> list[Key]:
        """Keys whose checkpoints have become useless since the last call, so that `keep` no longer names them. They are found
        from what has finished meanwhile, so a finish costs no more in a long study."""
        return self._retention.release()

    def is_dead(self, key: Key) -> bool:
        """Whether a finished key's checkpoint is of no use now."""
        return self._retention.is_dead(key)

    def list_needed(self) -> set[Key]:
        """Keys whose checkpoints must stay whatever later jobs may name: those of jobs that have begun, and the best."""
        return self._retention.list_needed()

    def check_result(self, result: Result) -> Result:
        """Checks a result from an executor; a malformed one becomes an error of its configuration."""
        try:
            return Result.of(result, self.header.objectives)
        except (TypeError, ValueError) as error:
            return Result(error=str(error))

