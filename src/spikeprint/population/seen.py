"""Which rows a model has learnt labels from. Enters: an embedding. Leaves: one number per row that tells it again."""

import numpy as np


def fingerprint(embedding: np.ndarray) -> np.ndarray:
    """Return (n,) float64: equal for equal rows, and hardly ever for others."""
    values: np.ndarray = np.asarray(embedding, dtype=np.float64)
    weights: np.ndarray = np.asarray(np.random.default_rng(20).normal(size=values.shape[1]))
    # summed in a fixed order, so that a row has the same number in any company
    total: np.ndarray = np.zeros(len(values))
    for i in range(values.shape[1]):
        total += values[:, i] * weights[i]
    return np.round(total, 6)
