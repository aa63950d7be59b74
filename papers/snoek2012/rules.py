"""How the claims are judged by the stored lines."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from papers.paper import Finding, Lines, nothing
from papers.statistics import Mean, difference_of, mean_of

SEEDS, SAMPLES = 32, 10
EVALUATIONS = {"lda": 50, "svm": 100, "branin": 50}
PLANS = {"lda": ("GP EI MCMC", "GP EI Opt", "GP EI per second"), "branin": ("GP EI MCMC", "GP EI Opt"),
         "svm": ("GP EI MCMC", "GP EI Opt", "Matern 3/2", "squared exponential")}  # fmt: skip
# The mean best of random search without replacement, in exact expectation over the grid (tests compute it from the tables)
RANDOM = {"lda": {20: 1276.9, 50: 1270.2}, "svm": {20: 0.2480, 50: 0.2442, 100: 0.2427}}


@dataclass(frozen=True)
class Curves:
    """The stored lines of one problem by method: the best loss (seeds, evaluations), in the order of seeds."""

    best: dict[str, np.ndarray] = field(default_factory=dict)
    spent: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Lines, problem: str) -> Curves | None:
        """None until every seed of every method is there."""
        best, spent = {}, {}
        for method in PLANS[problem]:
            mine = [line for line in lines if (line["problem"], line["method"]) == (problem, method)]
            mine.sort(key=lambda line: line["seed"])
            if len(mine) < SEEDS:
                return None
            best[method] = np.array([line["best"] for line in mine])
            spent[method] = np.array([line.get("spent", []) for line in mine])
        return cls(best, spent)

    def at(self, method: str, evaluations: int) -> np.ndarray:
        return self.best[method][:, evaluations - 1]


def judge_search(lines: Lines) -> Finding:
    said, holds, shown = [], True, []
    for problem in ("lda", "svm"):
        curves = Curves.of(lines, problem)
        if curves is None:
            return nothing(f"some seeds of {problem}")
        for n in (20, 50):
            mean: Mean = mean_of(curves.at("GP EI MCMC", n))
            gain = RANDOM[problem][n] - mean.value
            errors = gain / mean.error if mean.error else math.copysign(math.inf, gain)
            holds &= errors > 3
            said.append(f"{problem} at {n}: {mean.value:.5g} against {RANDOM[problem][n]:.5g}, {errors:.0f} standard errors")
            shown.append(f"{errors:.0f}")
    return Finding(bool(holds), "; ".join(said), f"{', '.join(shown)} standard errors")


def judge_mcmc(lines: Lines) -> Finding:
    said, holds = [], True
    for problem, count in EVALUATIONS.items():
        curves = Curves.of(lines, problem)
        if curves is None:
            return nothing(f"some seeds of {problem}")
        difference = difference_of(curves.at("GP EI MCMC", count), curves.at("GP EI Opt", count))
        holds &= difference.value <= 0
        said.append(f"{problem} at {count}: {difference.value:+.3g} {difference.interval}")
    return Finding(bool(holds), f"MCMC less the point estimate, {'; '.join(said)}", "; ".join(said))


def judge_kernels(lines: Lines) -> Finding:
    curves = Curves.of(lines, "svm")
    if curves is None:
        return nothing("some seeds of svm")
    kernels = {"Matern 5/2": "GP EI MCMC", "Matern 3/2": "Matern 3/2", "squared exponential": "squared exponential"}
    means = {name: mean_of(curves.at(method, 100)) for name, method in kernels.items()}
    others = [means[name].value for name in ("Matern 3/2", "squared exponential")]
    said = "; ".join(f"{name} {mean.value:.5f} {mean.interval}" for name, mean in means.items())
    return Finding(bool(means["Matern 5/2"].value < min(others)), f"svm at 100: {said}", said)


def judge_seconds(lines: Lines) -> Finding:
    curves = Curves.of(lines, "lda")
    if curves is None:
        return nothing("some seeds of lda")
    plain, cheap = "GP EI MCMC", "GP EI per second"
    half = float(np.median(curves.spent[cheap][:, -1])) / 2
    by_time = [np.array([best[max(int((spent <= half).sum()), 1) - 1] for best, spent in
                         zip(curves.best[method], curves.spent[method], strict=True)]) for method in (cheap, plain)]
    time, each = difference_of(*by_time), difference_of(curves.at(cheap, 20), curves.at(plain, 20))
    said = (f"per second less plain: {time.value:+.4g} {time.interval} after {half / 86400:.1f} days of training each, "
            f"{each.value:+.4g} {each.interval} after 20 evaluations each")
    ours, interval = f"{time.value:+.4g}, {each.value:+.4g}", f"{time.interval}, {each.interval}"
    return Finding(bool(time.value < 0 < each.value), said, ours, interval)


def losses_of(lines: Lines, problem: str, method: str) -> np.ndarray:
    """(seeds, evaluations) the best loss so far of a method; fewer than SEEDS rows while some are missing."""
    mine = [line for line in lines if (line["problem"], line["method"]) == (problem, method)]
    return np.array([line["best"] for line in sorted(mine, key=lambda line: line["seed"])])


def judge_default(lines: Lines) -> Finding:
    shown = []
    for problem in ("lda", "svm"):
        found = losses_of(lines, problem, "the default here")
        if len(found) < SEEDS:
            return nothing(f"some seeds of the default on {problem}")
        means = [(n, mean_of(found[:, n - 1])) for n in (20, 50)]
        shown += [(RANDOM[problem][n] - mean.value) / mean.error if mean.error else math.inf for n, mean in means]
    said = ", ".join(f"{errors:.0f}" for errors in shown)
    return Finding(min(shown) > 3, f"lda at 20 and 50, svm at 20 and 50: {said} standard errors", f"{said} standard errors")


def judge_likelihood(lines: Lines) -> Finding:
    said, holds = [], True
    for problem, count in EVALUATIONS.items():
        averaged, point = (losses_of(lines, problem, method) for method in ("GP EI MCMC", "maximum likelihood"))
        if min(len(averaged), len(point)) < SEEDS:
            return nothing(f"some seeds of {problem}")
        last = difference_of(averaged[:, count - 1], point[:, count - 1])
        holds &= last.value <= 0
        said.append(f"{problem} at {count}: {last.value:+.3g} {last.interval}")
    return Finding(bool(holds), f"MCMC less maximum likelihood, {'; '.join(said)}", "; ".join(said))


def judge_early(lines: Lines) -> Finding:
    curves = Curves.of(lines, "lda")
    if curves is None:
        return nothing("some seeds of lda")
    plain, cheap = "GP EI MCMC", "GP EI per second"
    by_time = [np.array([best[max(int((spent <= 1.5 * 86400).sum()), 1) - 1] for best, spent in
                         zip(curves.best[method], curves.spent[method], strict=True)]) for method in (cheap, plain)]
    time, each = difference_of(*by_time), difference_of(curves.at(cheap, 10), curves.at(plain, 10))
    said = (f"per second less plain: {time.value:+.4g} {time.interval} after 1.5 days of training each, "
            f"{each.value:+.4g} {each.interval} after 10 evaluations each")
    ours, interval = f"{time.value:+.4g}, {each.value:+.4g}", f"{time.interval}, {each.interval}"
    return Finding(bool(time.value < 0 < each.value), said, ours, interval)


def judge_ten(lines: Lines) -> Finding:
    shown = []
    for problem in ("lda", "svm"):
        found = losses_of(lines, problem, "ten random first points")
        if len(found) < SEEDS:
            return nothing("a part of the seeds")
        mean = mean_of(found[:, 19])
        shown.append((RANDOM[problem][20] - mean.value) / mean.error if mean.error else math.inf)
    said = ", ".join(f"{errors:.0f}" for errors in shown)
    return Finding(min(shown) > 3, f"lda at 20, svm at 20: {said} standard errors", f"{said} standard errors")


def judge_ahead(lines: Lines) -> Finding:
    said, holds = [], True
    for problem, n in (("lda", 20), ("svm", 50)):
        averaged, point = (losses_of(lines, problem, method) for method in ("GP EI MCMC", "GP EI Opt"))
        if min(len(averaged), len(point)) < SEEDS:
            return nothing("a part of the seeds")
        gain = difference_of(averaged[:, n - 1], point[:, n - 1])
        holds &= gain.value < 0
        said.append(f"{problem} at {n}: {gain.value:+.3g} {gain.interval}")
    return Finding(bool(holds), f"MCMC less the point estimate, {'; '.join(said)}", "; ".join(said))


def judge_reach(lines: Lines) -> Finding:
    mine = sorted((line for line in lines if "distance" in line), key=lambda line: line["seed"])
    averaged, point = ([line for line in mine if line["method"] == method] for method in ("GP EI MCMC", "GP EI Opt"))
    if min(len(averaged), len(point)) < SEEDS:
        return nothing("a part of the seeds")
    further = difference_of(*([line["distance"] for line in found] for found in (averaged, point)))
    edge = [sum(line["edge"] for line in found) / (8 * len(found)) for found in (averaged, point)]
    said = (f"evaluations 3 to 10 lie {further.value:.3f} {further.interval} further from earlier ones, in the unit cube; "
            f"{edge[0]:.0%} of them are on its edge, and {edge[1]:.0%} of the point estimate's")
    return Finding(further.low > 0, said, f"{further.value:.3f}", further.interval)
