"""From spikes to counts. Enters: a ``SpikeSession``. Leaves: a ``Population``, in trials or continuous.

Work is proportional to the number of spikes: each is put into its presentation and bin at once. Bins are half-open.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import PopulationError
from ..core.sessions import Series, SpikeSession
from ..io.population.nwb import read_nwb_session
from .cleaning import ProbeRule, Step, select_presentations
from .data import Population
from .segments import make_segments

LOGGER = logging.getLogger(__name__)

COUNT_TYPE = np.uint16


@dataclass(frozen=True)
class Window:
    """Where in a presentation spikes are counted.

    Attributes
    ----------
    n_bins : bins of one presentation
    start_s, width_s : from the onset; width None = the median duration
    lag_s : shift of the whole window for the latency of the response
    """

    n_bins: int = 10
    start_s: float = 0.0
    width_s: float | None = None
    lag_s: float = 0.0


def bin_presentations(
    spike_times_s: np.ndarray, offsets: np.ndarray, onsets_s: np.ndarray, width_s: float, n_bins: int
) -> np.ndarray:
    """Count spikes in the bins of windows that start at ``onsets_s``.

    Parameters
    ----------
    spike_times_s : (n_spikes,) seconds, unit after unit, ascending within a unit
    offsets : (n_units + 1,) borders of the units
    onsets_s : (n_trials,) ascending; windows that overlap are allowed
    width_s : length of each window, seconds

    Returns
    -------
    (n_trials, n_bins, n_units) uint16

    Notes
    -----
    Each bin is ``[a, b)``: a spike on an edge counts once, in the later bin.
    """
    onsets = np.asarray(onsets_s, dtype=float)
    n_trials = len(onsets)
    counts = np.zeros((len(offsets) - 1, n_trials * n_bins), dtype=COUNT_TYPE)
    overlap = bool((np.diff(onsets) < width_s).any())
    count = _count_by_edges if overlap else _count_by_spikes
    for unit in range(len(offsets) - 1):
        counts[unit] = count(spike_times_s[offsets[unit] : offsets[unit + 1]], onsets, width_s, n_bins)
    return np.ascontiguousarray(counts.T).reshape(n_trials, n_bins, -1)


def _count_by_spikes(times: np.ndarray, onsets: np.ndarray, width_s: float, n_bins: int) -> np.ndarray:
    trial = np.searchsorted(onsets, times, side="right") - 1
    scaled = (times - onsets[trial]) * (n_bins / width_s)
    inside = (trial >= 0) & (scaled < n_bins + 0.5)
    trial, scaled, times = trial[inside], scaled[inside], times[inside]
    at = scaled.astype(np.int64)
    near = np.flatnonzero(np.abs(scaled - np.rint(scaled)) < 1e-6)
    if len(near):  # a spike on an edge: rounding must not decide, the edges themselves do
        lower = np.rint(scaled[near]).astype(np.int64)
        edge = onsets[trial[near]] + lower * (width_s / n_bins)
        at[near] = np.where(times[near] >= edge, lower, lower - 1)
    kept = (at >= 0) & (at < n_bins)
    return np.bincount(trial[kept] * n_bins + at[kept], minlength=len(onsets) * n_bins)


def _count_by_edges(times: np.ndarray, onsets: np.ndarray, width_s: float, n_bins: int) -> np.ndarray:
    edges = onsets[:, None] + np.arange(n_bins + 1) * (width_s / n_bins)
    return np.diff(np.searchsorted(times, edges, side="left"), axis=1).ravel()


def bin_trials(session: SpikeSession, n_bins: int = 10, window: Window | None = None) -> Population:
    """Return the population of the presentations: one segment for each, all of equal length."""
    return bin_trials_with_report(session, window or Window(n_bins))[0]


def bin_trials_with_report(
    session: SpikeSession, window: Window, probe_invalid: ProbeRule = "drop_presentations"
) -> tuple[Population, list[Step]]:
    """Return the population of the presentations and how many were left by each rule.

    Parameters
    ----------
    probe_invalid : what an invalid time of one probe takes away

    Raises
    ------
    PopulationError
        No presentations, presentations that overlap or lie outside the recording, or none left.
    """
    session, steps = select_presentations(session, probe_invalid)
    table = session.presentations
    if table is None:
        raise PopulationError(f"session '{session.session_id}': no presentations to bin")
    durations = (table["stop_time"] - table["start_time"]).to_numpy()
    width = float(np.median(durations)) if window.width_s is None else window.width_s
    onsets = table["start_time"].to_numpy() + window.start_s + window.lag_s
    counts = bin_presentations(session.spike_times_s, session.offsets, onsets, width, window.n_bins)
    n_trials = len(table)
    segments = make_segments(np.full(n_trials, window.n_bins), width / window.n_bins, onsets)
    stimulus = table.drop(columns=["start_time", "stop_time"]).reset_index(drop=True)
    segments = pd.concat([segments.assign(segment_id=table.index.to_numpy()), stimulus], axis=1)
    flat = counts.reshape(n_trials * window.n_bins, -1)
    labels = {"frame": np.repeat(table["frame"].to_numpy().astype(np.int64), window.n_bins)} if "frame" in table else {}
    valid = np.ones(len(flat), dtype=bool)
    width_s = width / window.n_bins
    return Population(session.session_id, width_s, flat, segments, session.units, valid, labels), steps


def bin_session(session: SpikeSession, bin_width: float) -> Population:
    """Return the continuous population: one segment from start to stop, rows in invalid times or without labels marked.

    Series become labels at bin centres: linear interpolation for float, the last value before for others.
    """
    n_rows = int(np.floor((session.t_stop - session.t_start) / bin_width))
    if n_rows < 1:
        span = session.t_stop - session.t_start
        raise PopulationError(f"session '{session.session_id}': {span:g} s are shorter than a bin of {bin_width:g} s")
    onset = np.array([session.t_start])
    counts = bin_presentations(session.spike_times_s, session.offsets, onset, n_rows * bin_width, n_rows)[0]
    centres = session.t_start + (np.arange(n_rows) + 0.5) * bin_width
    valid = np.ones(n_rows, dtype=bool)
    for start, stop in zip(session.invalid["start"], session.invalid["stop"], strict=True):
        valid[(centres + bin_width / 2 > start) & (centres - bin_width / 2 < stop)] = False
    labels, periods = {}, {}
    for name, series in session.series.items():
        labels[name] = resample(series, centres)
        if labels[name].dtype.kind == "f":
            valid &= np.isfinite(labels[name].reshape(n_rows, -1)).all(axis=1)
        if series.period is not None:
            periods[name] = series.period
    segments = make_segments([n_rows], bin_width, [session.t_start])
    return Population(session.session_id, bin_width, counts, segments, session.units, valid, labels, periods)


def bin_spikes(
    spikes: Mapping[Any, Any] | Sequence[Any],
    bin_width: float = 0.025,
    t_start: float = 0.0,
    t_stop: float | None = None,
    presentations: pd.DataFrame | None = None,
    n_bins: int = 10,
    series: Mapping[str, Any] | None = None,
    session_id: str = "session",
) -> Population:
    """Return the population of spike times: continuous, or one segment for each presentation.

    Parameters
    ----------
    spikes : unit -> spike times, seconds, in any order; a list has units 0, 1, ...
    t_start, t_stop : recorded time, seconds; None = the end of the last spike or presentation
    presentations : ``start_time, stop_time`` and columns of the stimulus (``frame``, ...), cut into ``n_bins`` each
    series : name -> ``(times_s, values)`` or ``Series``: they become labels of a continuous population

    Raises
    ------
    PopulationError
        No spikes, times that are not finite, or what ``bin_trials`` refuses.
    """
    units = dict(spikes.items()) if isinstance(spikes, Mapping) else dict(enumerate(spikes))
    trains = [np.sort(np.asarray(train, dtype=float).ravel()) for train in units.values()]
    signals = {
        name: given if isinstance(given, Series) else Series(np.asarray(given[0], dtype=float), np.asarray(given[1]))
        for name, given in (series or {}).items()
    }
    for name, signal in signals.items():
        if len(signal.times_s) != len(signal.values) or (np.diff(signal.times_s) < 0).any():
            raise PopulationError(
                f"series '{name}': {len(signal.times_s)} times, {len(signal.values)} values; one for each, in order"
            )
    if presentations is not None and (lacking := {"start_time", "stop_time"} - set(presentations)):
        raise PopulationError(
            f"presentations without {', '.join(sorted(lacking))}; columns: {', '.join(map(str, presentations))}"
        )
    if t_stop is None:
        ends = [float(train[-1]) for train in trains if len(train)]
        ends += [] if presentations is None else [float(presentations["stop_time"].max())]
        t_stop = float(np.nextafter(max(ends, default=t_start), np.inf))
    session = SpikeSession(
        session_id, np.concatenate(trains) if trains else np.zeros(0), np.cumsum([0, *map(len, trains)]),
        pd.DataFrame({"unit_id": [str(name) for name in units]}), t_start, t_stop, presentations, series=signals,
    )  # fmt: skip
    return bin_session(session, bin_width) if presentations is None else bin_trials(session, n_bins)


def read_nwb(
    path: Path | str,
    stimulus: str | None = None,
    n_bins: int = 10,
    bin_width: float = 0.025,
    labels: Sequence[str] = (),
) -> Population:
    """Return the population of an NWB file: one segment per presentation, or a continuous one.

    Parameters
    ----------
    stimulus : table of presentations, e.g. ``natural_scenes``, with ``n_bins`` bins for each; None = everything
    bin_width : seconds, without a stimulus
    labels : time series that become labels of a continuous population

    Raises
    ------
    DataError
        No units, or no such table or series; the message lists what is there.
    """
    session = read_nwb_session(Path(path), stimulus=stimulus, series=tuple(labels))
    return bin_session(session, bin_width) if stimulus is None else bin_trials(session, n_bins)


def resample(series: Series, centres_s: np.ndarray) -> np.ndarray:
    """Return a signal at other times, NaN outside its support. Circular ones are unwrapped first."""
    times, values = series.times_s, np.asarray(series.values)
    if values.dtype.kind != "f":
        at = np.clip(np.searchsorted(times, centres_s, side="right") - 1, 0, len(times) - 1)
        return values[at]
    columns = values.reshape(len(times), -1)
    if series.period is not None:
        columns = np.unwrap(columns, period=series.period, axis=0)
    out = np.stack([np.interp(centres_s, times, column, left=np.nan, right=np.nan) for column in columns.T], axis=1)
    if series.period is not None:
        out = np.mod(out, series.period)
    return out if values.ndim > 1 else out[:, 0]
