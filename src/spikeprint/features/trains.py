"""Spike trains -> ISI histograms and autocorrelograms. Enters: spike times. Leaves: integer counts per unit.

Times become int64 microseconds ("ticks") once; 1 ms is then exactly 1000 ticks whatever the sampling rate, and every
count below is integer arithmetic, identical on every platform.
"""

from dataclasses import dataclass

import numba
import numpy as np

from ..core.errors import DataError
from ..core.types import MODALITIES

TICKS_PER_S = 1_000_000
TICKS_PER_MS = 1_000
N_ISI_BINS = MODALITIES["isi"].length
N_LAGS = MODALITIES["acg"].length // 2

MAX_INVALID_FRAC = 0.01
# A shuffled train has half of its steps descending: only clearly more than that (or mostly ties) is not a train.
MAX_DESCENDING_FRAC = 0.6
MAX_DUPLICATE_FRAC = 0.5
MIN_MEDIAN_ISI_TICKS = 50
MIN_INTERVALS_TO_JUDGE = 100
MAX_DURATION_S = 10 * 86_400


@dataclass(frozen=True)
class Trains:
    """Clean spike trains of one recording.

    Attributes
    ----------
    ticks : (n_spikes,) int64, µs; unit i owns ``ticks[offsets[i]:offsets[i + 1]]``, strictly increasing
    offsets : (n_units + 1,) int64
    duration_s : float
    n_invalid, n_unsorted, n_duplicates : (n_units,) int64
        Spikes dropped as NaN, infinite, negative or after the end; steps back in time; repeated ticks removed.
    """

    ticks: np.ndarray
    offsets: np.ndarray
    duration_s: float
    n_invalid: np.ndarray
    n_unsorted: np.ndarray
    n_duplicates: np.ndarray

    @property
    def n_spikes(self) -> np.ndarray:
        """(n_units,) int64"""
        return np.diff(self.offsets)

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all inter-spike intervals: (m,) int64 µs, and (m,) int64 the unit of each."""
        unit = np.repeat(np.arange(len(self.offsets) - 1), self.n_spikes)
        same = unit[1:] == unit[:-1]
        return np.diff(self.ticks)[same], unit[1:][same]


def to_ticks(times: np.ndarray, rate_hz: float) -> np.ndarray:
    """Convert finite times in samples of ``rate_hz`` (1.0 for seconds) to int64 µs: ``round(1e6 * t / rate)``.

    >>> to_ticks(np.array([0, 1, 2, 30]), 30_000.0).tolist()
    [0, 33, 67, 1000]
    """
    return np.rint(TICKS_PER_S * np.asarray(times, dtype=np.float64) / rate_hz).astype(np.int64)


def clean_trains(times: np.ndarray, offsets: np.ndarray, rate_hz: float, duration_s: float) -> Trains:
    """Convert to ticks, drop impossible times, sort, remove exact duplicates; count all three per unit.

    Parameters
    ----------
    times : (n_spikes,) integer or float, samples of ``rate_hz`` (1.0 for seconds), unit after unit
    offsets : (n_units + 1,) int64
    rate_hz, duration_s : float

    Raises
    ------
    DataError
        The rate is not positive, more than 1 % of the times are impossible, or they are not spike times in this unit
        (longer than ten days, median interval under 50 µs, mostly repeated or descending).
    """
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise DataError(f"spike times: sampling frequency {rate_hz} Hz; a positive number is needed")
    seconds = np.asarray(times, dtype=np.float64) / rate_hz
    n_units = len(offsets) - 1
    unit = np.repeat(np.arange(n_units), np.diff(offsets))
    finite = np.isfinite(seconds)
    if finite.any() and seconds[finite].max() > MAX_DURATION_S:
        days = seconds[finite].max() / 86_400
        raise DataError(
            f"spike times: the last spike is at {days:.0f} days (sampling frequency {rate_hz} Hz); "
            "recordings of at most 10 days are read: check the sampling frequency and the unit (samples, not µs)"
        )
    valid = finite & (seconds >= 0) & (seconds <= duration_s)
    n_bad = int((~valid).sum())
    if n_bad > MAX_INVALID_FRAC * len(seconds):
        raise DataError(
            f"spike times: {n_bad} of {len(seconds)} are NaN, infinite, negative or after the end at {duration_s} s; "
            "at most 1 % may be: check duration, sampling frequency and unit"
        )
    ticks, owner = to_ticks(np.asarray(times)[valid], rate_hz), unit[valid]
    backwards = (np.diff(ticks) < 0) & (np.diff(owner) == 0)
    ticks = ticks[np.lexsort((ticks, owner))]
    repeated = np.zeros(len(ticks), dtype=bool)
    repeated[1:] = (np.diff(ticks) == 0) & (np.diff(owner) == 0)
    per_unit = [np.bincount(who, minlength=n_units) for who in (unit[~valid], owner[1:][backwards], owner[repeated])]
    _refuse_labels(len(ticks), int(backwards.sum()), int(repeated.sum()))
    kept = np.bincount(owner[~repeated], minlength=n_units)
    trains = Trains(ticks[~repeated], np.concatenate([[0], np.cumsum(kept)]), float(duration_s), *per_unit)
    intervals, _ = trains.intervals()
    if len(intervals) >= MIN_INTERVALS_TO_JUDGE and np.median(intervals) < MIN_MEDIAN_ISI_TICKS:
        raise DataError(
            f"spike times: the median inter-spike interval is {np.median(intervals):.0f} µs at {rate_hz} Hz; "
            "no neuron fires so fast: check the sampling frequency and the unit (samples, not ms or s)"
        )
    return trains


def compute_isi_acg(ticks: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count inter-spike intervals and all pairs of spikes in one pass, units in parallel.

    ISI bin k covers [k, k + 1) ms; intervals of 100 ms or more are not counted. ACG column 100 + k counts the pairs
    whose distance d has ``floor((d + 500 µs) / 1 ms) = k``, 1 <= k <= 100, mirrored to 100 - k; the centre is 0.

    Parameters
    ----------
    ticks : (n_spikes,) int64, µs, ascending within each unit
    offsets : (n_units + 1,) int64

    Returns
    -------
    isi : (n_units, 100) int64
    acg : (n_units, 201) int64
    """
    offsets = np.asarray(offsets, dtype=np.int64)
    n_units = len(offsets) - 1
    isi = np.zeros((n_units, N_ISI_BINS), dtype=np.int64)
    acg = np.zeros((n_units, 2 * N_LAGS + 1), dtype=np.int64)
    longest_first = np.argsort(-np.diff(offsets), kind="stable")
    with numba.parallel_chunksize(1):
        _count(np.ascontiguousarray(ticks, dtype=np.int64), offsets, longest_first, isi, acg)
    return isi, acg


def _refuse_labels(n_spikes: int, n_backwards: int, n_repeated: int) -> None:
    """Raise when the values cannot be times of spikes, as when cluster numbers were passed."""
    if n_spikes < MIN_INTERVALS_TO_JUDGE:
        return
    for what, count, limit in (
        ("step back in time", n_backwards, MAX_DESCENDING_FRAC),
        ("repeat another one", n_repeated, MAX_DUPLICATE_FRAC),
    ):
        if count > limit * n_spikes:
            raise DataError(
                f"spike times: {count} of {n_spikes} {what}; at most {limit:.0%} may: "
                "are these cluster numbers, or a wrong column?"
            )


@numba.njit(parallel=True, cache=True)
def _count(ticks, offsets, order, isi, acg):  # pragma: no cover - compiled
    """Fill ``isi`` and ``acg`` (zeroed) from CSR trains; each unit belongs to one thread."""
    n_lags = acg.shape[1] // 2
    isi_end = isi.shape[1] * TICKS_PER_MS
    window = n_lags * TICKS_PER_MS + TICKS_PER_MS // 2
    for rank in numba.prange(len(order)):
        unit = order[rank]
        stop = offsets[unit + 1]
        pairs = np.zeros(n_lags + 1, dtype=np.int64)
        for i in range(offsets[unit], stop - 1):
            first = ticks[i + 1] - ticks[i]
            if first < isi_end:
                isi[unit, first // TICKS_PER_MS] += 1
            for j in range(i + 1, stop):
                distance = ticks[j] - ticks[i]
                if distance >= window:
                    break
                # uint32: d < 100 500 ticks, and an unsigned division by a constant is a multiplication.
                pairs[np.uint32(distance + TICKS_PER_MS // 2) // np.uint32(TICKS_PER_MS)] += 1
        for k in range(1, n_lags + 1):
            acg[unit, n_lags + k] = pairs[k]
            acg[unit, n_lags - k] = pairs[k]
