"""One self-contained HTML file about a study: numbers, figures, the winner beside the default, a sample, every trial."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments import facts, figures
from experiments.build import versions
from experiments.folder import Folder, write
from experiments.importance import Importance, importance
from experiments.job import flat
from experiments.live import amount, method
from experiments.settings import Settings
from experiments.spaces import default as default_config
from hpo.display import short
from hpo.job import Key
from hpo.study import Study
from models.cost import cost

if TYPE_CHECKING:
    from models.data import Corpus

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Loss:
    """A loss as the report shows it: as the search saw it, and judged on more text where that was done."""

    searched: float
    until: int
    judged: float | None
    judged_tokens: int | None

    @property
    def shown(self) -> float:
        return self.searched if self.judged is None else self.judged


def write_report(folder: Folder, study: Study, settings: Settings, corpus: Corpus, sample: str, command: str) -> Path:
    """report.html of a folder."""
    known = folder.remembered()
    best, default = best_loss(study, known), default_loss(study, known)
    found = importance(study.history, study.optimizer.space, study.best.config if best is not None else None)
    page = _environment().get_template(TEMPLATE).render(
        settings=settings,
        method=method(settings),
        complete=folder.finished(settings),
        best=best,
        default=default,
        default_there=None if best is None else dict(default_curve(study, known)).get(best.until),
        ahead=0 if best is None else facts.ahead(study.history, study.best.number),
        same_config=best is not None and dict(study.best.config) == default_config(settings.space),
        judged=best is not None and default is not None and best.judged is not None and default.judged is not None,
        characters=settings.tokenizer == "char",
        totals=totals(study, settings),
        figures=drawn(study, known, found),
        importance=found,
        comparison=comparison(study, corpus, settings),
        sample=sample,
        names=study.optimizer.space.columns,
        trials=trials(study),
        command=command,
        toml=settings.to_toml(),
        versions=versions(),
        corpus={"train": len(corpus.train), "valid": len(corpus.valid), "vocabulary": corpus.vocabulary},
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )  # fmt: skip
    write(folder / "report.html", page)
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


def best_loss(study: Study, known: Mapping[str, Any]) -> Loss | None:
    """The winner's; judged only if it is the one that was judged."""
    key = facts.best_key(study)
    if key is None:
        return None
    judged = known.get("best", {})
    same = judged.get("key") == list(key)
    return Loss(
        study.history.losses(key)[0],
        key[1],
        judged.get("judged_loss") if same else None,
        judged.get("judged_tokens") if same else None,
    )


def default_loss(study: Study, known: Mapping[str, Any]) -> Loss | None:
    """The default configuration's at the horizon if it was measured, else where the search left it."""
    measured = known.get("default")
    if measured is not None and measured["loss"] is not None:
        return Loss(measured["loss"], measured["until"], measured["judged_loss"], measured["judged_tokens"])
    key = facts.last_success(study.history, facts.queued_trial(study.history))
    return None if key is None else Loss(study.history.losses(key)[0], key[1], None, None)


def totals(study: Study, settings: Settings) -> dict[str, Any]:
    """How much was done, and how the workers' seconds were spent."""
    history = study.history
    seconds, tokens = history.elapsed(), facts.tokens(history)
    told = [{**result.metrics, **result.system} for result in history.results.values()]  # old logs had one name for both
    return {
        "trials": len(history.trials),
        "trainings": len(history.results),
        "whole": sum(key[1] == settings.horizon for key in history.results),
        "failed": sum(map(history.failed, history.results)),
        "seconds": seconds,
        "tokens": tokens,
        "rate": tokens / seconds if seconds else 0.0,
        "flops": sum(_grown(study, key, "flops") for key in history.results),
        "training": sum(m.get("seconds", 0.0) - m.get("setup_seconds", 0.0) - m.get("save_seconds", 0.0) for m in told),
        "workers": seconds * settings.workers,
        "rungs": facts.rungs(history),
    }


def _grown(study: Study, key: Key, name: str) -> float:
    """What a job added to a metric that counts from a trial's beginning."""
    results, source = study.history.results, study.history.jobs[key].source
    before = results[source].metrics.get(name, 0.0) if source in results else 0.0
    return max(0.0, results[key].metrics.get(name, 0.0) - before)


# -- pictures and tables -----------------------------------------------------------------------------------------------


def drawn(study: Study, known: Mapping[str, Any], found: Importance | None) -> dict[str, Markup]:
    """Every figure for which there is something to show."""
    key = facts.best_key(study)
    if key is None:
        return {}
    default, points = default_loss(study, known), default_curve(study, known)
    line = None if default is None else (default.until, default.searched)
    made = {"progress": figures.progress(study, line), "curves": figures.curves(study, key, points)}
    if found is not None and any(found.total.values()):
        config = study.history.jobs[key].config
        made["indices"] = figures.indices(found)
        made["effects"] = figures.effects(found, study.optimizer.space, config)
    return {name: Markup(text) for name, text in made.items()}


def default_curve(study: Study, known: Mapping[str, Any]) -> list[tuple[int, float]]:
    """The default configuration's learning curve, as far as it is known."""
    measured = known.get("default")
    if measured is not None and measured["loss"] is not None:
        return [(int(step), float(loss)) for step, loss in measured["curve"]]
    key = facts.last_success(study.history, facts.queued_trial(study.history))
    return [] if key is None else facts.rung_points(study.history, key[0])


def comparison(study: Study, corpus: Corpus, settings: Settings) -> list[tuple[str, str, str, str, bool]]:
    """(name, best, default, allowed, differs): the configurations, then what they cost."""
    key, space = facts.best_key(study), study.optimizer.space
    if key is None:
        return []
    best = study.history.jobs[key].config
    rows: list[tuple[str, str, str, str, bool]] = []
    usual = default_config(settings.space)
    for name, spec in space.parameters.items():
        chosen, standard = (short(config[name]) if name in config else "–" for config in (best, usual))
        rows.append((name, chosen, standard, spec.allowed(), chosen != standard))
    fixed = {"vocabulary": corpus.vocabulary, "context": settings.context}
    mine, theirs = cost({**fixed, **flat(best)}), cost({**fixed, **flat(usual)})
    follows = "follows from the above"
    rows.append(("parameters", f"{mine.parameters:,}", f"{theirs.parameters:,}", follows, False))
    rows.append(("FLOPs per token", amount(mine.flops_per_token), amount(theirs.flops_per_token), follows, False))
    return rows


def trials(study: Study) -> list[dict[str, Any]]:
    """One row a trial: its furthest result, its configuration, what became of it; the best first."""
    history, times, best = study.history, facts.clock(study.history), facts.best_key(study)
    default = facts.queued_trial(history)
    ends = {key[0]: key for key in history.finished}
    rows = []
    for number, keys in history.trials.items():
        key = ends.get(number)
        rows.append(
            {
                "number": number,
                "until": keys[-1][1] if key is None else key[1],
                "loss": None if key is None or history.failed(key) else history.losses(key)[0],
                "error": history.results[key].error if key is not None else "not finished",
                "finished": times.get(key) if key is not None else None,
                "config": history.jobs[keys[0]].config,
                "best": best is not None and number == best[0],
                "default": number == default,
            }
        )
    return sorted(
        rows, key=lambda row: (-row["until"], math.inf if row["loss"] is None else row["loss"], row["number"])
    )
