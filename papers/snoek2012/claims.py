"""Practical Bayesian optimization (Snoek et al. 2012): hyperparameters averaged by slice sampling, improvement per second.

Three problems of the paper: Branin, the grid of online LDA (6 x 6 x 8), and that of a structured SVM (25 x 14 x 4). A search over
a grid is restricted to it, and begins with two random points.
"""

from __future__ import annotations

from functools import partial

from experiments.benchmark.tables import LDA, SVM
from experiments.ledger import Measurement
from papers.paper import Paper, PaperClaim, measurement
from papers.snoek2012.methods import ASKED, EXPLAINED, METHODS, measure, measure_reach
from papers.snoek2012.rules import (
    PLANS,
    SEEDS,
    judge_ahead,
    judge_default,
    judge_early,
    judge_kernels,
    judge_likelihood,
    judge_mcmc,
    judge_reach,
    judge_search,
    judge_seconds,
    judge_ten,
)


def measurements() -> list[Measurement]:
    """Seed by seed, all problems and methods: what the paper claims, and what it made us ask."""
    made = []
    for seed in range(2 * SEEDS):
        plans = (PLANS, EXPLAINED) if seed < SEEDS else (ASKED,)
        for problem, method in [(problem, method) for plan in plans for problem, methods in plan.items() for method in methods]:
            run, file = partial(measure, problem, method, seed), {"lda": LDA.file, "svm": SVM.file}.get(problem, "")
            key, sources = {"problem": problem, "method": method, "seed": seed}, sources_of("measure", method)
            made.append(measurement(key, run, *sources, file=file))
    for seed in range(SEEDS, 2 * SEEDS):
        for method in ("GP EI MCMC", "GP EI Opt"):
            key = {"problem": "branin, first ten", "method": method, "seed": seed}
            made.append(measurement(key, partial(measure_reach, method, seed), *sources_of("measure_reach", method)))
    return made


def sources_of(function: str, method: str) -> list[str]:
    """The code that a line of a method depends on."""
    kernel, module = METHODS[method][1].get("kernel", "matern52"), "papers.snoek2012.methods"
    rows = f"surrogates.kernels:KERNELS[{kernel}]", "surrogates.acquisitions.registry:ACQUISITIONS[logei]"
    return [f"{module}:{function}", f"{module}:METHODS[{method}]", *rows]


BUDGET = "50 evaluations of lda and branin, 100 of svm"
PAPER = Paper(
    name="snoek2012",
    title="Practical Bayesian optimization of machine learning algorithms",
    reference="Snoek, Larochelle and Adams 2012, arXiv 1206.2944",
    claims=(
        PaperClaim("Bayesian optimization beats random search.", judge_search, "random",
                   "mean best below random by more than 3 standard errors at 20 and 50, on lda and svm", "a figure",
                   SEEDS, BUDGET),
        PaperClaim("Averaging over hyperparameters beats the point estimate.", judge_mcmc, "mcmc",
                   "MCMC at most Opt: mean best at the last evaluation, on all three problems", "a figure", SEEDS, BUDGET),
        PaperClaim("Matern 5/2 beats Matern 3/2 and the squared exponential.", judge_kernels, "kernels",
                   "the kernel order: on svm at 100 evaluations Matern 5/2's mean best is below both others'", "a figure",
                   SEEDS, BUDGET),
        PaperClaim("Improvement per second wins on time and loses per evaluation.", judge_seconds, "seconds",
                   "on lda, mean best lower at half the seconds that its 50 evaluations take, and higher at 20 evaluations",
                   "a figure", SEEDS, BUDGET),
        PaperClaim("With ten random first points instead of two it does by 20 evaluations.", judge_ten, "random, ten",
                   "mean best below random by more than 3 standard errors at 20, on lda and svm, with ten random first points",
                   "not in the paper", SEEDS, BUDGET, SEEDS, "random"),
        PaperClaim("With this project's own search, whose first points are spread evenly, it does as well.", judge_default,
                   "random, default", "mean best below random by more than 3 standard errors at 20 and 50, on lda and svm, with "
                   "the default options here", "not in the paper", SEEDS, BUDGET, SEEDS, "random"),
        PaperClaim("It is the prior of the point estimate: averaging beats one without a prior.", judge_likelihood,
                   "mcmc, likelihood", "MCMC at most Opt, where Opt is the greatest marginal likelihood: mean best at the last "
                   "evaluation, on all three problems", "not in the paper", SEEDS, BUDGET, SEEDS, "mcmc"),
        PaperClaim("Averaging is ahead where there is something left to win.", judge_ahead, "mcmc, ahead",
                   "MCMC below Opt: mean best at 20 evaluations of lda and at 50 of svm", "a figure", SEEDS, BUDGET, SEEDS,
                   "mcmc"),
        PaperClaim("On Branin averaging first looks further away than the point estimate.", judge_reach, "mcmc, reach",
                   "evaluations 3 to 10 lie further from earlier ones than the point estimate's, the 95 % interval of the paired "
                   "difference above 0", "not in the paper", SEEDS, "10 evaluations of branin", SEEDS, "mcmc"),
        PaperClaim("Improvement per second wins on time and loses per evaluation, early.", judge_early, "seconds, early",
                   "on lda, mean best lower after 1.5 days of training, and higher after 10 evaluations", "a figure", SEEDS,
                   BUDGET, SEEDS, "seconds"),
    ),
    measurements=measurements,
    quick={"problem": "branin", "method": "GP EI Opt", "seed": 0},
    needs=("tables/lda_on_grid.csv", "tables/svm_on_grid.csv"),
    published_at="HPOlib (automl/HPOlib), as lda_on_grid and svm_on_grid",
)  # fmt: skip
