"""Compiled loops over pairs of spikes. Enters: sorted ticks in runs. Leaves: counts, added into the arrays given.

The one module that needs numba; ``correlograms`` does without it, more slowly. No pair is formed across runs.
"""

import numba
import numpy as np

from .ticks import TICKS_PER_MS, WINDOW_TICKS


@numba.njit(parallel=True, cache=True)
def count_isi_acg(
    ticks: np.ndarray, runs: np.ndarray, unit_runs: np.ndarray, order: np.ndarray, isi: np.ndarray, acg: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Fill ``isi`` and ``acg`` (zeroed); unit u owns the runs ``unit_runs[u]:unit_runs[u + 1]`` and one thread."""
    n_lags = acg.shape[1] // 2
    isi_end = isi.shape[1] * TICKS_PER_MS
    for rank in numba.prange(len(order)):
        unit = order[rank]
        pairs = np.zeros(n_lags + 1, dtype=np.int64)
        for run in range(unit_runs[unit], unit_runs[unit + 1]):
            stop = runs[run + 1]
            for i in range(runs[run], stop - 1):
                first = ticks[i + 1] - ticks[i]
                if first < isi_end:
                    isi[unit, first // TICKS_PER_MS] += 1
                for j in range(i + 1, stop):
                    distance = ticks[j] - ticks[i]
                    if distance >= WINDOW_TICKS:
                        break
                    # uint32: d < 100 500 ticks, and an unsigned division by a constant is a multiplication.
                    pairs[np.uint32(distance + TICKS_PER_MS // 2) // np.uint32(TICKS_PER_MS)] += 1
        for k in range(1, n_lags + 1):
            acg[unit, n_lags + k] = pairs[k]
            acg[unit, n_lags - k] = pairs[k]


@numba.njit(parallel=True, cache=True)
def count_close_pairs(
    ticks: np.ndarray, runs: np.ndarray, unit_runs: np.ndarray, bin_ticks: int, counts: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Fill ``counts`` (n_units, n_bins), zeroed: bin k holds the pairs k to k + 1 ``bin_ticks`` apart."""
    end = counts.shape[1] * bin_ticks
    for unit in numba.prange(len(unit_runs) - 1):
        for run in range(unit_runs[unit], unit_runs[unit + 1]):
            stop = runs[run + 1]
            for i in range(runs[run], stop - 1):
                for j in range(i + 1, stop):
                    distance = ticks[j] - ticks[i]
                    if distance >= end:
                        break
                    counts[unit, distance // bin_ticks] += 1


@numba.njit(cache=True)
def count_cross(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> None:  # pragma: no cover - compiled
    """Fill ``counts`` (2 n_lags + 1,), zeroed, with the lags of ``second`` after ``first``."""
    n_lags = len(counts) // 2
    start = 0
    for i in range(len(first)):
        while start < len(second) and second[start] - first[i] <= -WINDOW_TICKS:
            start += 1
        for j in range(start, len(second)):
            distance = second[j] - first[i]
            if distance >= WINDOW_TICKS:
                break
            lag = (abs(distance) + TICKS_PER_MS // 2) // TICKS_PER_MS
            counts[n_lags + (lag if distance >= 0 else -lag)] += 1
