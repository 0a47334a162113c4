"""The only normalisation. Enters: canonical raw modalities, NaN rows = missing. Leaves: model inputs and a mask.

NumPy only and free of state: the served model runs a copy of this file. Scales that depend on a training set live in
the network, so nothing here can carry information from one unit to another.
"""

from collections.abc import Mapping

import numpy as np

INPUT_LENGTHS: dict[str, int] = {"waveform": 50, "isi": 50, "acg": 50}
"""Modality -> number of values the network sees: pairs of bins are joined, the symmetric ACG is folded."""

N_BASELINE = 5
"""Samples at the start of a waveform whose median is its baseline (10 % of the window)."""

BLOCK = 1024
"""Units at a time: the temporaries stay in the processor's cache."""

PRECISION = {"waveform": np.float64, "isi": np.float32, "acg": np.float32}
"""Modality -> type computed in: a waveform may sit on an offset many times its size, a histogram starts at 0."""


def normalise(
    raw: Mapping[str, np.ndarray], room: Mapping[str, np.ndarray] | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Turn canonical modalities into model inputs that do not depend on gain, rate or recording length.

    Parameters
    ----------
    raw : modality name -> (n_units, canonical length) float; all-NaN row = missing; an absent key = missing for all
    room : modality name -> (length, n_units) float32, memory for ``inputs``; None = new one

    Returns
    -------
    inputs : modality name -> (n_units, length) float32, finite, zeros where missing; a value of all units lies in one
        piece of memory, so that what follows is computed for many units at once
    present : (n_units, n_modalities) bool, in the order of ``INPUT_LENGTHS``

    Notes
    -----
    Waveform: baseline-subtracted, divided by its largest absolute value. ISI: square root of the histogram, two bins
    joined, divided by its mean. ACG: both sides averaged, then like the ISI. Counts and probabilities therefore give
    the same input. The square root stabilises the variance of Poisson counts. A flat waveform or an empty histogram
    counts as missing.
    """
    n_units = len(next(iter(raw.values())))
    inputs: dict[str, np.ndarray] = {}
    present = np.zeros((n_units, len(INPUT_LENGTHS)), dtype=bool)
    for column, (name, length) in enumerate(INPUT_LENGTHS.items()):
        found = np.empty((length, n_units), dtype=np.float32) if room is None else room[name]
        inputs[name] = found.T
        if name not in raw:
            found[:] = 0
            continue
        for start in range(0, n_units, BLOCK):
            rows = slice(start, start + BLOCK)
            values = np.asarray(raw[name][rows]).T.astype(PRECISION[name], order="C")
            is_finite = np.isfinite(values.sum(axis=0))
            if not is_finite.all():
                values[:, ~is_finite] = 0  # which carries no information
            found[:, rows], present[rows, column] = SCALINGS[name](values)
    return inputs, present


def stretch_rows(rows: np.ndarray, length: int) -> np.ndarray:
    """Resample each row linearly to ``length``, half-pixel centres, edges clamped.

    Output i samples the input at ``(i + 0.5) * n_in / length - 0.5``. The same width leaves the values untouched.

    Parameters
    ----------
    rows : (n, any width) float; NaN stays NaN
    length : int

    Returns
    -------
    (n, length) float64

    >>> stretch_rows(np.array([[0.0, 1.0]]), 4).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    rows = np.asarray(rows, dtype=np.float64)
    n_in = rows.shape[1]
    if n_in == length:
        return rows.copy()
    position = np.clip((np.arange(length) + 0.5) * n_in / length - 0.5, 0, n_in - 1)
    left = np.minimum(position.astype(np.int64), max(n_in - 2, 0))
    right = np.minimum(left + 1, n_in - 1)
    weight = position - left
    return rows[:, left] * (1 - weight) + rows[:, right] * weight


def _scale_waveform(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    baseline = np.partition(values[:N_BASELINE], N_BASELINE // 2, axis=0)[N_BASELINE // 2]
    centred = (values - baseline).astype(np.float32)  # no offset any more
    highest, lowest = centred.max(axis=0), centred.min(axis=0)
    usable = highest > lowest
    centred /= np.where(usable, np.maximum(highest, -lowest), np.float32(np.inf))
    return centred, usable


def _scale_histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = values[::2] + values[1::2]
    mean = values.sum(axis=0) / np.float32(len(values))
    usable = mean > 0
    values /= np.where(usable, mean, np.float32(np.inf))
    np.maximum(values, 0, out=values)
    return np.sqrt(values, out=values), usable


def _scale_acg(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre = len(values) // 2
    return _scale_histogram(values[centre + 1 :] + values[centre - 1 :: -1])


SCALINGS = {"waveform": _scale_waveform, "isi": _scale_histogram, "acg": _scale_acg}
"""Modality -> function of (canonical length, n), units last, giving (length, n) and (n,) which carry information."""
