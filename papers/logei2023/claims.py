"""Unexpected improvements (Ament et al. 2023): EI's gradient vanishes nearly everywhere, and climbing log EI mends it.

    EI(x) = sd h(z), z = (best - mean) / sd, h(z) = phi(z) + z Phi(z);        log EI = log sd + log h(z), computed in the log
"""

from __future__ import annotations

from functools import partial
from typing import Any

import mpmath
import numpy as np

from experiments.ledger import Measurement
from hpo import minimize
from papers.designs import running_best
from papers.logei2023.methods import FUNCTIONS, METHODS, unit_cube
from papers.paper import Finding, Lines, Paper, PaperClaim, measurement, nothing
from papers.statistics import mean_of
from surrogates import EI, GaussianProcess, LogEI, Score, fit, standardise
from surrogates.acquisitions.marginal import Normal

SEEDS = 32
PANELS = {  # function, dimensions, evaluations, random points first (not stated in the paper: as many as dimensions)
    "squares 10": ("squares", 10, 200, 10),
    "ackley 16": ("ackley", 16, 250, 16),
    "ackley 8": ("ackley", 8, 250, 8),
    "michalewicz 16": ("michalewicz", 16, 250, 16),
}
POINTS, LOOKED, FLAT = (8, 32, 128, 256), 2000, 1e-10
DIMENSIONS, FITS = (2, 8, 16), 5


def measure(panel: str, method: str, seed: int) -> dict[str, Any]:
    """The lowest value after every evaluation."""
    name, d, count, initial = PANELS[panel]
    space = unit_cube(d)
    history = minimize(FUNCTIONS[name], space, METHODS[method](space, seed, initial), count, quiet=True).history
    return {"best": running_best([history.results[key].metrics["loss"] for key in history.finished_keys])}


def measure_gradients(d: int, seed: int) -> dict[str, Any]:
    """The share of the cube in which a gradient is shorter than 1e-10, by the number of random points told of Ackley."""
    rng, domain = np.random.default_rng([seed, d]), unit_cube(d).domain
    X, looked = rng.random((max(POINTS), d)), rng.random((LOOKED, d))
    y = np.array([FUNCTIONS["ackley"]({str(i): value for i, value in enumerate(row)}) for row in X])
    found: dict[str, Any] = {"EI": [], "log EI": []}
    for n in POINTS:
        z = standardise(y[:n]).z
        gp = GaussianProcess(domain, X[:n], z, fit(X[:n], z, domain, seed))
        for name, acquisition in (("EI", EI()), ("log EI", LogEI())):
            slope = Score(gp, acquisition, float(gp.mean(X[:n]).min())).gradient(looked)[1]
            found[name].append(float((np.linalg.norm(slope, axis=1) < FLAT).mean()))
    return found


def measure_identity() -> dict[str, Any]:
    """The worst relative difference of exp(log EI) from EI to 60 digits, over z from -37 to 10, where EI is above 0."""
    z = np.linspace(-37, 10, 2000)
    sd = np.exp(np.random.default_rng(0).normal(size=len(z)))
    ours = np.exp(LogEI()(Normal(-z * sd, sd), 0.0))
    with mpmath.workdps(60):
        exact = [float(mpmath.mpf(s) * (mpmath.npdf(t) + t * mpmath.ncdf(t))) for s, t in
                 ((s, mpmath.mpf(float(m)) / mpmath.mpf(float(s))) for s, m in zip(sd, z * sd, strict=True))]
    return {"least": min(exact), "worst": float(np.abs(ours / np.array(exact) - 1).max())}


def measurements() -> list[Measurement]:
    """What the rules read first, then what only the figure shows."""
    module = "papers.logei2023"
    made = [measurement({"part": "identity"}, measure_identity, f"{module}.claims:measure_identity")]
    for d, seed in [(d, seed) for d in DIMENSIONS for seed in range(FITS)]:
        key = {"part": "gradients", "d": d, "seed": seed}
        made.append(measurement(key, partial(measure_gradients, d, seed), f"{module}.claims:measure_gradients"))
    for panel, (name, *_) in PANELS.items():
        methods = list(METHODS) if panel == "squares 10" else list(METHODS)[:2]
        for seed, method in [(seed, method) for seed in range(SEEDS) for method in methods]:
            chosen = "logei" if method == "log EI" else "ei"
            sources = (f"{module}.claims:measure", f"{module}.methods:METHODS[{method}]", f"{module}.methods:FUNCTIONS[{name}]",
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
                   "EI's regret at 200 is at least half of that at 75, with ftol = gtol = 0", "a figure", SEEDS,
                   "200 evaluations"),
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
