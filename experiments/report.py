"""One self-contained HTML file about a study: numbers, figures, the winner beside the default, a sample, every trial."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments import figures
from experiments import progress as facts
from experiments.importance import Importance, importance, seen
from experiments.job import default as default_config
from experiments.job import flat
from experiments.live import amount, method
from experiments.tune.folder import Folder, write_file
from experiments.tune.handover import Difference, Handover, difference, sentence
from experiments.tune.machine import versions
from experiments.tune.settings import Settings
from hpo.display import short
from hpo.job import Key
from hpo.optimizers.finals import default_trial
from hpo.stopping import spent
from hpo.study import Study
from models.predict.cost import cost

if TYPE_CHECKING:
    from models.data.batches import Corpus

TEMPLATE = "report.html.j2"


def write_report(
    folder: Folder, study: Study, settings: Settings, corpus: Corpus, found: Handover, sample: str, command: str
) -> Path:
    """report.html of a folder."""
    leader = found.key if found.key is not None else facts.best_key(study)
    config = None if leader is None else study.history.jobs[leader].config
    mattered = importance(study.history, study.optimizer.space, config)
    page = _environment().get_template(TEMPLATE).render(
        settings=settings,
        method=method(settings),
        complete=folder.is_complete(settings),
        leader=leader,
        said=sentence(found, study),
        summary=facts.summary(study, settings.seconds),
        cards=cards(study, found),
        ends=reached(study, found),
        intervals=intervals(len(found.ends) - 1),
        totals=totals(study, settings),
        figures=drawn(study, leader, mattered),
        importance=mattered,
        seen=seen(study.history, study.optimizer.space) if mattered is None else None,
        comparison=comparison(study, leader, corpus, settings),
        sample=sample,
        names=study.optimizer.space.columns,
        panels=figures.PANELS,
        trials=trials(study, leader),
        characters=settings.tokenizer == "char",
        command=command,
        toml=settings.to_toml(),
        versions=versions(),
        corpus={"train": len(corpus.train), "valid": len(corpus.valid), "vocabulary": corpus.vocabulary},
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )  # fmt: skip
    write_file(folder / "report.html", page)
    return folder / "report.html"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"amount": amount, "short": short, "bits": lambda loss: loss / math.log(2)}
    return made


# -- numbers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """One number on top of the page, in nats per token; `kind` is its colour."""

    kind: str
    loss: float
    words: str


def cards(study: Study, found: Handover) -> list[Card]:
    """The losses of what is handed over and of the default: judged where both are, else as the search saw them."""
    pairs = [("best", found.key, "what is handed over"), ("default", found.default, "the default")]
    if found.is_default:
        pairs = [("default", found.key, "the default, which is handed over")]
    judged = all(key is None or key in found.judged for _, key, _ in pairs)
    return [
        Card(kind, found.judged[key].loss if judged else study.history.losses(key)[0], f"loss of {words}, nats per token")
        for kind, key, words in pairs
        if key is not None
    ]


@dataclass(frozen=True)
class End:
    """One that reached the end: its losses, and how far it is below the default with its interval."""

    number: int
    default: bool
    chosen: bool
    searched: float
    judged: float | None
    tokens: int
    gain: Difference | None


def reached(study: Study, found: Handover) -> list[End]:
    """Everybody who was trained to the end among the best few, the best judged first."""
    rows, usual = [], found.judged.get(found.default) if found.default is not None else None
    for key in found.ends:
        mine = found.judged.get(key)
        gain = difference(mine, usual, len(found.ends) - 1) if mine and usual and key != found.default else None
        loss, tokens = (None, 0) if mine is None else (mine.loss, mine.tokens)
        rows.append(End(key[0], key == found.default, key == found.key, study.history.losses(key)[0], loss, tokens, gain))
    return sorted(rows, key=lambda row: (row.judged is None, row.judged or 0.0, row.searched))


def intervals(among: int) -> str:
    """How intervals of so many others than the default are made, in words."""
    return "paired over these parts" + (f" and widened for the choice among {among}" if among > 1 else "")


def totals(study: Study, settings: Settings) -> dict[str, Any]:
    """How much was done, and how the workers' seconds were spent."""
    history = study.history
    seconds, tokens = spent(history), facts.tokens(history)
    told = [{**result.metrics, **result.system} for result in history.results.values()]  # old logs had one name for both
    return {
        "trials": len(history.trials),
        "trainings": len(history.results),
        "whole": sum(key[1] == settings.horizon for key in history.results),
        "failed": sum(map(history.is_failure, history.results)),
        "seconds": seconds,
        "tokens": tokens,
        "rate": tokens / seconds if seconds else 0.0,
        "flops": sum(_grown(study, key, "flops") for key in history.results),
        "training": sum(m.get("seconds", 0.0) - m.get("setup_seconds", 0.0) - m.get("save_seconds", 0.0) for m in told),
        "workers": seconds * settings.workers,
        "rungs": facts.rungs(history, settings.workers),
    }


def _grown(study: Study, key: Key, name: str) -> float:
    """What a job added to a metric that counts from a trial's beginning."""
    results, source = study.history.results, study.history.jobs[key].source
    before = results[source].metrics.get(name, 0.0) if source in results else 0.0
    return max(0.0, results[key].metrics.get(name, 0.0) - before)


# -- pictures and tables -----------------------------------------------------------------------------------------------


def drawn(study: Study, leader: Key | None, found: Importance | None) -> dict[str, Markup]:
    """Every figure for which there is something to show."""
    if leader is None or study.history.is_failure(leader):
        return {}
    number = default_trial(study.history)
    last = facts.last_success(study.history, number)
    points = facts.rung_points(study.history, last[0]) if last is not None else []
    made = {
        "progress": figures.progress(study, points[-1] if points else None),
        "curves": figures.curves(study, leader, points, leader[0] == number),
    }
    if found is not None and any(found.total.values()):
        config = study.history.jobs[leader].config
        made["indices"] = figures.indices(found)
        made["effects"] = figures.effects(found, study.optimizer.space, config)
    if found is None and (few := seen(study.history, study.optimizer.space)) is not None:
        made["seen"] = figures.seen(few, study.optimizer.space)
    return {name: Markup(text) for name, text in made.items()}


def comparison(
    study: Study, leader: Key | None, corpus: Corpus, settings: Settings
) -> list[tuple[str, str, str, str, bool]]:
    """(name, best, default, allowed, differs): the configurations, then what they cost."""
    space = study.optimizer.space
    if leader is None:
        return []
    best = study.history.jobs[leader].config
    rows: list[tuple[str, str, str, str, bool]] = []
    usual = default_config(settings.space)
    for name, spec in space.parameters.items():
        chosen, standard = (short(config[name]) if name in config else "–" for config in (best, usual))
        rows.append((name, chosen, standard, spec.allowed_values(), chosen != standard))
    fixed = {"vocabulary": corpus.vocabulary, "context": settings.context}
    mine, theirs = cost({**fixed, **flat(best)}), cost({**fixed, **flat(usual)})
    follows = "follows from the above"
    rows.append(("parameters", f"{mine.parameters:,}", f"{theirs.parameters:,}", follows, False))
    rows.append(("FLOPs per token", amount(mine.flops_per_token), amount(theirs.flops_per_token), follows, False))
    return rows


def trials(study: Study, leader: Key | None) -> list[dict[str, Any]]:
    """One row a trial: its furthest result, its configuration, what became of it; the best first."""
    history, times = study.history, facts.clock(study.history)
    default = default_trial(history)
    ends = {key[0]: key for key in history.finished_keys}
    rows = []
    for number, keys in history.trials.items():
        key = ends.get(number)
        rows.append(
            {
                "number": number,
                "until": keys[-1][1] if key is None else key[1],
                "loss": None if key is None or history.is_failure(key) else history.losses(key)[0],
                "error": history.results[key].error if key is not None else "not finished",
                "finished": times.get(key) if key is not None else None,
                "config": history.jobs[keys[0]].config,
                "best": leader is not None and number == leader[0],
                "default": number == default,
            }
        )
    return sorted(
        rows, key=lambda row: (-row["until"], math.inf if row["loss"] is None else row["loss"], row["number"])
    )
