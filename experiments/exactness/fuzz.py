"""From ugly data to a proposal: standardise, fit, posterior, pending rows, acquisition, maximise.

Nothing may raise, and a RuntimeWarning counts as raising (what else warns is counted); everything must be finite; the
proposal must be a legal, feasible row that was neither told nor is pending, and may be missing only where no row is left.
"""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from typing import Any

import numpy as np

from experiments.exactness.measure import Extent, track_items
from experiments.exactness.ugly import SEED, Case, ugly_case
from surrogates import Context, GaussianProcess, acquisition, fit, isolation, maximize, score_of, standardise
from surrogates.acquisitions import ScoreFunction
from surrogates.domain import Array

PROBES = 5  # told rows, and as many random ones, at which everything must be finite


def fuzz(size: Extent) -> dict[str, Any]:
    """Failures by number, warnings by text, what the cases were, and their processor time."""
    failures, warned, tally, seconds = {}, Counter[str](), Counter[str](), []
    for number in track_items(range(size.cases), "fuzz"):
        case, begun = ugly_case(number), time.process_time()
        tally.update(case_tags(case))
        with warnings.catch_warnings(record=True) as caught:
            raise_runtime_warnings()
            try:
                tally.update(propose_for(case))
            except Exception as error:
                failures[str(number)] = f"{type(error).__name__}: {error} ({raise_site(error)})"
        warned.update(f"{one.category.__name__}: {one.message}" for one in caught)
        seconds.append(time.process_time() - begun)
    return {"seed": SEED, "cases": size.cases, "failures": failures, "warnings": dict(warned),
            "what": dict(sorted(tally.items())), "seconds a case": round(float(np.mean(seconds)), 4),
            "slowest": {"number": int(np.argmax(seconds)), "seconds": round(max(seconds), 3)}}


def raise_runtime_warnings() -> None:
    """Inside catch_warnings: RuntimeWarnings are raised, the others recorded, every time."""
    warnings.simplefilter("always")
    warnings.simplefilter("error", RuntimeWarning)


def raise_site(error: Exception) -> str:
    """Where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename.rpartition('/')[2]}:{last.lineno}"


def replay_case(number: int) -> None:
    """One case, loudly. Raises what it raises."""
    case = ugly_case(number)
    print(case)
    with warnings.catch_warnings():
        raise_runtime_warnings()
        print(f"passed: {', '.join(sorted(propose_for(case))) or 'with a proposal'}")


def case_tags(case: Case) -> list[str]:
    """What is counted of a case before it is walked."""
    d, n, failed = case.domain.d, len(case.rows), [int((~np.isfinite(y)).sum()) for y in case.targets]
    found = {"d > 20": d > 20, "n = 1": n == 1, "n = 300": n == 300, "conditional": case.domain.is_conditional,
             "constrained": case.domain.feasible is not None, "warped": case.warped, "power": case.power,
             "weighted": case.weighted, "pending": len(case.pending) > 0, "some failed": any(failed), "all failed": n in failed,
             "two objectives": len(case.targets) > 1, "discrete": not case.domain.floats.any(),
             "budgets": case.domain.has_budget}
    return [case.acquisition, case.kernel, *(name for name, holds in found.items() if holds)]


# --- one case ---------------------------------------------------------------------------------------------------------


def require(holds: Any, what: str) -> None:
    """AssertionError unless it holds."""
    if not np.all(holds):
        raise AssertionError(what)


def propose_for(case: Case) -> list[str]:
    """All steps. What is worth counting: whether jitter was needed, whether no row was left."""
    gps = tuple(fit_model(case, y) for y in case.targets)
    told = case.domain.at_horizon(case.rows)
    incumbent = float(gps[0].predict(told)[0].min())
    context = Context(gps, told, case.pending, incumbent, case.number, case.noisy)
    probes = probe_rows(case)
    for gp in (*gps, *context.hallucinated_gps):
        require_finite_posterior(gp, probes)
    score = score_of(acquisition(case.acquisition), context)
    require_finite_score(score, case.domain.at_horizon(probes))
    best = case.rows[np.argsort(gps[0].y, kind="stable")]
    taken = set(case.domain.keys(context.started_rows))
    proposal = maximize(score, case.domain, case.number, best, taken)
    jitter = ["jitter"] * any(gp.jitter > 0 for gp in gps)
    if proposal is None:
        require_exhausted(case, taken)
        return [*jitter, "no row left"]
    require_legal(case, proposal, taken)
    require_finite_score(score, proposal[None])
    return jitter


def fit_model(case: Case, y: Array) -> GaussianProcess:
    """The posterior of one objective, on a factor that grew behind its first rows."""
    weights = isolation(case.domain.features(case.rows), case.domain.columns) if case.weighted else None
    made = standardise(y, case.power, weights)
    z = made.z
    require(z.shape == y.shape and np.isfinite(z).all(), "a standardised target is not finite")
    require(np.isfinite([made.shift, made.scale]), "what was subtracted or divided by is not a finite number")
    theta = fit(case.rows, z, case.domain, case.number, case.start, case.kernel, warped=case.warped)
    require(np.isfinite(theta.to_list()), "a hyperparameter is not finite")
    return GaussianProcess(case.domain, case.rows[: case.base], z[: case.base], theta).extend(case.rows[case.base :], z)


def probe_rows(case: Case) -> Array:
    """Told, pending and random rows."""
    rng = np.random.default_rng(case.number)
    return np.concatenate([case.rows[:PROBES], case.pending, case.domain.random(rng, PROBES)])


def require_finite_posterior(gp: GaussianProcess, rows: Array) -> None:
    """With its derivatives; and variances are positive."""
    found = gp.predict_gradient(rows)
    require(all(np.isfinite(part).all() for part in found), "the posterior is not finite")
    require(found[1] > 0, "a variance is not positive")
    require(np.isfinite(gp.L).all() and np.isfinite(gp.jitter), "the factor is not finite")


def require_finite_score(score: ScoreFunction, rows: Array) -> None:
    """With its derivatives, whether asked for or not."""
    value, slope = score.gradient(rows)
    require(np.isfinite(value), "a score is not finite")
    require(np.isfinite(slope), "a derivative of the score is not finite")
    require(np.isfinite(score(rows)), "a score without derivatives is not finite")


def require_legal(case: Case, x: Array, taken: set[bytes]) -> None:
    """A proposal (d,) that a study could run."""
    domain = case.domain
    require(x.shape == (domain.d,), f"the proposal's shape is {x.shape}")
    require(np.array_equal(domain.snap(x[None])[0], x, equal_nan=True), "the proposal is not on the domain's values")
    require(np.isnan(x) == ~domain.active(x[None])[0], "the proposal is not active where it should be")
    require(domain.is_feasible(x[None]), "the proposal is not feasible")
    require(domain.keys(x[None])[0] not in taken, "the proposal was told or is pending")


def require_exhausted(case: Case, taken: set[bytes]) -> None:
    """That no row was left: all are looked at, or, where the domain has floats, many."""
    domain = case.domain
    rows = domain.random(np.random.default_rng(case.number), 5000) if domain.floats.any() else domain.enumerate()
    require(set(domain.keys(rows)) <= taken, "no proposal came though rows are left")
