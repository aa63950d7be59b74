"""The laws of the protocol as inheritable test classes, for pytest: what holds for our optimizers, tested for yours.

    from hpo.testing import SamplerLaws

    class TestMine(SamplerLaws):
        def make(self, space, seed):
            return Mine(space, seed=seed)

optimizer.py   OptimizerLaws: pure, replayed in another process, legal, undisturbed by failures, ties, NaN, losses, order
sampler.py     SamplerLaws: these, and a sampler's under a scheduler; NewnessLaws of what never repeats itself
scheduler.py   SchedulerLaws: these, and a scheduler's over simulated workers that straggle and die
learner.py     LearnerLaws: better than random
outcomes.py    OutcomeLaws: of those with bounds on what results report, every answer keeps them
drive.py       Drive: asks and tells by hand, and checks every job
replay.py      a log proposed again from each of its prefixes, here and in a process of its own
spaces.py      spaces and losses to try it on
"""

import pytest

for _name in ("drive", "learner", "optimizer", "outcomes", "replay", "sampler", "scheduler"):
    pytest.register_assert_rewrite(f"hpo.testing.{_name}")  # a law that fails says what it compared

from hpo.testing.drive import Drive, may_end  # noqa: E402
from hpo.testing.learner import LearnerLaws  # noqa: E402
from hpo.testing.optimizer import OptimizerLaws  # noqa: E402
from hpo.testing.outcomes import OutcomeLaws  # noqa: E402
from hpo.testing.replay import changed_jobs, replay_in_process, started_jobs  # noqa: E402
from hpo.testing.sampler import NewnessLaws, SamplerLaws  # noqa: E402
from hpo.testing.scheduler import SchedulerLaws  # noqa: E402
from hpo.testing.spaces import SPACES  # noqa: E402

__all__ = [
    "SPACES", "Drive", "LearnerLaws", "NewnessLaws", "OptimizerLaws", "OutcomeLaws", "SamplerLaws", "SchedulerLaws",
    "changed_jobs", "may_end", "replay_in_process", "started_jobs",
]  # fmt: skip
