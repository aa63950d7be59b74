"""GP-UCB (Srinivas et al. 2010), figure 5a: six ways to choose the next point of a function drawn from a known GP.

    x_t = argmax  mean_{t-1}(x) + sqrt(beta_t) sd_{t-1}(x),        beta_t = 2 log(|D| t^2 pi^2 / (6 delta))

Nothing is fitted: every method knows the kernel and the noise, and the posterior over the 1000 points is exact. What counts is
the average regret, R_T / T with R_T = sum of max f - f(x_t) over t <= T.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np

from experiments.ledger import Measurement
from papers.gpucb2010.methods import CHECKPOINTS, NOISE, STEPS, beta, measure
from papers.paper import Finding, Lines, Paper, PaperClaim, measurement, nothing
from papers.statistics import difference_of

SEEDS, FRESH = 30, 30  # FRESH: the first seed of the claims; those before it were seen when the rules were worded
COMPARED = ("GP-UCB", "GP-UCB, beta/5", "expected improvement", "most probable improvement", "mean only", "variance only")
PROBABLE, MARGIN = COMPARED[3], "most probable improvement, margin 0.1"


def measurements() -> list[Measurement]:
    """Thirty functions for the claims, and thirty that were seen before; each by all methods."""
    made = []
    for seed in (*range(FRESH, FRESH + SEEDS), *range(FRESH)):
        for method in (*COMPARED, MARGIN):
            sources = ("papers.gpucb2010.methods:measure", f"papers.gpucb2010.methods:METHODS[{method}]")
            made.append(measurement({"method": method, "seed": seed}, partial(measure, method, seed), *sources))
    return made


# -- rules -------------------------------------------------------------------------------------------------------------


def regrets_of(lines: Lines, method: str, checkpoint: int = STEPS) -> np.ndarray:
    """The average regret of every seed at a checkpoint, in the order of seeds."""
    mine = sorted((line for line in lines if line["method"] == method), key=lambda line: line["seed"])
    return np.array([line["average_regret"][CHECKPOINTS.index(checkpoint)] for line in mine])


def is_whole(lines: Lines) -> bool:
    return all(len(regrets_of(lines, method)) == SEEDS for method in (*COMPARED, MARGIN))


def judge_fifth(lines: Lines) -> Finding:
    if not is_whole(lines):
        return nothing("a part of the 30 functions")
    plain, fifth = (regrets_of(lines, method) for method in COMPARED[:2])
    gain = difference_of(plain, fifth)
    said = f"with beta/5 the average regret at T = 1000 is {gain.value:.4f} {gain.interval} lower"
    return Finding(gain.low > 0, said, f"{fifth.mean():.4f} against {plain.mean():.4f}", gain.interval)


def judge_order(lines: Lines, probable: str) -> Finding:
    """Whether the two worst of the six methods look at the mean alone and at the variance alone."""
    if not is_whole(lines):
        return nothing("a part of the 30 functions")
    methods = [probable if method == PROBABLE else method for method in COMPARED]
    means = {method: float(regrets_of(lines, method).mean()) for method in methods}
    order = sorted(means, key=lambda method: means[method])
    said = ", ".join(f"{method} {means[method]:.4f}" for method in order)
    return Finding(set(order[-2:]) == {"mean only", "variance only"}, said, f"worst: {order[-2]}, {order[-1]}")


def judge_worst(lines: Lines) -> Finding:
    return judge_order(lines, PROBABLE)


def judge_margin(lines: Lines) -> Finding:
    return judge_order(lines, MARGIN)


def judge_moving(lines: Lines) -> Finding:
    if not is_whole(lines):
        return nothing("a part of the 30 functions")
    learned = [float(np.mean([line["information"][-1] for line in lines if line["method"] == method]))
               for method in (PROBABLE, MARGIN, "mean only")]  # fmt: skip
    said = ("its 1000 evaluations have {:.1f} nats of information on the function, those with a margin {:.1f}, and those of the "
            "mean alone {:.1f}").format(*learned)
    return Finding(learned[0] < learned[1] / 2, said, "{:.1f} against {:.1f} nats".format(*learned))


def judge_falling(lines: Lines) -> Finding:
    if not is_whole(lines):
        return nothing("a part of the 30 functions")
    means = [float(regrets_of(lines, "GP-UCB", t).mean()) for t in CHECKPOINTS]
    said = ", ".join(f"{mean:.4f} at {t}" for t, mean in zip(CHECKPOINTS, means, strict=True))
    return Finding(all(b < a for a, b in pairwise(means)), said, f"{means[0]:.3f} to {means[-1]:.3f}")


def judge_bound(lines: Lines) -> Finding:
    """gamma_T is taken as the information of variance only, which is at most gamma_T: a stricter bound than the theorem's."""
    if not is_whole(lines):
        return nothing("a part of the 30 functions")
    shares = []
    for line in (line for line in lines if line["method"] == "GP-UCB"):
        greedy = next(other for other in lines if (other["method"], other["seed"]) == ("variance only", line["seed"]))
        for t, average, gamma in zip(CHECKPOINTS, line["average_regret"], greedy["information"], strict=True):
            bound = math.sqrt(8 / math.log(1 + 1 / NOISE) * t * beta(t) * gamma)
            shares.append(t * average / bound)
    said = f"R_T is {max(shares):.2f} of the bound at most, over {SEEDS} functions and {len(CHECKPOINTS)} checkpoints"
    return Finding(max(shares) <= 1, said, f"{max(shares):.2f} of the bound")


BUDGET = "1000 evaluations"
PAPER = Paper(
    name="gpucb2010",
    title="Gaussian process optimization in the bandit setting: no regret and experimental design",
    reference="Srinivas, Krause, Kakade and Seeger 2010, arXiv 0912.3995",
    claims=(
        PaperClaim("A beta five times smaller than the theorem's does better.", judge_fifth, "fifth",
                   "beta/5 beats beta: the 95 % interval of the paired difference in R_T/T at T = 1000 is above 0",
                   "figure 5a", SEEDS, BUDGET, FRESH),
        PaperClaim("Looking at the mean alone or at the variance alone is worst.", judge_worst, "worst",
                   "mean-only and variance-only are worst: of the six in mean R_T/T at T = 1000", "figure 5a", SEEDS, BUDGET,
                   FRESH),
        PaperClaim("The average regret of GP-UCB falls.", judge_falling, "falling",
                   "R_T/T decreases: its mean, from each of T = 10, 20, 50, 100, 200, 500, 1000 to the next", "figure 5a", SEEDS,
                   BUDGET, FRESH),
        PaperClaim("The regret stays below the theorem's bound.", judge_bound, "bound",
                   "R_T <= sqrt(C1 T beta_T gamma_T), C1 = 8 / ln(1 + 1/sigma^2): for every function and T", "theorem 1", SEEDS,
                   BUDGET, FRESH),
        PaperClaim("The two are worst if the most probable improvement is one by a margin of 0.1.", judge_margin, "worst, margin",
                   "mean-only and variance-only are worst: where the improvement must be 0.1 or more", "figure 5a", SEEDS, BUDGET,
                   FRESH, "worst"),
        PaperClaim("Without a margin the most probable improvement hardly moves, as the mean alone.", judge_moving, "moving",
                   "mean information I(y_T; f) at T = 1000 less than half of that with a margin of 0.1", "not in the paper",
                   SEEDS, BUDGET, FRESH, "worst"),
    ),
    measurements=measurements,
    quick={"method": "GP-UCB", "seed": 0},
)  # fmt: skip
