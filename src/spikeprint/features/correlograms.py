"""Sorted ticks -> ISI histograms, auto- and cross-correlograms. Enters: trains in µs. Leaves: integer counts.

Numba runs the pairs in parallel over units; where it cannot be imported NumPy counts the same integers, more slowly.
"""

import functools
import logging
from collections.abc import Iterator
from typing import Literal

import numpy as np

from .ticks import N_ISI_BINS, N_LAGS, TICKS_PER_MS, WINDOW_TICKS

try:
    import numba

    from . import kernels
except ImportError:
    kernels = None  # type: ignore[assignment]

LOGGER = logging.getLogger(__name__)
Backend = Literal["numba", "numpy"]
DEFAULT_BACKEND: Backend = "numpy" if kernels is None else "numba"

CLOSE_BIN_TICKS = 250
N_CLOSE_BINS = 40
BLOCK = 1 << 15
"""Spikes at a time in NumPy, so that the temporaries stay in the processor's cache."""


def compute_isi_acg(
    ticks: np.ndarray, offsets: np.ndarray, runs: np.ndarray | None = None, backend: Backend = DEFAULT_BACKEND
) -> tuple[np.ndarray, np.ndarray]:
    """Count inter-spike intervals and all pairs of spikes in one pass, units in parallel.

    ISI bin k covers [k, k + 1) ms; intervals of 100 ms or more are not counted. ACG column 100 + k counts the pairs
    whose distance d has ``floor((d + 500 µs) / 1 ms) = k``, 1 <= k <= 100, mirrored to 100 - k; the centre is 0.

    Parameters
    ----------
    ticks : (n_spikes,) int64, µs, ascending within each run
    offsets : (n_units + 1,) int64
    runs : (n_runs + 1,) int64, ends of unbroken stretches, every unit border among them; None = each unit is one
    backend : both give the same integers

    Returns
    -------
    isi : (n_units, 100) int64
    acg : (n_units, 201) int64
    """
    ticks, runs, unit_runs = _as_runs(ticks, offsets, runs)
    n_units = len(unit_runs) - 1
    isi = np.zeros((n_units, N_ISI_BINS), dtype=np.int64)
    acg = np.zeros((n_units, 2 * N_LAGS + 1), dtype=np.int64)
    if _is_compiled(backend):
        longest_first = np.argsort(-np.diff(runs[unit_runs]), kind="stable")
        with numba.parallel_chunksize(1):
            kernels.count_isi_acg(ticks, runs, unit_runs, longest_first, isi, acg)
        return isi, acg
    pairs = np.zeros((n_units, N_LAGS + 1), dtype=np.int64)
    for k, distance, unit in _neighbours(ticks, runs, unit_runs, WINDOW_TICKS):
        _add(pairs, unit, (distance + TICKS_PER_MS // 2) // TICKS_PER_MS)
        if k == 1:
            short = distance < N_ISI_BINS * TICKS_PER_MS
            _add(isi, unit[short], distance[short] // TICKS_PER_MS)
    acg[:, N_LAGS + 1 :] = pairs[:, 1:]
    acg[:, :N_LAGS] = pairs[:, :0:-1]
    return isi, acg


def compute_close_pairs(
    ticks: np.ndarray, offsets: np.ndarray, runs: np.ndarray | None = None, backend: Backend = DEFAULT_BACKEND
) -> np.ndarray:
    """Count all pairs of spikes of a unit less than 10 ms apart, for the refractory metrics.

    Parameters
    ----------
    ticks, offsets, runs, backend : as for ``compute_isi_acg``

    Returns
    -------
    (n_units, 40) int64, bin k covers [k / 4, (k + 1) / 4) ms
    """
    ticks, runs, unit_runs = _as_runs(ticks, offsets, runs)
    counts = np.zeros((len(unit_runs) - 1, N_CLOSE_BINS), dtype=np.int64)
    if _is_compiled(backend):
        kernels.count_close_pairs(ticks, runs, unit_runs, CLOSE_BIN_TICKS, counts)
        return counts
    for _, distance, unit in _neighbours(ticks, runs, unit_runs, N_CLOSE_BINS * CLOSE_BIN_TICKS):
        _add(counts, unit, distance // CLOSE_BIN_TICKS)
    return counts


def compute_crosscorrelogram(first: np.ndarray, second: np.ndarray, backend: Backend = DEFAULT_BACKEND) -> np.ndarray:
    """Count all pairs of a spike of ``first`` and one of ``second`` by their lag, ``second`` minus ``first``.

    A pair with distance d >= 0 falls in lag ``floor((d + 500 µs) / 1 ms)``, one with d < 0 in the negative of the lag
    of -d: a half millisecond goes away from zero on both sides, and swapping the trains reverses the result. Pairs
    below 0.5 ms, either way, are in the centre bin.

    Parameters
    ----------
    first, second : (n,) int64, µs, ascending

    Returns
    -------
    (201,) int64, lags of -100 to 100 ms
    """
    first = np.ascontiguousarray(first, dtype=np.int64)
    second = np.ascontiguousarray(second, dtype=np.int64)
    counts = np.zeros(2 * N_LAGS + 1, dtype=np.int64)
    if _is_compiled(backend):
        kernels.count_cross(first, second, counts)
        return counts
    low = np.searchsorted(second, first - WINDOW_TICKS, side="right")
    n_near = np.searchsorted(second, first + WINDOW_TICKS, side="left") - low
    for k in range(int(n_near.max(initial=0))):
        has = n_near > k
        distance = second[low[has] + k] - first[has]
        lag = np.sign(distance) * ((np.abs(distance) + TICKS_PER_MS // 2) // TICKS_PER_MS)
        counts += np.bincount(lag + N_LAGS, minlength=len(counts))
    return counts


def _as_runs(
    ticks: np.ndarray, offsets: np.ndarray, runs: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ticks, runs, and (n_units + 1,) int64 the first run of each unit."""
    offsets = np.asarray(offsets, dtype=np.int64)
    runs = np.unique(offsets if runs is None else np.asarray(runs, dtype=np.int64))
    return np.ascontiguousarray(ticks, dtype=np.int64), runs, np.searchsorted(runs, offsets)


def _is_compiled(backend: Backend) -> bool:
    """Whether numba counts; tell once when it was not found."""
    if kernels is None:
        _tell_slow()
    return backend == "numba" and kernels is not None


@functools.cache
def _tell_slow() -> None:
    LOGGER.warning("numba cannot be imported: spikes are counted by NumPy, with equal results, several times slower")


def _neighbours(
    ticks: np.ndarray, runs: np.ndarray, unit_runs: np.ndarray, window: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield for k = 1, 2, ...: k, distances under ``window`` of spikes to their k-th successor, and their units."""
    stop = np.repeat(runs[1:], np.diff(runs))
    unit = np.repeat(np.arange(len(unit_runs) - 1), np.diff(runs[unit_runs]))
    for start in range(0, len(ticks), BLOCK):
        index = np.arange(start, min(start + BLOCK, len(ticks)))
        k = 0
        while len(index):
            k += 1
            index = index[index + k < stop[index]]
            distance = ticks[index + k] - ticks[index]
            near = distance < window
            index = index[near]  # a spike whose k-th successor is too far has no nearer later one
            if len(index):
                yield k, distance[near], unit[index]


def _add(counts: np.ndarray, row: np.ndarray, column: np.ndarray) -> None:
    """Add 1 to ``counts[row, column]`` for each pair of a row (ascending) and a column."""
    if len(row):
        first, n_rows, width = int(row[0]), int(row[-1] - row[0]) + 1, counts.shape[1]
        flat = np.bincount((row - first) * width + column, minlength=n_rows * width)
        counts[first : first + n_rows] += flat.reshape(n_rows, width)
