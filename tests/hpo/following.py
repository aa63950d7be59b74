"""A history beside a plain re-implementation of the method that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hpo import History, Optimizer, Result, Simulator, Stop, Study, run
from hpo.rng import stream


class Reference(Protocol):
    def tell(self, trial: int, until: int, loss: float, curve: list[tuple[int, float]]) -> None: ...

    def ask(self) -> tuple[int, int] | None:
        """(trial, until) of a trial that goes on; None: a fresh one."""
        ...


def noisy(config: Mapping[str, Any], until: int, seed: int, noise: float = 0.2) -> Result:
    """A training whose evaluations are noisy: (step, value) at every step up to `until`; the same for any later budget."""
    level = (config["x"] - 0.3) ** 2 + (config["y"] + 0.4) ** 2
    curve = tuple((s, level + 1.0 / s + noise * float(stream(seed, s, "noise").normal())) for s in range(1, until + 1))
    return Result({"loss": curve[-1][1]}, curve)


def simulate(optimizer: Optimizer, trials: int, workers: int, value: Any = noisy) -> History:
    study = Study(optimizer)
    run(study, Simulator(value, workers=workers, straggle=1.0, seed=workers), Stop(trials=trials))
    return study.history


def follow(history: History, reference: Reference, first: int, trials: int) -> int:
    """Asserts that every job is the reference's next one; how many went on from a rung.

    Up to the last fresh trial: until then every finish has a start behind it, so that each is judged by itself.
    """
    resumed = fresh = 0
    for event in history.events:
        if event.kind == "finish":
            key = event.body["trial"], event.body["until"]
            curve = [p for k in history.trials[key[0]] if k[1] <= key[1] for p in history.results[k].curve]
            reference.tell(*key, history.losses(key)[0], sorted(set(curve)))
        elif event.kind == "start":
            job = event.body["job"]
            expected = reference.ask()
            assert (job["trial"], job["until"]) == (expected or (fresh, first)), f"event {event.body}"
            resumed, fresh = resumed + (expected is not None), fresh + (expected is None)
            if fresh == trials:
                return resumed
    raise AssertionError(f"only {fresh} of {trials} trials were started")
