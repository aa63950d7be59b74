"""Left: LDA by evaluations. Middle: LDA by time of training. Right: the SVM by evaluations, kernels beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from papers.snoek2012.methods import METHODS, PLANS
from papers.snoek2012.rules import RANDOM

DAY = 86400


def draw(lines: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    lda, time, svm = figure.subplots(1, 3)
    for axis, problem in ((lda, "lda"), (svm, "svm")):
        for method in (*PLANS[problem], *(("the default here",) if problem == "svm" else ())):
            mine = [line for line in lines if (line["problem"], line["method"]) == (problem, method)]
            if not mine:
                continue
            color, best = f"C{list(METHODS).index(method)}", np.array([line["best"] for line in mine])
            mean, error = best.mean(axis=0), best.std(axis=0) / np.sqrt(len(best))
            steps = np.arange(1, len(mean) + 1)
            axis.plot(steps, mean, color=color, label=method)
            axis.fill_between(steps, mean - 2 * error, mean + 2 * error, color=color, alpha=0.15, linewidth=0)
            if problem == "lda":
                when = np.linspace(0, 8 * DAY, 200)
                # a mean where every search has a first result
                found = np.array([np.interp(when, line["spent"], line["best"], left=np.nan) for line in mine])
                time.plot(when / DAY, found.mean(axis=0), color=color, label=method)
        axis.plot(*zip(*RANDOM[problem].items(), strict=True), "k^", label="random, exact expectation")
        axis.legend(frameon=False, fontsize=8)
    lda.set(title="online LDA", xlabel="evaluations", ylabel="mean best perplexity, 2 standard errors", ylim=(1264, 1310))
    time.set(title="online LDA", xlabel="days of training", ylim=(1264, 1310))
    svm.set(title="structured SVM", xlabel="evaluations", ylabel="mean best error", ylim=(0.2408, 0.250))
    return figure
