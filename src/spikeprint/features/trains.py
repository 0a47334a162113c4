"""Spike times as sources hold them -> clean trains. Enters: times of units. Leaves: sorted ticks and what was dropped.

Nothing is dropped silently: every kind is counted per unit, and times that cannot be spike times are refused.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..core.errors import DataError
from .correlograms import compute_crosscorrelogram, compute_isi_acg
from .ticks import N_ISI_BINS, N_LAGS, TICKS_PER_MS, TICKS_PER_S, to_ticks

__all__ = [
    "N_ISI_BINS",
    "N_LAGS",
    "TICKS_PER_MS",
    "TICKS_PER_S",
    "Intervals",
    "Trains",
    "clean_trains",
    "compute_crosscorrelogram",
    "compute_isi_acg",
    "to_ticks",
]

LOGGER = logging.getLogger(__name__)

MAX_INVALID_FRAC = 0.01
# A shuffled train has half of its steps descending: only clearly more than that (or mostly ties) is not a train.
MAX_DESCENDING_FRAC = 0.6
MAX_DUPLICATE_FRAC = 0.5
MIN_MEDIAN_ISI_TICKS = 50
MAX_MEDIAN_ISI_TICKS = 100 * TICKS_PER_S
MIN_INTERVALS_TO_JUDGE = 100
MAX_DURATION_S = 10 * 86_400
MAX_FLOAT32_S = 1_000
MAX_RATE_HZ = 1_000


class Intervals(NamedTuple):
    """Inter-spike intervals within runs: ``ticks`` (m,) int64 µs, the ``unit`` and the ``run`` (m,) of each."""

    ticks: np.ndarray
    unit: np.ndarray
    run: np.ndarray


@dataclass(frozen=True)
class Trains:
    """Clean spike trains of one session.

    Attributes
    ----------
    ticks : (n_spikes,) int64, µs; unit i owns ``ticks[offsets[i]:offsets[i + 1]]``, strictly increasing in each run
    offsets : (n_units + 1,) int64
    runs : (n_runs + 1,) int64, ends of stretches observed without a break; every unit border is one
    duration_s : (n_units,) float64, how long each unit was observed
    kept : (n_spikes,) int64, place of each spike among those of the source
    n_invalid, n_unsorted, n_duplicates, n_censored : (n_units,) int64
        Spikes dropped as NaN, infinite, negative or after the end; steps back in time; repeated ticks removed; spikes
        dropped because they follow another one within ``censor_s``.
    censor_s : float
    """

    ticks: np.ndarray
    offsets: np.ndarray
    runs: np.ndarray
    duration_s: np.ndarray
    kept: np.ndarray
    n_invalid: np.ndarray
    n_unsorted: np.ndarray
    n_duplicates: np.ndarray
    n_censored: np.ndarray
    censor_s: float = 0.0

    @property
    def n_spikes(self) -> np.ndarray:
        """(n_units,) int64"""
        return np.diff(self.offsets)

    @property
    def unit(self) -> np.ndarray:
        """(n_spikes,) int32, the unit of each spike"""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), self.n_spikes)

    @cached_property
    def intervals(self) -> Intervals:
        """All intervals between neighbours of one run; computed once, many scalars read them."""
        within = np.ones(max(len(self.ticks) - 1, 0), dtype=bool)
        within[self.runs[1:-1] - 1] = False
        run = np.repeat(np.arange(len(self.runs) - 1, dtype=np.int32), np.diff(self.runs))
        return Intervals(np.diff(self.ticks)[within], self.unit[1:][within], run[1:][within])


def clean_trains(
    times: np.ndarray,
    offsets: np.ndarray,
    rate_hz: float,
    duration_s: float | np.ndarray,
    segment: np.ndarray | None = None,
    censor_ms: float = 0.0,
) -> Trains:
    """Convert to ticks, drop impossible times, sort, remove duplicates and double detections; count all per unit.

    Parameters
    ----------
    times : (n_spikes,) integer or float, samples of ``rate_hz`` (1.0 for seconds), unit after unit
    offsets : (n_units + 1,) int64
    rate_hz : float
    duration_s : float, or (n_units,) where units were observed for different times; later spikes are impossible
    segment : (n_spikes,) int64; a change of it within a unit is a border over which no interval is formed
    censor_ms : a spike closer than this to the last one kept of its run was detected twice and is dropped; 0 keeps all

    Raises
    ------
    DataError
        The rate is not positive, more than 1 % of the times are impossible, or they are not spike times in this unit:
        longer than ten days, median interval under 50 µs, mostly repeated or descending, or seconds that are all
        whole numbers (samples or milliseconds).

    Notes
    -----
    Milliseconds with fractions that are given as seconds look like slow units: when the median interval is over 100 s
    a warning is logged.
    """
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise DataError(f"spike times: sampling frequency {rate_hz} Hz; a positive number is needed")
    times, n_units = np.asarray(times), len(offsets) - 1
    unit = np.repeat(np.arange(n_units, dtype=np.int32), np.diff(offsets))
    duration = np.broadcast_to(np.asarray(duration_s, dtype=np.float64), n_units).copy()
    kept = _find_possible(times, unit, rate_hz, duration)
    n_invalid = np.bincount(unit, minlength=n_units) - np.bincount(unit[kept], minlength=n_units)
    ticks, unit = to_ticks(times[kept], rate_hz), unit[kept]
    part = np.zeros(len(kept), dtype=np.int64) if segment is None else np.asarray(segment)[kept]

    backwards = (np.diff(ticks) < 0) & (np.diff(unit) == 0)
    n_unsorted = np.bincount(unit[1:][backwards], minlength=n_units)
    if backwards.any():
        order = np.lexsort((part, ticks, unit))
        ticks, kept, part = ticks[order], kept[order], part[order]
    same_run = np.zeros(len(ticks), dtype=bool)
    same_run[1:] = (np.diff(unit) == 0) & (np.diff(part) == 0)
    repeated = same_run & (np.diff(ticks, prepend=-1) == 0)
    _refuse_labels(len(ticks), int(backwards.sum()), int(repeated.sum()))
    # A spike that begins a run is never a repeat, so the border stays with the spike when others are removed.
    starts, unit, ticks, kept, n_duplicates = _without(repeated, ~same_run, unit, ticks, kept, n_units)
    censored = _find_censored(ticks, starts, round(censor_ms * TICKS_PER_MS))
    starts, unit, ticks, kept, n_censored = _without(censored, starts, unit, ticks, kept, n_units)

    ends = np.concatenate([[0], np.cumsum(np.bincount(unit, minlength=n_units))])
    trains = Trains(
        ticks=ticks,
        offsets=ends,
        runs=np.unique(np.concatenate([np.flatnonzero(starts), ends])),
        duration_s=duration,
        kept=kept,
        n_invalid=n_invalid,
        n_unsorted=n_unsorted,
        n_duplicates=n_duplicates,
        n_censored=n_censored,
        censor_s=censor_ms / 1e3,
    )
    _refuse_unit(trains, rate_hz)
    return trains


def _find_possible(times: np.ndarray, unit: np.ndarray, rate_hz: float, duration_s: np.ndarray) -> np.ndarray:
    """(n,) int64 places of the times that lie within the observation of their unit; few may be left out."""
    seconds = times.astype(np.float64) / rate_hz
    finite = np.isfinite(seconds)
    last = seconds.max(initial=0, where=finite)
    if last > MAX_DURATION_S:
        raise DataError(
            f"spike times: the last spike is at {last / 86_400:.0f} days (sampling frequency {rate_hz} Hz); "
            "recordings of at most 10 days are read: check the sampling frequency and the unit (samples, not µs)"
        )
    if times.dtype == np.float32 and rate_hz == 1 and last > MAX_FLOAT32_S:
        LOGGER.warning(
            "spike times: float32 seconds up to %.0f s resolve no better than %.0f µs there; float64 would",
            last,
            np.spacing(np.float32(last)) * TICKS_PER_S,
        )
    possible = finite & (seconds >= 0) & (seconds <= duration_s[unit])
    n_bad = len(seconds) - int(possible.sum())
    if n_bad > MAX_INVALID_FRAC * len(seconds):
        raise DataError(
            f"spike times: {n_bad} of {len(seconds)} are NaN, infinite, negative or after the end at "
            f"{duration_s.max():g} s; at most 1 % may be: check duration, sampling frequency and unit"
        )
    return np.flatnonzero(possible)


def _without(
    drop: np.ndarray, starts: np.ndarray, unit: np.ndarray, ticks: np.ndarray, kept: np.ndarray, n_units: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns of the spikes that stay, and (n_units,) how many of each unit were dropped."""
    if not drop.any():
        return starts, unit, ticks, kept, np.zeros(n_units, dtype=np.int64)
    stay = ~drop
    return starts[stay], unit[stay], ticks[stay], kept[stay], np.bincount(unit[drop], minlength=n_units)


def _find_censored(ticks: np.ndarray, starts: np.ndarray, censor_ticks: int) -> np.ndarray:
    """(n,) bool: spikes less than ``censor_ticks`` after the last one that stays in their run."""
    censored = ~starts & (np.diff(ticks, prepend=0) < censor_ticks)
    previous, last = -2, 0
    for i in np.flatnonzero(censored).tolist():
        if i != previous + 1:
            last = ticks[i - 1]
        previous = i
        # In a chain of close spikes one may be far enough from the last that stays, though not from its neighbour.
        if ticks[i] - last >= censor_ticks:
            censored[i], last = False, ticks[i]
    return censored


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


def _refuse_unit(trains: Trains, rate_hz: float) -> None:
    """Raise when the times are in another unit than declared; warn of what is only unlikely."""
    intervals = trains.intervals.ticks
    fast = int((trains.n_spikes > MAX_RATE_HZ * trains.duration_s).sum())
    if fast:
        LOGGER.warning(
            "spike times: %d units fire faster than %d Hz; is the unit of the times right?", fast, MAX_RATE_HZ
        )
    if len(intervals) < MIN_INTERVALS_TO_JUDGE:
        return
    median = float(np.median(intervals))
    if median < MIN_MEDIAN_ISI_TICKS:
        raise DataError(
            f"spike times: the median inter-spike interval is {median:.0f} µs at {rate_hz} Hz; "
            "no neuron fires so fast: check the sampling frequency and the unit (samples, not ms or s)"
        )
    if rate_hz == 1 and not (trains.ticks % TICKS_PER_S).any():
        raise DataError(
            f"spike times: all {len(trains.ticks)} are whole numbers of seconds; times to the millisecond or better "
            "are needed: these look like samples or milliseconds, give their sampling frequency or convert to seconds"
        )
    if median > MAX_MEDIAN_ISI_TICKS:
        LOGGER.warning(
            "spike times: the median inter-spike interval is %.0f s; are these milliseconds given as seconds?",
            median / TICKS_PER_S,
        )
