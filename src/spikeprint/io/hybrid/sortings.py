"""Spike trains on the clock of a source. Enters: a sorting of any layout. Leaves: segment and sample of every spike."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import ConfigError, DataError
from ...core.types import Sorting
from ..csvs import read_frame, require_names
from ..readers.phy import read_phy_trains
from ..sources import SOURCES, identify
from .source import RawSource

LOGGER = logging.getLogger(__name__)
MAX_BEYOND = 0.01
"""A larger part of the spikes outside the traces says that the sorting is of another recording."""


@dataclass(frozen=True)
class Trains:
    """Spikes of all units of a sorting, unit after unit, each in the order of time.

    Attributes
    ----------
    unit_ids : (n_units,) str, as the sorter wrote them
    segment, sample : (n_spikes,) int64; samples count from the start of the segment
    offsets : (n_units + 1,)
    n_beyond : spikes that lay outside the traces and were left out
    """

    unit_ids: np.ndarray
    segment: np.ndarray
    sample: np.ndarray
    offsets: np.ndarray
    n_beyond: int = 0

    def of_unit(self, unit: int) -> np.ndarray:
        """Return the indices of a unit's spikes."""
        return np.arange(self.offsets[unit], self.offsets[unit + 1])

    def index(self, names: list[str], where: str = "units") -> list[int]:
        """Return the numbers of units by their ids.

        Raises
        ------
        ConfigError
            There is no such unit; the nearest are told.
        """
        known = {str(name): k for k, name in enumerate(self.unit_ids)}
        for name in names:
            if name not in known:
                near = _nearest(name, list(known))
                raise ConfigError(f"{where}: no unit '{name}'; there are {len(known)}, the nearest: {near}")
        return [known[name] for name in names]


def read_trains(path: Path, source: RawSource, one_based: bool = False) -> Trains:
    """Read the sorting of a source; raw traces are not touched.

    Parameters
    ----------
    path : of any layout of ``io.sources``
    one_based : its times count from 1

    Raises
    ------
    DataError, ConfigError
        The layout is not known (what was looked for is listed), the files are damaged, hold several sessions or no
        spike trains, or are of another recording.
    """
    found = identify(path)
    if found.is_recording:
        raise DataError(f"{path}: a recording ({found.format}); its sorting is needed")
    read_units = read_phy_trains if found.format == "phy" else SOURCES[found.format].read
    read = read_units(path, source.sampling_frequency_hz, None)
    if not isinstance(read, list):
        raise DataError(f"{path}: a table of features without spike times; a sorting is needed")
    if len(read) != 1:
        raise DataError(f"{path}: {len(read)} sessions; name the folder of one")
    return locate(read[0], source, str(path), one_based)


def locate(sorting: Sorting, source: RawSource, where: str, one_based: bool = False) -> Trains:
    """Return the spikes of a sorting by segment of a source.

    Raises
    ------
    DataError
        More than 1 % of the spikes lie outside the traces; fewer are left out with a warning.
    """
    if sorting.time_rate_hz == 1.0:
        seconds = np.asarray(sorting.spike_times, dtype=np.float64)
        times = np.rint(np.where(np.isfinite(seconds), seconds, -1.0) * source.sampling_frequency_hz).astype(np.int64)
    else:
        # samples are the recording's, whatever rounding of its rate their file states
        times = np.asarray(sorting.spike_times).astype(np.int64)
    times = times - int(one_based)
    starts, counts = np.asarray(source.starts), np.asarray(source.counts)
    segment = np.searchsorted(starts, times, side="right") - 1
    sample = times - starts[np.maximum(segment, 0)]
    is_inside = (segment >= 0) & (sample < counts[np.maximum(segment, 0)])
    n_beyond = int((~is_inside).sum())
    if n_beyond > MAX_BEYOND * len(times):
        raise DataError(
            f"{where}: {n_beyond} of {len(times)} spikes lie outside the traces of {source.path} "
            f"({counts.sum()} samples); the sorting of this recording is needed, or layout.starts"
        )
    if n_beyond:
        LOGGER.warning("%s: %d spikes lie outside the traces and are left out", where, n_beyond)
    unit = np.repeat(np.arange(len(sorting.unit_ids)), np.diff(sorting.offsets))[is_inside]
    segment, sample = segment[is_inside], sample[is_inside]
    order = np.lexsort((sample, segment, unit))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(unit, minlength=len(sorting.unit_ids)))])
    return Trains(np.asarray(sorting.unit_ids, dtype=str), segment[order], sample[order], offsets, n_beyond)


def from_spikeinterface(sorting: Any) -> Trains:
    """Return the spikes of a SpikeInterface sorting that has the segments of the source."""
    spikes = sorting.to_spike_vector()
    order = np.lexsort((spikes["sample_index"], spikes["segment_index"], spikes["unit_index"]))
    counts = np.bincount(spikes["unit_index"], minlength=len(sorting.unit_ids))
    return Trains(
        np.array([str(unit) for unit in sorting.unit_ids], dtype=str),
        spikes["segment_index"][order].astype(np.int64),
        spikes["sample_index"][order].astype(np.int64),
        np.concatenate([[0], np.cumsum(counts)]),
    )


def from_frame(frame: pd.DataFrame, source: RawSource, where: str = "sorting") -> Trains:
    """Return the spikes of a table, one row each: ``unit``, and ``sample`` on the clock of the source.

    Raises
    ------
    DataError
        A column is missing, samples are no whole numbers, or more than 1 % lie outside the traces.
    """
    _check_times(where, frame)
    ordered = frame.sort_values(["unit", "sample"], kind="stable")
    unit_ids, counts = np.unique(ordered["unit"], return_counts=True)
    duration_s = np.full(len(unit_ids), sum(source.counts) / source.sampling_frequency_hz)
    sorting = Sorting(
        unit_ids.astype(str),
        ordered["sample"].to_numpy(np.int64),
        np.concatenate([[0], np.cumsum(counts)]),
        source.sampling_frequency_hz,
        duration_s,
        np.full(len(unit_ids), ""),
    )
    return locate(sorting, source, where)


def read_given_times(path: Path) -> dict[str, np.ndarray]:
    """Read a table of times, columns ``unit`` (of the sorting) and ``sample`` (on its clock): unit -> (n,) int64.

    Raises
    ------
    DataError
        It is missing, lacks a column or holds something else than whole numbers.
    """
    frame = read_frame(path, text=("unit",))
    _check_times(str(path), frame)
    values = frame["sample"].to_numpy()
    return {str(unit): values[frame["unit"] == unit].astype(np.int64) for unit in dict.fromkeys(frame["unit"])}


def _check_times(where: str, frame: pd.DataFrame) -> None:
    """Raise DataError unless there are columns ``unit`` and ``sample``, this of whole numbers."""
    require_names(where, frame.columns, ("unit", "sample"))
    if frame["sample"].dtype.kind not in "iu":
        raise DataError(f"{where}: column sample is {frame['sample'].dtype}; whole numbers are needed")


def _nearest(name: str, known: list[str]) -> str:
    """Some of the ids, those of the nearest numbers where they are numbers."""
    if name.isdigit() and all(other.isdigit() for other in known):
        known = sorted(known, key=lambda other: abs(int(other) - int(name)))
    return ", ".join(known[:8]) + (" ..." if len(known) > 8 else "")
