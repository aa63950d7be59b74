"""Practical Bayesian optimization (Snoek et al. 2012): hyperparameters averaged by slice sampling, improvement per second.

Three problems of the paper: Branin, the grid of online LDA (6 x 6 x 8), and that of a structured SVM (25 x 14 x 4). A search over
a grid is restricted to it, and begins with two random points.
"""

from __future__ import annotations

from functools import partial

from experiments.benchmark.tables import LDA, SVM
from experiments.ledger import Measurement
from papers.paper import Paper, PaperClaim, measurement
from papers.snoek2012.methods import EXPLAINED, METHODS, PLANS, SEEDS, measure
from papers.snoek2012.rules import (
    judge_default,
    judge_early,
    judge_kernels,
    judge_likelihood,
    judge_mcmc,
    judge_search,
    judge_seconds,
)


def measurements() -> list[Measurement]:
    """Seed by seed, all problems and methods."""
    made = []
    for seed in range(SEEDS):
        chosen = [(problem, method) for plan in (PLANS, EXPLAINED) for problem, methods in plan.items() for method in methods]
        for problem, method in chosen:
            kernel = METHODS[method][1].get("kernel", "matern52")
            rows = f"surrogates.kernels:KERNELS[{kernel}]", "surrogates.acquisitions.registry:ACQUISITIONS[logei]"
            sources = "papers.snoek2012.methods:measure", f"papers.snoek2012.methods:METHODS[{method}]", *rows
            run = partial(measure, problem, method, seed)
            file = {"lda": LDA.file, "svm": SVM.file}.get(problem, "")
            made.append(measurement({"problem": problem, "method": method, "seed": seed}, run, *sources, file=file))
    return made


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
        PaperClaim("With this project's first points the search beats random search by 20 evaluations.", judge_default,
                   "random, default", "as above, with the default options here", "a figure", SEEDS, BUDGET),
        PaperClaim("Averaging beats a point estimate without a prior.", judge_likelihood, "mcmc, likelihood",
                   "as above, against the hyperparameters of the greatest marginal likelihood", "a figure", SEEDS, BUDGET),
        PaperClaim("Improvement per second wins on time and loses per evaluation, early.", judge_early, "seconds, early",
                   "on lda, mean best lower after 1.5 days of training, and higher after 10 evaluations", "a figure", SEEDS,
                   BUDGET),
    ),
    measurements=measurements,
    quick={"problem": "lda", "method": "GP EI Opt", "seed": 0},
    needs=("tables/lda_on_grid.csv", "tables/svm_on_grid.csv"),
    published_at="HPOlib (automl/HPOlib), as lda_on_grid and svm_on_grid",
)  # fmt: skip
