"""The gradient optimizers, by name. Each works on the flat buffers of optim.py; base.py says what one is.

    name        reads (besides lr, weight_decay, hypergradient)   floats of state a weight
    adamw       beta1, beta2, eps                                 2
    sgd         momentum, nesterov                                1
    lion        beta1, beta2                                      1
    muon        momentum for matrices of blocks; for the rest     1 in matrices of blocks, 2 elsewhere
                as adamw
    adafactor   beta1, beta2 (a cap), eps                         1, or nearly 0 with beta1 = 0

Sophia (Liu et al. 2023) is left out: its curvature needs a second backward pass with sampled labels every ten steps in
the loop of every optimizer, and its advantage over a tuned AdamW did not last in independent comparisons (Kaddour et
al. 2023; Wen et al. 2025).
"""

from collections.abc import Mapping

from models.optimizers.adafactor import Adafactor
from models.optimizers.adamw import AdamW
from models.optimizers.base import Optimizer
from models.optimizers.lion import Lion
from models.optimizers.muon import Muon
from models.optimizers.sgd import SGD

OPTIMIZERS: Mapping[str, type[Optimizer]] = {
    "adamw": AdamW,
    "sgd": SGD,
    "lion": Lion,
    "muon": Muon,
    "adafactor": Adafactor,
}

__all__ = ["OPTIMIZERS", "SGD", "Adafactor", "AdamW", "Lion", "Muon", "Optimizer"]
