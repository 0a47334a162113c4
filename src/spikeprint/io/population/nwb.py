"""NWB files of stimulus sessions. Enters: an .nwb file. Leaves: a ``SpikeSession``.

Read as HDF5: spike times in one slice, no object references. Tables of presentations stand under ``/intervals``.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import DataError
from ...core.sessions import INVALID_COLUMNS, Series, SpikeSession
from ..readers.nwb_file import UnitsTable, as_text, is_dataset, is_group, open_nwb, read_units_table

LOGGER = logging.getLogger(__name__)

QUALITY = ("isi_violations", "amplitude_cutoff", "presence_ratio")
SUFFIX = "_presentations"


def read_nwb_session(path: Path, stimulus: str | None = None, series: Sequence[str] = ()) -> SpikeSession:
    """Read units, one table of presentations, invalid times and signals.

    Parameters
    ----------
    stimulus : ``natural_scenes`` for ``/intervals/natural_scenes_presentations``, or the whole name of a table
    series : names of time series under ``processing`` or ``acquisition``

    Raises
    ------
    DataError
        No units with spike times, or no such table or series; the message lists what is there.
    """
    path = Path(path)
    with open_nwb(path) as file:
        table = read_units_table(path, file)
        times, offsets = table.ragged("spike_times")
        times = _in_order(path, times.astype(float), offsets)
        units = _read_units(file, table)
        presentations = None if stimulus is None else _read_presentations(path, file, stimulus)
        invalid = _read_invalid(file)
        signals = {name: _read_series(path, file, name) for name in series}
        ends = [times.max() if len(times) else 0.0]
        if is_dataset(table.group, "obs_intervals"):
            ends.append(float(table.group["obs_intervals"][...].max()))
        ends += [float(signal.times_s[-1]) for signal in signals.values()]
    if presentations is not None and not is_dataset(table.group, "obs_intervals"):
        ends.append(float(presentations["stop_time"].max()))  # nothing says when recording stopped
    stop = np.nextafter(max(ends), np.inf)
    return SpikeSession(path.stem, times, offsets, units, 0.0, stop, presentations, invalid, signals)


def _in_order(path: Path, times: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    steps = np.diff(times)
    steps[offsets[1:-1][(offsets[1:-1] > 0) & (offsets[1:-1] < len(times))] - 1] = 0
    if (steps >= 0).all():
        return times
    LOGGER.warning("%s: spike times that are not ascending; sorted within each unit", path)
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return times[np.lexsort((times, owner))]


def _read_units(file: Any, table: UnitsTable) -> pd.DataFrame:
    columns: dict[str, Any] = {"unit_id": table.unit_ids}
    for name in QUALITY:
        if table.has(name):
            columns[name] = table.group[name][...].astype(float)
    if table.has("quality"):
        columns["quality"] = as_text(table.group["quality"][...])
    place = "general/extracellular_ephys/electrodes"
    if table.has("peak_channel_id") and is_group(file, place):
        electrodes = file[place]
        ids = electrodes["id"][...]
        order = np.argsort(ids)
        at = order[np.searchsorted(ids, table.group["peak_channel_id"][...], sorter=order).clip(max=len(ids) - 1)]
        for ours, theirs in (("probe", "group_name"), ("region", "location")):
            if is_dataset(electrodes, theirs):
                columns[ours] = as_text(electrodes[theirs][...])[at]
    return pd.DataFrame(columns)


def _read_presentations(path: Path, file: Any, stimulus: str) -> pd.DataFrame:
    tables = list(file["intervals"]) if is_group(file, "intervals") else []
    name = stimulus if stimulus in tables else f"{stimulus}{SUFFIX}"
    if name not in tables:
        raise DataError(f"{path}: no presentations of '{stimulus}'; tables of intervals: {', '.join(tables) or 'none'}")
    group = file["intervals"][name]
    n_rows = len(group["start_time"])
    columns = {}
    for column in group:
        if not is_dataset(group, column) or group[column].shape != (n_rows,) or column.endswith("_index"):
            continue
        values = group[column]
        if values.dtype.kind in "iuf":
            columns[column] = values[...]
        elif values.dtype.kind == "O" and not _holds_references(values):
            columns[column] = as_text(values[...])
    columns.pop("id", None)
    if n_rows == 0:
        raise DataError(f"{path}: intervals/{name} has no rows")
    return pd.DataFrame(columns)


def _holds_references(values: Any) -> bool:
    import h5py

    return h5py.check_ref_dtype(values.dtype) is not None


def _read_invalid(file: Any) -> pd.DataFrame:
    if not is_group(file, "intervals/invalid_times"):
        return pd.DataFrame(columns=list(INVALID_COLUMNS))
    group = file["intervals/invalid_times"]
    n_rows = len(group["start_time"])
    tags: list[list[str]] = [[] for _ in range(n_rows)]
    if is_dataset(group, "tags"):
        words = as_text(group["tags"][...]).tolist()
        ends = group["tags_index"][...] if is_dataset(group, "tags_index") else np.arange(1, n_rows + 1)
        starts = np.concatenate([[0], ends[:-1]])
        tags = [words[a:b] for a, b in zip(starts, ends, strict=True)]
    return pd.DataFrame({"start": group["start_time"][...], "stop": group["stop_time"][...], "tags": tags})


def _read_series(path: Path, file: Any, name: str) -> Series:
    found: dict[str, Any] = {}
    for place in ("processing", "acquisition"):
        if is_group(file, place):
            _collect(file[place], found)
    if name not in found:
        raise DataError(f"{path}: no time series '{name}'; there are: {', '.join(sorted(found)) or 'none'}")
    group = found[name]
    values = group["data"][...]
    if is_dataset(group, "timestamps"):
        times = group["timestamps"][...]
    else:
        start = group["starting_time"]
        times = start[()] + np.arange(len(values)) / start.attrs["rate"]
    return Series(np.asarray(times, dtype=float), values)


def _collect(group: Any, found: dict[str, Any]) -> None:
    """Every group below that holds data and knows its times, by its name."""
    for name in group:
        if not is_group(group, name):
            continue
        inner = group[name]
        if is_dataset(inner, "data") and (is_dataset(inner, "timestamps") or is_dataset(inner, "starting_time")):
            found.setdefault(name, inner)
        else:
            _collect(inner, found)
