"""What optimizers keep that learn from results."""

from __future__ import annotations

from typing import Any, ClassVar

from hpo.optimizers.random import Random
from hpo.space import Space
from hpo.testing.drive import Drive
from hpo.testing.spaces import plane, quadratic


class LearnerLaws:
    """Better than random on an easy quadratic: a sign test over fixed seeds."""

    seeds: ClassVar[range] = range(16)
    jobs: ClassVar[int] = 25

    def make(self, space: Space, seed: int) -> Any:
        """The optimizer, new. A subclass writes this one."""
        raise NotImplementedError(f"{type(self).__name__} says how an optimizer is made: def make(self, space, seed)")

    def make_peer(self, space: Space, seed: int) -> Any:
        """What it is compared with; of a scheduler the same one over Random."""
        return Random(space, seed=seed)

    def lowest(self, optimizer: Any) -> float:
        """The best of the configurations that it tried, trained to the end."""
        drive = Drive(optimizer, quadratic, workers=2)
        drive.run(self.jobs)
        return min(quadratic(job.config, 1000) for job in drive.history.jobs.values())

    def test_beats_random(self) -> None:
        wins = sum(self.lowest(self.make(plane(), s)) < self.lowest(self.make_peer(plane(), s)) for s in self.seeds)
        assert wins >= 12  # by chance 0.038
