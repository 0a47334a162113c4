"""Named numbers per unit. Enters: canonical waveforms, trains, histograms. Leaves: one column per entry of ``SCALARS``.

A number that does not exist (no crossing, a flat line, a train too short, a source without the data) is NaN, never 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .trains import N_ISI_BINS, N_LAGS, TICKS_PER_MS, TICKS_PER_S, Trains

Need = Literal["waveform", "time_base", "trains", "acg", "coverage"]

BURST_ISI_TICKS = 6 * TICKS_PER_MS
REFRACTORY_TICKS = 1_500
PRESENCE_BIN_S = 60


@dataclass(frozen=True)
class Evidence:
    """What is known about the units of one dataset; ``None`` where the source does not say.

    Attributes
    ----------
    waveform : (n_units, 50) float64, NaN rows where missing
    trough : (n_units,) int64, sample of the trough
    time_base : float, milliseconds per sample of ``waveform``
    coverage : (n_units,) float64, part of the waveform inside the source window
    trains : clean spike trains
    acg : (n_units, 201) counts with 1 ms bins
    """

    waveform: np.ndarray
    trough: np.ndarray
    time_base: float | None = None
    coverage: np.ndarray | None = None
    trains: Trains | None = None
    acg: np.ndarray | None = None


@dataclass(frozen=True)
class Scalar:
    """One declared column: its unit, what it needs, what it means, and the function that computes it for all units."""

    unit: str
    needs: tuple[Need, ...]
    description: str
    compute: Callable[[Evidence], np.ndarray]


def compute_scalars(evidence: Evidence) -> dict[str, np.ndarray]:
    """Return every entry of ``SCALARS`` as (n_units,) float64; NaN where undefined or not computable."""
    n_units = len(evidence.waveform)
    unknown = np.full(n_units, np.nan)
    return {
        name: np.asarray(scalar.compute(evidence), dtype=np.float64)
        if all(getattr(evidence, need) is not None for need in scalar.needs)
        else unknown.copy()
        for name, scalar in SCALARS.items()
    }


def _divide(numerator: np.ndarray, denominator: np.ndarray | float) -> np.ndarray:
    """Quotient, NaN where the denominator is zero or NaN."""
    numerator = np.asarray(numerator, dtype=np.float64)
    denominator = np.broadcast_to(np.asarray(denominator, dtype=np.float64), numerator.shape)
    defined = (denominator != 0) & np.isfinite(denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=defined)


def _one_side(evidence: Evidence, side: Literal["before", "after"]) -> np.ndarray:
    """(n_units, 50) waveform where it lies before or after the trough, -inf elsewhere and on missing rows."""
    sample, trough = np.arange(evidence.waveform.shape[1]), evidence.trough[:, None]
    on_side = sample < trough if side == "before" else sample > trough
    return np.where(on_side & np.isfinite(evidence.waveform), evidence.waveform, -np.inf)


def _peak(evidence: Evidence, side: Literal["before", "after"]) -> np.ndarray:
    """Largest value on one side of the trough, NaN where there is none."""
    peak = _one_side(evidence, side).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(peak), peak, np.nan)


def _depth(evidence: Evidence) -> np.ndarray:
    """Trough depth as a positive number, NaN where the "trough" is not below the baseline."""
    value = np.take_along_axis(evidence.waveform, evidence.trough[:, None], axis=1)[:, 0]
    return np.where(value < 0, -value, np.nan)


def _refine(waveform: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Sub-sample position of an extremum strictly inside the window, by a parabola; NaN at the edges."""
    last = waveform.shape[1] - 1
    steps = np.clip(index[:, None] + np.array([-1, 0, 1]), 0, last)
    left, middle, right = np.take_along_axis(waveform, steps, axis=1).T
    offset = np.nan_to_num(_divide(left - right, 2 * (left - 2 * middle + right)))
    return np.where((index > 0) & (index < last), index + np.clip(offset, -0.5, 0.5), np.nan)


def _trough_to_peak_ms(evidence: Evidence) -> np.ndarray:
    after = _one_side(evidence, "after")
    peak = _refine(evidence.waveform, after.argmax(axis=1))
    width = (peak - _refine(evidence.waveform, evidence.trough)) * float(evidence.time_base or np.nan)
    return np.where(np.isfinite(_depth(evidence)), width, np.nan)


def _fwhm_ms(evidence: Evidence) -> np.ndarray:
    """Linear interpolation of the two half-depth crossings nearest the trough."""
    waveform, trough = evidence.waveform, evidence.trough[:, None]
    half = -_depth(evidence)[:, None] / 2
    sample = np.arange(waveform.shape[1])
    with np.errstate(invalid="ignore"):
        above = waveform > half
    left = np.where(above & (sample < trough), sample, -1).max(axis=1)
    right = np.where(above & (sample > trough), sample, waveform.shape[1]).min(axis=1)
    exists = (left >= 0) & (right < waveform.shape[1])
    left, right = np.where(exists, left, 0), np.where(exists, right, 1)

    def crossing(start: np.ndarray) -> np.ndarray:
        a, b = np.take_along_axis(waveform, start[:, None] + np.array([0, 1]), axis=1).T
        return start + _divide(half[:, 0] - a, b - a)

    return np.where(exists, crossing(right - 1) - crossing(left), np.nan) * float(evidence.time_base or np.nan)


def _asymmetry(evidence: Evidence) -> np.ndarray:
    after, before = np.maximum(_peak(evidence, "after"), 0), np.maximum(_peak(evidence, "before"), 0)
    return _divide(after - before, after + before)


def _trains(evidence: Evidence) -> Trains:
    """The trains of an evidence whose ``needs`` were checked."""
    if evidence.trains is None:
        raise TypeError("a scalar that uses trains must declare them in needs")
    return evidence.trains


def _mean_per_unit(values: np.ndarray, unit: np.ndarray, n_units: int) -> np.ndarray:
    """Mean of ``values`` within each unit, NaN for units without any."""
    return _divide(np.bincount(unit, values, n_units), np.bincount(unit, minlength=n_units))


def _firing_rate_hz(evidence: Evidence) -> np.ndarray:
    trains = _trains(evidence)
    return trains.n_spikes / trains.duration_s


def _cv(evidence: Evidence) -> np.ndarray:
    intervals, unit = _trains(evidence).intervals()
    n = len(evidence.waveform)
    mean = _mean_per_unit(intervals, unit, n)
    variance = _mean_per_unit((intervals - mean[unit]) ** 2, unit, n)
    return np.where(np.bincount(unit, minlength=n) >= 2, _divide(np.sqrt(variance), mean), np.nan)


def _cv2(evidence: Evidence) -> np.ndarray:
    """Holt et al. 1996: mean of ``2 |d2 - d1| / (d2 + d1)`` over adjacent intervals."""
    intervals, unit = _trains(evidence).intervals()
    first, second = intervals[:-1].astype(np.float64), intervals[1:].astype(np.float64)
    same = unit[1:] == unit[:-1]
    change = 2 * np.abs(second - first)[same] / (second + first)[same]
    return _mean_per_unit(change, unit[1:][same], len(evidence.waveform))


def _burst_index(evidence: Evidence) -> np.ndarray:
    intervals, unit = _trains(evidence).intervals()
    return _mean_per_unit((intervals < BURST_ISI_TICKS).astype(np.float64), unit, len(evidence.waveform))


def _isi_overflow(evidence: Evidence) -> np.ndarray:
    intervals, unit = _trains(evidence).intervals()
    return np.bincount(unit[intervals >= N_ISI_BINS * TICKS_PER_MS], minlength=len(evidence.waveform))


def _acg_peak_ms(evidence: Evidence) -> np.ndarray:
    positive = np.asarray(evidence.acg)[:, N_LAGS + 1 :]
    return np.where(positive.sum(axis=1) > 0, positive.argmax(axis=1) + 1.0, np.nan)


def _isi_violations_ratio(evidence: Evidence) -> np.ndarray:
    """Hill et al. 2011 in its linear form: ``n_v * D / (2 n^2 t_r)`` with adjacent intervals under t_r = 1.5 ms."""
    trains = _trains(evidence)
    intervals, unit = trains.intervals()
    n_violations = np.bincount(unit[intervals < REFRACTORY_TICKS], minlength=len(evidence.waveform))
    n_spikes = trains.n_spikes.astype(np.float64)
    return _divide(n_violations * trains.duration_s, 2 * n_spikes**2 * REFRACTORY_TICKS / TICKS_PER_S)


def _presence_ratio(evidence: Evidence) -> np.ndarray:
    """Over the whole 60 s bins of the session; NaN when it is shorter than one."""
    trains = _trains(evidence)
    n_units, n_bins = len(evidence.waveform), int(trains.duration_s // PRESENCE_BIN_S)
    if n_bins == 0:
        return np.full(n_units, np.nan)
    unit = np.repeat(np.arange(n_units), trains.n_spikes)
    bin_ = trains.ticks // (PRESENCE_BIN_S * TICKS_PER_S)
    inside = bin_ < n_bins
    counts = np.bincount(unit[inside] * n_bins + bin_[inside], minlength=n_units * n_bins)
    return (counts.reshape(n_units, n_bins) > 0).mean(axis=1)


SCALARS: dict[str, Scalar] = {
    "trough_to_peak_ms": Scalar(
        "ms", ("waveform", "time_base"), "trough to the maximum after it, parabola-refined", _trough_to_peak_ms
    ),
    "fwhm_ms": Scalar("ms", ("waveform", "time_base"), "width at half of the trough depth", _fwhm_ms),
    "peak_to_trough_ratio": Scalar(
        "1", ("waveform",), "maximum after the trough / trough depth", lambda e: _divide(_peak(e, "after"), _depth(e))
    ),
    "pre_peak_ratio": Scalar(
        "1", ("waveform",), "maximum before the trough / trough depth", lambda e: _divide(_peak(e, "before"), _depth(e))
    ),
    "asymmetry": Scalar("1", ("waveform",), "(after - before) / (after + before), peaks clipped at >= 0", _asymmetry),
    "amplitude": Scalar("uV or au", ("waveform",), "peak-to-peak", lambda e: np.ptp(e.waveform, axis=1)),
    "wf_coverage": Scalar(
        "1", ("coverage",), "part of the 50 samples inside the source window", lambda e: np.asarray(e.coverage)
    ),
    "n_spikes": Scalar("1", ("trains",), "spikes after cleaning", lambda e: _trains(e).n_spikes),
    "firing_rate_hz": Scalar("Hz", ("trains",), "spikes / duration of the session", _firing_rate_hz),
    "cv": Scalar("1", ("trains",), "standard deviation / mean of the intervals", _cv),
    "cv2": Scalar("1", ("trains",), "local irregularity of adjacent intervals", _cv2),
    "burst_index": Scalar("1", ("trains",), "fraction of intervals under 6 ms", _burst_index),
    "isi_overflow": Scalar("1", ("trains",), "intervals of 100 ms or more, outside the histogram", _isi_overflow),
    "acg_peak_ms": Scalar("ms", ("acg",), "lag of the highest bin", _acg_peak_ms),
    "isi_violations_ratio": Scalar("1", ("trains",), "contamination from intervals < 1.5 ms", _isi_violations_ratio),
    "presence_ratio": Scalar("1", ("trains",), "fraction of 60 s bins with a spike", _presence_ratio),
}
"""Metadata columns, in order. Adding one is one entry and one function."""
