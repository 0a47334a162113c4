"""From probabilities to a decision. Enters: probabilities, embeddings, fitted arrays. Leaves: sets of classes, novelty.

NumPy only and nothing of this package: the served model runs a copy of this file.
"""

import math
from collections.abc import Mapping

import numpy as np

SMALLEST_PROBABILITY = 1e-5
"""Probabilities are raised to this before their logarithm: k neighbours of one class say 0 without meaning never."""


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return natural logarithms of probabilities raised to at least 1e-5; any shape, float64."""
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST_PROBABILITY))


def apply_calibration(probabilities: np.ndarray, scale: float, bias: np.ndarray) -> np.ndarray:
    """Return ``softmax(scale * log p + bias)``.

    Parameters
    ----------
    probabilities : (n_units, n_classes) float
    scale, bias : of ``evaluate.calibration.Calibration``; 1 and zeros change nothing but probabilities below 1e-5

    Returns
    -------
    (n_units, n_classes) float64, rows sum to 1
    """
    logits = scale * log_probabilities(probabilities) + bias
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True)


def conformal_thresholds(probabilities: np.ndarray, codes: np.ndarray, coverage: float) -> np.ndarray:
    """Return, for each class, how improbable it may look and still be in the set.

    The score of a held-out unit is 1 - probability of its own class; the threshold of a class is the
    ``ceil((n + 1) * coverage)``-th smallest score of its n units (split conformal prediction, class by class: Vovk et
    al. 2005, "Mondrian"; Sadinle et al. 2019; Angelopoulos & Bates 2021). A new unit of that class then has it in its
    set with probability of at least ``coverage``, as far as it could have been one of the held-out units.

    Parameters
    ----------
    probabilities : (n_units, n_classes) float, of units that the classifier did not learn from
    codes : (n_units,) int, their classes
    coverage : between 0 and 1

    Returns
    -------
    (n_classes,) float64; 1 where a class has too few units, n < coverage / (1 - coverage): it is then in every set
    """
    scores = 1.0 - np.asarray(probabilities, dtype=np.float64)
    thresholds = np.ones(scores.shape[1])
    for code in range(scores.shape[1]):
        own = np.sort(scores[codes == code, code])
        rank = math.ceil((len(own) + 1) * coverage - 1e-9)  # 100 * 0.07 is a little more than 7
        if 1 <= rank <= len(own):
            thresholds[code] = own[rank - 1]
    return thresholds


def prediction_sets(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return which classes a unit may be of.

    Class c is in the set when ``1 - p_c <= thresholds[c]``. The most probable class is not forced in: a set may be
    empty, which says that none fits.

    Parameters
    ----------
    probabilities : (n_units, n_classes) float, made as those given to ``conformal_thresholds``
    thresholds : (n_classes,) float

    Returns
    -------
    (n_units, n_classes) bool
    """
    return 1.0 - np.asarray(probabilities, dtype=np.float64) <= thresholds


def novelty_score(embedding: np.ndarray, centres: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return the Mahalanobis distance to the nearest class (Lee et al. 2018), each class with a covariance of its own.

    Parameters
    ----------
    embedding : (n_units, n_latent) float
    centres, precision : (n_classes, n_latent), (n_classes, n_latent, n_latent), of ``evaluate.novelty.fit_novelty``

    Returns
    -------
    (n_units,) float64, 1 = as far out as the middle unit of the nearest class was when fitted. From where on a unit is
    new is the caller's: a quantile of the scores of held-out units.
    """
    return np.sqrt(_squared_distances(embedding, centres, precision).min(axis=0))


def place_traces(
    inputs: Mapping[str, np.ndarray], present: np.ndarray, axes: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return where traces lie along the axes of each modality that has axes, and which are there.

    Parameters
    ----------
    inputs : modality -> (n_units, L) float32, as given to ``evaluate.novelty.fit_axes``
    present : (n_units, n_modalities) bool
    axes : modality -> (L, K) float32, of ``fit_axes``; may lack modalities

    Returns
    -------
    places (M, n_units, K) float32, seen (M, n_units) bool, M = number of ``axes``, in the order of ``inputs``
    """
    used = [i for i, name in enumerate(inputs) if name in axes]
    places = [x @ axes[name] for name, x in inputs.items() if name in axes]
    return np.stack(places) if places else np.zeros((0, len(present), 1), np.float32), present.T[used]


def trace_distance(places: np.ndarray, seen: np.ndarray, centres: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return how far traces lie from the nearest class, over the modalities that a unit has.

    Parameters
    ----------
    places, seen : of ``place_traces``
    centres, precision : (M, n_classes, K), (M, n_classes, K, K), of ``evaluate.novelty.fit_places``

    Returns
    -------
    (n_units,) float64, 1 = about as far out as a middle unit; 0 for a unit without any of the modalities
    """
    total = np.zeros((centres.shape[1], places.shape[1]))
    for x, has, centre, shape in zip(places, seen, centres, precision, strict=True):
        total += _squared_distances(x, centre, shape) * has
    return np.sqrt(total.min(axis=0, initial=np.inf if len(total) else 0.0) / np.maximum(seen.sum(axis=0), 1))


def join_novelty(latent: np.ndarray, traces: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return novelty from both distances, each relative to its limit: above 1 is novel. (n_units,), (n_units,), (2,)"""
    return np.hypot(latent / limits[0], traces / limits[1])


def novelty_limits(latent: np.ndarray, traces: np.ndarray, coverage: float) -> np.ndarray:
    """Return the limits (2,) that a share ``coverage`` of units, which nothing was fitted to, does not exceed jointly.

    Parameters
    ----------
    latent, traces : (n_units,) float; a distance that is 0 for all of them tells nothing and gets the limit infinity
    """
    each = np.array([np.quantile(latent, coverage), np.quantile(traces, coverage)])
    each[each <= 0] = np.inf
    return each * np.quantile(join_novelty(latent, traces, each), coverage)


def _squared_distances(x: np.ndarray, centres: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """(n, D), (C, D), (C, D, D) -> (C, n) float64, not negative"""
    offsets = np.asarray(x, dtype=np.float64) - centres[:, None, :]
    return np.maximum(((offsets @ precision) * offsets).sum(axis=2), 0.0)


def fold_novelty(centres: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return maps into spaces in which ``novelty_score`` is a plain distance, for ``cvae.folded``.

    Parameters
    ----------
    centres, precision : (E, C, D), (E, C, D, D), of every member and class

    Returns
    -------
    maps : (E, C * D, D) float64, square roots of the precisions; places : (E, C * D, 1) float64, the mapped centres
    """
    n_members, n_classes, n_latent = centres.shape
    values, vectors = np.linalg.eigh((precision + precision.swapaxes(2, 3)) / 2)
    roots = (vectors * np.sqrt(np.maximum(values, 0.0))[:, :, None, :]).swapaxes(2, 3)
    places = (roots @ centres[:, :, :, None]).reshape(n_members, n_classes * n_latent, 1)
    return roots.reshape(n_members, n_classes * n_latent, n_latent), places
