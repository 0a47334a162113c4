"""Observed intervals. Enters: spike seconds and the intervals in which each unit was observed.

Leaves: times on a clock that runs only while observed, the interval of each spike, and the observed duration.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError

SLACK_S = 1e-6
"""Spikes that lie no further outside an interval than this are taken as on its edge: seconds are rounded in files."""


@dataclass(frozen=True)
class ObservedTimes:
    """Spike times on the observed clock, without the spikes of times when their unit was not observed.

    Attributes
    ----------
    seconds : (n_spikes,) float64; impossible times (NaN, infinite, negative) stay, for cleaning to judge
    offsets : (n_units + 1,) int64
    segment : (n_spikes,) int64, interval of each spike; None where no unit has more than one
    duration_s : (n_units,) float64
    kept : bool for each spike of the source, False where it is left out
    """

    seconds: np.ndarray
    offsets: np.ndarray
    segment: np.ndarray | None
    duration_s: np.ndarray
    kept: np.ndarray


def on_observed_clock(
    path: Path, seconds: np.ndarray, offsets: np.ndarray, intervals: np.ndarray, interval_offsets: np.ndarray
) -> ObservedTimes:
    """Put the intervals of each unit one after another.

    Parameters
    ----------
    path : for messages
    seconds : (n_spikes,) float64; offsets : (n_units + 1,) int64
    intervals : (n_intervals, 2) start and stop, s; interval_offsets : (n_units + 1,) int64
        A unit without intervals keeps its times and lasts until the last spike of any unit.

    Raises
    ------
    DataError
        An interval is not finite or ends before it starts.
    """
    if intervals.ndim != 2 or intervals.shape[1] != 2:
        raise DataError(f"{path}: units/obs_intervals is {intervals.shape}; one [start, stop] per interval is needed")
    bad = ~np.isfinite(intervals).all(axis=1) | (intervals[:, 1] < intervals[:, 0])
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{path}: units/obs_intervals row {row} is {intervals[row].tolist()} ({bad.sum()} such rows); "
            "finite seconds, start before stop, are needed"
        )
    out, segment = seconds.copy(), np.zeros(len(seconds), dtype=np.int64)
    duration_s = np.full(len(offsets) - 1, until_last_spike(seconds))
    for unit in range(len(duration_s)):
        spikes = slice(offsets[unit], offsets[unit + 1])
        starts, stops = _merge(intervals[interval_offsets[unit] : interval_offsets[unit + 1]])
        if len(starts):
            out[spikes], segment[spikes] = _move(seconds[spikes], starts, stops)
            duration_s[unit] = (stops - starts).sum()
    kept = np.isfinite(out) | ~np.isfinite(seconds) | (seconds < 0)
    fewer = np.concatenate([[0], np.cumsum(kept)])[offsets]
    return ObservedTimes(out[kept], fewer, segment[kept] if segment.any() else None, duration_s, kept)


def until_last_spike(seconds: np.ndarray) -> float:
    """Seconds until the last spike of any unit, and 1 µs more, so that a lone spike at 0 has a duration."""
    finite = seconds[np.isfinite(seconds)]
    return float(max(finite.max(initial=0.0), 0.0)) + 1e-6


def _merge(intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops in order; intervals that overlap or touch become one, empty ones vanish."""
    kept = intervals[intervals[:, 1] > intervals[:, 0]]
    kept = kept[np.argsort(kept[:, 0], kind="stable")]
    if len(kept) == 0:
        return np.empty(0), np.empty(0)
    reach = np.maximum.accumulate(kept[:, 1])
    is_new = np.concatenate([[True], kept[1:, 0] > reach[:-1] + SLACK_S])
    last = np.append(np.flatnonzero(is_new)[1:] - 1, len(kept) - 1)
    return kept[is_new, 0], reach[last]


def _move(seconds: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Observed seconds (NaN outside) and interval of each spike."""
    interval = np.clip(np.searchsorted(starts, seconds + SLACK_S, side="right") - 1, 0, None)
    inside = (seconds >= starts[interval] - SLACK_S) & (seconds <= stops[interval] + SLACK_S)
    lasts = stops - starts
    before = np.concatenate([[0.0], np.cumsum(lasts)[:-1]])
    moved = before[interval] + np.clip(seconds - starts[interval], 0.0, lasts[interval])
    return np.where(inside, moved, np.nan), np.where(inside, interval, 0)
