"""A scheduler as somebody writes it on the first day: a trial goes on to the end if it was the best at a third of it."""

from hpo import Job


class Leaders:
    def __init__(self, sampler, horizon=9):
        self.sampler, self.horizon = sampler, horizon

    def propose(self, history):
        third = self.horizon // 3
        best = next(history.ranking(third), None)
        if best is not None and history.trials[best[0]][-1] == best and best[0] not in history.added:
            job = history.jobs[best]
            return Job(best[0], job.config, self.horizon, best, job.seed)
        return self.sampler.fresh(history, third)
