"""A job's source checkpoint is missing: it is trained again, from the nearest ancestor that exists.

The jobs that made it are in the history, with configuration, seed and budgets. Running the last of them again writes the
checkpoint again. If the source of that job is missing too, it is trained first, and so on, at worst from the very start.
"""

from __future__ import annotations

from collections import Counter

from hpo.executors.base import Lost
from hpo.history import History
from hpo.job import Job, Key, Result


class Lineage:
    """Jobs that run again for their checkpoints, and the jobs that wait for these checkpoints. None of this is an event."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._waiting: dict[Key, list[Job]] = {}  # jobs that wait, by the source that is trained again
        self._repairs: Counter[Key] = Counter()  # how often each was trained again, since a job last found it
        self._differs = False  # whether a training gave something else than the first time

    def settle(self, job: Job, outcome: Result | Lost) -> tuple[list[Job], list[tuple[Job, Result]]] | None:
        """(jobs to run next, failed jobs with their results) after an outcome; None if no missing source is involved."""
        if isinstance(outcome, Lost) and outcome.cause == "source":
            return self._repair(job)
        if job.source is not None and isinstance(outcome, Result):
            self._repairs.pop(job.source, None)  # it was there: if it goes another time, that begins a new count
        if job.key not in self._waiting:
            return None
        if isinstance(outcome, Lost):
            return self._again(job, outcome)
        waiting = self._waiting.pop(job.key)
        if outcome.error is None:
            return waiting, []
        return [], self._fail_jobs(job.key, waiting, f"training it again failed: {outcome.error}")

    def _repair(self, job: Job) -> tuple[list[Job], list[tuple[Job, Result]]]:
        source = job.source
        assert source is not None
        if source in self._waiting:
            self._waiting[source].append(job)
            return [], []
        reason = self._irreparable(source)
        if reason is not None:
            return [], self._fail_jobs(source, [job, *self._waiting.pop(job.key, [])], reason)
        self._repairs[source] += 1
        self._waiting[source] = [job]
        return [self.history.jobs[source]], []

    def compare(self, job: Job, again: Result) -> str | None:
        """A sentence if a job that was trained again has come to other losses than the first time; None after the first such."""
        before, now = self.history.losses(job.key), self.history.header.losses(again)
        if self._differs or again.error is not None or before == now:
            return None
        self._differs = True
        return (
            f"trial {job.trial} was trained again to {job.until}, since its checkpoint was gone, and came to the losses {now}, "
            f"but the first time to {before}: training is not deterministic here, so what goes on from it is another model"
        )

    def is_needed(self, key: Key) -> bool:
        """Whether a checkpoint is trained again, or is the source of one that is."""
        return key in self._waiting or any(self.history.jobs[other].source == key for other in self._waiting)

    def explain(self, key: Key) -> str | None:
        """Why a finished key's checkpoint could not be trained again, from a fresh start on; None if it could."""
        source: Key | None = key
        while source is not None:
            if (reason := self._irreparable(source)) is not None:
                return reason
            source = self.history.jobs[source].source
        return None

    def _irreparable(self, source: Key) -> str | None:
        if source not in self.history.jobs:
            return f"trial {source[0]} was never trained to {source[1]} here"
        if source[0] in self.history.added:
            return f"trial {source[0]} was added, not trained here"
        if self._repairs[source] >= self.history.header.lost_limit:
            return f"it was trained again {self._repairs[source]} times and is gone every time"
        return None

    def _again(self, job: Job, lost: Lost) -> tuple[list[Job], list[tuple[Job, Result]]]:
        """Handles the loss of a job that was trained again. Workers' deaths count towards the limit, as for every job."""
        self._repairs[job.key] += lost.cause == "worker"
        if self._repairs[job.key] <= self.history.header.lost_limit:
            return [job], []
        return [], self._fail_jobs(job.key, self._waiting.pop(job.key), f"training it again was lost: {lost.message}")

    def _fail_jobs(self, source: Key, jobs: list[Job], reason: str) -> list[tuple[Job, Result]]:
        """Failed results of jobs that cannot start, and of all jobs that wait for one of these to be trained again."""
        name = f"the checkpoint of trial {source[0]} at {source[1]}"
        found = []
        for job in jobs:
            if job.key in self._waiting:
                found += self._fail_jobs(source, self._waiting.pop(job.key), reason)
            elif job.key not in self.history.results:
                error = f"{name}, which the job starts from, is gone and cannot be had again: {reason}"
                found.append((job, Result(error=error)))
        return found
