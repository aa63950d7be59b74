"""What a matrix of confusions says: accuracy, F1 of each class, macro-F1."""

from __future__ import annotations

import numpy as np


def count_confusions(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(C, C): how many texts of class i were taken for class j."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def f1_by_class(confusions: np.ndarray) -> np.ndarray:
    """(..., C) from (..., C, C); 0 for a class that neither occurs nor is predicted."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    total = confusions.sum(-1) + confusions.sum(-2)
    return np.divide(2.0 * hits, total, out=np.zeros(hits.shape), where=total > 0)


def macro_f1(confusions: np.ndarray) -> np.ndarray:
    """(...,) the mean of F1 over all classes."""
    return np.asarray(f1_by_class(confusions).mean(-1))


def accuracy(confusions: np.ndarray) -> np.ndarray:
    return np.asarray(np.trace(confusions, axis1=-2, axis2=-1) / np.maximum(confusions.sum((-2, -1)), 1))
