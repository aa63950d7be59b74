"""The report of any study: its numbers, pictures and trials on one self-contained page."""

from __future__ import annotations

from pathlib import Path

from hpo.analysis import sections
from hpo.analysis.feed import name_optimizer
from hpo.analysis.importance import Correlations, Importance
from hpo.analysis.lines import amount, join_config, short
from hpo.analysis.page import Card, Section, check_jinja, render_page, write_page
from hpo.analysis.paths import check_file
from hpo.analysis.snapshot import Snapshot, snapshot
from hpo.analysis.subject import Subject
from hpo.trial import describe_best
from hpo.values import inflect, quantity


def write_report(subject: Subject, path: Path, title: str | None = None) -> Path:
    """Writes the page, and returns its path. ModuleNotFoundError in a sentence without Jinja2, ValueError or OSError if the file
    cannot be written."""
    check_file(path)
    check_jinja()  # before anything is computed
    now, found = snapshot(subject.history), sections.model_importance(subject)
    page = render_page(title or name_study(subject), _subtitle(subject, now), _lead(subject, now), _cards(now, subject),
                       study_sections(subject, found), sections.page_data(subject, found))  # fmt: skip
    return write_page(path, page)


def study_sections(subject: Subject, found: Importance | Correlations) -> list[Section]:
    """Every section that has something to show."""
    return [
        *sections.result_sections(subject),
        *sections.importance_sections(subject, found),
        *sections.parameter_sections(subject),
        *sections.work_sections(subject),
        sections.trials_section(subject),
        sections.header_section(subject),
    ]


def name_study(subject: Subject) -> str:
    """The title of the page: `A study by ASHA(GP)`."""
    return f"A study by {name_optimizer(subject.history.header.optimizer)}"


def _subtitle(subject: Subject, now: Snapshot) -> str:
    aims = ", ".join(f"{name} ({aim})" for name, aim in subject.history.header.objectives.items())
    spent = f" in {now.spent:.3g} seconds of search" if now.spent else ""
    pending = f", {len(subject.history.pending)} pending" if subject.history.pending else ""
    done = f"{quantity(now.finished, 'results')} of {quantity(now.started, 'trials')}"
    return f"{aims}; {done}{pending}{spent}, seed {subject.history.header.seed}."


def _lead(subject: Subject, now: Snapshot) -> list[str]:
    if now.best is None:
        errors = [result.error for result in subject.history.results.values() if result.error]
        if subject.successes:  # none keeps the optimizer's bounds
            return [f"{_capital(describe_best(subject.history))}."]
        return ["No trial has succeeded yet.", *([f"The last error was: {errors[-1]}."] if errors else [])]
    (trial, until), _, config = now.best
    there = f" at {quantity(until, subject.history.header.unit)}" if subject.history.header.horizon > 1 else ""
    return [f"{_capital(describe_best(subject.history))}{there}.", f"Trial {trial}: {join_config(config)}."]


def _capital(said: str) -> str:
    return f"{said[0].upper()}{said[1:]}"


def _cards(now: Snapshot, subject: Subject) -> list[Card]:
    header, cards = subject.history.header, []
    if now.best is not None:
        cards.append(Card(short(float(now.best[1])), f"{subject.objective} of the best, trial {now.best[0][0]}", "best"))
    if now.default is not None and (now.best is None or now.default[0][0] != now.best[0][0]):
        cards.append(Card(short(float(now.default[1])), f"{subject.objective} of the default", "default"))
    tried = f"{inflect(now.started, 'configurations')} tried"
    failed = f", {quantity(now.failed, 'results')} failed" if now.failed else ""
    cards.append(Card(str(now.started), tried + failed))
    if header.horizon > 1:
        cards.append(Card(str(now.whole), f"trained to the end, {amount(header.horizon)} {header.unit}"))
        cards.append(Card(amount(now.work), f"{header.unit} trained in all"))
    return cards
