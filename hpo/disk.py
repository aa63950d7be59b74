"""A budget of bytes for checkpoints: what goes where they take more, though a later job may still name it.

The least useful go first. What a later job names nevertheless is trained again (lineage.py), which gives the same weights where
training is deterministic. So a budget costs time, and no result.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

from hpo.executors.base import Stamp
from hpo.frames import stack_level
from hpo.job import Key
from hpo.lineage import Lineage
from hpo.study import Study
from hpo.values import quantity


class DiskBudget:
    """What one driver deletes so that the checkpoints of all take at most `limit` bytes.

    First goes what no later job of this driver can name (another one's may, which has not read so far), then what its optimizer
    names last (`Optimizer.live`). Three kinds stay all the same: what a job in flight starts from, or one that is trained again;
    the best; and what could not be trained again.

    What stands again although this driver has deleted it was trained again by another one, which needs it: it is left to that.
    """

    def __init__(self, study: Study, lineage: Lineage, limit: int) -> None:
        self.study, self.lineage, self.limit = study, lineage, limit
        self._gone: set[Stamp] = set()  # what this driver has deleted and not trained again
        self._warned = False

    def claim(self) -> None:
        """No other driver lives, so whatever stands is this one's to delete."""
        self._gone.clear()

    def choose(self, sizes: Mapping[Stamp, int]) -> list[Stamp]:
        """Of the checkpoints that stand, given by their bytes, those that go. Where these are too many it reads all that is live,
        which costs nothing beside trainings whose checkpoints fill a disk."""
        excess = sum(sizes.values()) - self.limit
        if excess <= 0:
            return []
        self.study.history.refresh()  # another driver may have begun to start from one of them
        places = {key: place for place, key in enumerate(self.study.optimizer.live(self.study.history))}
        needed = self.study.list_needed()
        free = [stamp for stamp in sizes if stamp[0] not in needed and self._may_go(*stamp)]
        self._warn(sum(sizes.values()) - sum(sizes[stamp] for stamp in free))
        chosen: list[Stamp] = []
        for stamp in sorted(free, key=lambda stamp: (-places.get(stamp[0], math.inf), stamp)):
            if excess > 0 and stamp not in self._gone:
                chosen.append(stamp)
                excess -= sizes[stamp]
        self._gone.update(chosen)
        return chosen

    def note_repair(self, key: Key) -> None:
        """This driver has trained a checkpoint again, which is its own to delete."""
        self._gone.discard((key, self.study.history.attempts.accepted_attempt(key)))

    def _may_go(self, key: Key, attempt: int) -> bool:
        """Whether a checkpoint is of this study and of no job that is trained again, and can be trained again itself."""
        return key in self.study.history.results and not self.lineage.is_needed(key) and self.lineage.explain(key) is None

    def _warn(self, needed: int) -> None:
        if needed > self.limit and not self._warned:
            self._warned = True
            warnings.warn(
                f"disk allows {quantity(self.limit, 'bytes')} of checkpoints, but those that must stay (of jobs in flight, what "
                f"they start from, the best) take {quantity(needed, 'bytes')}; the study goes on with them",
                stacklevel=stack_level(),
            )  # fmt: skip
