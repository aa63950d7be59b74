"""Unexpected improvements (Ament et al. 2023): EI's gradient vanishes nearly everywhere, and climbing log EI mends it.

    EI(x) = sd h(z), z = (best - mean) / sd, h(z) = phi(z) + z Phi(z);        log EI = log sd + log h(z), computed in the log
"""

from __future__ import annotations

from functools import partial

import numpy as np

from experiments.ledger import Measurement
from papers.logei2023.methods import METHODS, PANELS, measure, measure_gradients, measure_identity
from papers.paper import Finding, Lines, Paper, PaperClaim, measurement, nothing
from papers.statistics import difference_of, mean_of

SEEDS = 32
DIMENSIONS, FITS = (2, 8, 16), 5


def measurements() -> list[Measurement]:
    """What the rules read first, then what only the figure shows."""
    module = "papers.logei2023"
    made = [measurement({"part": "identity"}, measure_identity, f"{module}.methods:measure_identity")]
    for d, seed in [(d, seed) for d in DIMENSIONS for seed in range(FITS)]:
        key = {"part": "gradients", "d": d, "seed": seed}
        made.append(measurement(key, partial(measure_gradients, d, seed), f"{module}.methods:measure_gradients"))
    for panel, (name, *_) in PANELS.items():
        asked = panel == "squares 10"  # what came out otherwise here is asked of other seeds
        methods, seeds = (list(METHODS), range(2 * SEEDS)) if asked else (list(METHODS)[:2], range(SEEDS))
        for seed, method in [(seed, method) for seed in seeds for method in methods]:
            chosen = "logei" if method == "log EI" else "ei"
            sources = (f"{module}.methods:measure", f"{module}.methods:METHODS[{method}]", f"{module}.methods:FUNCTIONS[{name}]",
                       "surrogates.kernels:KERNELS[matern52]", f"surrogates.acquisitions.registry:ACQUISITIONS[{chosen}]")
            key = {"part": panel, "method": method, "seed": seed}
            made.append(measurement(key, partial(measure, panel, method, seed), *sources))
    return made


# -- rules -------------------------------------------------------------------------------------------------------------


def curves_of(lines: Lines, panel: str, method: str) -> np.ndarray:
    """(seeds, evaluations) the lowest value so far; fewer than SEEDS rows while some are missing."""
    mine = [line for line in lines if (line["part"], line.get("method")) == (panel, method)]
    return np.array([line["best"] for line in sorted(mine, key=lambda line: line["seed"])])


def judge_stall(lines: Lines) -> Finding:
    plain, logarithmic = (curves_of(lines, "squares 10", method) for method in ("EI", "log EI"))
    if min(len(plain), len(logarithmic)) < SEEDS:
        return nothing("some seeds of the sum of squares")
    at = {n: mean_of(np.log10(plain[:, n - 1])) for n in (75, 200)}
    end = mean_of(np.log10(logarithmic[:, -1]))
    stalled, lower = 10 ** (at[75].value - at[200].value), 10 ** (at[200].value - end.value)
    said = (f"geometric mean of the regret: EI {10 ** at[75].value:.2e} at 75 and {10 ** at[200].value:.2e} at 200, "
            f"log EI {10 ** end.value:.2e} at 200, {lower:.3g} times lower")  # fmt: skip
    return Finding(bool(stalled <= 2 and lower >= 3), said, f"{stalled:.3g} times, {lower:.3g} times")


def judge_tolerance(lines: Lines) -> Finding:
    found = curves_of(lines, "squares 10", "EI, without tolerances")
    if len(found) < SEEDS:
        return nothing("some seeds of the sum of squares")
    early, late = (10 ** mean_of(np.log10(found[:, n - 1])).value for n in (75, 200))
    return Finding(bool(early <= 2 * late), f"geometric mean of the regret: {early:.2e} at 75 and {late:.2e} at 200",
                   f"{early / late:.3g} times")


def judge_most(lines: Lines) -> Finding:
    found = [curves_of(lines, "squares 10", method) for method in ("EI", "EI, without tolerances", "log EI")]
    if min(map(len, found)) < SEEDS:
        return nothing("a part of the seeds")
    plain, free, logarithmic = (np.log10(curves[:, -1]) for curves in found)
    gain, rest = difference_of(plain, free), difference_of(free, logarithmic)
    said = (f"at 200 evaluations EI without tolerances ends {10 ** gain.value:.0f} times lower than EI with them, and log EI "
            f"{10 ** rest.value:.1f} times lower than that [{10 ** rest.low:.2f}, {10 ** rest.high:.2f}]")
    ours = f"{10 ** gain.value:.0f} times, then {10 ** rest.value:.1f} times"
    return Finding(bool(gain.value >= 1 and rest.low > 0), said, ours, f"[{10 ** rest.low:.2f}, {10 ** rest.high:.2f}]")


def judge_near(lines: Lines) -> Finding:
    found = curves_of(lines, "squares 10", "EI, searched near the best")
    if len(found) < SEEDS:
        return nothing("a part of the seeds")
    early, late = (10 ** mean_of(np.log10(found[:, n - 1])).value for n in (75, 200))
    return Finding(bool(early >= 3 * late), f"geometric mean of the regret: {early:.2e} at 75 and {late:.2e} at 200",
                   f"{early / late:.3g} times")


def judge_ackley(lines: Lines) -> Finding:
    ends = [curves_of(lines, "ackley 16", method) for method in ("EI", "log EI")]
    if min(map(len, ends)) < SEEDS:
        return nothing("some seeds of Ackley in 16 dimensions")
    plain, logarithmic = (mean_of(found[:, -1]) for found in ends)
    apart = logarithmic.value + 2 * logarithmic.error < plain.value - 2 * plain.error
    errors = f"+- {2 * plain.error:.2f}, +- {2 * logarithmic.error:.2f}"
    ours = f"{plain.value:.2f} against {logarithmic.value:.2f}"
    return Finding(bool(apart), f"EI ends at {ours} of log EI, {errors}", ours, errors)


def judge_gradients(lines: Lines) -> Finding:
    mine = [line for line in lines if line["part"] == "gradients"]
    if len(mine) < len(DIMENSIONS) * FITS:
        return nothing("some of the gradients")
    shares = {d: np.mean([line["EI"] for line in mine if line["d"] == d], axis=0) for d in DIMENSIONS}
    never = max(max(line["log EI"]) for line in mine)
    said = "; ".join(f"d = {d}: {found[0]:.0%} to {found[-1]:.0%}" for d, found in shares.items())
    rises = all(found[-1] > found[0] for found in shares.values())
    return Finding(bool(rises and never == 0), f"with 8 to 256 points EI is flat in {said}; log EI in {never:.0%} at most", said)


def judge_identity(lines: Lines) -> Finding:
    found = next((line for line in lines if line["part"] == "identity"), None)
    if found is None:
        return nothing("the identity")
    said = f"{found['worst']:.1e} at most, for EI down to {found['least']:.1e}"
    return Finding(found["worst"] <= 1e-12, said, f"{found['worst']:.1e}")


PAPER = Paper(
    name="logei2023",
    title="Unexpected improvements to expected improvement for Bayesian optimization",
    reference="Ament, Daulton, Eriksson, Balandat and Bakshy 2023, arXiv 2310.20708",
    claims=(
        PaperClaim("EI stalls on a sum of ten squares, and log EI goes on.", judge_stall, "stall",
                   "over 32 seeds EI's regret at 200 is about that at 75 (at most halved), LogEI's at least 3x lower", "a figure",
                   SEEDS, "200 evaluations"),
        PaperClaim("EI stalls as well where its climb ends at no tolerance.", judge_tolerance, "stall, no tolerance",
                   "EI's regret at 200 is at least half of that at 75, with ftol = gtol = 0", "not in the paper", SEEDS,
                   "200 evaluations", SEEDS, "stall"),
        PaperClaim("Most of the stall is the tolerance; the rest is what the logarithm alone mends.", judge_most,
                   "stall, mostly", "at 200 EI's regret with ftol = gtol = 0 is at least 10x lower than with tolerances, and log "
                   "EI's is lower still, the 95 % interval of the ratio above 1", "not in the paper", SEEDS, "200 evaluations",
                   SEEDS, "stall, no tolerance"),
        PaperClaim("Climbed from near the best point, EI goes on in spite of the tolerance.", judge_near, "stall, near",
                   "EI's regret at 200 is at least 3x lower than at 75, with this project's own search", "not in the paper",
                   SEEDS, "200 evaluations", SEEDS, "stall"),
        PaperClaim("On Ackley's function in 16 dimensions log EI ends clearly below EI.", judge_ackley, "ackley",
                   "Ackley-16 intervals (two standard errors) disjoint", "a figure", SEEDS, "250 evaluations"),
        PaperClaim("EI has no gradient in a share of the domain that grows with the data; log EI has one everywhere.",
                   judge_gradients, "gradients", "the share of the domain where |grad EI| < 1e-10 is larger with 256 points than "
                   "with 8 in 2, 8 and 16 dimensions, and none for log EI", "a figure", FITS, "four fits to random points"),
        PaperClaim("log EI is the logarithm of EI.", judge_identity, "identity", "exp(LogEI) = EI to 1e-12 where EI > 0",
                   "an identity", 1, "2000 values"),
    ),
    measurements=measurements,
    quick={"part": "gradients", "d": 8, "seed": 0},
)  # fmt: skip
