"""The report of the main job: which configuration is handed over and how sure that is, and the sections of any study's report."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.job import default, flat
from experiments.tune.folder import Folder
from experiments.tune.handover import Difference, Handover, Judged, difference, sentence
from experiments.tune.live import method, summary
from experiments.tune.machine import versions
from experiments.tune.settings import Settings
from hpo.analysis.lines import amount, short
from hpo.analysis.page import Card, Cell, Code, Part, Section, Table, Words, plain_row, render_page, write_page
from hpo.analysis.sections import (
    importance_sections,
    model_importance,
    page_data,
    parameter_sections,
    result_sections,
    trials_section,
    work_sections,
)  # fmt: skip
from hpo.analysis.snapshot import Snapshot, snapshot
from hpo.analysis.subject import Subject
from hpo.job import Key
from hpo.study import Study
from hpo.trial import best_key
from hpo.values import inflect, quantity
from models.predict.cost import cost

if TYPE_CHECKING:
    from models.data.batches import Corpus

AGAIN = (
    "The same command in the same place goes on where this stopped. The trainings are functions of configuration and seed; which "
    "configurations are tried depends on the order in which workers finish, and so on the machine."
)
SAMPLE = "Sampled at temperature 0.8 from the checkpoint that is handed over, starting with the first token of the text."


def write_report(
    folder: Folder, study: Study, settings: Settings, corpus: Corpus, found: Handover, sample: str, command: str
) -> Path:
    """Writes report.html into a folder."""
    leader = found.key if found.key is not None else best_key(study.history)
    label = "validation loss (nats per token)"
    subject = replace(Subject.of(study.history, study.space), label=label, leader=leader, leads="handed over")
    now = snapshot(study.history, settings.workers)
    model = model_importance(subject)
    said = [sentence(found, study), *summary(study.history, settings.seconds)]
    sections = [
        *ends_sections(study, found),
        *result_sections(subject),
        *importance_sections(subject, model),
        *comparison_sections(study, leader, corpus, settings),
        *([Section("What the model writes", [Words(SAMPLE), Code(sample, prose=True)])] if sample else []),
        *parameter_sections(subject),
        *work_sections(subject),
        trials_section(subject),
        Section("To have it again", again_parts(study, now, settings, corpus, command)),
    ]
    page = render_page(
        f"A small GPT on {settings.text}, tuned by {method(settings)}", _subtitle(folder, settings, now),
        [f"{words[0].upper()}{words[1:]}." for words in said], cards(study, found, now, settings), sections,
        page_data(subject, model),
    )  # fmt: skip
    return write_page(folder / "report.html", page)


def _subtitle(folder: Folder, settings: Settings, now: Snapshot) -> str:
    workers = quantity(settings.workers, "workers")
    said = f"{now.spent:.0f} seconds of search and finals on {workers} ({settings.device}), seed {settings.seed}."
    if folder.is_complete(settings):
        return said
    return f"{said} The search was stopped before its {short(settings.seconds)} seconds were over; this is what there is so far."


# -- numbers -----------------------------------------------------------------------------------------------------------


def cards(study: Study, found: Handover, now: Snapshot, settings: Settings) -> list[Card]:
    """Cards: the losses of the configuration that is handed over and of the default (judged if both are, else those of the
    search), and how much was done."""
    pairs = [("best", found.key, "what is handed over"), ("default", found.default, "the default")]
    if found.is_default:
        pairs = [("default", found.key, "the default, which is handed over")]
    judged = all(key is None or key in found.judged for _, key, _ in pairs)
    made = []
    for kind, key, words in pairs:
        if key is not None:
            loss = found.judged[key].loss if judged else study.history.losses(key)[0]
            bits = f"; {loss / math.log(2):.3f} bits per character" if settings.tokenizer == "char" else ""
            made.append(Card(f"{loss:.3f}", f"loss of {words}, nats per token{bits}", kind))
    rate = amount(now.work / now.spent) if now.spent else "0"
    tried = inflect(now.started, "configurations")
    made.append(Card(str(now.started), f"{tried} tried, {now.whole} trained to the end"))
    return [*made, Card(amount(now.work), f"tokens trained, {rate} a second")]


def ends_sections(study: Study, found: Handover) -> list[Section]:
    """The configurations that were trained to the end, the best judged first; no section if there are none."""
    if not found.ends:
        return []
    usual = found.judged.get(found.default) if found.default is not None else None

    def order(key: Key) -> tuple[bool, float, float]:
        mine = found.judged.get(key)
        return mine is None, 0.0 if mine is None else mine.loss, study.history.losses(key)[0]

    keys = sorted(found.ends, key=order)
    rows = [_end_row(study, found, key, usual) for key in keys]
    head = ["reached the end", "loss in the search", "loss judged", "below the default, 95 %"]
    best = frozenset(place for place, key in enumerate(keys) if key == found.key)
    return [Section("", [Table(head, rows, best), Words(_about_ends(found, found.judged.get(keys[0])))])]


def _end_row(study: Study, found: Handover, key: Key, usual: Judged | None) -> list[Cell]:
    mine, is_default = found.judged.get(key), key == found.default
    tags = [("best", "handed over")] * (key == found.key) + [("default", "default")] * is_default
    gain = difference(mine, usual, len(found.ends) - 1) if mine and usual and not is_default else None
    judged = "–" if mine is None else f"{mine.loss:.4f}"
    said = ("" if is_default else "–") if gain is None else _interval(gain)
    return plain_row(Cell(f"trial {key[0]}", tags=tuple(tags)), f"{study.history.losses(key)[0]:.4f}", judged, said)


def _interval(gain: Difference) -> str:
    return f"{gain.mean:.4f}" + ("" if math.isnan(gain.low) else f" [{gain.low:.4f}, {gain.high:.4f}]")


def _about_ends(found: Handover, first: Judged | None) -> str:
    said = "The search ends by training its best few to the end, and the default configuration beside them. "
    if first is None:
        return said + (
            "They were not judged yet: these are losses as the search saw them, the lowest of many, and so a little too good."
        )
    return said + (
        f"They are judged on {first.tokens:,} tokens of validation text, more than the search looks at, in parts that are the "
        f"same for all; intervals are {intervals(len(found.ends) - 1)}. They say what other text of the kind would change. "
        "Training each again with another seed would change it as well; by how much is not measured here."
    )


def intervals(among: int) -> str:
    """In words, how intervals are made when `among` configurations are compared with the default."""
    return "paired over these parts" + (f" and widened for the choice among {among}" if among > 1 else "")


# -- tables ------------------------------------------------------------------------------------------------------------


def comparison_sections(study: Study, leader: Key | None, corpus: Corpus, settings: Settings) -> list[Section]:
    """The configuration that is handed over beside the default: hyperparameters, then costs."""
    if leader is None:
        return []
    best, usual = study.history.jobs[leader].config, default(settings.space)
    rows = []
    for name, spec in study.space.parameters.items():
        chosen, standard = (short(config[name]) if name in config else "–" for config in (best, usual))
        look = "differs" if chosen != standard else ""
        rows.append(plain_row(name, Cell(chosen, look=look), standard, Cell(spec.allowed_values(), look="muted")))
    fixed = {"vocabulary": corpus.vocabulary, "context": settings.context}
    mine, theirs = cost({**fixed, **flat(best)}), cost({**fixed, **flat(usual)})
    follows = Cell("follows from the above", look="muted")
    rows.append(plain_row("parameters", f"{mine.parameters:,}", f"{theirs.parameters:,}", follows))
    rows.append(plain_row("FLOPs per token", amount(mine.flops_per_token), amount(theirs.flops_per_token), follows))
    table = Table(["hyperparameter", "handed over", "default", "searched"], rows, left=frozenset({3}))
    return [Section("What is handed over beside the default", [table])]


def again_parts(study: Study, now: Snapshot, settings: Settings, corpus: Corpus, command: str) -> list[Part]:
    """The command, the settings, the text, the machine, and how the workers' seconds were spent."""
    sizes = f"{len(corpus.train):,} tokens of training and {len(corpus.valid):,} of validation text"
    text = f"{sizes}, vocabulary {corpus.vocabulary:,}."
    made = "".join(f"{name} {value}, " for name, value in versions().items())
    machine = f"{made}{platform.system()} {platform.machine()}, {os.cpu_count()} cores."
    results = study.history.results.values()
    told = [{**result.metrics, **result.system} for result in results]  # old logs keep both under metrics
    training = sum(m.get("seconds", 0.0) - m.get("setup_seconds", 0.0) - m.get("save_seconds", 0.0) for m in told)
    flops = sum(_added_flops(study, key) for key in study.history.results)
    failed = f", {now.failed} failed" if now.failed else ""
    spent = (
        f"The workers trained for {training:.0f} of their {now.spent * settings.workers:.0f} seconds ({flops:.1e} FLOPs); "
        f"{quantity(now.finished, 'trainings')} finished{failed}."
    )
    return [Words(AGAIN), Code(command), Code(settings.to_toml()), Words(f"{text} {machine} {spent}")]


def _added_flops(study: Study, key: Key) -> float:
    """What a job added to the FLOPs, which count from the start of its trial."""
    results, source = study.history.results, study.history.jobs[key].source
    before = results[source].metrics.get("flops", 0.0) if source in results else 0.0
    return max(0.0, results[key].metrics.get("flops", 0.0) - before)
