"""Rules that carry a tuned configuration over: to another batch size or number of devices, to more data. Imports no torch.

    batch        scale_lr, scale_adam, for_devices      the rate that goes with another batch size
    noise scale  noise_scale, NoiseScale               measured in a run: the batch size up to which a larger one pays
    prediction   steps_factor, examples_factor, speedup, batch_at, critical_batch, scale_lr_by_noise
    data         step_law, for_data, weight_decay_for  the rate and batch that go with more tokens

No rule replaces a measurement. Each docstring states the assumptions under which its rule was derived or fitted.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite, nan, sqrt
from typing import Any, NamedTuple

from models.config import TrainConfig

BATCH_RULES: Mapping[str, Callable[[float], float]] = {"linear": lambda ratio: ratio, "sqrt": sqrt}
DEVICE_RULES = (*BATCH_RULES, "adam")


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value!r}, but must be a finite number above 0")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(allowed)}")


# -- another batch size ------------------------------------------------------------------------------------------------


def scale_lr(lr: float, batch: float, new_batch: float, rule: str) -> float:
    """The learning rate for another batch size, in any unit that both batches share.

    linear  lr k         for k = new_batch / batch: k small steps in nearly the same direction are one large one (Goyal
                         et al. 2017, sec. 2.1). Derived for SGD; holds while the batch is well below the noise scale,
                         and needs a warm-up.
    sqrt    lr sqrt(k)   keeps the variance of a step's noise per example (Krizhevsky 2014); for Adam see
                         `scale_adam`.
    """
    _one_of("rule", rule, tuple(BATCH_RULES))
    _positive(batch=batch, new_batch=new_batch)
    return lr * BATCH_RULES[rule](new_batch / batch)


class Adam(NamedTuple):
    """The hyperparameters of Adam that depend on the batch size."""

    lr: float
    beta1: float
    beta2: float
    eps: float


def scale_adam(adam: Adam, batch: float, new_batch: float) -> Adam:
    """The square-root rule of Malladi et al. 2022 (sec. 5): with k = new_batch / batch

        lr sqrt(k)    1 - k (1 - beta1)    1 - k (1 - beta2)    eps / sqrt(k)

    It keeps the stochastic differential equation that Adam approximates if noise dominates the gradient (batch well below the
    noise scale). The moments then average over as many examples as before. This needs k <= 1 / (1 - beta); ValueError for a
    larger k. A beta of 0 has no memory and stays 0.
    """
    _positive(batch=batch, new_batch=new_batch)
    k = new_batch / batch
    return Adam(adam.lr * sqrt(k), _memory("beta1", adam.beta1, k), _memory("beta2", adam.beta2, k), adam.eps / sqrt(k))


def _memory(name: str, beta: float, k: float) -> float:
    """The decay whose memory is k times shorter in steps."""
    if beta == 0:
        return 0.0
    if k * (1 - beta) > 1 + 1e-9:  # 100 (1 - 0.99) is a little above 1 in floats
        raise ValueError(f"new_batch / batch is {k:g}, but must be at most {1 / (1 - beta):g} for {name} {beta}")
    return max(0.0, 1 - k * (1 - beta))


def for_devices(
    config: Mapping[str, Any], per_device: int, devices: int, new_devices: int, rule: str
) -> dict[str, Any]:
    """A config tuned on `devices`, for `new_devices` that each take the same `per_device` sequences a step.

    The global batch grows with the devices. The rules "linear" and "sqrt" change lr (`scale_lr`), "adam" changes lr, beta1,
    beta2 and eps (`scale_adam`). Names that are absent take their defaults. Everything else stays: a ratio of all steps
    (warmup, decay_every) covers the same data as before, a whole number of steps covers more.
    """
    _one_of("rule", rule, DEVICE_RULES)
    _positive(per_device=per_device, devices=devices, new_devices=new_devices)
    batch, new_batch = per_device * devices, per_device * new_devices
    if config.get("batch", batch) != batch:
        raise ValueError(f"batch is {config['batch']}, but must be {per_device} x {devices} devices = {batch}")
    if rule != "adam":
        lr = scale_lr(config.get("lr", TrainConfig.lr), batch, new_batch, rule)
        return {**config, "batch": new_batch, "lr": lr}
    adam = Adam(*(config.get(name, getattr(TrainConfig, name)) for name in Adam._fields))
    return {**config, "batch": new_batch, **scale_adam(adam, batch, new_batch)._asdict()}


# -- the gradient noise scale ------------------------------------------------------------------------------------------


class Noise(NamedTuple):
    """Estimates of |G|^2, the squared norm of the true gradient, and of tr(Sigma), the variance of one example's gradient."""

    signal: float
    variance: float

    @property
    def scale(self) -> float:
        """B_simple = tr(Sigma) / |G|^2 (McCandlish et al. 2018, eq. 2.9); infinite if the estimate of |G|^2 is not above 0."""
        return max(0.0, self.variance) / self.signal if self.signal > 0 else inf


def noise_scale(small_sq: float, big_sq: float, small: float, big: float) -> Noise:
    """Unbiased estimates from the squared norms of gradients at two batch sizes (McCandlish et al. 2018, app. A.1).

    From E|G_B|^2 = |G|^2 + tr(Sigma) / B at B = small and big follow

        |G|^2      = (big big_sq - small small_sq) / (big - small)
        tr(Sigma)  = (small_sq - big_sq) / (1 / small - 1 / big)

    Both gradients are means over their batch, before clipping. The big one is the gradient of a step; the small ones are those
    of its micro-batches or devices, whose squared norms are averaged. A single estimate is noisy and may be negative, and the
    ratio of two unbiased numbers is biased: average with `NoiseScale` first. The scale has the unit of small and big
    (sequences, say).
    """
    _positive(small=small, big=big)
    if not small < big:
        raise ValueError(f"small is {small!r}, but must be below big, which is {big!r}")
    signal = (big * big_sq - small * small_sq) / (big - small)
    return Noise(signal, (small_sq - big_sq) / (1 / small - 1 / big))


@dataclass(frozen=True)
class NoiseScale:
    """The noise scale over a run: the ratio of exponential averages of both estimates (McCandlish et al. 2018, app. A.1).

    An immutable value: `update` returns the next one. Its fields are all that must be saved: NoiseScale(**saved.state()). Both
    averages start at 0 and are too small by the same factor `weight`; `noise` divides by it.
    """

    signal: float = 0.0
    variance: float = 0.0
    weight: float = 0.0
    decay: float = 0.99

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay is {self.decay!r}, but must be a number in [0, 1)")

    def update(self, small_sq: float, big_sq: float, small: float, big: float) -> "NoiseScale":
        """The next value, with the squared norms of one more step. A step whose norms are not finite is ignored."""
        new = noise_scale(small_sq, big_sq, small, big)
        if not (isfinite(new.signal) and isfinite(new.variance)):
            return self
        old, share = self.decay, 1 - self.decay
        return NoiseScale(
            old * self.signal + share * new.signal,
            old * self.variance + share * new.variance,
            old * self.weight + share,
            self.decay,
        )

    @property
    def noise(self) -> Noise:
        """Both estimates by the averages; NaN before the first update."""
        return Noise(self.signal / self.weight, self.variance / self.weight) if self.weight else Noise(nan, nan)

    @property
    def scale(self) -> float:
        """The estimate of B_simple in examples; NaN before the first update."""
        return self.noise.scale if self.weight else nan

    def state(self) -> dict[str, float]:
        """The fields as plain floats."""
        return asdict(self)


# -- what a batch size costs -------------------------------------------------------------------------------------------


def steps_factor(batch: float, noise: float) -> float:
    """Steps to a loss over the fewest that any batch size needs: 1 + noise / batch (McCandlish et al. 2018, eq. 2.7).

    Assumes the best learning rate at each batch size, and a constant noise scale; really it grows as the loss falls.
    """
    _positive(batch=batch)
    return 1 + noise / batch


def examples_factor(batch: float, noise: float) -> float:
    """Examples to a loss over the fewest possible: 1 + batch / noise, from (S / S_min - 1) (E / E_min - 1) = 1 (eq. 2.11)."""
    _positive(noise=noise)
    return 1 + batch / noise


def speedup(batch: float, new_batch: float, noise: float) -> float:
    """How many times fewer steps new_batch needs to the same loss; at most new_batch / batch."""
    return steps_factor(batch, noise) / steps_factor(new_batch, noise)


def batch_at(efficiency: float, noise: float) -> float:
    """The largest batch size with this `efficiency` = 1 / examples_factor; 0.5 gives a batch equal to the noise scale."""
    if not 0 < efficiency < 1:
        raise ValueError(f"efficiency is {efficiency!r}, but must be a number in (0, 1)")
    return noise * (1 / efficiency - 1)


def critical_batch(batch: float, steps: float, new_batch: float, new_steps: float) -> float:
    """B_crit = E_min / S_min (eq. 2.12), from the steps to the same loss at two batch sizes, each with its best rate.

    steps = S_min + E_min / batch is a line in 1 / batch; B_simple predicts the result without the second run. ValueError if the
    runs are not on such a line: the larger batch took no fewer steps, or fewer examples.
    """
    _positive(batch=batch, steps=steps, new_batch=new_batch, new_steps=new_steps)
    if batch == new_batch:
        raise ValueError(f"new_batch is {new_batch!r}, but must differ from batch")
    fewest_examples = (steps - new_steps) / (1 / batch - 1 / new_batch)
    fewest_steps = steps - fewest_examples / batch
    if fewest_examples <= 0 or fewest_steps <= 0:
        raise ValueError(
            f"steps are {steps:g} at batch {batch:g} and {new_steps:g} at {new_batch:g}, but must be fewer at the larger"
            " batch, for more examples"
        )
    return fewest_examples / fewest_steps


def scale_lr_by_noise(lr: float, batch: float, new_batch: float, noise: float, power: float = 1.0) -> float:
    """The learning rate for another batch size if the noise scale is known: lr ~ (1 + noise / batch) ** -power.

    power 1 is SGD's (McCandlish et al. 2018, eq. 2.6); for Adam they found powers between 0.5 and 1. Well below the
    noise scale it is the linear (power 0.5: square-root) rule, well above it lr no longer grows.
    """
    return lr * speedup(batch, new_batch, noise) ** power


# -- more data ---------------------------------------------------------------------------------------------------------


LR_BY_TOKENS, BATCH_BY_TOKENS = 0.307, 0.571  # exponents of tokens in Li et al. 2025
LR_BY_HORIZON = -0.32  # Bjorck et al. 2025

# How lr and batch depend on the tokens of training: exponents of new_tokens / tokens.
DATA_RULES: Mapping[str, tuple[float, float]] = {
    "keep": (0.0, 0.0),
    "horizon": (LR_BY_HORIZON, 0.0),
    "step_law": (LR_BY_TOKENS, BATCH_BY_TOKENS),
}


class Optimum(NamedTuple):
    """A learning rate, and the batch in tokens that goes with it."""

    lr: float
    batch: float


def step_law(parameters: float, tokens: float) -> Optimum:
    """The best learning rate and batch, in tokens, of a training from scratch (Step Law, Li et al. 2025):

        lr = 1.79 N^-0.713 D^0.307        batch = 0.58 D^0.571

    N counts parameters without embeddings, D counts tokens, each of which is used once. Fitted on AdamW in the standard
    parametrisation, with warm-up and a cosine to one small rate that does not depend on lr. Among their runs of 0.2B to 1.1B
    parameters on 4B to 100B tokens, the run nearest to the law has on average 0.09 % more loss than the best, at most 0.4 %.
    For smaller models it is an extrapolation. Under muP the power of N does not apply.
    """
    _positive(parameters=parameters, tokens=tokens)
    return Optimum(1.79 * parameters**-0.713 * tokens**LR_BY_TOKENS, 0.58 * tokens**BATCH_BY_TOKENS)


def for_data(config: Mapping[str, Any], tokens: float, new_tokens: float, rule: str) -> dict[str, Any]:
    """A config tuned on `tokens` of training, for `new_tokens`: 1 % of the data is new_tokens / tokens = 100.

    keep      lr and batch stay: the assumption of muTransfer (Yang et al. 2022), good for a few times as much data
    horizon   batch stays, lr ~ D^-0.32: a longer training at the same batch wants a lower rate (Bjorck et al. 2025)
    step_law  batch ~ D^0.571 and lr ~ D^0.307: the exponents of `step_law`; the tuned values replace its constants. The two
              belong together: lr rises because the batch does.

    On the Step Law's own runs, to which its exponents were fitted, the best pair at D loses at most 0.4 % of the loss
    at up to 25 D by step_law, 0.8 % by horizon and 1.0 % by keep (tests/models/test_scaling.py).

    All assume one model, a schedule that ends with the training, and fresh tokens in both trainings. If the small part was
    repeated (more than about 4 epochs: Muennighoff et al. 2023), hyperparameters against overfitting (dropout, weight_decay,
    patience) do not carry over.
    """
    _one_of("rule", rule, tuple(DATA_RULES))
    _positive(tokens=tokens, new_tokens=new_tokens)
    ratio, (of_lr, of_batch) = new_tokens / tokens, DATA_RULES[rule]
    batch = max(1, round(config.get("batch", TrainConfig.batch) * ratio**of_batch))
    return {**config, "batch": batch, "lr": config.get("lr", TrainConfig.lr) * ratio**of_lr}


def weight_decay_for(weight_decay: float, lr: float, steps: float, new_lr: float, new_steps: float) -> float:
    """AdamW's decay with which weights average over the same share of the training: weight_decay lr steps is kept.

    The timescale of this average is 1 / (lr weight_decay) steps. Measured in passes over the data, its best value hardly
    changes with the amount of data (Wang & Aitchison 2025). Both numbers of steps are for the same number of epochs.
    """
    _positive(lr=lr, steps=steps, new_lr=new_lr, new_steps=new_steps)
    return weight_decay * (lr * steps) / (new_lr * new_steps)
