"""Everything that decides a study of three objectives: the settings of experiments/tune, and how inference is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.job import HORIZON
from experiments.tune.settings import Settings, refusal

METHODS: Mapping[str, tuple[str, str]] = {  # --optimizer -> scheduler, sampler
    "asha": ("asha", "gp"),
    "gp": ("none", "gp"),
    "tpe": ("none", "tpe"),
    "nsga2": ("none", "nsga2"),
    "random": ("none", "random"),
}


@dataclass(frozen=True)
class FrontSettings(Settings):
    """Settings, where a whole training takes a third of the main job's tokens, so that more than a few reach the end."""

    seconds: float = 120.0
    workers: int = 1  # another training at the same time would change what is measured
    horizon: int = HORIZON // 3
    folder: str = "runs/front"
    sequences: int = 1  # in a pass that is measured
    warmup: int = 3  # passes that do not count
    repeats: int = 50  # passes whose median counts

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("sequences", 1), ("warmup", 0), ("repeats", 3)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise refusal(name, value, f"a whole number of at least {least}")
