"""Sections for the report of any study, in the order of the page. Pictures are panels: the page's script draws them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

from hpo.analysis.captions import (
    NO_DIFFERENCE,
    describe_importance,
    describe_model,
    explain_correlations,
    explain_effects,
    explain_model,
)  # fmt: skip
from hpo.analysis.export import to_json
from hpo.analysis.feed import Feed
from hpo.analysis.importance import Correlations, Importance, importance
from hpo.analysis.lines import amount, short
from hpo.analysis.page import Cell, Code, Panel, Part, Section, Table, Words, plain_row
from hpo.analysis.progress import RungSummary, count_rungs, finish_times
from hpo.analysis.subject import Subject
from hpo.analysis.tree import place_rows
from hpo.ancestry import schedule
from hpo.bounds import bounds_of, explain_infeasible, feasible
from hpo.history import History
from hpo.job import Key
from hpo.values import quantity

MOST = 1000  # trials in the table that stands there where no script runs


def page_data(subject: Subject, found: Importance | Correlations | None = None) -> str:
    """What the panels of a page show of a study, as JSON. found: the importance, where it was computed already."""
    history, space = subject.history, subject.space
    best = None if subject.leader is None else history.jobs[subject.leader].config
    models = [describe_importance(history, space, best, place) for place in range(len(history.header.objectives))
              if found is None or place != subject.place]  # fmt: skip
    if found is not None:
        models.insert(subject.place, describe_model(found, space, history.header.horizon))
    feed = Feed(history, space)
    parts = {
        "name": feed.name, "now": time.time(), "importance": models, "leader": subject.leader, "leads": subject.leads,
        "label": subject.label, "lineage": [[*key, row] for key, row in place_rows(history).items()] if history.adopted else [],
    }  # fmt: skip
    return f'{json.dumps(to_json(parts), allow_nan=False)[:-1]}, "data": {feed.document()}}}'


def model_importance(subject: Subject) -> Importance | Correlations:
    """The importance for the subject's objective."""
    best = None if subject.leader is None else subject.history.jobs[subject.leader].config
    return importance(subject.history, subject.space, best, subject.place)


def result_sections(subject: Subject) -> list[Section]:
    """Best so far; learning curves if there are several budgets; the lineage if there are clones; the Pareto front if there are
    several objectives."""
    history = subject.history
    if not subject.successes:
        return []
    found = [Section("Best so far", [Words(_about_best(subject)), Panel("history")], is_wide=False)]
    if history.header.horizon > 1:
        found.append(Section("Learning curves by rung", [Words(ABOUT_CURVES), Panel("curves")], is_wide=False))
    if subject.has_clones and subject.leader is not None:
        found.append(lineage_section(subject))
    if len(history.header.objectives) > 1:
        words = _about_front(history)
        found.append(Section("Pareto front", [Words(words), Panel("pareto")], is_wide=False))
    return found


ABOUT_CURVES = (
    "Every trial from rung to rung; a line that ends is a trial that was not continued. What diverged may leave the picture, "
    "where it is counted."
)


def _about_best(subject: Subject) -> str:
    header = subject.history.header
    said = f"The best {subject.objective}"
    if header.horizon > 1:
        said += (
            " at the highest budget reached until then. Where a longer training is the first of its length it stands alone, and "
            "the line may get worse"
        )
    others = f", {quantity(len(header.objectives) - 1, 'other objectives')} aside" if len(header.objectives) > 1 else ""
    return f"{said}{others}."


def _about_front(history: History) -> str:
    kept, bounds = feasible(history), bounds_of(history.header.optimizer)
    highest = quantity(kept.highest_budget or history.highest_budget or 0, history.header.unit)
    bounded = f" of those that keep {bounds}" if bounds.constraints else ""
    nothing = explain_infeasible(history)
    found = f". There is no front: {nothing}" if nothing else f", and what no other{bounded} dominates"
    return f"Results at the highest budget, {highest}{found}."


def lineage_section(subject: Subject) -> Section:
    """The tree of clones, and what the leader was trained with, phase by phase. Needs a clone and a leader."""
    assert subject.leader is not None
    phases = schedule(subject.history, subject.leader)
    names = [name for name in subject.space.columns if len({repr(config.get(name)) for _, config in phases}) > 1]
    several = f"{quantity(len(phases), 'configurations')}, one after the other" if len(phases) > 1 else "one configuration"
    about = "Whose weights came from whom: a line that leaves another one began as its copy."
    words = f"{about} The {subject.leads} was trained with {several}"
    parts: list[Part] = [Words(f"{words}{':' if names else '.'}"), Panel("lineage")]
    if names:
        rows = [plain_row(f"{until:,}", *(short(config[name]) if name in config else "–" for name in names))
                for until, config in phases]  # fmt: skip
        parts.append(Table([f"until {subject.history.header.unit}", *names], rows))
    return Section("Lineage", parts)


def rungs_table(subject: Subject) -> Table:
    """A table of what finished at every budget."""
    head = [subject.history.header.unit, "finished", "failed", f"best {subject.objective}"]
    return Table(head, [_rung_row(rung) for rung in count_rungs(subject.history, 1)])


def _rung_row(rung: RungSummary) -> list[Cell]:
    return plain_row(f"{rung.until:,}", rung.finished, rung.failed, "–" if rung.best is None else f"{rung.best:.4f}")


def importance_sections(subject: Subject, found: Importance | Correlations | None = None) -> list[Section]:
    """Sobol indices, and effects; with too few results for a model, only why. found: as `model_importance` has it."""
    found, title = model_importance(subject) if found is None else found, "Which hyperparameters mattered"
    if isinstance(found, Correlations):
        is_note = len(found.keys) > 1 and bool(found.tau)
        return [Section(title, [Words(explain_correlations(found), is_note)], is_wide=False)]
    if not any(found.total.values()):
        return [Section(title, [Words(NO_DIFFERENCE, note=False)], is_wide=False)]
    horizon = subject.history.header.horizon
    return [
        Section(title, [Words(explain_model(found, horizon)), Panel("importance")], is_wide=False),
        Section("Effects", [Words(explain_effects(found, horizon)), Panel("effects")], is_wide=False),
    ]


# -- trials ------------------------------------------------------------------------------------------------------------


def trials_section(subject: Subject) -> Section:
    """A table with one row for each trial, the best first."""
    history, names, times = subject.history, subject.space.columns, finish_times(subject.history)
    objectives = list(history.header.objectives)
    keys = _furthest(subject)
    timed = any(times.values())
    head = ["trial", history.header.unit, *objectives, *(["at second"] if timed else []), *names]
    rows = [_trial_row(subject, key, times if timed else None) for key in keys[:MOST]]
    best = frozenset(place for place, key in enumerate(keys) if subject.leader is not None and key[0] == subject.leader[0])
    left = "" if len(keys) <= MOST else f" The best {MOST:,} of {len(keys):,} are shown."
    words = f"The furthest result of each.{left}"
    return Section("Every trial", [Panel("trials", Table(head, rows, best, sortable=True), words)])


def _furthest(subject: Subject) -> list[Key]:
    """For every trial the finished key with the highest budget, else the last key that was asked for; the best first."""
    history = subject.history
    ends = {key[0]: key for key in history.finished_keys}
    found = [ends.get(trial, keys[-1]) for trial, keys in history.trials.items()]

    def order(key: Key) -> tuple[float, float, int]:
        good = key in history.results and not history.is_failure(key)
        return -key[1], history.losses(key)[subject.place] if good else math.inf, key[0]

    return sorted(found, key=order)


def _trial_row(subject: Subject, key: Key, times: dict[Key, float] | None) -> list[Cell]:
    config = subject.history.jobs[key].config
    tags = [("best", subject.leads)] * (subject.leader is not None and subject.leader[0] == key[0])
    tags += [("default", "default")] * (key[0] == subject.default)
    row = [Cell(str(key[0]), key[0], tuple(tags)), Cell(amount(key[1]), key[1]), *_value_cells(subject, key)]
    if times is not None:
        row.append(Cell(f"{times[key]:.1f}", times[key]) if key in times else Cell(""))
    for name in subject.space.columns:
        value = config.get(name)
        sorted_by = value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)
        row.append(Cell(short(value), sorted_by) if name in config else Cell("–"))
    return row


def _value_cells(subject: Subject, key: Key) -> list[Cell]:
    history, count = subject.history, len(subject.history.header.objectives)
    if key in history.results and not history.is_failure(key):
        values = [history.results[key].metrics[name] for name in history.header.objectives]
        return [Cell(f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 else f"{value:.4g}", value) for value in values]
    error = history.results[key].error or "no finite value" if key in history.results else "not finished"
    cut = error if len(error) <= 24 else error[:23] + "…"
    return [Cell(cut, look="muted", title=error), *([Cell("–")] * (count - 1))]


# -- at the end --------------------------------------------------------------------------------------------------------


def parameter_sections(subject: Subject) -> list[Section]:
    """Parallel coordinates, and slices; none without two results and a hyperparameter."""
    if len(subject.successes) < 2 or not subject.space.columns:
        return []
    return [Section("All of it at once", [Panel("parallel")]), Section("Slices", [Panel("slices")])]


def work_sections(subject: Subject) -> list[Section]:
    """What every worker did when, what failed, two configurations beside each other, and what finished at every budget, as far
    as there is any of it."""
    history, found = subject.history, []
    if any(event.kind == "start" for event in history.events):
        found.append(Section("Workers", [Panel("timeline")]))
    if any(map(history.is_failure, history.results)):
        found.append(Section("Failures", [Panel("failures")]))
    if len(history.trials) > 1:
        found.append(Section("Two configurations", [Panel("compare")], is_wide=False))
    if history.header.horizon > 1 and history.results:
        found.append(Section("Rungs", [rungs_table(subject)], is_wide=False))
    return found


def header_section(subject: Subject) -> Section:
    """The header of the study as the log holds it, and how to load it."""
    header = subject.history.header
    rows = [[name, _one_line(value)] for name, value in header.optimizer.items()]
    rows += [["objectives", _one_line(dict(header.objectives))], ["unit", header.unit], ["horizon", f"{header.horizon:,}"]]
    rows += [["seed", str(header.seed)]]
    place = subject.history.log.place
    opened: list[Part] = [Code(f"study = hpo.load({place!r})")] if place else []
    return Section("The study", [Table(["optimizer", "as it was made"], _text_rows(rows), left=frozenset({1})), *opened])


def _text_rows(rows: Sequence[Sequence[str]]) -> list[list[Cell]]:
    return [plain_row(*row) for row in rows]


def _one_line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
