"""Freeze-thaw: a GP over (configuration, budget) decides which trial to start, to continue or to leave.

Every ask compares all that could be trained next: each paused trial, to its next budget, and the sampler's best new
configuration, to the lowest one. No rung has a quota, and no trial is promoted by its rank alone: as in freeze-thaw
(Swersky, Snoek, Adams 2014) and DyHPO (Wistuba, Kadra, Grabocka 2022, "Supervising the multi-fidelity race"), the model
chooses.

What is compared is not DyHPO's expected improvement on the best result at the next budget. That asks whether a *short*
training will beat other short ones and ignores the cost, while this model predicts the whole training from a short one, and
some steps cost sixteen times as much as others. So each is judged by its gain at the last budget, per unit of budget: train
to the next budget, look, and train to the end only if it is worth it. With G(y) = E[(incumbent - f(x, last))+ | y], where y is
what will be seen at the next budget,

    worth(x) = max over sets A of outcomes   E[G(y); y in A] / (c1 + P(A) c2)

where c1 is the budget to the look and c2 that from there to the end. It is the price per unit at which starting is neither
better nor worse than not starting, as in Pandora's box (Weitzman 1979; Xie, Astudillo, Frazier, Scully, Terenin 2024, who
ask for the incumbent at a given price, without a look). Where the next budget is the last there is nothing to look at, and
it is expected improvement over cost.

The searches that this rule makes are measured over learning curves by experiments/curves.

Notation     m candidates    q outcomes, nodes of a Gauss-Hermite rule    y (m,) results at the next budget, with noise
             mean, sd        of f at the last budget, now                 learned  sd of its mean after y      left  sd after y
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Job, Key, Note
from hpo.optimizer import Draft, Scheduler
from hpo.optimizers.gp.fits import Recipe, posteriors
from hpo.optimizers.gp.observations import Observations
from hpo.optimizers.gp.sampler import GP
from hpo.optimizers.rungs import check_resources, rung_budgets
from hpo.rng import stream, training_seed
from surrogates import GaussianProcess, LogEI
from surrogates.acquisitions.marginal import Normal
from surrogates.posterior import joint

OUTCOMES, CHANCES = np.polynomial.hermite_e.hermegauss(15)  # (q,) of a standard normal, rising; their probabilities
CHANCES = CHANCES / CHANCES.sum()
SHORTLIST = 48  # paused trials that are weighed with a look, after all were ranked without
FIRST = 4  # trials that are started before any goes on


def gain_rates(
    mean: np.ndarray, learned: np.ndarray, left: np.ndarray, look: np.ndarray, rest: np.ndarray, incumbent: float
) -> np.ndarray:
    """(m,) log expected gain per unit of budget, from (m,) arrays; look and rest are the costs c1 and c2.

    The outcomes worth going on with are those of the lowest means, so the sets to be compared are nested: the first k of q.
    """
    after = mean[:, None] + learned[:, None] * OUTCOMES  # (m, q)
    gain = LogEI()(Normal(after, np.broadcast_to(left[:, None], after.shape)), incumbent)
    gained = np.logaddexp.accumulate(gain + np.log(CHANCES), axis=1)
    spent = look[:, None] + rest[:, None] * np.cumsum(CHANCES)
    return np.asarray((gained - np.log(spent)).max(axis=1))


def variance_reduction(gp: GaussianProcess, looks: np.ndarray, rows: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(m,) the share of the variance (m,) of f at rows (m, d) that a noisy result at the looks (m, d) will take away."""
    i, m = np.arange(len(rows)), len(rows)
    covariance = joint(gp, np.concatenate([looks, rows]))[1]
    seen = np.maximum(covariance[i, i], 0.0) + np.exp(gp.theta.log_noise)
    return np.asarray(np.clip(covariance[i, m + i] ** 2 / seen / variance, 0.0, 1.0 - 1e-9))


def log_mean(logs: Sequence[np.ndarray]) -> np.ndarray:
    """(m,) log of the mean of the worths whose logarithms, each (m,), are given."""
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - np.log(len(logs)))


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a model believes of m configurations, plain (m, d), at the last budget: mean (m,), variance (m,).

    The incumbent is the least mean of what was told, at the last budget.
    """

    gp: GaussianProcess
    read: Observations
    plain: np.ndarray
    top: int
    mean: np.ndarray
    variance: np.ndarray
    incumbent: float

    @classmethod
    def of(cls, gp: GaussianProcess, read: Observations, plain: np.ndarray, told: np.ndarray, top: int) -> Outlook:
        """Of the configurations plain (m, d), beside told ones (n, d)."""
        mean, variance = gp.moments(append_budget(read, plain, top))
        return cls(gp, read, plain, top, mean, variance, float(gp.mean(append_budget(read, told, top)).min()))

    def score_to_end(self, rest: np.ndarray) -> np.ndarray:
        """(m,) log EI per unit of budget if the trial is trained to the end without stopping; rest (m,) is that budget."""
        return np.asarray(LogEI()(Normal(self.mean, np.sqrt(self.variance)), self.incumbent) - np.log(rest))

    def worth(self, few: np.ndarray, at: np.ndarray, following: np.ndarray) -> np.ndarray:
        """(k,) log of the worth of the configurations few (k,), trained to `at` (k,) now and to `following` (k,) next."""
        top, rows, total = self.top, self.plain[few], self.variance[few]
        share = variance_reduction(self.gp, append_budget(self.read, rows, following), append_budget(self.read, rows, top), total)
        share = np.where(following == top, 0.0, share)
        look = np.where(following == top, 0, following - at)
        rest = np.where(following == top, top - at, top - following)
        return gain_rates(self.mean[few], np.sqrt(share * total), np.sqrt((1.0 - share) * total), look, rest, self.incumbent)


def append_budget(read: Observations, rows: np.ndarray, until: Any) -> np.ndarray:
    """(m, d + 1) the configurations rows (m, d) at a budget, or at one each."""
    return np.column_stack([rows, np.broadcast_to(until / read.horizon, len(rows))])


@dataclass(eq=False)
class FreezeThaw(Scheduler):
    """Continues or starts the trial with the largest expected gain per unit of budget.

    Budgets stand at min_resource * reduction_factor^k, with max_resource as the last. The model is that of the sampler if it
    is a GP, else a GP of its own. It reads one objective; cost and constraints of a GP are refused, a prior shapes what is new.
    With a limit on fresh trials a study ends where something new would be worth more than any of them.
    """

    min_resource: int = 1
    max_resource: int = 81
    reduction_factor: float = 3

    usual = "gp"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_resources(self.min_resource, self.max_resource, self.reduction_factor)
        self.rungs = rung_budgets(self.min_resource, self.max_resource, self.reduction_factor)
        self._gp = self.sampler if isinstance(self.sampler, GP) else GP(self.sampler.space, seed=self.sampler.seed)
        if self._gp.cost is not None or self._gp.constraints:
            raise ValueError("FreezeThaw weighs losses by budgets alone; a GP with cost or constraints goes into ASHA")

    @property
    def horizon(self) -> int:
        return self.max_resource

    def propose(self, history: History) -> Job | None:
        if len(history.header.objectives) > 1:
            raise ValueError(f"FreezeThaw takes one objective, but {list(history.header.objectives)} came; ASHA takes several")
        new = self.sampler.draft(history, history.next_trial, self.rungs[0])
        paused = self._paused(history)
        if not history.limited and (history.queue_head is not None or not paused or len(history.trials) < FIRST):
            return None if new is None else self._start(history, new, {})
        if not paused:
            return None
        chosen, note = self._best(history, paused, new)
        if chosen is not None:
            return self._continue(history, chosen, note)
        return None if new is None or history.limited else self._start(history, new, note)

    # -- what may be done --------------------------------------------------------------------------------------------

    def _paused(self, history: History) -> list[Key]:
        """Last keys of own trials that may go on."""
        last = (keys[-1] for _, keys in sorted(history.trials.items()))
        mine = (key for key in last if key in history.results and "rung" in history.jobs[key].note.member)
        return [key for key in mine if key[1] < self.max_resource and not history.is_failure(key)]

    def _next(self, until: int) -> int:
        return next(rung for rung in self.rungs if rung > until)

    def _continue(self, history: History, key: Key, note: dict[str, Any]) -> Job:
        job = self.resume(history, key[0], self._next(key[1]))
        return replace(job, note=replace(job.note, record=note))

    def _start(self, history: History, new: Draft, note: dict[str, Any]) -> Job:
        trial = history.next_trial
        seed = training_seed(self.seed, trial)
        return Job(trial, new.config, self.rungs[0], seed=seed, note=Note(new.study, {"rung": 0}, {**new.record, **note}))

    def live(self, history: History) -> Sequence[Key]:
        """Every paused trial, since the model may continue any; the longest trained first, then the best."""
        paused = set(self._paused(history))
        return [key for until in reversed(self.rungs) for key in history.rank(paused.intersection(history.at(until)))]

    def may_name(self, history: History, key: Key) -> bool:
        own = key in history.results and "rung" in history.jobs[key].note.member and not history.is_failure(key)
        return own and key[1] < self.max_resource and history.trials[key[0]][-1] == key

    def released_keys(self, history: History) -> Sequence[Key] | None:
        return ()  # what is paused stays live until it goes on

    # -- which of it -------------------------------------------------------------------------------------------------

    def _best(self, history: History, paused: Sequence[Key], new: Draft | None) -> tuple[Key | None, dict[str, Any]]:
        """The paused key to continue, or None where something new is worth more; and what the job's note has to record.

        Until two budgets have results, nothing is known of curves, and the best trial alone continues.
        """
        read = self._gp.observe(history)
        if len({until for _, until in read.keys}) < 2:
            begun = any(job.source is not None for job in history.jobs.values())
            return (None if begun and new is not None else history.rank(paused)[0]), {}
        gps, note = self._models(read)
        rows = read.table(history, paused)
        if new is not None:
            rows = np.concatenate([rows, self.space.encode(new.config)[None]])
        at = np.array([until for _, until in paused] + [0] * (new is not None))
        best = int(np.argmax(self._worth(gps, read, rows, at)))
        if new is not None:
            note = {**new.record.get("gp", {}), **note}
        return (paused[best] if best < len(paused) else None), ({"gp": note} if note else {})

    def _models(self, read: Observations) -> tuple[list[GaussianProcess], dict[str, Any]]:
        """Posteriors with what is pending taken as observed, and the note of a new fit.

        It is the model by which a GP proposes: both read the same recorded fit.
        """
        gp, history = self._gp, read.history
        z = gp.targets(read)[:, 0]
        if not read.domain.has_budget:
            raise ValueError(f"FreezeThaw needs a model of learning curves, and {type(gp).__name__} has none")
        recipe, name = Recipe(gp.kernel, gp.warp, gp.samples), next(iter(history.header.objectives))
        seed = int(stream(self.seed, history.next_trial, "fit").integers(2**31))
        models, note = posteriors(read, recipe, name, z, seed)
        pending = sorted([*history.pending, *history.retries])
        if pending:
            models = [model.condition(read.rows_of(pending)) for model in models]
        return models, note

    def _worth(
        self, gps: Sequence[GaussianProcess], read: Observations, plain: np.ndarray, at: np.ndarray
    ) -> np.ndarray:
        """(m,) of the configurations plain (m, d), trained to `at` (m,) now; -inf for those that are not on the shortlist.

        Over samples of the hyperparameters worths are averaged (Snoek et al. 2012, 3.1), after one shortlist for all of
        them: what one of the samples had not weighed could not be averaged.
        """
        outlooks = [Outlook.of(gp, read, plain, read.configs, self.max_resource) for gp in gps]
        rough = log_mean([outlook.score_to_end(self.max_resource - at) for outlook in outlooks])
        few = np.unique(np.append(np.argsort(-rough, kind="stable")[:SHORTLIST], len(at) - 1))  # the last may be the new one
        at, following = at[few], np.array([self._next(until) for until in at[few]])
        worth = np.full(len(plain), -np.inf)
        worth[few] = log_mean([outlook.worth(few, at, following) for outlook in outlooks])
        return worth
