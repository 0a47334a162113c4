"""Make probabilities mean what they say. Enters: held-out probabilities, classes. Leaves: scale, biases, scores."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from .decision import log_probabilities

SCALE_RANGE = (0.01, 10.0)
"""Held-out units without one mistake would ask for an infinite scale, ones at chance for none."""


@dataclass(frozen=True)
class Calibration:
    """What ``evaluate.decision.apply_calibration`` applies.

    Attributes
    ----------
    scale : inverse temperature: above 1 sharpens, below 1 flattens
    bias : (n_classes,) float64, added to the scaled log-probabilities
    """

    scale: float
    bias: np.ndarray


def fit_calibration(probabilities: np.ndarray, codes: np.ndarray, strength: float = 1.0) -> Calibration:
    """Fit ``softmax(scale * log p + bias)`` to held-out units by cross-entropy in which all classes weigh the same.

    Temperature scaling (Guo et al. 2017) with a bias for each class. The biases are held near 0 by a penalty of
    ``strength / (2 * n * C) * sum(bias ** 2)``, n the units of the rarest of C classes: as one unit of prior knowledge.
    A class with fewer than two units is left out of the fit and keeps bias 0; with fewer than two classes left nothing
    is changed (scale 1, biases 0).

    Parameters
    ----------
    probabilities : (n_units, n_classes) float, of units that the head did not learn from
    codes : (n_units,) int
    strength : weight of the penalty
    """
    log_p = log_probabilities(probabilities)
    bias = np.zeros(log_p.shape[1])
    counts = np.bincount(codes, minlength=len(bias))
    fitted = np.flatnonzero(counts >= 2)
    if len(fitted) < 2:
        return Calibration(1.0, bias)
    rows = np.isin(codes, fitted)
    log_p, truth = log_p[np.ix_(rows, fitted)], codes[rows][:, None] == fitted
    weights = truth / (counts[fitted] * len(fitted))
    ridge = strength / (counts[fitted].min() * len(fitted))

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient at (log scale, biases)."""
        scale, biases = np.exp(theta[0]), theta[1:]
        log_q = log_softmax(scale * log_p + biases, axis=1)
        slope = weights.sum(axis=1, keepdims=True) * np.exp(log_q) - weights
        value = ridge / 2 * (biases @ biases) - (weights * log_q).sum()
        return value, np.r_[scale * (slope * log_p).sum(), slope.sum(axis=0) + ridge * biases]

    bounds = [tuple(np.log(SCALE_RANGE)), *[(None, None)] * len(fitted)]
    found = minimize(loss, np.zeros(1 + len(fitted)), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-12)
    bias[fitted] = found.x[1:]
    return Calibration(float(np.exp(found.x[0])), bias)


def expected_calibration_error(
    probabilities: np.ndarray, codes: np.ndarray, n_bins: int = 15, balanced: bool = False
) -> float:
    """Return how far confidence is from accuracy, averaged over units in bins of equal width (Guo et al. 2017).

    Parameters
    ----------
    probabilities : (n_units, n_classes) float, at least one unit
    codes : (n_units,) int
    balanced : whether every class weighs the same, instead of every unit
    """
    weights = 1 / np.bincount(codes)[codes] if balanced else np.ones(len(codes))
    return calibration_gap(probabilities.max(axis=1), probabilities.argmax(axis=1) == codes, weights, n_bins)


def calibration_gap(confidence: np.ndarray, hit: np.ndarray, weights: np.ndarray, n_bins: int = 15) -> float:
    """``expected_calibration_error`` of predictions known by their confidence. (n,), (n,) bool, (n,) -> float"""
    bins = np.ceil(confidence * n_bins).astype(int)  # (lower, upper]
    gaps = np.bincount(bins, weights=weights * (confidence - hit))
    return float(np.abs(gaps).sum() / weights.sum())


def squared_distance(probabilities: np.ndarray, is_true: np.ndarray) -> np.ndarray:
    """Return how far each unit's probabilities are from the truth, 0 to 2; the mean is the score of Brier (1950).

    Shapes: (n, C), (n, C) bool -> (n,). A row of ``is_true`` without any is a class that the head does not know.
    """
    return ((probabilities - is_true) ** 2).sum(axis=1) + ~is_true.any(axis=1)
