"""The learning rate as a pure function of the step: warm-up, then one of six shapes. Imports no torch.

With W warm-up steps out of T, floor f = final_lr and t = (step - W) / (T - W) in [0, 1], the factor on lr is

    warm-up       (step + 1) / W                          linear; step W - 1 is the first at the full rate
    constant      1                                       (reads no final_lr)
    linear        1 - t + f t
    cosine        f + (1 - f) (1 + cos(pi t)) / 2         SGDR without restarts, Loshchilov & Hutter 2017, eq. 5
    exponential   f ** t                                  without decay_rate
                  max(f, r ** ((step - W) / period))      r = decay_rate, period = decay_every (ExponentialLR: 1 step)
    inverse_sqrt  max(f, sqrt(max(W, 1) / (step + 1)))    Vaswani et al. 2017, eq. 3, whose step_num is step + 1
    wsd           1, then linearly to f over the last decay_fraction of T   MiniCPM, Hu et al. 2024

transformers' schedules warm up by step / W, so their first update has a rate of 0 and changes only moments, and their first step
at the full rate is step W. Ours are one step ahead of them until then, and equal from step W on (inverse_sqrt: one step ahead
throughout). With W = 0 both begin at the full rate.

After T the shapes in t stay at the floor; exponential with a decay_rate and inverse_sqrt continue to fall towards it. A ratio
(warmup, decay_every, decay_fraction) covers the same tokens at any batch size; a number of steps covers more tokens with a
larger batch.
"""

from collections.abc import Callable, Mapping
from math import cos, pi, sqrt

from models.budget import Budget
from models.config import TrainConfig


def warmup_steps(total_steps: int, config: TrainConfig) -> int:
    """Warm-up in steps: `warmup` itself if it is a whole number; if it is a float, this share of total_steps, rounded."""
    return config.warmup if isinstance(config.warmup, int) else round(config.warmup * total_steps)


def decay_period(total_steps: int, config: TrainConfig) -> float:
    """Steps in which an exponential schedule falls by decay_rate: `decay_every`, or this share of total_steps if a float."""
    every = config.decay_every
    return every if isinstance(every, int) else every * total_steps  # not rounded, since it would be 0 in a short training


def _share(step: int, start: int, total: int) -> float:
    """The share of the steps from `start` to `total` that are done, in [0, 1]."""
    return min(1.0, max(0.0, (step - start) / max(1, total - start)))


# Factors on lr of a step after the warm-up: (step, warm-up steps, total steps, config) -> number in (0, 1].


def _constant(step: int, warm: int, total: int, config: TrainConfig) -> float:
    return 1.0


def _linear(step: int, warm: int, total: int, config: TrainConfig) -> float:
    t = _share(step, warm, total)
    return (1 - t) + config.final_lr * t  # in this form exactly 1 and exactly the floor at its ends


def _cosine(step: int, warm: int, total: int, config: TrainConfig) -> float:
    floor = config.final_lr
    return floor + (1 - floor) * (1 + cos(pi * _share(step, warm, total))) / 2


def _exponential(step: int, warm: int, total: int, config: TrainConfig) -> float:
    if config.decay_rate is None:
        return config.final_lr ** _share(step, warm, total)
    return max(config.final_lr, config.decay_rate ** ((step - warm) / decay_period(total, config)))


def _inverse_sqrt(step: int, warm: int, total: int, config: TrainConfig) -> float:
    return max(config.final_lr, sqrt(max(warm, 1) / (step + 1)))


def _wsd(step: int, warm: int, total: int, config: TrainConfig) -> float:
    return _linear(step, max(warm, total - round(config.decay_fraction * total)), total, config)


SHAPES: Mapping[str, Callable[[int, int, int, TrainConfig], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "exponential": _exponential,
    "inverse_sqrt": _inverse_sqrt,
    "wsd": _wsd,
}


def lr_at(step: int, total_steps: int, config: TrainConfig) -> float:
    """The learning rate of update `step` (0 is the first) in a training of total_steps; also defined after its end.

    It depends only on its arguments, so a run that pauses and resumes has no schedule to save.
    """
    warm = warmup_steps(total_steps, config)
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * SHAPES[config.schedule](step, warm, total_steps, config)


def lr_at_tokens(tokens: int, budget: Budget, config: TrainConfig) -> float:
    """The learning rate of the update that reads token number `tokens` (0 is the first) of a training of this budget.

    The same schedule as a function of tokens: constant over the step_tokens of a step, and comparable between batch sizes. The
    loop uses it for any unit and with `epochs`: step and length come from the budget.
    """
    step = budget.schedule_step(tokens // budget.step_tokens, tokens)
    return lr_at(step, budget.total_steps, config)
