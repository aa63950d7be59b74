"""In parallel by a pool of processes, and by asyncio in a loop that runs already, as in a notebook (guide D, 5).

Both ask for four configurations at once and tell what comes, in any order; processes by `minimize`, tasks by ask and tell. Beside
random search of as many trainings.
"""

from __future__ import annotations

import asyncio
from functools import partial

import hpo
from experiments.cookbook.classification import classify_reviews
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction

RANGES = {"learning_rate": (1e-6, 1e-3, "log"), "batch_size": [8, 16, 32], "num_epochs": [3], "weight_decay": (0.0, 0.1)}
WORKERS = 4


async def search_in_tasks(study: hpo.Study, trials: int, scale: Reduction) -> None:
    async def work() -> None:
        while len(study.history.trials) < trials and (job := study.optimizer.ask()) is not None:
            study.optimizer.tell(job, await asyncio.to_thread(classify_reviews, job.config, scale))

    await asyncio.gather(*(work() for _ in range(WORKERS)))


def pool_and_async(scale: Reduction) -> Outcome:
    score, trials, space = partial(classify_reviews, scale=scale), scale.count_trials(16), hpo.Space.of(RANGES)
    pool = hpo.maximize(score, space, "gp", trials, seed=scale.seed, executor="processes", workers=WORKERS, quiet=True)
    tasks = hpo.Study(hpo.GP(space, seed=scale.seed), objectives={"value": "max"})
    asyncio.run(search_in_tasks(tasks, trials, scale))
    drawn = hpo.maximize(score, space, "random", trials, seed=scale.seed, quiet=True)
    facts = {"by processes": f"{pool.best.value:.4f}", "by tasks": f"{tasks.best.value:.4f}"}
    return Outcome("accuracy", max(pool.best.value, tasks.best.value), {"random": drawn.best.value}, True, facts)
