"""Which configuration a study hands over: of those that were trained to the end, the default included, the one judged best.

The search chooses by the loss on a few thousand tokens of validation text, and the minimum over many trials looks better than it
is. So every configuration that was trained to the end is judged anew on more of the text, cut into parts that are the same for
all. The result is never worse than the default that was measured beside it. If the default was not trained to the end, nothing
could be compared with it, and the default itself is handed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizers.finals import Finals, default_trial, finalists, furthest
from hpo.study import Study

KEEP = 3  # trials that the finals train to the end beside the default, if the seconds allow
LEVEL = 0.95


@dataclass(frozen=True)
class Judged:
    """The losses of a checkpoint on each part of the validation text, in nats per token, and the tokens of all parts."""

    parts: tuple[float, ...]
    tokens: int

    @property
    def loss(self) -> float:
        return float(np.mean(self.parts))

    def to_json(self) -> dict[str, Any]:
        return {"parts": [loss if math.isfinite(loss) else None for loss in self.parts], "tokens": self.tokens}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Judged:
        return cls(tuple(math.inf if loss is None else loss for loss in data["parts"]), data["tokens"])


@dataclass(frozen=True)
class Difference:
    """How far the loss is below the default's: the mean over parts of the text, and its 95 % interval.

    The interval is paired over parts of the validation text, and widened for the choice among `among` (Bonferroni). It covers
    what other text of the same kind would change, but not what another seed of training would: nothing here measures that.
    """

    mean: float
    low: float
    high: float
    among: int

    @property
    def is_sure(self) -> bool:
        return self.low > 0


def difference(best: Judged, default: Judged, among: int) -> Difference:
    """The difference paired over the parts; without bounds (NaN) if there are fewer than three parts."""
    gains = np.array(default.parts) - np.array(best.parts)
    mean = float(gains.mean())
    if len(gains) < 3 or not np.isfinite(gains).all():
        return Difference(mean, math.nan, math.nan, among)
    from scipy import stats  # here, because importing it takes a third of a second

    half = float(stats.t.ppf(1 - (1 - LEVEL) / 2 / max(among, 1), len(gains) - 1) * stats.sem(gains))
    return Difference(mean, mean - half, mean + half, among)


@dataclass(frozen=True)
class Handover:
    """The configuration that is handed over, and how it was chosen.

    key       its checkpoint; None if there is none (then it is the default configuration, without a checkpoint)
    default   the default's checkpoint at the end, if it was trained so far
    reason    "judged": the best of all that reached the end; "searched": the same by the losses of the search, before any was
              judged; "default": the default configuration, because it was not trained to the end and nothing could be compared
              with it; "before": the best at the highest budget, as in studies from before there were finals;
              "alone": there is no default to compare with; "nothing": no trial has succeeded
    ends      checkpoints of the configurations that reached the end
    known     the default's loss at the end, if an earlier version measured it beside the search
    gain      over the default, if both are judged and it is not the default itself
    """

    key: Key | None
    default: Key | None
    reason: str
    ends: tuple[Key, ...] = ()
    judged: Mapping[Key, Judged] = field(default_factory=dict)
    gain: Difference | None = None
    known: float | None = None

    @property
    def is_default(self) -> bool:
        return self.reason == "default" or (self.key is not None and self.key == self.default)


def ends(history: History) -> list[Key]:
    """Checkpoints at the horizon of the default and of the best few, if they succeeded there; the default's first."""
    found = (furthest(history, trial) for trial in finalists(history, KEEP))
    return [key for key in found if key is not None and key[1] == history.header.horizon]


def decide_handover(study: Study, known: Mapping[str, Any], wanted: bool) -> Handover:
    """The handover by the history and by the judgements in search.json. wanted: whether there is a default configuration.

    A default that failed counts as none, since nothing can be worse.
    """
    history, there = study.history, tuple(ends(study.history))
    number = default_trial(history)
    default = next((key for key in there if key[0] == number), None)
    judged = {key: found for key, found in judgements(known).items() if key in there}
    over = len(judged) == len(there) > 0 and (default is not None or _failed(history, number))
    if wanted and is_before_finals(study) and study.successes() and not over:
        key, usual = study.best.key, known.get("default", {}).get("loss")
        if default is not None:  # its final may be over before the finals of those that were better
            below = [until for until in history.budgets if until < history.header.horizon]
            led = [next(history.ranking(until), key) for until in below[-1:]]
            key, usual = min([key, *led], key=history.losses), history.losses(default)[0]
        if key not in there or default is None:
            return Handover(key, None, "before", there, judged, known=usual)
    if wanted and default is None and not _failed(history, number):
        return Handover(None if number is None else furthest(history, number), None, "default", there, judged)
    if not there:
        best = study.best.key if study.successes() else None
        return Handover(best, None, "nothing" if best is None else "alone")
    if len(judged) < len(there):
        return Handover(min(there, key=history.losses), default, "searched", there, judged)
    key = min(there, key=lambda key: (judged[key].loss, key != default))
    gain = None
    if default is not None and key != default:
        gain = difference(judged[key], judged[default], len(there) - 1)
    return Handover(key, default, "judged" if default is not None else "alone", there, judged, gain)


def is_before_finals(study: Study) -> bool:
    """Whether the study began before there were finals: its header does not name them."""
    return study.history.header.optimizer["name"] != Finals.__name__


def _failed(history: History, trial: int | None) -> bool:
    return trial is not None and history.trials[trial][-1] in history.results and history.is_failure(history.trials[trial][-1])


def judgements(known: Mapping[str, Any]) -> dict[Key, Judged]:
    """The judgements in search.json, by checkpoint."""
    found = known.get("judgements", [])
    return {(entry["trial"], entry["until"]): Judged.from_json(entry) for entry in found}


def sentence(found: Handover, study: Study) -> str:
    """Which configuration is handed over and how sure the choice is, in one sentence."""
    history, horizon = study.history, f"{study.header.horizon:,} {study.header.unit}"
    if found.reason == "nothing":
        return "no trial has succeeded yet, and nothing is handed over"
    if found.reason == "default":
        return f"handed over is the default configuration: it was not trained to {horizon}, and nothing was compared with it"
    assert found.key is not None
    number = found.key[0]
    if found.reason == "before":
        loss = history.losses(found.key)[0]
        beside = "" if found.known is None else f", beside {found.known:.4f} of the default configuration at {horizon}"
        return (
            f"handed over is trial {number}, {loss:.4f} at {found.key[1]:,} {study.header.unit}{beside}: "
            f"the study comes from before there were finals, and nothing more was compared"
        )
    if found.default is None:
        rest = "the lowest loss that the search saw, with no default configuration to compare it with"
        return f"handed over is trial {number} at {found.key[1]:,} {study.header.unit}: {rest}"
    others = len(found.ends) - 1
    if found.reason == "searched":
        what = "the default configuration" if found.key == found.default else f"trial {number}"
        loss = history.losses(found.key)[0]
        return f"handed over is {what}, {loss:.4f} by the few tokens that the search looked at; judged on more text it was not"
    if found.key == found.default:
        if len(found.ends) == 1:
            return f"handed over is the default configuration: nothing else was trained to {horizon}"
        those = f"none of the {others} others" if others > 1 else "the only other"
        rest = f"{those} that reached {horizon} was {'' if others > 1 else 'not '}"
        return f"handed over is the default configuration: {rest}judged better"
    gain = found.gain
    assert gain is not None
    tokens = f"{found.judged[found.key].tokens:,} tokens"
    if math.isnan(gain.low):
        what = f"handed over is trial {number}, judged {gain.mean:.4f} nats per token better than the default configuration"
        return f"{what} on {tokens} of validation text, too few to say how sure that is"
    sure = "better than" if gain.is_sure else "not surely better than"
    return (
        f"handed over is trial {number}, {sure} the default configuration by {gain.mean:.4f} nats per token "
        f"[{gain.low:.4f}, {gain.high:.4f}]: 95 % over parts of {tokens} of validation text, not over seeds of training"
    )
