"""Numbers that say what a trace looks like. Enters: normalised modalities. Leaves: one row of descriptors per unit.

A small network learns from a few hundred units. Widths, positions and quantiles are what it would have to discover;
told to it beside the traces, they cost nothing and need no training. They are functions of the model's own inputs, so
they know no gain, no recording length and no other unit. NumPy only: the served model runs a copy of this file.
"""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise

import numpy as np

BLOCK = 1024
"""Units at a time: the temporaries stay in the processor's cache."""

ISI_QUANTILES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
ISI_FRACTIONS = (1, 2, 3, 4, 6, 10, 17, 30)
"""Bins below which the share of intervals is told."""
ACG_EDGES = (0, 1, 2, 3, 5, 7, 10, 15, 22, 33, 50)
"""Borders of the lag ranges whose mean is told, in bins."""
SMALL = 1e-3


def describe(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the descriptors of every modality.

    Parameters
    ----------
    inputs : modality -> (n_units, length) float32, what ``transforms.normalise`` returns

    Returns
    -------
    modality -> (n_units, ``N_DESCRIPTORS[modality]``) float32, finite; a row of zeros has meaningless descriptors
    """
    return {name: _in_blocks(DESCRIPTORS[name], np.asarray(x, np.float32)) for name, x in inputs.items()}


def describe_waveform(y: np.ndarray) -> np.ndarray:
    """Widths, peaks, slopes, areas and spectrum of waveforms turned so that their largest peak points down.

    Shapes: (n, L) float32, baseline 0, largest absolute value 1 -> (n, 36) float32. Times are in samples.
    """
    n, length = y.shape
    rows, t = np.arange(n), np.arange(length, dtype=np.float32)
    polarity = np.where(y[rows, np.abs(y).argmax(axis=1)] > 0, np.float32(-1), np.float32(1))
    v = y * polarity[:, None]
    trough = v.argmin(axis=1)
    m = trough.astype(np.float32)
    is_after, is_before = t > m[:, None], t < m[:, None]
    after, before = np.where(is_after, v, -np.inf), np.where(is_before, v, -np.inf)
    peak_after, peak_before = after.argmax(axis=1), before.argmax(axis=1)
    high_after = np.where(trough < length - 1, v[rows, peak_after], 0)
    high_before = np.where(trough > 0, v[rows, peak_before], 0)
    columns = []
    for level in (0.25, 0.5, 0.75):
        left, right = _half_widths(v, trough, -level)
        columns += [left, right, left + right]
    columns += [polarity, m, high_after, high_before, peak_after - m, m - peak_before]
    columns += [high_after / (high_before + 1), (high_after - high_before) / (high_after + np.abs(high_before) + 0.1)]
    step, falls = np.diff(v, axis=1), t[:-1] < m[:, None]
    columns += [_extreme(step, ~falls, np.max), _extreme(step, falls, np.min)]
    columns += [_extreme(step, ~falls, np.min), _extreme(step, falls, np.max)]
    up, size = np.maximum(v, 0), np.abs(v)
    total, positive = size.sum(axis=1), up.sum(axis=1)
    columns += [v[:, -3:].mean(axis=1), 2 * positive - total, total, (v * v).sum(axis=1), positive]
    columns += [(up * is_after).sum(axis=1), (up * is_before).sum(axis=1)]
    above = v > 0
    columns += [
        v[rows, np.maximum(trough - 1, 0)] + v[rows, np.minimum(trough + 1, length - 1)] - 2 * v[rows, trough],
        high_after - v[rows, np.minimum(peak_after + 10, length - 1)],
        _first(is_after & above, length) - m,
        m - _last(is_before & above, -1),
    ]
    columns += [*_moments(size / np.maximum(total, SMALL)[:, None], t, m), *_spectrum(v)]
    return np.stack(columns, axis=1).astype(np.float32)


def describe_isi(h: np.ndarray) -> np.ndarray:
    """Quantiles, moments, entropy, mode and cumulative shares of intervals.

    Shapes: (n, L) float32, square root of the relative histogram -> (n, 25) float32.
    """
    n, length = h.shape
    p = h * h
    p /= np.maximum(p.sum(axis=1, keepdims=True), SMALL)
    cumulative, rows = p.cumsum(axis=1), np.arange(n)
    t = np.arange(length, dtype=np.float32) + 0.5
    columns = []
    for q in ISI_QUANTILES:
        i = _first(cumulative >= q, length - 1)
        below = np.where(i > 0, cumulative[rows, i - 1], 0)
        columns.append(np.log(np.clip(i + (q - below) / np.maximum(p[rows, i], 1e-6), 0.2, length)))
    mean = p @ t
    away = t - mean[:, None]
    sd = np.sqrt((p * away**2).sum(axis=1))
    log_t = np.log(t)
    log_mean = p @ log_t
    columns += [mean, sd / np.maximum(mean, 0.1), (p * away * away * away).sum(axis=1) / np.maximum(sd, 0.1) ** 3]
    columns += [log_mean, np.sqrt(np.maximum(p @ log_t**2 - log_mean**2, 0))]
    columns.append(-(p * np.log(np.maximum(p, 1e-9))).sum(axis=1))
    smooth = _smooth(p, (1, 1, 1))
    columns += [np.log1p(smooth.argmax(axis=1)), smooth.max(axis=1) * length]
    columns += [np.sqrt(cumulative[:, b - 1]) for b in ISI_FRACTIONS]
    half = length // 2
    columns.append(_log_ratio(p[:, half:].sum(axis=1), p[:, length // 5 : half].sum(axis=1)))
    columns.append(_log_ratio(p[:, :3].mean(axis=1), p[:, length // 7 : half].mean(axis=1)))
    return np.stack(columns, axis=1).astype(np.float32)


def describe_acg(h: np.ndarray) -> np.ndarray:
    """Level by lag, peak, refractory time, bursts, trend and rhythm of autocorrelograms.

    Shapes: (n, L) float32, square root of the relative one-sided histogram -> (n, 22) float32.
    """
    _, length = h.shape
    g = h * h
    g /= np.maximum(g.mean(axis=1, keepdims=True), SMALL)
    columns = [np.sqrt(g[:, a:b].mean(axis=1)) for a, b in pairwise(ACG_EDGES)]
    tail = g[:, 3 * length // 5 :].mean(axis=1)
    base = np.where(tail > 0, tail, 1)
    smooth = _smooth(g, (1, 2, 1))
    columns += [np.log1p(smooth.argmax(axis=1)), np.sqrt(smooth.max(axis=1)), np.log1p(smooth[:, 2:].argmin(axis=1))]
    columns += [np.log1p((smooth >= share * base[:, None]).argmax(axis=1)) for share in (0.5, 0.9)]
    columns += [_log_ratio(x, base, 0.03) for x in (smooth.max(axis=1), g[:, :3].mean(axis=1), g[:, 5:15].mean(axis=1))]
    late = np.arange(length, dtype=np.float32) - length * 0.6
    late[: length // 5] = 0
    columns += [g.std(axis=1), g @ (late - late.mean()) / length]
    power = _power(g[:, 2:] - g[:, 2:].mean(axis=1, keepdims=True))
    share = power / np.maximum(power.sum(axis=1, keepdims=True), SMALL)
    columns += [share[:, 3 : length // 6].sum(axis=1), share[:, length // 6 :].sum(axis=1)]
    return np.stack(columns, axis=1).astype(np.float32)


DESCRIPTORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "waveform": describe_waveform,
    "isi": describe_isi,
    "acg": describe_acg,
}
"""Modality -> function of (n, length) giving (n, number of descriptors)."""
N_DESCRIPTORS = {"waveform": 36, "isi": 25, "acg": 22}
"""Modality -> number of descriptors."""


def _in_blocks(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    starts = range(0, max(len(x), 1), BLOCK)
    return np.concatenate([function(x[i : i + BLOCK]) for i in starts])


def _half_widths(v: np.ndarray, trough: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Samples from the trough to the crossings of ``level`` before and after it; to the edge where there is none."""
    n, length = v.shape
    rows, t = np.arange(n), np.arange(length)
    above, m = v > level, trough[:, None]
    left, right = _last(above & (t < m), -1), _first(above & (t > m), length)

    def crossing(a: np.ndarray) -> np.ndarray:
        a = np.clip(a, 0, length - 2)
        low, high = v[rows, a], v[rows, a + 1]
        rise = high - low
        return a + np.divide(level - low, rise, out=np.zeros_like(rise), where=np.abs(rise) > 1e-9)

    before = np.where(left >= 0, crossing(left), 0)
    after = np.where(right < length, crossing(right - 1), length - 1)
    return trough - before, after - trough


def _first(mask: np.ndarray, otherwise: int) -> np.ndarray:
    """Position of the first True of each row, ``otherwise`` where there is none. (n, L) bool -> (n,) int64"""
    found = mask.argmax(axis=1)
    return np.where(mask[np.arange(len(mask)), found], found, otherwise)


def _last(mask: np.ndarray, otherwise: int) -> np.ndarray:
    """Position of the last True of each row, ``otherwise`` where there is none. (n, L) bool -> (n,) int64"""
    found = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    return np.where(mask[np.arange(len(mask)), found], found, otherwise)


def _extreme(step: np.ndarray, where: np.ndarray, pick: Callable[..., np.ndarray]) -> np.ndarray:
    """Largest or smallest step of the waveform within a part of it, 0 where that part is empty."""
    worst = np.float32(-np.inf if pick is np.max else np.inf)
    found = pick(np.where(where, step, worst), axis=1)
    return np.where(np.isfinite(found), found, 0)


def _moments(weight: np.ndarray, t: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre relative to ``origin`` and spread of the rows of ``weight``, which sum to 1."""
    centre = weight @ t
    return centre - origin, np.sqrt(np.maximum(weight @ t**2 - centre**2, 0))


def _spectrum(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and spread of the power spectrum, in cycles per window."""
    power = _power(v)
    power /= np.maximum(power.sum(axis=1, keepdims=True), SMALL)
    return _moments(power, np.arange(power.shape[1]), np.zeros(len(v)))


def _power(x: np.ndarray) -> np.ndarray:
    """Power at each frequency of the window. (n, L) -> (n, L // 2 + 1); for short rows a product beats the FFT"""
    cosine, sine = (x @ wave for wave in _waves(x.shape[1]))
    return cosine * cosine + sine * sine


@cache
def _waves(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of every frequency, (length, length // 2 + 1) each"""
    phase = 2 * np.pi / length * (np.outer(np.arange(length), np.arange(length // 2 + 1)) % length)
    return np.cos(phase).astype(np.float32), np.sin(phase).astype(np.float32)


def _smooth(x: np.ndarray, kernel: tuple[int, ...]) -> np.ndarray:
    """Rows convolved with a short kernel, edges held. (n, L) -> (n, L)"""
    half, length = len(kernel) // 2, x.shape[1]
    padded = np.pad(x, ((0, 0), (half, half)), mode="edge")
    total = sum(weight * padded[:, i : i + length] for i, weight in enumerate(kernel))
    return np.asarray(total) / np.float32(sum(kernel))


def _log_ratio(a: np.ndarray, b: np.ndarray, floor: float = SMALL) -> np.ndarray:
    return np.log((a + floor) / (b + floor))
