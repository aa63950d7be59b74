"""The learning rate as a pure function of the step: warm-up, then one of five shapes. Imports no torch.

With W warm-up steps out of T, floor f = final_lr and t = (step - W) / (T - W) in [0, 1], the factor on lr is

    warm-up       (step + 1) / W                      linear; step W - 1 is the first at the full rate
    constant      1                                   (reads no final_lr)
    linear        1 - (1 - f) t
    cosine        f + (1 - f) (1 + cos(pi t)) / 2     SGDR without restarts, Loshchilov & Hutter 2017, eq. 5
    exponential   f ** t
    wsd           1, then linearly to f over the last decay_fraction of T   MiniCPM, Hu et al. 2024
"""

from collections.abc import Callable, Mapping
from math import cos, pi

from models.config import TrainConfig


def warmup_steps(total_steps: int, config: TrainConfig) -> int:
    """Warm-up in steps: `warmup` itself as a whole number, as a float its share of total_steps, rounded."""
    return config.warmup if isinstance(config.warmup, int) else round(config.warmup * total_steps)


def _constant(t: float, floor: float) -> float:
    return 1.0


def _linear(t: float, floor: float) -> float:
    return 1 - (1 - floor) * t


def _cosine(t: float, floor: float) -> float:
    return floor + (1 - floor) * (1 + cos(pi * t)) / 2


def _exponential(t: float, floor: float) -> float:
    return floor**t


SHAPES: Mapping[str, Callable[[float, float], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "exponential": _exponential,
    "wsd": _linear,  # over its last part only
}


def lr_at(step: int, total_steps: int, config: TrainConfig) -> float:
    """The learning rate of update `step` (0 is the first) in a training of total_steps; past the end, the floor.

    It depends on nothing but its arguments, so a run that pauses and resumes has no schedule to save.
    """
    warm = warmup_steps(total_steps, config)
    if step < warm:
        return config.lr * (step + 1) / warm
    start = warm
    if config.schedule == "wsd":
        start = max(warm, total_steps - round(config.decay_fraction * total_steps))
    t = (step - start) / max(1, total_steps - start)
    return config.lr * SHAPES[config.schedule](min(1.0, max(0.0, t)), config.final_lr)
