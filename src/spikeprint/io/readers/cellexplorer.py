"""CellExplorer sessions. Enters: ``*.cell_metrics.cellinfo.mat`` files, v5 or v7.3. Leaves: one ``Sorting`` per file.

Spike times are those of ``spikes.times`` outside ``general.excludeIntervals``, as for CellExplorer's own metrics: there
light or current drove the cells by which they were identified, so their firing would tell the label. The clock stands
still meanwhile; ``excluded_frac`` is the share of a unit's spikes there.
Waveforms are those of ``waveforms.bestChannels``: the other channels may belong to another electrode, such as the
pipette of a juxtacellular recording.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ConfigError, DataError
from ...core.types import UNLABELLED, Sorting, Templates
from .clock import ObservedTimes, on_observed_clock
from .mats import read_mat
from .shared import TICK_S, check_rate, last_spike_s, pick_label_column, shortlist

SUFFIX = ".cell_metrics.cellinfo.mat"
LABELS = "groundTruthClassification"
"""Where CellExplorer keeps cell types that were proven (opto-tagging, juxtacellular); the default labels."""
_EXTRA = {"putativeCellType": "putativeCellType", "brainRegion": "brainRegion", "cellID": "cellID", "shankID": "shank"}
_FIELDS = ("general", "UID", "spikes", "waveforms", LABELS, *_EXTRA)
_WAVEFORMS = (("filt_all", "time_all"), ("filt", "time"))
"""Mean waveforms and their times (ms), the better first: all channels, then the best one."""

LOGGER = logging.getLogger(__name__)


def find_cellexplorer(path: Path) -> list[Path]:
    """Return the session files at ``path``, a file or a folder; none when there are none."""
    if path.is_file():
        return [path] if path.name.endswith(SUFFIX) else []
    return sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else []


def read_cellexplorer(
    path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None
) -> list[Sorting]:
    """Read sessions of CellExplorer.

    Parameters
    ----------
    path : one session file, or a folder of them
    sampling_frequency_hz : rate of the waveforms, Hz, where the file lacks their times
    label_column : per-unit text with the cell type; None = ``groundTruthClassification`` (a unit of several classes is
        ``a+b``); ``putativeCellType`` is CellExplorer's own guess from features; "none" = ignore labels

    Returns
    -------
    One ``Sorting`` per file, times in seconds, waveforms in µV; ``session_id`` is the name of the file, ``""`` for a
    single one

    Raises
    ------
    DataError
        A file is damaged, or a session has no spike times.
    ConfigError
        There is no such label column.
    """
    files = find_cellexplorer(path)
    if not files:
        raise DataError(f"{path}: no *{SUFFIX} file; a CellExplorer session is needed")
    roots = [file.relative_to(path).as_posix() if path.is_dir() else file.name for file in files]
    names = [root.removesuffix(SUFFIX) for root in roots] if len(files) > 1 else [""]
    return [
        _read_session(file, name, sampling_frequency_hz, label_column) for file, name in zip(files, names, strict=True)
    ]


def _read_session(path: Path, name: str, rate_hz: float | None, label_column: str | None) -> Sorting:
    """One file."""
    wanted = (*_FIELDS, *([label_column] if label_column else []))
    metrics = read_mat(path, ["cell_metrics"], wanted).get("cell_metrics")
    if not isinstance(metrics, dict):
        raise DataError(f"{path}: no struct 'cell_metrics'; a CellExplorer session is needed")
    trains = _read_trains(path, metrics)
    unit_ids = _read_ids(metrics.get("UID"), len(trains))
    general = found if isinstance(found := metrics.get("general"), dict) else {}
    end_s = max(last_spike_s(np.concatenate(trains), 1.0, str(path)), _read_end_s(general))
    n_spikes = np.array([len(train) for train in trains])
    observed = _exclude(path, trains, end_s, general.get("excludeIntervals"))
    n_kept = np.diff(observed.offsets)
    extra = {column: _per_unit(metrics.get(field), len(trains)) for field, column in _EXTRA.items()}
    extra["excluded_frac"] = np.where(n_spikes > 0, 1 - n_kept / np.maximum(n_spikes, 1), np.nan)
    return Sorting(
        unit_ids=unit_ids,
        spike_times=observed.seconds,
        offsets=observed.offsets,
        time_rate_hz=1.0,
        duration_s=observed.duration_s,
        segment=observed.segment,
        labels=_read_labels(path, metrics, len(trains), label_column),
        templates=_read_templates(path, metrics.get("waveforms"), general, len(trains), rate_hz),
        session_id=name,
        extra={column: values for column, values in extra.items() if values is not None},
    )


def _read_trains(path: Path, metrics: dict[str, Any]) -> list[np.ndarray]:
    """Seconds, one array per unit; a unit without times has none."""
    spikes = metrics.get("spikes")
    times = spikes.get("times") if isinstance(spikes, dict) else None
    trains = [_numbers(train) for train in (times if isinstance(times, list) else [times])]
    if times is None or not sum(map(len, trains)):
        raise DataError(
            f"{path}: no spike times (cell_metrics.spikes.times) but {shortlist(metrics)}; they are needed, histograms "
            "cannot be converted exactly: run ProcessCellMetrics with spikes included, or take the session out"
        )
    return trains


def _numbers(value: Any) -> np.ndarray:
    """(n,) float64 of what a field holds; none where it holds no numbers."""
    is_numeric = isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    return value.ravel(order="F").astype(np.float64) if is_numeric else np.empty(0)


def _read_ids(value: Any, n_units: int) -> np.ndarray:
    """Names of the units: UID, else their number from 1."""
    numbers = _numbers(value)
    if len(numbers) != n_units or len(np.unique(numbers)) != n_units:
        numbers = np.arange(1, n_units + 1)
    return np.array([str(int(number)) for number in numbers], dtype=str)


def _per_unit(value: Any, n_units: int) -> np.ndarray | None:
    """A field with one number or one text per unit as a column; None for anything else."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and len(value) == n_units:
        return np.array([item if isinstance(item, str) else "" for item in value], dtype=object)
    numbers = _numbers(value)
    return numbers if len(numbers) == n_units else None


def _read_labels(path: Path, metrics: dict[str, Any], n_units: int, wanted: str | None) -> np.ndarray:
    """(n_units,) str, "" where unknown."""
    column = pick_label_column(wanted, metrics, LABELS, path)
    if column is None:
        return np.full(n_units, UNLABELLED)
    value = metrics[column]
    classes: list[list[str]] = [[] for _ in range(n_units)]
    if isinstance(value, dict):  # class -> numbers of its units, from 1
        for name, members in value.items():
            numbers = _numbers(members)
            if ((numbers < 1) | (numbers > n_units)).any():
                raise DataError(f"{path}: {column}.{name} names unit {numbers.max():.0f}; there are {n_units} units")
            for number in numbers:
                classes[int(number) - 1].append(name)
    elif isinstance(value, (str, list)) and len(cells := [value] if isinstance(value, str) else value) == n_units:
        classes = [
            [text for text in (cell if isinstance(cell, list) else [cell]) if isinstance(text, str)] for cell in cells
        ]
    elif wanted is not None:
        raise ConfigError(f"{path}: '{column}' does not hold one text per unit; name another label column, or 'none'")
    return np.array(["+".join(filter(None, names)) for names in classes], dtype=str)


def _read_end_s(general: dict[str, Any]) -> float:
    """End of the last epoch, seconds, on the clock of the spikes; 0 where the file does not tell."""
    epochs = general.get("epochs")
    ends = [
        _numbers(epoch.get("stopTime"))
        for epoch in (epochs if isinstance(epochs, list) else [epochs])
        if isinstance(epoch, dict)
    ]
    return float(np.nanmax(np.concatenate([*ends, [0.0]])))


def _exclude(path: Path, trains: list[np.ndarray], end_s: float, intervals: Any) -> ObservedTimes:
    """Spikes outside the excluded intervals, on the clock that stands still in them."""
    is_given = isinstance(intervals, np.ndarray) and intervals.dtype.kind in "fiu" and intervals.ndim == 2
    excluded = np.sort(intervals.astype(np.float64), axis=0) if is_given and intervals.shape[1:] == (2,) else None
    borders = [0.0, end_s] if excluded is None else [0.0, *np.clip(_unite(excluded), 0, end_s).ravel(), end_s]
    observed = np.reshape(borders, (-1, 2))
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in trains])])
    windows = np.tile(observed, (len(trains), 1)), np.arange(len(trains) + 1) * len(observed)
    return on_observed_clock(path, np.concatenate(trains), offsets, *windows)


def _unite(intervals: np.ndarray) -> np.ndarray:
    """Intervals in order, (n, 2); those that overlap become one."""
    reach = np.maximum.accumulate(intervals[:, 1])
    is_new = np.concatenate([[True], intervals[1:, 0] > reach[:-1]])
    return np.column_stack([intervals[is_new, 0], reach[np.append(np.flatnonzero(is_new)[1:] - 1, len(reach) - 1)]])


def _read_templates(
    path: Path, waveforms: Any, general: dict[str, Any], n_units: int, rate_hz: float | None
) -> Templates | None:
    """Mean waveforms of the units (µV), on all channels where the file has them; None where it has none."""
    waveforms = waveforms if isinstance(waveforms, dict) else {}
    for field, clock in _WAVEFORMS:
        times = _split(waveforms.get(clock), n_units)
        rows = [_orient(*pair) for pair in zip(_split(waveforms.get(field), n_units), times, strict=True)]
        sizes = [row.shape for row in rows if row is not None]
        if sizes:
            break
    else:
        return None
    clocks = [time.ravel() for time, row in zip(times, rows, strict=True) if row is not None and time is not None]
    found_hz = _read_rate(clocks[0]) if clocks else rate_hz
    if found_hz is None:
        raise DataError(f"{path}: no waveforms.{clock}; pass --sampling-frequency, the rate of the waveforms in Hz")
    n_samples, n_channels = max(set(sizes), key=sizes.count)[1], max(shape[0] for shape in sizes)
    values = np.full((n_units, n_samples, n_channels), np.nan, dtype=np.float32)
    for unit, row in enumerate(rows):
        if row is not None and row.shape[1] == n_samples:
            values[unit, :, : len(row)] = row.T
    if missing := n_units - sum(size[1] == n_samples for size in sizes):
        LOGGER.warning("%s: %d of %d units have no waveform of %d samples", path, missing, n_units, n_samples)
    positions = None
    if field == _WAVEFORMS[0][0]:
        channels = [_numbers(own).astype(int) for own in _split(waveforms.get("channels_all"), n_units)]
        channels = [own if len(own) else np.arange(1, n_channels + 1) for own in channels]
        _drop_other_electrodes(values, channels, _split(waveforms.get("bestChannels"), n_units))
        positions = _read_positions(general, channels, n_channels)
    return Templates(values, check_rate(found_hz, f"{path}: rate of the waveforms"), "uV", positions)


def _drop_other_electrodes(values: np.ndarray, channels: list[np.ndarray], best: list[np.ndarray | None]) -> None:
    """Make channels outside ``bestChannels`` NaN, in place; a unit without such a list keeps all."""
    for unit, (own, kept) in enumerate(zip(channels, best, strict=True)):
        inside = np.isin(own, _numbers(kept))
        if inside.any():
            values[unit][:, : len(own)][:, ~inside[: values.shape[2]]] = np.nan


def _split(value: Any, n_units: int) -> list[np.ndarray | None]:
    """One array per unit, of a list, of columns side by side, or of one that serves all."""
    if isinstance(value, list) and len(value) == n_units:
        return [item if _numbers(item).size else None for item in value]
    if not _numbers(value).size:
        return [None] * n_units
    if n_units > 1 and value.ndim == 2 and value.shape[1] == n_units:
        return list(value.T)
    return [value] * n_units if n_units == 1 or 1 in value.shape else [None] * n_units


def _orient(mean: np.ndarray | None, time: np.ndarray | None) -> np.ndarray | None:
    """(n_channels, n_samples): samples lie along the axis as long as the times, else along the second, as is usual."""
    if mean is None:
        return None
    rows = np.atleast_2d(mean).astype(np.float32)
    n = rows.shape[1] if time is None else time.size
    if rows.shape[1] != n and rows.shape[0] == n:
        rows = rows.T
    # A channel that is not finite throughout is missing.
    return np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, np.float32(np.nan))


def _read_rate(times_ms: np.ndarray) -> float | None:
    """Hz of evenly spaced times; rounded, for steps of 0.05 ms are not exact in binary."""
    step = float(np.median(np.diff(times_ms))) if len(times_ms) > 1 else 0.0
    return round(1e3 / step, 3) if step > TICK_S else None


def _read_positions(general: dict[str, Any], channels: list[np.ndarray], n_channels: int) -> np.ndarray | None:
    """µm, (n_channels, 2), or (n_units, n_channels, 2) where units have channels of their own; None where unknown."""
    coordinates = general.get("chanCoords")
    if not isinstance(coordinates, dict):
        return None
    x, y = (_numbers(coordinates.get(axis)) for axis in "xy")
    known = len(x) if len(x) == len(y) else 0
    if not known or any(own.min() < 1 or own.max() > known or len(own) > n_channels for own in channels):
        return None
    positions = np.full((len(channels), n_channels, 2), np.nan)
    for unit, own in enumerate(channels):
        positions[unit, : len(own)] = np.column_stack([x[own - 1], y[own - 1]])
    return positions[0] if all(np.array_equal(own, channels[0]) for own in channels) else positions
