"""What standardised targets mean in the unit in which they were measured: the inverse of transform.standardise.

With the knee c and the spread g of the targets, and w = shift + scale z,

    y = w                                        w <= c
    y = c + g E(E((w - c) / g))                  w > c      E(t) = exp(t) - 1

so a belief's mean and the ends of its interval can be said as people have measured. Above the knee the inverse grows faster than
any power: a little beyond the worst result means 1e9 or 1e99, which nobody has measured. There it is infinite.
"""

from __future__ import annotations

import numpy as np

from surrogates.columns import Array
from surrogates.transform import KNEE, MARGIN, TIE, standardise


def invert(y: Array, z: Array, power: bool = False) -> Array:
    """(m,) the values whose standardised form among targets y (n,) is z (m,); infinite beyond both the knee and the worst of y.

    power: as in `standardise`; where a value lies beyond what the power transform can reach, it is infinite
    """
    y, z = np.asarray(y, dtype=float), np.asarray(z, dtype=float)
    plain = standardise(y)
    if power and len(y) > 2 and np.ptp(plain.z) > 0.0:
        z = _straight(plain.z, z)
    w, good = plain.shift + plain.scale * z, y[np.isfinite(y)]
    spread = _spread(good) if len(good) else 0.0
    if spread == 0.0:  # they tie: nothing was squeezed
        return np.asarray(w)
    knee = float(np.quantile(good, 0.5)) + KNEE * spread
    with np.errstate(over="ignore"):
        beyond = knee + spread * np.expm1(np.expm1(np.maximum(w - knee, 0.0) / spread))
    worst = float(good.max())
    beyond = np.where(beyond <= worst + MARGIN * abs(worst - knee), beyond, np.inf)
    return np.where(w > knee, beyond, w)


def _spread(y: Array) -> float:
    """The spread of the good half of finite y, as transform squeezes by it."""
    middle, low = (float(np.quantile(y, q)) for q in (0.5, 0.1))
    tie = TIE * max(abs(middle), abs(low))
    if middle - low > tie:
        return middle - low
    differences = np.abs(y - middle)
    differences = differences[differences > tie]
    return float(np.median(differences)) if len(differences) else 0.0


def _straight(z: Array, bent: Array) -> Array:
    """The inverse of the power transform that bends z (n,), of values (m,) after it."""
    from scipy.stats import yeojohnson, yeojohnson_normmax  # here, because importing it takes most of a second

    power = float(np.clip(yeojohnson_normmax(z), -2.0, 4.0))
    w = np.asarray(yeojohnson(z, power))
    return _inverse_yeojohnson(w.mean() + w.std() * bent, power)


def _inverse_yeojohnson(w: Array, power: float) -> Array:
    """(m,) Yeo & Johnson 2000, eq. 2.1, solved for its argument."""
    with np.errstate(all="ignore"):
        above = np.expm1(w) if abs(power) < 1e-12 else np.power(np.maximum(1.0 + power * w, 0.0), 1.0 / power) - 1.0
        other = 2.0 - power
        below = -np.expm1(-w) if abs(other) < 1e-12 else 1.0 - np.power(np.maximum(1.0 - other * w, 0.0), 1.0 / other)
    return np.where(w >= 0.0, above, below)
