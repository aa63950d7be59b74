"""Test functions with a known least value: five classical ones and six translated ones, one of mixed types, one with
conditional parameters.

The classical functions and their minima: S. Surjanovic and D. Bingham, Virtual Library of Simulation Experiments;
Hartmann 6 with the constants of L. C. W. Dixon and G. P. Szegö (1978). A configuration of theirs is x1 .. xd.

    A, P          Hartmann 6: weights (4, 6) and centres (4, 6)
    PAIR, FLAG    mixed8: offsets of (kernel, loss) (3, 4) and of (kernel, bias) (3, 2), zero at one place only
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo.space import Categorical, Float, Int, Space

Values = Mapping[str, Any]

# --- classical ---------------------------------------------------------------------------------------------------------

HARTMANN_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_A = np.array(
    [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312.0, 1696.0, 5569.0, 124.0, 8283.0, 5886.0],
        [2329.0, 4135.0, 8307.0, 3736.0, 1004.0, 9991.0],
        [2348.0, 1451.0, 3522.0, 2883.0, 3047.0, 6650.0],
        [4047.0, 8828.0, 8732.0, 5743.0, 1091.0, 381.0],
    ]
)
ACKLEY_SHIFT = 7.3  # off the middle of the box, which some methods try first


def box_space(d: int, lo: float, hi: float) -> Space:
    """x1 .. xd, each a real number in [lo, hi]."""
    return Space({f"x{i + 1}": Float(lo, hi) for i in range(d)})


def vector(config: Values) -> np.ndarray:
    """x1 .. xd as an array (d,), whatever the order of the mapping."""
    return np.array([config[f"x{i + 1}"] for i in range(len(config))], dtype=np.float64)


def branin_space() -> Space:
    return Space(x1=Float(-5.0, 10.0), x2=Float(0.0, 15.0))


def branin(config: Values) -> float:
    """Three minima of 0.397887, one at (pi, 2.275)."""
    x, y = config["x1"], config["x2"]
    bend = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return float(bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def hartmann6(config: Values) -> float:
    """Unit cube; least value -3.32237, and a local minimum of -3.2032 that holds many a method."""
    inner = (HARTMANN_A * (vector(config) - HARTMANN_P) ** 2).sum(axis=1)
    return -float(HARTMANN_ALPHA @ np.exp(-inner))


def ackley(config: Values) -> float:
    """Zero at (7.3, .., 7.3): nearly flat far from it, hundreds of local minima on the way."""
    x = vector(config) - ACKLEY_SHIFT
    bowl = -20 * math.exp(-0.2 * math.sqrt(float(np.mean(x**2))))
    return max(0.0, bowl - math.exp(float(np.mean(np.cos(2 * math.pi * x)))) + 20 + math.e)


def levy(config: Values) -> float:
    """Zero at (1, .., 1)."""
    w = 1 + (vector(config) - 1) / 4
    middle = float(np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)))
    last = float((w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2))
    return math.sin(math.pi * w[0]) ** 2 + middle + last


def rosenbrock(config: Values) -> float:
    """Zero at (1, .., 1), at the end of a bent valley; up to millions in the corners."""
    x = vector(config)
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (x[:-1] - 1) ** 2))


# --- translated ----------------------------------------------------------------------------------------------------------
# The optimum was drawn once, uniformly in the box: np.random.default_rng([SERIES[name], d]).uniform(lo, hi, d), to three
# decimals. What is moved out of the box on one side comes in on the other; none is lower anywhere than at its optimum.

SERIES = {"griewank": 3, "rastrigin": 3, "styblinski_tang": 3, "salomon": 4, "dixon_price": 4, "zakharov": 4}

DRAWN = {
    "griewank": np.array([-51.609, 399.204, -233.592, -519.25, -204.161, 499.077]),
    "rastrigin": np.array([4.079, -0.453, -3.919, -4.065]),
    "styblinski_tang": np.array([-3.633, 3.838, 3.986, 0.777, 1.906]),
    "salomon": np.array([-44.645, -19.232, 22.627, -78.053, -55.802]),
    "dixon_price": np.array([-2.955, -5.894, -7.145, -4.177, 6.79, -5.166]),
    "zakharov": np.array([0.283, -1.92, -2.859, -0.633, 7.593, -1.374]),
}
VALLEY = -2.903534027771177  # where x^4 - 16 x^2 + 5 x is least
WELL = (VALLEY**4 - 16 * VALLEY**2 + 5 * VALLEY) / 2  # -39.16616570377141


def griewank(config: Values) -> float:
    """Zero at the point drawn."""
    x = vector(config) - DRAWN["griewank"]
    waves = np.prod(np.cos(x / np.sqrt(np.arange(1, len(x) + 1))))
    return float(np.sum(x**2) / 4000 + (1 - waves))


def rastrigin(config: Values) -> float:
    """Zero at the point drawn; a local minimum about every unit."""
    x = vector(config) - DRAWN["rastrigin"]
    return float(np.sum(x**2 + 10 * (1 - np.cos(2 * math.pi * x))))


def styblinski_tang(config: Values) -> float:
    """WELL a dimension at the point drawn; a second well 5.65 further in each, 14.1 higher; steep far from both."""
    x = vector(config) - DRAWN["styblinski_tang"] + VALLEY
    return float(np.sum(x**4 - 16 * x**2 + 5 * x) / 2)


def salomon(config: Values) -> float:
    """Zero at the point drawn; rings around it, each higher than the one inside."""
    r = float(np.linalg.norm(vector(config) - DRAWN["salomon"]))
    return 1 - math.cos(2 * math.pi * r) + 0.1 * r


def dixon_price(config: Values) -> float:
    """Zero at the point drawn; a chain of bent valleys (Dixon and Price 1989)."""
    i = np.arange(1, 7)
    x = vector(config) - DRAWN["dixon_price"] + 2.0 ** (2.0 ** (1 - i) - 1)
    return float((x[0] - 1) ** 2 + np.sum(i[1:] * (2 * x[1:] ** 2 - x[:-1]) ** 2))


def zakharov(config: Values) -> float:
    """Zero at the point drawn, and no other minimum; a plate that rises with the fourth power of one direction."""
    x = vector(config) - DRAWN["zakharov"]
    along = float(np.sum(0.5 * np.arange(1, len(x) + 1) * x))
    return float(np.sum(x**2)) + along**2 + along**4


# --- mixed types -------------------------------------------------------------------------------------------------------

KERNELS = ("linear", "poly", "rbf")
LOSSES = ("hinge", "huber", "log", "square")
# A kernel that is best with one loss only: on average "rbf" is the worst of the three kernels.
PAIR = np.array([[0.35, 0.30, 0.40, 0.35], [0.25, 0.45, 0.30, 0.20], [0.80, 0.90, 0.00, 0.75]])
FLAG = np.array([[0.00, 0.10], [0.15, 0.05], [0.12, 0.00]])
SHIFT_BEST = (-3.1, 1.4, 2.7)  # of `shift`, one a kernel
MIX_BEST = (0.2, 0.55, 0.35, 0.85)  # of `mix`, one a loss
REG_BEST = (-1.0, -2.5)  # of log10 `reg`, without and with a bias
DEGREE_BEST = (3, 14, 7)  # of `degree`, one a kernel
UNITS_BEST = (16, 200, 48, 4)  # of `units`, one a loss
MIXED8_OPTIMUM = {
    "shift": 2.7, "mix": 0.35, "reg": 10**-2.5, "degree": 7, "units": 48,
    "kernel": "rbf", "loss": "log", "bias": True,
}  # fmt: skip


def mixed8_space() -> Space:
    """Three floats (one logarithmic), two integers (one logarithmic), choices of 3, 4 and 2."""
    return Space(
        shift=Float(-5.0, 5.0),
        mix=Float(0.0, 1.0),
        reg=Float(1e-5, 1.0, log=True),
        degree=Int(1, 20),
        units=Int(1, 256, log=True),
        kernel=Categorical(KERNELS),
        loss=Categorical(LOSSES),
        bias=Categorical([False, True]),
    )


def mixed8(config: Values) -> float:
    """A sum of terms that are never negative and all zero at MIXED8_OPTIMUM alone.

    The choices move the optimum of every number, `mix` and log10 `reg` share a tilted valley (condition number 50), and
    `shift` has a local minimum about every 1.5 units.
    """
    kernel, loss, bias = KERNELS.index(config["kernel"]), LOSSES.index(config["loss"]), int(config["bias"])
    shift = config["shift"] - SHIFT_BEST[kernel]
    wave = 0.02 * shift**2 + 0.15 * (1 - math.cos(4 * shift))
    mix = 4 * (config["mix"] - MIX_BEST[loss])
    reg = math.log10(config["reg"]) - REG_BEST[bias]
    valley = 0.25 * (mix - reg) ** 2 + 0.005 * (mix + reg) ** 2
    degree = 0.004 * (config["degree"] - DEGREE_BEST[kernel]) ** 2
    units = 0.03 * math.log2(config["units"] / UNITS_BEST[loss]) ** 2
    return float(PAIR[kernel, loss] + FLAG[kernel, bias] + wave + valley + degree + units)


# --- conditional -------------------------------------------------------------------------------------------------------

CONDITIONAL_OPTIMUM = {
    "lr": 0.01, "layers": 9, "optimizer": "muon",
    "iterations": 5, "nesterov": True, "decay": "decoupled", "strength": 0.1,
}  # fmt: skip


def conditional_space() -> Space:
    """Two shared parameters, three branches of three or two, and a second level below `decay` of the third branch."""
    return Space(
        lr=Float(1e-5, 1.0, log=True),
        layers=Int(1, 16),
        optimizer=Categorical(["sgd", "adam", "muon"]),
        momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
        dampening=Float(0.0, 1.0, when={"optimizer": "sgd"}),
        beta2_gap=Float(1e-4, 0.5, log=True, when={"optimizer": "adam"}),
        epsilon=Float(1e-12, 1e-2, log=True, when={"optimizer": "adam"}),
        amsgrad=Categorical([False, True], when={"optimizer": "adam"}),
        iterations=Int(1, 12, when={"optimizer": "muon"}),
        nesterov=Categorical([False, True], when={"optimizer": "muon"}),
        decay=Categorical(["none", "coupled", "decoupled"], when={"optimizer": "muon"}),
        strength=Float(1e-4, 1.0, log=True, when={"decay": ["coupled", "decoupled"]}),
    )


def conditional(config: Values) -> float:
    """Zero at CONDITIONAL_OPTIMUM alone; the least values of the branches are 0.25 (sgd), 0.12 (adam) and 0 (muon).

    On average over uniform draws the order is the reverse: muon is the steepest, sgd the flattest.
    """
    lr, layers = math.log10(config["lr"]), config["layers"]
    return {"sgd": _sgd, "adam": _adam, "muon": _muon}[config["optimizer"]](config, lr, layers)


def _sgd(config: Values, lr: float, layers: int) -> float:
    numbers = 0.3 * (config["momentum"] - 0.9) ** 2 + 0.1 * (config["dampening"] - 0.2) ** 2
    return float(0.25 + 0.02 * (lr + 0.5) ** 2 + 0.001 * (layers - 6) ** 2 + numbers)


def _adam(config: Values, lr: float, layers: int) -> float:
    gap, epsilon = math.log10(config["beta2_gap"] / 0.01), math.log10(config["epsilon"] / 1e-8)
    shared = 0.08 * (lr + 3) ** 2 + 0.002 * (layers - 12) ** 2
    return float(0.12 + shared + 0.06 * gap**2 + 0.004 * epsilon**2 + 0.03 * config["amsgrad"])


def _muon(config: Values, lr: float, layers: int) -> float:
    shared = 0.15 * (lr + 2) ** 2 + 0.004 * (layers - 9) ** 2
    own = 0.02 * (config["iterations"] - 5) ** 2 + 0.08 * (not config["nesterov"])
    if config["decay"] == "none":
        return float(shared + own + 0.2)
    best = -1.0 if config["decay"] == "decoupled" else -3.0
    strength = 0.07 * (math.log10(config["strength"]) - best) ** 2
    return float(shared + own + strength + (0.1 if config["decay"] == "coupled" else 0.0))
