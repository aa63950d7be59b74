"""GP-UCB (Srinivas et al. 2010), figure 5a: six ways to choose the next point of a function drawn from a known GP.

    x_t = argmax  mean_{t-1}(x) + sqrt(beta_t) sd_{t-1}(x),        beta_t = 2 log(|D| t^2 pi^2 / (6 delta))

Nothing is fitted: every method knows the kernel and the noise, and the posterior over the 1000 points is exact. What counts is
the average regret, R_T / T with R_T = sum of max f - f(x_t) over t <= T.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from experiments.ledger import Measurement
from hpo import minimize
from papers.gpucb2010.methods import NOISE, SPACE, KnownGP, Noisy, beta, draw_function, prior
from papers.paper import Finding, Lines, Paper, PaperClaim, measurement, nothing
from papers.statistics import difference_of

STEPS, SEEDS = 1000, 30
CHECKPOINTS = (10, 20, 50, 100, 200, 500, 1000)
COMPARED = ("GP-UCB", "GP-UCB, beta/5", "expected improvement", "most probable improvement", "mean only", "variance only")
MARGIN = "most probable improvement, margin 0.1"  # measured after a look at the others, to test why one of them is so bad


def measure(method: str, seed: int) -> dict[str, Any]:
    """R_T / T, and the information I(y_T; f) of what was observed, at every checkpoint."""
    f = draw_function(seed)
    history = minimize(Noisy(f, seed), SPACE, KnownGP(SPACE, seed=seed, method=method), trials=STEPS, quiet=True).history
    x = np.array([history.jobs[key].config["i"] for key in history.finished_keys])
    regret = np.cumsum(f.max() - f[x])
    return {
        "average_regret": [round(float(regret[t - 1] / t), 6) for t in CHECKPOINTS],
        "information": [round(information(x[:t]), 4) for t in CHECKPOINTS],
    }


def information(x: np.ndarray) -> float:
    """Half the log determinant of 1 + K / noise at the points."""
    return 0.5 * float(np.linalg.slogdet(np.eye(len(x)) + prior()[np.ix_(x, x)] / NOISE)[1])


def measurements() -> list[Measurement]:
    """Thirty functions, each by all methods."""
    made = []
    for seed in range(SEEDS):
        for method in (*COMPARED, MARGIN):
            sources = ("papers.gpucb2010.claims:measure", f"papers.gpucb2010.methods:METHODS[{method}]")
            made.append(measurement({"method": method, "seed": seed}, partial(measure, method, seed), *sources))
    return made


# -- rules -------------------------------------------------------------------------------------------------------------


def regrets_of(lines: Lines, method: str, checkpoint: int = STEPS) -> np.ndarray:
    """The average regret of every seed at a checkpoint, in the order of seeds."""
    mine = sorted((line for line in lines if line["method"] == method), key=lambda line: line["seed"])
    return np.array([line["average_regret"][CHECKPOINTS.index(checkpoint)] for line in mine])


def is_whole(lines: Lines) -> bool:
    return all(len(regrets_of(lines, method)) == SEEDS for method in COMPARED)


def judge_fifth(lines: Lines) -> Finding:
    if not is_whole(lines):
        return nothing("some of the 30 functions")
    gain = difference_of(regrets_of(lines, "GP-UCB"), regrets_of(lines, "GP-UCB, beta/5"))
    said = f"with beta/5 the average regret at T = 1000 is {gain.value:.4f} {gain.interval} lower"
    return Finding(gain.low > 0, said, f"{gain.value:.4f}", gain.interval)


def judge_worst(lines: Lines) -> Finding:
    if not is_whole(lines):
        return nothing("some of the 30 functions")
    means = {method: float(regrets_of(lines, method).mean()) for method in COMPARED}
    order = sorted(means, key=lambda method: means[method])
    said = ", ".join(f"{method} {means[method]:.4f}" for method in order)
    return Finding(set(order[-2:]) == {"mean only", "variance only"}, said, f"worst are {order[-2]}, {order[-1]}")


def judge_falling(lines: Lines) -> Finding:
    if not is_whole(lines):
        return nothing("some of the 30 functions")
    means = [float(regrets_of(lines, "GP-UCB", t).mean()) for t in CHECKPOINTS]
    said = ", ".join(f"{mean:.4f} at {t}" for t, mean in zip(CHECKPOINTS, means, strict=True))
    return Finding(all(b < a for a, b in pairwise(means)), said, f"{means[0]:.3f} to {means[-1]:.3f}")


def judge_bound(lines: Lines) -> Finding:
    """gamma_T is taken as the information of variance only, which is at most gamma_T: a stricter bound than the theorem's."""
    if not is_whole(lines):
        return nothing("some of the 30 functions")
    shares = []
    for line in (line for line in lines if line["method"] == "GP-UCB"):
        greedy = next(other for other in lines if (other["method"], other["seed"]) == ("variance only", line["seed"]))
        for t, average, gamma in zip(CHECKPOINTS, line["average_regret"], greedy["information"], strict=True):
            bound = math.sqrt(8 / math.log(1 + 1 / NOISE) * t * beta(t) * gamma)
            shares.append(t * average / bound)
    said = f"R_T is {max(shares):.2f} of the bound at most, over {SEEDS} functions and {len(CHECKPOINTS)} checkpoints"
    return Finding(max(shares) <= 1, said, f"{max(shares):.2f} of the bound")


def judge_margin(lines: Lines) -> Finding:
    if not is_whole(lines) or len(regrets_of(lines, MARGIN)) < SEEDS:
        return nothing("some of the 30 functions")
    methods = [MARGIN if method == "most probable improvement" else method for method in COMPARED]
    means = {method: float(regrets_of(lines, method).mean()) for method in methods}
    order = sorted(means, key=lambda method: means[method])
    said = ", ".join(f"{method} {means[method]:.4f}" for method in order)
    return Finding(set(order[-2:]) == {"mean only", "variance only"}, said, f"worst are {order[-2]}, {order[-1]}")


BUDGET = "1000 evaluations"
PAPER = Paper(
    name="gpucb2010",
    title="Gaussian process optimization in the bandit setting: no regret and experimental design",
    reference="Srinivas, Krause, Kakade and Seeger 2010, arXiv 0912.3995",
    claims=(
        PaperClaim("A smaller beta than the theorem's does better.", judge_fifth, "fifth", "beta/5 beats beta", "a figure",
                   SEEDS, BUDGET),
        PaperClaim("Looking at the mean alone or at the variance alone is worst.", judge_worst, "worst",
                   "mean-only and variance-only are worst", "a figure", SEEDS, BUDGET),
        PaperClaim("The average regret of GP-UCB falls.", judge_falling, "falling", "R_T/T decreases", "a figure", SEEDS, BUDGET),
        PaperClaim("The regret stays below the theorem's bound.", judge_bound, "bound",
                   "R_T <= sqrt(C1 T beta_T gamma_T), C1 = 8 / ln(1 + 1/sigma^2)", "theorem 1", SEEDS, BUDGET),
        PaperClaim("They are worst if the most probable improvement is one by a margin of 0.1.", judge_margin, "worst, margin",
                   "mean-only and variance-only are worst", "a figure", SEEDS, BUDGET),
    ),
    measurements=measurements,
    quick={"method": "GP-UCB", "seed": 0},
)  # fmt: skip
