"""What schedulers keep beside what every optimizer keeps."""

from __future__ import annotations

from hpo.executors.simulator import Simulator
from hpo.history import History
from hpo.loop import Stop
from hpo.run import run
from hpo.study import Study
from hpo.testing.optimizer import OptimizerLaws
from hpo.testing.replay import changed_jobs
from hpo.testing.spaces import noise, rugged_loss


class SchedulerLaws(OptimizerLaws):
    """What every scheduler keeps. Its `make(space, seed)` puts it over a sampler: `return Mine(Random(space, seed=seed))`."""

    def simulate(self, workers: int) -> History:
        """Asynchronous training on a simulated clock: workers straggle, jobs die, some configurations fail."""

        def loss(config: dict[str, object], until: int, seed: int) -> float:
            if noise("fails", seed) < 0.1:
                raise ArithmeticError("diverged")
            return rugged_loss(config, until, seed)

        study = Study(self.build())
        run(study, Simulator(loss, workers=workers, straggle=1.0, drop=0.02, seed=workers), Stop(trials=self.jobs))
        return study.history

    def test_simulated_workers(self) -> None:
        """With one worker and nine: what was started is finished, every job can start, and all of it replays."""
        for workers in (1, 9):
            history = self.simulate(workers)
            assert not history.pending and history.results
            assert changed_jobs(history, self.build) == []

    def test_budgets(self) -> None:
        """It trains to several budgets, never beyond the horizon; which trial gets there may depend on a model's last bits."""
        history = self.simulate(3)
        assert len(history.budgets) > 1 and history.budgets[-1] <= history.header.horizon
