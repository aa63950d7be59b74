"""A random forest of regression trees (Breiman 2001), with SMAC's predictive variance (Hutter, Xu, Hoos and Leyton-Brown 2014,
"Algorithm runtime prediction: methods & evaluation", section 4.3).

Every tree b has a mean m_b and a variance v_b of the targets in the leaf of a row. By the law of total variance a forest of B
trees, each as likely as any other, has

    mean      1/B sum m_b
    variance  1/B sum (v_b + m_b^2) - mean^2        the mean of the leaves' variances plus the variance of their means

The trees are scikit-learn's. As in SMAC each sees a bootstrap sample, and thresholds are random, so that the forest's mean has
no steps at the middles between results; here they are those of Geurts, Ernst and Wehenkel 2006 ("Extremely randomized trees":
one threshold drawn for every column, the best column taken), with all columns and leaves of a single result. Choices are one
column an option, so that a split tells one option from all others, where SMAC's trees split sets of options. A number that is
inactive has a value below its range, as in SMAC.

Notation     n results, m rows, e columns that are split, B trees     X (n, d), (m, d) rows of the domain     y (n,) targets

    >>> import numpy as np
    >>> from surrogates import Domain
    >>> from surrogates.forest import RegressionForest
    >>> domain, X = Domain(("float",), (None,), (0,), ((),)), np.linspace(0, 1, 20)[:, None]
    >>> belief = RegressionForest.fit(domain, X, (X[:, 0] - 0.3) ** 2, np.random.default_rng(0)).predict(X)
    >>> bool(abs(X[belief.mean.argmin(), 0] - 0.3) < 0.1), belief.sd.shape
    (True, (20,))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from surrogates.acquisitions.marginal import Normal
from surrogates.domain import Array, Domain

LEAST = 1e-6  # the sd of standardised targets where all trees agree
MISSING = "a random forest needs scikit-learn, which is not installed; pip install 'hpo-lm[forest]' installs it"


def require_trees() -> None:
    """ModuleNotFoundError in one sentence where scikit-learn is not installed."""
    if find_spec("sklearn") is None:
        raise ModuleNotFoundError(MISSING, name="sklearn")


def split_columns(domain: Domain, X: Array) -> np.ndarray:
    """(n, e) what trees split of rows (n, d), in the precision in which they do: numbers, -1 where one is inactive, and for
    every option of a choice whether it is taken."""
    Z = domain.features(X)
    options = [Z[:, [j]] == np.arange(domain.sizes[j]) for j in np.flatnonzero(domain.categorical)]
    return np.ascontiguousarray(np.concatenate([Z[:, ~domain.categorical], *options], axis=1), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class RegressionForest:
    """B trees over the rows of a domain; `fit` grows them.

    trees  their structure, as scikit-learn keeps it: apply(rows) -> (m,) leaves, and of every node its mean and its variance
    """

    domain: Domain
    trees: Sequence[Any]

    @classmethod
    def fit(cls, domain: Domain, X: Array, y: Array, rng: np.random.Generator, trees: int = 30) -> RegressionForest:
        """A forest for finite targets y (n,), n at least 1. The same arguments give the same trees."""
        require_trees()
        from sklearn.tree import ExtraTreeRegressor  # here, because importing it takes most of a second

        Z, y = split_columns(domain, X), np.ascontiguousarray(y, dtype=float)
        grown = []
        for seed in rng.integers(2**31, size=trees):
            drawn = np.bincount(rng.integers(len(y), size=len(y)), minlength=len(y)).astype(float)
            tree = ExtraTreeRegressor(random_state=int(seed), max_features=1.0)
            grown.append(tree.fit(Z, y, sample_weight=drawn, check_input=False).tree_)
        return cls(domain, grown)

    def predict(self, X: Array) -> Normal:
        """Means and sds (m,) at rows X (m, d)."""
        Z = split_columns(self.domain, X)
        mean, square = np.zeros(len(Z)), np.zeros(len(Z))
        for tree in self.trees:
            leaves = tree.apply(Z)
            means = tree.value[leaves, 0, 0]
            mean += means
            square += tree.impurity[leaves] + means**2
        mean, square = mean / len(self.trees), square / len(self.trees)
        return Normal(mean, np.sqrt(np.maximum(square - mean**2, LEAST**2)))
