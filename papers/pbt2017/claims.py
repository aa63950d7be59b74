"""PBT (Jaderberg et al. 2017), figure 2: two workers that each see one half of the objective.

    Q(theta) = 1.2 - |theta|^2 is what counts; a worker climbs 1.2 - h0 theta0^2 - h1 theta1^2 by gradient steps of 0.01

The two begin at theta = (0.9, 0.9) with h = (1, 0) and (0, 1), so that neither gets to the top alone. Every five of 200 steps a
worker that is behind copies the other (exploit), and then h gets noise of N(0, 0.1) (explore). Whether it copies h too, and who
explores, is not said where the constants come from: the claims were made for one reading, and later ones say what another gives.
"""

from __future__ import annotations

from functools import partial

from experiments.ledger import Measurement
from papers.paper import Finding, Lines, Paper, PaperClaim, measurement, nothing
from papers.pbt2017.toy import METHODS, RATE, SEEDS, START, STEPS, measure
from papers.statistics import difference_of, mean_of

ASKED = ("PBT, own h", "exploit only, own h", "explore only, if behind", "explore only, h >= 0")  # the first lines made us ask


def measurements() -> list[Measurement]:
    """200 seeds of each method, and 200 others of those that were thought of later; the grid has nothing at random."""
    first = [method for method in METHODS if method != ASKED[-1]]
    plans = [(method, seed) for seed in range(SEEDS) for method in first if method != "grid" or seed == 0]
    plans += [(method, seed) for seed in range(SEEDS, 2 * SEEDS) for method in ASKED]
    sources = {method: ("papers.pbt2017.toy:measure", f"papers.pbt2017.toy:METHODS[{method}]") for method in METHODS}
    return [measurement({"method": method, "seed": seed}, partial(measure, method, seed), *sources[method])
            for method, seed in plans]  # fmt: skip


# -- rules -------------------------------------------------------------------------------------------------------------


def ends_of(lines: Lines, method: str) -> list[float]:
    """The last best Q of every seed, in their order."""
    return [line["best"][-1] for line in sorted(lines, key=lambda line: line["seed"]) if line["method"] == method]


def judge_grid(lines: Lines) -> Finding:
    found, exact = ends_of(lines, "grid"), 1.2 - START**2 - (START * (1 - 2 * RATE) ** STEPS) ** 2
    if not found:
        return nothing("the grid")
    return Finding(abs(found[0] - exact) < 1e-9, f"{found[0]:.10f}, and by the formula {exact:.10f}", f"{found[0]:.4f}")


def judge_mean(method: str, published: float, lines: Lines) -> Finding:
    """Whether a method ends within 0.03 of what was published."""
    ends = ends_of(lines, method)
    if len(ends) < SEEDS:
        return nothing(f"{method} on {SEEDS - len(ends)} of {SEEDS} seeds")
    mean = mean_of(ends)
    said = f"{method} ends at {mean.value:.3f} in the mean of {len(ends)} seeds, {mean.value - published:+.3f} from {published}"
    return Finding(bool(abs(mean.value - published) <= 0.03), said, f"{mean.value:.3f}", mean.interval)


def judge_pbt(lines: Lines) -> Finding:
    return judge_mean("PBT", 1.16, lines)


def judge_exploit(lines: Lines) -> Finding:
    return judge_mean("exploit only", 1.17, lines)


def judge_explore(lines: Lines) -> Finding:
    return judge_mean("explore only", 0.84, lines)


def judge_work(lines: Lines) -> Finding:
    ends = {method: ends_of(lines, method) for method in ("exploit only", "explore only", "PBT")}
    if min(map(len, ends.values())) < SEEDS:
        return nothing("some of the seeds")
    copying = difference_of(ends["exploit only"], ends["explore only"])
    noise = difference_of(ends["PBT"], ends["exploit only"])
    said = (f"exploit only ends {copying.value:.3f} {copying.interval} above explore only; exploring adds {noise.value:.3f} "
            f"{noise.interval} to it")  # fmt: skip
    return Finding(bool(copying.low > 0 and noise.value < copying.low), said, f"{copying.value:.3f}", copying.interval)


# -- what the first lines made us ask ----------------------------------------------------------------------------------


def judge_own_pbt(lines: Lines) -> Finding:
    return judge_mean("PBT, own h", 1.16, lines)


def judge_own_exploit(lines: Lines) -> Finding:
    return judge_mean("exploit only, own h", 1.17, lines)


def judge_behind_explore(lines: Lines) -> Finding:
    return judge_mean("explore only, if behind", 0.84, lines)


def judge_copies(lines: Lines) -> Finding:
    ends = [ends_of(lines, method) for method in ("exploit only, own h", "explore only, if behind")]
    if min(map(len, ends)) < SEEDS:
        return nothing("some of the seeds")
    gain = difference_of(*ends)
    said = f"exploiting alone ends {gain.value:.3f} {gain.interval} above exploring alone"
    return Finding(gain.low > 0, said, f"{gain.value:.3f}", gain.interval)


def judge_above_zero(lines: Lines) -> Finding:
    ends = ends_of(lines, "explore only, h >= 0")
    if len(ends) < SEEDS:
        return nothing("some of the seeds")
    mean, grid = mean_of(ends), 1.2 - START**2 - (START * (1 - 2 * RATE) ** STEPS) ** 2
    said = f"its mean is {mean.value:.3f} {mean.interval}, and the least of {len(ends)} seeds {min(ends):.3f}"
    return Finding(bool(mean.low > 0.84 and min(ends) > grid), said, f"{mean.value:.3f}", mean.interval)


BUDGET = "200 steps of two workers"
PAPER = Paper(
    name="pbt2017",
    title="Population based training of neural networks, figure 2",
    reference="Jaderberg et al. 2017, arXiv 1711.09846; constants from public re-implementations",
    claims=(
        PaperClaim(
            "Two workers that neither copy nor explore end at 0.3897.", judge_grid, "grid",
            "grid ends at 1.2 - 0.81 - (0.9 * 0.98^200)^2 = 0.3897 exactly", "0.3897", 1, BUDGET,
        ),
        PaperClaim("PBT ends at about 1.16.", judge_pbt, "pbt", "PBT about 1.16 (200 seeds), read as 1.13 to 1.19", "1.16",
                   SEEDS, BUDGET),
        PaperClaim("Exploiting alone ends at about 1.17.", judge_exploit, "exploit",
                   "exploit-only about 1.17 (200 seeds), read as 1.14 to 1.20", "1.17", SEEDS, BUDGET),
        PaperClaim("Exploring alone ends at about 0.84.", judge_explore, "explore",
                   "explore-only about 0.84 (200 seeds), read as 0.81 to 0.87", "0.84", SEEDS, BUDGET),
        PaperClaim(
            "Exploitation does the work in this toy.", judge_work, "work",
            "exploitation does the work in this toy: exploit-only ends above explore-only, and exploring adds less than that",
            "1.17 against 0.84", SEEDS, BUDGET,
        ),
        PaperClaim("PBT ends at about 1.16 where h stays a worker's own.", judge_own_pbt, "own-pbt",
                   "PBT about 1.16 (200 seeds), read as 1.13 to 1.19", "1.16", SEEDS, BUDGET, SEEDS, "pbt"),
        PaperClaim("Exploiting alone ends at about 1.17 where h stays a worker's own.", judge_own_exploit, "own-exploit",
                   "exploit-only about 1.17 (200 seeds), read as 1.14 to 1.20", "1.17", SEEDS, BUDGET, SEEDS, "exploit"),
        PaperClaim("Exploring alone ends at about 0.84 where only the worker behind explores.", judge_behind_explore,
                   "behind-explore", "explore-only about 0.84 (200 seeds), read as 0.81 to 0.87", "0.84", SEEDS, BUDGET, SEEDS,
                   "explore"),
        PaperClaim("Exploring alone is low because h falls below zero: where it cannot, no seed ends low.", judge_above_zero,
                   "above-zero", "with h at 0 or above the mean's 95 % interval is above 0.84, and every seed above the grid",
                   "not in the paper", SEEDS, BUDGET, SEEDS, "explore"),
        PaperClaim("Read so, exploitation does the work.", judge_copies, "copies",
                   "exploitation does the work in this toy: exploiting alone, with a worker's own h, ends above exploring "
                   "alone, the 95 % interval of the difference above 0", "1.17 against 0.84", SEEDS, BUDGET, SEEDS, "work"),
    ),
    measurements=measurements,
    quick={"method": "PBT", "seed": 0},
)  # fmt: skip
