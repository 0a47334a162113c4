"""What known classes look like. Enters: embeddings or traces, and classes. Leaves: arrays for ``evaluate.decision``.

A latent that tells known classes apart may put a new one right among them; the traces need not. Both are asked. Mean
AUROC of a class left out of training against held-out units of the others, in an inner split of three training folds of
four datasets with labels (mouse cerebellum n = 104, mouse A1 285, mouse hippocampus and cortex 359, macaque cerebellum
668; 8 members, 60 epochs): 0.83, 0.60, 0.80, 0.87 as below; latents alone 0.79, 0.47, 0.82, 0.79; traces alone 0.81,
0.64, 0.76, 0.86; the larger of both 0.83, 0.63, 0.79, 0.86. In one of those splits, mean over datasets: 0.80 as below,
0.72 latents alone, 0.67 1 - largest probability, 0.69 disagreement of members, 0.64 error of reconstruction, 0.67 one
covariance for all classes (Lee et al. 2018): it calls a unit usual that only wide classes reach.
"""

from collections.abc import Mapping

import numpy as np
from sklearn.covariance import LedoitWolf

BORROWED_UNITS = 2
"""Each class's covariance counts as many units of the pooled one: enough to invert it, few enough to keep its shape."""

N_AXES = 8
"""Principal axes of a modality along which traces are compared; 6 to 16 differ by 0.01 in AUROC."""

MIN_UNITS = 2 * N_AXES
"""A modality that fewer labelled units have is not compared: its axes would tell of single units."""


def fit_novelty(embedding: np.ndarray, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Fit a centre and an inverse covariance to each class.

    The covariance of a class is that of its units plus ``BORROWED_UNITS`` of the pooled within-class one, which is
    shrunken by Ledoit & Wolf (2004); compare Friedman (1989). It is scaled so that the middle unit of each class is at
    distance 1, or wide classes would hide what narrow ones find new.

    Parameters
    ----------
    embedding : (n_units, n_latent) float
    codes : (n_units,) int, classes 0..n_classes-1, each present

    Returns
    -------
    ``centres`` (n_classes, n_latent), ``precision`` (n_classes, n_latent, n_latent) float64
    """
    embedding = np.asarray(embedding, dtype=np.float64)
    members = [embedding[codes == code] for code in range(int(codes.max()) + 1)]
    centres = np.stack([units.mean(axis=0) for units in members])
    pooled = LedoitWolf(assume_centered=True).fit(embedding - centres[codes]).covariance_
    precision = [_class_precision(units - centre, pooled) for units, centre in zip(members, centres, strict=True)]
    return {"centres": centres, "precision": np.stack(precision)}


def _class_precision(offsets: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    covariance = (offsets.T @ offsets + BORROWED_UNITS * pooled) / (len(offsets) + BORROWED_UNITS)
    precision = np.linalg.pinv(covariance, hermitian=True)  # a latent that never varies has no inverse
    middle = float(np.median(((offsets @ precision) * offsets).sum(axis=1)))
    return precision / (middle if middle > 0 else 1.0)  # 0: one unit alone is its own centre


def fit_axes(
    inputs: Mapping[str, np.ndarray], present: np.ndarray, n_trace: Mapping[str, int], is_labelled: np.ndarray
) -> dict[str, np.ndarray]:
    """Find the directions in which training units, labelled or not, differ most: principal axes of each modality.

    Parameters
    ----------
    inputs : modality -> (n_units, L) float32, standardised: the trace, then its descriptors
    present : (n_units, n_modalities) bool
    n_trace : modality -> how many of the L values are the trace; trace and descriptors weigh the same
    is_labelled : (n_units,) bool

    Returns
    -------
    modality -> (L, ``N_AXES``) float32; only modalities that ``MIN_UNITS`` labelled units have
    """
    axes = {}
    for has, (name, x) in zip(present.T, inputs.items(), strict=True):
        if (has & is_labelled).sum() >= MIN_UNITS:
            is_trace = np.arange(x.shape[1]) < n_trace[name]
            weight = np.where(is_trace, is_trace.sum(), (~is_trace).sum()) ** -0.5
            directions = np.linalg.eigh(np.cov(x[has] * weight, rowvar=False))[1]
            axes[name] = (weight[:, None] * directions[:, : -N_AXES - 1 : -1]).astype(np.float32)
    return axes


def fit_places(places: np.ndarray, seen: np.ndarray, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Fit a centre and an inverse covariance to each class in each modality, as ``fit_novelty`` does.

    A class without units in some modality, of which therefore nothing is known there, is as wide there as all units.

    Parameters
    ----------
    places, seen : (n_modalities, n_units, K) float, (n_modalities, n_units) bool, of ``decision.place_traces``
    codes : (n_units,) int, classes; which numbers does not matter

    Returns
    -------
    ``centres`` (n_modalities, n_classes, K), ``precision`` (n_modalities, n_classes, K, K) float64: of the classes with
    a unit that has some modality. Zeros where no unit has the modality.
    """
    names = np.unique(codes[seen.any(axis=0)])
    centres = np.zeros((len(places), len(names), places.shape[2]))
    precision = np.zeros((*centres.shape, places.shape[2]))
    for m in np.flatnonzero(seen.any(axis=1)):
        x, own = places[m, seen[m]], codes[seen[m]]
        whole = fit_novelty(x, np.zeros(len(x), dtype=np.int64))
        found, position = np.unique(own, return_inverse=True)
        each = fit_novelty(x, position)
        for i, name in enumerate(names):
            shape, at = (each, np.searchsorted(found, name)) if name in found else (whole, 0)
            centres[m, i], precision[m, i] = shape["centres"][at], shape["precision"][at]
    return {"centres": centres, "precision": precision}
