"""The shape of waveforms in numbers. Enters: canonical waveforms. Leaves: one column per entry of ``SHAPE``.

Only samples inside the source window are measured: what alignment made up beyond its edge has no peak and no slope.
"""

from typing import Literal

import numpy as np

from .evidence import Evidence, Scalar, aligned_of, divide

RECOVERY_MS = 0.7


def _measured(evidence: Evidence) -> np.ndarray:
    """(n_units, n_samples) waveform, NaN where the source has no sample."""
    if evidence.aligned is None:
        return evidence.waveform
    return np.where(evidence.aligned.inside, evidence.waveform, np.nan)


def _ms(evidence: Evidence) -> float:
    """Milliseconds per sample."""
    return float(evidence.time_base or np.nan)


def _one_side(evidence: Evidence, side: Literal["before", "after"]) -> np.ndarray:
    """(n_units, n_samples) waveform where it was measured before or after the trough, -inf elsewhere."""
    measured = _measured(evidence)
    sample, trough = np.arange(measured.shape[1]), evidence.trough[:, None]
    on_side = sample < trough if side == "before" else sample > trough
    return np.where(on_side & np.isfinite(measured), measured, -np.inf)


def _peak(evidence: Evidence, side: Literal["before", "after"]) -> np.ndarray:
    """Largest value on one side of the trough, NaN where there is none."""
    peak = _one_side(evidence, side).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(peak), peak, np.nan)


def _depth(evidence: Evidence) -> np.ndarray:
    """Trough depth as a positive number, NaN where the "trough" is not below the baseline."""
    value = np.take_along_axis(evidence.waveform, evidence.trough[:, None], axis=1)[:, 0]
    return np.where(value < 0, -value, np.nan)


def _refine(waveform: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Sub-sample position of an extremum strictly inside what was measured, by a parabola; NaN at the edges."""
    last = waveform.shape[1] - 1
    steps = np.clip(index[:, None] + np.array([-1, 0, 1]), 0, last)
    left, middle, right = np.take_along_axis(waveform, steps, axis=1).T
    inside = (index > 0) & (index < last) & np.isfinite(left) & np.isfinite(right)
    offset = np.nan_to_num(divide(left - right, 2 * (left - 2 * middle + right)))
    return np.where(inside, index + np.clip(offset, -0.5, 0.5), np.nan)


def _trough_to_peak_ms(evidence: Evidence) -> np.ndarray:
    """NaN where the waveform still rises when the window ends."""
    measured = _measured(evidence)
    peak = _refine(measured, _one_side(evidence, "after").argmax(axis=1))
    width = (peak - _refine(measured, evidence.trough)) * _ms(evidence)
    return np.where(np.isfinite(_depth(evidence)), width, np.nan)


def _half_crossings(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Samples of the half-depth crossings nearest the trough, left and right, by linear interpolation."""
    waveform, trough = _measured(evidence), evidence.trough[:, None]
    half = -_depth(evidence)[:, None] / 2
    last, sample = waveform.shape[1] - 1, np.arange(waveform.shape[1])
    with np.errstate(invalid="ignore"):
        above = waveform > half
    left = np.where(above & (sample < trough), sample, -1).max(axis=1)
    right = np.where(above & (sample > trough), sample, last + 1).min(axis=1)

    def crossing(start: np.ndarray, exists: np.ndarray) -> np.ndarray:
        a, b = np.take_along_axis(waveform, np.clip(start[:, None] + np.array([0, 1]), 0, last), axis=1).T
        return np.where(exists, start + divide(half[:, 0] - a, b - a), np.nan)

    return crossing(left, left >= 0), crossing(right - 1, right <= last)


def _fwhm_ms(evidence: Evidence) -> np.ndarray:
    left, right = _half_crossings(evidence)
    return (right - left) * _ms(evidence)


def _half_rise_ms(evidence: Evidence) -> np.ndarray:
    left, _ = _half_crossings(evidence)
    return (_refine(_measured(evidence), evidence.trough) - left) * _ms(evidence)


def _asymmetry(evidence: Evidence) -> np.ndarray:
    after, before = np.maximum(_peak(evidence, "after"), 0), np.maximum(_peak(evidence, "before"), 0)
    return divide(after - before, after + before)


def _slope(waveform: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Least-squares slope per sample from ``first`` to ``last`` (n,), both included; NaN below two samples."""
    sample = np.arange(waveform.shape[1])
    chosen = (sample >= first[:, None]) & (sample <= last[:, None]) & np.isfinite(waveform)
    n = chosen.sum(axis=1)
    x = np.where(chosen, sample - divide((chosen * sample).sum(axis=1), n)[:, None], 0.0)
    slope = divide((x * np.where(chosen, waveform, 0.0)).sum(axis=1), (x**2).sum(axis=1))
    return np.where(n >= 2, slope, np.nan)


def _repolarisation_slope(evidence: Evidence) -> np.ndarray:
    """From the trough to the first sample at or above the baseline, both included; NaN where it stays below."""
    measured = _measured(evidence)
    returned = _one_side(evidence, "after") >= 0
    slope = _slope(measured, evidence.trough, returned.argmax(axis=1)) / _ms(evidence)
    return np.where(returned.any(axis=1) & np.isfinite(_depth(evidence)), slope, np.nan)


def _recovery_slope(evidence: Evidence) -> np.ndarray:
    """Over 0.7 ms from the peak after the trough on, or to the end of what was measured."""
    after = _one_side(evidence, "after")
    peak = after.argmax(axis=1)
    slope = _slope(_measured(evidence), peak, peak + round(RECOVERY_MS / _ms(evidence))) / _ms(evidence)
    return np.where(np.isfinite(after.max(axis=1)) & np.isfinite(_depth(evidence)), slope, np.nan)


SHAPE: dict[str, Scalar] = {
    "trough_to_peak_ms": Scalar(
        "ms", ("waveform", "time_base"), "trough to the maximum after it, parabola-refined", _trough_to_peak_ms
    ),
    "fwhm_ms": Scalar("ms", ("waveform", "time_base"), "width at half of the trough depth", _fwhm_ms),
    "half_rise_ms": Scalar(
        "ms", ("waveform", "time_base"), "half depth before the trough to the trough", _half_rise_ms
    ),
    "peak_to_trough_ratio": Scalar(
        "1", ("waveform",), "maximum after the trough / trough depth", lambda e: divide(_peak(e, "after"), _depth(e))
    ),
    "pre_peak_ratio": Scalar(
        "1", ("waveform",), "maximum before the trough / trough depth", lambda e: divide(_peak(e, "before"), _depth(e))
    ),
    "asymmetry": Scalar("1", ("waveform",), "(after - before) / (after + before), peaks clipped at >= 0", _asymmetry),
    "repolarisation_slope": Scalar(
        "uV/ms or au/ms",
        ("waveform", "time_base"),
        "least-squares slope from the trough to the return to the baseline",
        _repolarisation_slope,
    ),
    "recovery_slope": Scalar(
        "uV/ms or au/ms", ("waveform", "time_base"), "least-squares slope over 0.7 ms after the peak", _recovery_slope
    ),
    "amplitude": Scalar("uV or au", ("waveform",), "peak-to-peak", lambda e: np.ptp(e.waveform, axis=1)),
    "energy": Scalar(
        "uV^2 or au^2", ("waveform",), "sum of squares of the 50 samples", lambda e: (e.waveform**2).sum(axis=1)
    ),
    "wf_coverage": Scalar(
        "1", ("aligned",), "part of the 50 samples inside the source window", lambda e: aligned_of(e).coverage, ">= 0.5"
    ),
    "polarity": Scalar(
        "1",
        ("aligned",),
        "sign of the largest absolute value as recorded",
        lambda e: np.where(aligned_of(e).polarity == 0, np.nan, aligned_of(e).polarity),
    ),
}
"""Columns from the waveform."""
