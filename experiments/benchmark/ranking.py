"""The field, which is ours and the peers, ranked over the tasks that all of it has whole studies on.

A method that has them on fewer than half of all tasks leaves the field, and a task that some method of the field lacks is
not ranked; both are said. "GP(...)", ours with an acquisition or options of somebody's, is no part of the field: its rank is
the one that it would have in GP's place, so that trying it out does not move the ranks of anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from experiments.benchmark import ranks
from experiments.benchmark.collected import OURS, Collected, is_variant
from experiments.benchmark.ranks import Draws, Floats, Friedman, Ints


@dataclass(frozen=True)
class Ranking:
    """Methods over tasks on which all of them have studies that reach every checkpoint."""

    found: Collected
    methods: Sequence[str]
    tasks: Sequence[str]
    checkpoints: Sequence[int]

    @cached_property
    def seeds(self) -> list[tuple[Floats, Ints]]:
        """x (C, S) and owner (S,) of every task."""
        return [
            ranks.side_by_side([self.found.regrets(task, method, self.checkpoints) for method in self.methods])
            for task in self.tasks
        ]

    @cached_property
    def win_probabilities(self) -> Floats:
        """(T, C, k, k): the probability that a random seed of one method beats a random seed of another."""
        return np.stack([ranks.estimate_wins(x, owner) for x, owner in self.seeds])

    @cached_property
    def ranks(self) -> Floats:
        """(T, C, k) expected ranks."""
        return ranks.expected_ranks(self.win_probabilities)

    @cached_property
    def means(self) -> Floats:
        """(1 + C, k) mean ranks over tasks: over all checkpoints first, then at each alone."""
        found: Floats = np.vstack([self.ranks.mean(axis=(0, 1)), self.ranks.mean(axis=0)])
        return found

    @cached_property
    def draws(self) -> Draws:
        """The mean ranks' bootstrap."""
        return ranks.bootstrap(self.seeds)

    @cached_property
    def few(self) -> list[str]:
        """Methods with so few seeds on some task that no interval and no share of draws is shown of them."""
        counts = {name: [len(self.found.regrets(t, name, self.checkpoints)) for t in self.tasks] for name in self.methods}
        return [name for name, seeds in counts.items() if min(seeds) < ranks.FEW]

    @cached_property
    def first(self) -> dict[str, Floats]:
        """(1 + C, k) shares of the draws in which a method has the lowest mean rank, by what was drawn."""
        return {"seeds": ranks.first(self.draws.seeds), "tasks": ranks.first(self.draws.tasks)}

    @cached_property
    def friedman(self) -> list[Friedman | None]:
        """Over all checkpoints, then at each alone."""
        scores = [self.ranks.mean(axis=1), *np.moveaxis(self.ranks, 1, 0)]
        return [ranks.friedman(score) for score in scores]

    @cached_property
    def comparisons(self) -> dict[str, tuple[float, float, float]]:
        """A peer -> (mean probability that ours beats it, Wilcoxon's p over tasks, that p after Holm)."""
        if OURS not in self.methods:
            return {}
        mine = self.win_probabilities.mean(axis=1)[:, self.methods.index(OURS)]  # (T, k)
        peers = [place for place, method in enumerate(self.methods) if method != OURS]
        p = [ranks.wilcoxon(mine[:, place] - 0.5) for place in peers]
        both = zip(peers, p, ranks.holm(p), strict=True)
        return {self.methods[place]: (float(mine[:, place].mean()), one, float(all_)) for place, one, all_ in both}

    def ranks_after(self, evaluations: Sequence[int]) -> Floats:
        """(evaluations, k) mean ranks after each of so many evaluations."""
        return Ranking(self.found, self.methods, self.tasks, evaluations).means[1:]

    @property
    def order(self) -> list[int]:
        """Places of the methods by mean rank."""
        return [int(place) for place in np.argsort(self.means[0], kind="stable")]

    def in_place(self, method: str) -> tuple[list[str], Floats] | None:
        """(tasks, (2, 1 + C)): the mean ranks that a variant would have in GP's place, and GP's on the same tasks."""
        peers = [name for name in self.methods if name != OURS]
        tasks = [task for task in self.tasks if len(self.found.regrets(task, method, self.checkpoints))]
        if not tasks or OURS not in self.methods:
            return None
        there = Ranking(self.found, [method, *peers], tasks, self.checkpoints).means[:, 0]
        here = Ranking(self.found, [OURS, *peers], tasks, self.checkpoints).means[:, 0]
        return tasks, np.stack([there, here])


def rank_methods(found: Collected) -> tuple[Ranking | None, list[str]]:
    """The ranking, None if there is nothing to rank, and what was left out of it."""
    counts = found.checkpoints
    there = {name: {task for task in found.tasks if len(found.regrets(task, name, counts))} for name in found.methods}
    there = {name: tasks for name, tasks in there.items() if not is_variant(name)}
    field = [name for name, tasks in there.items() if 2 * len(tasks) >= len(found.tasks)]
    whole = [task for task in found.tasks if all(task in there[name] for name in field)]
    said = [
        f"{name} is not ranked: it has whole studies on {len(tasks)} of {len(found.tasks)} tasks only."
        for name, tasks in there.items()
        if name not in field
    ]
    for task in found.tasks:
        if lacking := [name for name in field if task not in there[name]]:
            said.append(f"{task} is not ranked: no whole study of {', '.join(lacking)}.")
    made = Ranking(found, field, whole, counts) if len(field) > 1 and whole else None
    return made, said if made else [*said, "There is nothing to rank: no task has whole studies of two methods."]
