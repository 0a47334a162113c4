"""How far a model may be believed. Enters: a trained network and its training units. Leaves: arrays for ``Predictor``.

Every member holds back some training units. What the members that never learnt from a unit say of it is an honest
answer, and there is one for (almost) every labelled unit, at no further training: temperature and class offsets, the
thresholds of the prediction sets and the limit of novelty are fitted to those answers. No test unit is needed.
"""

import numpy as np
import torch

from ..evaluate.calibration import fit_calibration
from ..evaluate.decision import apply_calibration, conformal_thresholds, novelty_score
from ..evaluate.novelty import fit_novelty
from .data import UnitTensors, hide_class
from .networks import CVAENetwork


def fit_assurance(network: CVAENetwork, units: UnitTensors, coverage: float) -> dict[str, np.ndarray]:
    """Fit calibration, conformal thresholds and the measure of novelty to answers about held-back units.

    Parameters
    ----------
    units : n training units
    coverage : chance that a prediction set holds the class, and that a known type is not called novel

    Returns
    -------
    ``calibration.scale`` (1,), ``calibration.bias`` (C,), ``conformal.thresholds`` (C,), ``novelty.centres`` (E, C, D),
    ``novelty.precision`` (E, C, D, D), ``novelty.limit`` (1,); nothing at all when there are fewer than two classes or
    no labelled unit was held.
    """
    codes = units.codes["cell_type"].numpy() - 1
    held = units.held.numpy() & (codes >= 0)[:, None]
    rows = np.flatnonzero(held.any(axis=1))
    if network.shape.n_classes < 2 or not len(rows):
        return {}
    latent, probabilities = _answers(network, units)
    weight = held[rows].T / held[rows].sum(axis=1)
    answered = (probabilities[:, rows] * weight[:, :, None]).sum(axis=0)
    calibration = fit_calibration(answered, codes[rows])
    answered = apply_calibration(answered, calibration.scale, calibration.bias)
    centres, precision = _class_shapes(latent, codes, units.held.numpy(), network.shape.n_classes)
    each = np.stack([novelty_score(z, c, p) for z, c, p in zip(latent[:, rows], centres, precision, strict=True)])
    return {
        "calibration.scale": np.array([calibration.scale]),
        "calibration.bias": calibration.bias,
        "conformal.thresholds": conformal_thresholds(answered, codes[rows], coverage),
        "novelty.centres": centres,
        "novelty.precision": precision,
        "novelty.limit": np.array([np.quantile((each * weight).sum(axis=0), coverage)]),
    }


@torch.inference_mode()
def _answers(network: CVAENetwork, units: UnitTensors) -> tuple[np.ndarray, np.ndarray]:
    """Latent means (E, n, D) and class probabilities (E, n, C) of clean units, their class absent."""
    blind = hide_class(units)
    inputs = {name: network.for_members(x) for name, x in network.prepare(blind.inputs, blind.present).items()}
    codes = {name: network.for_members(code) for name, code in blind.codes.items()}
    mean, _ = network.encode(inputs, network.for_members(blind.present), codes)
    return mean.double().numpy(), network.classify(mean).softmax(dim=2).double().numpy()


def _class_shapes(
    latent: np.ndarray, codes: np.ndarray, held: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Centre and inverse covariance of each class (E, C, D), (E, C, D, D), from the units that the member learnt from.

    A class of which a member knows no unit stands where its first known one does: that changes no smallest distance.
    """
    found = []
    for member, z in enumerate(latent):
        known = np.flatnonzero((codes >= 0) & ~held[:, member])
        names, own = np.unique(codes[known], return_inverse=True)
        shape = fit_novelty(z[known], own)
        places = np.searchsorted(names, np.arange(n_classes)) % len(names)
        places[~np.isin(np.arange(n_classes), names)] = 0
        found.append((shape["centres"][places], shape["precision"][places]))
    return np.stack([c for c, _ in found]), np.stack([p for _, p in found])
