"""How far a model may be believed. Enters: a trained network and its training units. Leaves: arrays for ``Predictor``.

Every member holds back some training units. What the members that never learnt from a unit say of it is an honest
answer, and there is one for (almost) every labelled unit, at no further training: temperature and class offsets, the
thresholds of the prediction sets and the limit of novelty are fitted to those answers. No test unit is needed.
"""

import numpy as np
import torch

from ..evaluate.calibration import fit_calibration
from ..evaluate.decision import (
    apply_calibration,
    conformal_thresholds,
    novelty_limits,
    novelty_score,
    place_traces,
    trace_distance,
)
from ..evaluate.novelty import fit_axes, fit_novelty, fit_places
from ..features.transforms import INPUT_LENGTHS
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
    ``novelty.precision`` (E, C, D, D), ``novelty.limits`` (2,), ``traces.*`` of ``_trace_shapes``; nothing at all when
    there are fewer than two classes or no labelled unit was held.
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
    traces, away = _trace_shapes(network, units, codes, held)
    joint = [(values * weight).sum(axis=0) for values in (each, away[:, rows])]
    return {
        "calibration.scale": np.array([calibration.scale]),
        "calibration.bias": calibration.bias,
        "conformal.thresholds": conformal_thresholds(answered, codes[rows], coverage),
        "novelty.centres": centres,
        "novelty.precision": precision,
        "novelty.limits": novelty_limits(joint[0], joint[1], coverage),
    } | traces


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


def _trace_shapes(
    network: CVAENetwork, units: UnitTensors, codes: np.ndarray, held: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Fit what the traces of known classes look like to all labelled units.

    Returns
    -------
    ``traces.axes.<modality>`` (L, K), ``traces.centres`` (M, C, K), ``traces.precision`` (M, C, K, K); and the distance
    (E, n) of units when the shapes are fitted without those that each member holds back
    """
    with torch.inference_mode():
        inputs = {name: x.numpy() for name, x in network.prepare(units.inputs, units.present).items()}
    present, labelled = units.present.numpy(), codes >= 0
    axes = fit_axes(inputs, present, INPUT_LENGTHS, labelled)
    places, seen = place_traces(inputs, present, axes)
    away = np.zeros(held.T.shape)
    for member, hidden in enumerate(held.T):
        learnt = labelled & ~hidden
        shapes = fit_places(places[:, learnt], seen[:, learnt], codes[learnt])
        away[member, hidden] = trace_distance(places[:, hidden], seen[:, hidden], **shapes)
    shapes = fit_places(places[:, labelled], seen[:, labelled], codes[labelled])
    named = {f"traces.axes.{name}": x for name, x in axes.items()}
    return named | {f"traces.{name}": x for name, x in shapes.items()}, away
