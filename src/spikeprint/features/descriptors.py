"""Numbers that say what a trace looks like. Enters: normalised modalities. Leaves: one row of descriptors per unit.

A small network learns from a few hundred units. Widths, positions and quantiles are what it would have to discover;
told to it beside the traces, they cost nothing and need no training. They are functions of the model's own inputs, so
they know no gain, no recording length and no other unit. NumPy only: the served model runs a copy of this file.

All is computed with the units last, (length, n): a step of the computation is then one pass over many units, which the
processor takes 16 at a time, and sums over the trace are products of matrices.
"""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise

import numpy as np

BLOCK = 5120
"""Units at a time: the temporaries stay in the processor's last cache, and the calls cost little."""

ISI_QUANTILES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
ISI_FRACTIONS = (1, 2, 3, 4, 6, 10, 17, 30)
"""Bins below which the share of intervals is told."""
ACG_EDGES = (0, 1, 2, 3, 5, 7, 10, 15, 22, 33, 50)
"""Borders of the lag ranges whose mean is told, in bins."""
SMALL, QUIET, NOTHING = 1e-3, np.float32(1e-3), np.float32(1e-9)
LEVELS = np.array([-0.25, -0.5, -0.75], np.float32)
"""Where widths of the waveform are measured, relative to its largest peak."""
FAR = np.float32(8)
"""Taken off what does not take part in a search: no waveform and none of its steps is as large."""
NEARLY = np.float32(1 - 3e-6)
"""What is within rounding of the largest value is as large: counts tie often, and the first of them is meant."""
PIECE = 1 << 18
"""Multiplications in one product of matrices."""


def describe(inputs: Mapping[str, np.ndarray], room: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Compute the descriptors of every modality.

    Parameters
    ----------
    inputs : modality -> (n_units, length) float32, what ``transforms.normalise`` returns
    room : modality -> (``N_DESCRIPTORS[modality]``, n_units) float32, memory for the answer; None = new one

    Returns
    -------
    modality -> (n_units, ``N_DESCRIPTORS[modality]``) float32, finite, in memory like the inputs; a row of zeros has
    meaningless descriptors
    """
    found = {}
    for name, x in inputs.items():
        columns = np.empty((N_DESCRIPTORS[name], len(x)), np.float32) if room is None else room[name]
        for start in range(0, len(x), BLOCK):
            rows = slice(start, start + BLOCK)
            columns[:, rows] = DESCRIPTORS[name](np.ascontiguousarray(x[rows].T, np.float32))
        found[name] = columns.T
    return found


def describe_waveform(y: np.ndarray) -> np.ndarray:
    """Widths, peaks, slopes, areas, spectrum and noise of waveforms turned so that their largest peak points down.

    Shapes: (L, n) float32, baseline 0, largest absolute value 1 -> (39, n) float32. Times are in samples.
    """
    last = len(y) - 1
    size = np.abs(y)
    trough = _argmax(size)
    polarity = np.where(_at(y, trough) > 0, np.float32(-1), np.float32(1))
    v, m = y * polarity, trough.astype(np.float32)
    is_after, is_before = _beside(trough, len(y))
    hidden, shown = FAR * is_before, FAR * is_after
    (high_after, peak_after), (high_before, peak_before) = _peak(v - hidden), _peak(v - shown)
    left, right = _half_widths(v, m, is_before, is_after)
    columns = [x for pair in zip(left, right, left + right, strict=True) for x in pair]
    columns += [polarity, m, high_after, high_before, peak_after - m, m - peak_before]
    columns += [high_after / (high_before + 1), (high_after - high_before) / (high_after + np.abs(high_before) + 0.1)]
    step = np.diff(v, axis=0)
    steepest = [(step - hidden[:-1]).max(axis=0), (step + shown[1:]).min(axis=0)]
    steepest += [(step + hidden[:-1]).min(axis=0), (step - shown[1:]).max(axis=0)]
    columns += [x * (np.abs(x) < FAR / 2) for x in steepest]
    up, above = np.maximum(v, 0), v > 0
    total, positive = size.sum(axis=0), up.sum(axis=0)
    columns += [_mean(v[-3:]), 2 * positive - total, total, (v * v).sum(axis=0), positive]
    columns += [(up * is_after).sum(axis=0), (up * is_before).sum(axis=0)]
    columns += [
        _at(v, np.maximum(trough - 1, 0)) + _at(v, np.minimum(trough + 1, last)) - 2 * _at(v, trough),
        high_after - _at(v, np.minimum(peak_after + 10, last)),
        _first(is_after & above) - m,
        m - _last(is_before & above),
    ]
    centre, spread = _moments(size, total)
    bend, ends = step[1:] - step[:-1], np.stack([v[:6].std(axis=0), _mean(np.abs(step[-7:]))])
    noise = [np.log((bend * bend).sum(axis=0) + QUIET**2), *np.log(ends + QUIET)]
    power = _power(v)
    return _stack([*columns, centre - m, spread, *_moments(power, power.sum(axis=0)), *noise])


def describe_isi(h: np.ndarray) -> np.ndarray:
    """Quantiles, moments, entropy, mode, cumulative shares and grain of intervals.

    Shapes: (L, n) float32, square root of the relative histogram -> (28, n) float32.
    """
    length = len(h)
    p = h * h
    p *= 1 / np.maximum(p.sum(axis=0), SMALL)
    cumulative = _product(_lower_triangle(length), p)
    quantiles = np.array(ISI_QUANTILES, np.float32)[:, None]
    i = np.minimum(_first(cumulative >= quantiles[:, :, None] * NEARLY), length - 1)
    own = _at(p, i)
    places = i + (quantiles - (_at(cumulative, i) - own)) / np.maximum(own, np.float32(1e-6))
    middles = _middles(length)
    mean, log_mean, log_square = _product(middles, p)
    away = middles[0][:, None] - mean
    weighted = p * away
    sd = np.sqrt((weighted * away).sum(axis=0))
    weighted *= away
    columns = [mean, sd / np.maximum(mean, 0.1), (weighted * away).sum(axis=0) / np.maximum(sd, 0.1) ** 3]
    columns += [log_mean, np.sqrt(np.maximum(log_square - log_mean**2, 0))]
    columns.append(-(p * np.log(np.maximum(p, np.float32(1e-9)))).sum(axis=0))
    smooth = _smooth(p, 1)
    columns += [np.log(1 + _argmax(smooth).astype(np.float32)), smooth.max(axis=0) * length]
    half = length // 2
    ratios = [_log_ratio(p[half:].sum(axis=0), p[length // 5 : half].sum(axis=0))]
    ratios.append(_log_ratio(_mean(p[:3]), _mean(p[length // 7 : half])))
    shares = np.sqrt(cumulative[[b - 1 for b in ISI_FRACTIONS]])
    return _stack([*np.log(np.clip(places, 0.2, length)), *columns, *shares, *ratios, *_grain(p)])


def describe_acg(h: np.ndarray) -> np.ndarray:
    """Level by lag, peak, refractory time, bursts, grain, trend and rhythm of autocorrelograms.

    Shapes: (L, n) float32, square root of the relative one-sided histogram -> (25, n) float32.
    """
    length = len(h)
    g = h * h
    g *= 1 / np.maximum(_mean(g), SMALL)
    *levels, tail, start, early, trend = _product(_lag_weights(length), g)
    base = np.where(tail > 0, tail, np.float32(1))
    smooth = _smooth(g, 2)
    highest = smooth.max(axis=0)
    late = smooth[2:]
    lags = [_argmax(smooth), _first(late * NEARLY <= late.min(axis=0))]
    lags += [_first(smooth >= np.float32(share) * NEARLY * base) for share in (0.5, 0.9)]
    peak, pause, *rises = np.log(1 + _stack(lags))
    columns = [peak, np.sqrt(highest), pause, *rises]
    columns += [*_log_ratio(np.stack([highest, start, early]), base, 0.03)]
    away = g - _mean(g)
    columns += [np.sqrt(_mean(away * away)), *_grain(g / length), trend]
    power = _power(g[2:] - _mean(g[2:]))
    rate = 1 / np.maximum(power.sum(axis=0), SMALL)
    columns += [power[3 : length // 6].sum(axis=0) * rate, power[length // 6 :].sum(axis=0) * rate]
    return _stack([*np.sqrt(np.stack(levels)), *columns])


DESCRIPTORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "waveform": describe_waveform,
    "isi": describe_isi,
    "acg": describe_acg,
}
"""Modality -> function of (length, n) giving (number of descriptors, n)."""
N_DESCRIPTORS = {"waveform": 39, "isi": 28, "acg": 25}
"""Modality -> number of descriptors."""


def _stack(columns: list[np.ndarray]) -> np.ndarray:
    """Lay (n,) of any type one below the other: (number, n) float32"""
    found = np.empty((len(columns), len(columns[0])), np.float32)
    for row, column in zip(found, columns, strict=True):
        row[:] = column
    return found


def _product(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(K, L) @ (L, n), in pieces so small that BLAS wakes no other thread, which takes longer than the product."""
    step = max(PIECE // weight.size, 1)
    found = np.empty((len(weight), x.shape[1]), np.float32)
    for start in range(0, x.shape[1], step):
        rows = slice(start, start + step)
        np.matmul(weight, x[:, rows], out=found[:, rows])
    return found


def _mean(x: np.ndarray) -> np.ndarray:
    """(L, n) -> (n,); numpy's own costs a single unit several times as much"""
    return x.sum(axis=0) / np.float32(len(x))


def _at(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Value of each unit at a position of its own. (L, n), (..., n) int -> (..., n)"""
    n_units = x.shape[1]
    return x.ravel().take(index * n_units + np.arange(n_units))


def _argmax(x: np.ndarray) -> np.ndarray:
    """Position of the first largest value of each unit, which are not negative. (L, n) -> (n,) int64"""
    return _first(x >= x.max(axis=0) * NEARLY)


def _first(mask: np.ndarray) -> np.ndarray:
    """Position of the first True of each unit, L where there is none. (..., L, n) bool -> (..., n) int64

    The largest of numbers that fall along the trace, of one byte each: ``mask.argmax`` takes four times as long.
    """
    length = mask.shape[-2]
    return length - (mask.view(np.uint8) * _falling(length)).max(axis=-2).astype(np.intp)


def _beside(index: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Which positions come after one, and which before it. (n,) int -> (L, n) bool, (L, n) bool"""
    own, t = (length - index).astype(np.uint8), _falling(length)
    return t < own, t > own


def _last(mask: np.ndarray) -> np.ndarray:
    """Position of the last True of each unit, -1 where there is none. (..., L, n) bool -> (..., n) int64"""
    return (mask.view(np.uint8) * _falling(mask.shape[-2])[::-1]).max(axis=-2).astype(np.intp) - 1


def _peak(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest value of a waveform beside its trough, and where it is; 0 and 0 where there is nothing but the trough."""
    high = part.max(axis=0)
    is_there = high > -1
    return high * is_there, _first(part == high) * is_there


def _half_widths(
    v: np.ndarray, m: np.ndarray, is_before: np.ndarray, is_after: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Samples from the trough to the crossings of ``LEVELS`` before and after it; to the edge where there is none.

    Shapes: (L, n) waveforms, (n,) troughs, (L, n) bool -> (number of levels, n) each
    """
    last = len(v) - 1
    above = v > LEVELS[:, None, None]
    left, right = _last(above & is_before), _first(above & is_after)
    index = np.clip(np.stack([left, right - 1]), 0, last - 1)
    low, high = _at(v, index), _at(v, index + 1)
    rise = high - low
    crossing = index + (LEVELS[:, None] - low) / np.where(np.abs(rise) > 1e-9, rise, np.float32(np.inf))
    before, after = crossing.astype(np.float32)
    before[left < 0] = 0
    after[right > last] = last
    return m - before, after - m


def _moments(weight: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and spread, in samples, of weights (L, n) whose sums are ``total`` (n,)"""
    t = np.arange(len(weight), dtype=np.float32)
    centre, square = _product(np.stack([t, t**2]), weight) / np.maximum(total, SMALL)
    return centre, np.sqrt(np.maximum(square - centre**2, 0))


def _power(x: np.ndarray) -> np.ndarray:
    """Power at each frequency of the window. (L, n) -> (L // 2 + 1, n); for short rows a product beats the FFT"""
    cosine, sine = (_product(wave, x) for wave in _waves(len(x)))
    cosine *= cosine
    sine *= sine
    cosine += sine
    return cosine


@cache
def _waves(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of every frequency, (length // 2 + 1, length) each"""
    phase = 2 * np.pi / length * (np.outer(np.arange(length // 2 + 1), np.arange(length)) % length)
    return np.cos(phase).astype(np.float32), np.sin(phase).astype(np.float32)


@cache
def _lag_weights(length: int) -> np.ndarray:
    """Rows whose products with an autocorrelogram are its means over lags and its late trend, (14, length)"""
    t = np.arange(length)
    borders = [*pairwise(ACG_EDGES), (3 * length // 5, length), (0, 3), (5, 15)]
    late = np.where(t < length // 5, 0, t - 0.6 * length)
    means = [((t >= a) & (t < b)) / (b - a) for a, b in borders]
    return np.stack([*means, (late - late.mean()) / length]).astype(np.float32)


@cache
def _middles(length: int) -> np.ndarray:
    """Middles of bins, their logarithms and the squares of those, (3, length)"""
    t = np.arange(length, dtype=np.float32) + 0.5
    return np.stack([t, np.log(t), np.log(t) ** 2])


@cache
def _falling(length: int) -> np.ndarray:
    """From ``length`` down to 1, one byte each, (length, 1)"""
    return np.arange(length, 0, -1, dtype=np.uint8)[:, None]


@cache
def _lower_triangle(length: int) -> np.ndarray:
    """What turns values into their running sums, (length, length); numpy's own takes ten times as long"""
    return np.tri(length, dtype=np.float32)


def _smooth(x: np.ndarray, middle: int) -> np.ndarray:
    """Traces convolved with (1, ``middle``, 1), edges held. (L, n) -> (L, n)"""
    total = x * np.float32(middle)
    total[1:] += x[:-1]
    total[:-1] += x[1:]
    total[0] += x[0]
    total[-1] += x[-1]
    total /= np.float32(middle + 2)
    return total


def _grain(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How few events a histogram is made of: roughness, smallest share, empty bins. (L, n) -> (n,) each"""
    bend, is_empty = p[2:] - 2 * p[1:-1] + p[:-2], p <= NOTHING
    rough = (bend * bend).sum(axis=0) / np.maximum((p * p).sum(axis=0), NOTHING)
    return np.log(rough + QUIET**2), np.log((p + is_empty).min(axis=0)), _mean(is_empty.astype(np.float32))


def _log_ratio(a: np.ndarray, b: np.ndarray, floor: float = SMALL) -> np.ndarray:
    return np.log((a + floor) / (b + floor))
