"""How a unit fires. Enters: clean trains and autocorrelograms. Leaves: one column per entry of ``FIRING``."""

import numpy as np

from .evidence import Evidence, Scalar, divide, trains_of
from .ticks import N_ISI_BINS, N_LAGS, TICKS_PER_MS

BURST_ISI_TICKS = 6 * TICKS_PER_MS
PLATEAU_LAGS = (20, 50)


def _mean_per_unit(values: np.ndarray, unit: np.ndarray, n_units: int) -> np.ndarray:
    """Mean of ``values`` within each unit, NaN for units without any."""
    return divide(np.bincount(unit, values, n_units), np.bincount(unit, minlength=n_units))


def _firing_rate_hz(evidence: Evidence) -> np.ndarray:
    trains = trains_of(evidence)
    return trains.n_spikes / trains.duration_s


def _cv(evidence: Evidence) -> np.ndarray:
    intervals, unit, _ = trains_of(evidence).intervals
    n = len(evidence.waveform)
    mean = _mean_per_unit(intervals, unit, n)
    variance = _mean_per_unit((intervals - mean[unit]) ** 2, unit, n)
    return np.where(np.bincount(unit, minlength=n) >= 2, divide(np.sqrt(variance), mean), np.nan)


def _adjacent(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Relative change ``|d2 - d1| / (d2 + d1)`` of adjacent intervals of one run, and the unit of each."""
    intervals, unit, run = trains_of(evidence).intervals
    same = run[1:] == run[:-1]
    first, second = intervals[:-1][same].astype(np.float64), intervals[1:][same].astype(np.float64)
    return np.abs(second - first) / (second + first), unit[1:][same]


def _cv2(evidence: Evidence) -> np.ndarray:
    """Holt et al. 1996: mean of ``2 |d2 - d1| / (d2 + d1)`` over adjacent intervals."""
    change, unit = _adjacent(evidence)
    return _mean_per_unit(2 * change, unit, len(evidence.waveform))


def _lv(evidence: Evidence) -> np.ndarray:
    """Shinomoto et al. 2003: mean of ``3 (d2 - d1)^2 / (d2 + d1)^2`` over adjacent intervals."""
    change, unit = _adjacent(evidence)
    return _mean_per_unit(3 * change**2, unit, len(evidence.waveform))


def _burst_index(evidence: Evidence) -> np.ndarray:
    intervals, unit, _ = trains_of(evidence).intervals
    return _mean_per_unit((intervals < BURST_ISI_TICKS).astype(np.float64), unit, len(evidence.waveform))


def _isi_overflow(evidence: Evidence) -> np.ndarray:
    intervals, unit, _ = trains_of(evidence).intervals
    return np.bincount(unit[intervals >= N_ISI_BINS * TICKS_PER_MS], minlength=len(evidence.waveform))


def _acg_peak_ms(evidence: Evidence) -> np.ndarray:
    positive = np.asarray(evidence.acg)[:, N_LAGS + 1 :]
    return np.where(positive.sum(axis=1) > 0, positive.argmax(axis=1) + 1.0, np.nan)


def _refractory_ms(evidence: Evidence) -> np.ndarray:
    """First lag with at least half of the mean count of lags 20 to 50 ms; NaN where those are empty."""
    acg = np.asarray(evidence.acg)
    first, last = PLATEAU_LAGS
    plateau = acg[:, N_LAGS + first : N_LAGS + last + 1].mean(axis=1)
    reached = acg[:, N_LAGS + 1 :] >= plateau[:, None] / 2
    return np.where(plateau > 0, reached.argmax(axis=1) + 1.0, np.nan)


FIRING: dict[str, Scalar] = {
    "n_spikes": Scalar("1", ("trains",), "spikes after cleaning", lambda e: trains_of(e).n_spikes, ">= 100"),
    "firing_rate_hz": Scalar("Hz", ("trains",), "spikes / time observed", _firing_rate_hz, "> 0.1"),
    "cv": Scalar("1", ("trains",), "standard deviation / mean of the intervals", _cv),
    "cv2": Scalar("1", ("trains",), "local irregularity of adjacent intervals (Holt et al. 1996)", _cv2),
    "lv": Scalar("1", ("trains",), "local variation of adjacent intervals (Shinomoto et al. 2003)", _lv),
    "burst_index": Scalar("1", ("trains",), "fraction of intervals under 6 ms", _burst_index),
    "isi_overflow": Scalar("1", ("trains",), "intervals of 100 ms or more, outside the histogram", _isi_overflow),
    "acg_peak_ms": Scalar("ms", ("acg",), "lag of the highest bin", _acg_peak_ms),
    "refractory_ms": Scalar("ms", ("acg",), "first lag at half of the mean of 20-50 ms", _refractory_ms),
}
"""Columns from the trains."""
