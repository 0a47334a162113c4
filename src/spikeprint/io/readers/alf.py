"""IBL recordings (ALF). Enters: folders with ``spikes.times.npy`` and ``spikes.clusters.npy``. Leaves: ``Sorting``.

ALF names files ``object.attribute[.part].extension``; the part, such as the UUID that IBL's database adds, is ignored.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import DataError
from ...core.types import UNLABELLED, Sorting, Templates
from .shared import (
    check_rate,
    group_by_unit,
    last_spike_s,
    load_npy,
    load_vector,
    one_line,
    pick_label_column,
    to_column,
)

TEMPLATES_HZ = 30_000.0
"""Sampling rate of IBL's Neuropixels templates; ALF does not hold it."""
_NEEDED = ("spikes.times.npy", "spikes.clusters.npy")
_OPTIONAL = (
    "spikes.templates.npy", "spikes.amps.npy", "spikes.depths.npy",
    "templates.waveforms.npy", "templates.waveformsChannels.npy", "clusters.waveforms.npy",
    "clusters.waveformsChannels.npy", "channels.localCoordinates.npy",
    "clusters.uuids.csv", "clusters.metrics.csv", "clusters.metrics.pqt",
    "clusters.channels.npy", "clusters.depths.npy",
)  # fmt: skip
_UV_PER_V = 1e6


def find_alf(path: Path) -> list[Path]:
    """Return the files of all collections (folders with spikes) at or below ``path``; none when there are none."""
    return [file for folder in _collections(path) for file in _list_files(folder).values()]


def read_alf(path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None) -> list[Sorting]:
    """Read the probes of an IBL session.

    Parameters
    ----------
    path : a collection (``alf/probe00``) or a folder of several
    sampling_frequency_hz : rate of the templates, Hz; None = 30 kHz
    label_column : column of ``clusters.metrics`` with the cell type (``label`` there is a quality score); None or
        "none" = unlabelled

    Returns
    -------
    One ``Sorting`` per collection, times in seconds, waveforms in µV; units are called by their cluster number

    Raises
    ------
    DataError
        A file is missing or damaged, or disagrees with the others in length.
    ConfigError
        There is no such label column.
    """
    folders = _collections(path)
    if not folders:
        raise DataError(f"{path}: no {' and '.join(_NEEDED)}; an ALF folder is needed")
    names = [folder.relative_to(path).as_posix() for folder in folders] if len(folders) > 1 else [""]
    return [
        _read(folder, name, sampling_frequency_hz, label_column) for folder, name in zip(folders, names, strict=True)
    ]


def _collections(path: Path) -> list[Path]:
    """Folders that hold both files of spikes; that of a file, if one was given."""
    if path.is_file():
        path = path.parent if path.name.startswith("spikes.") else path
    if not path.is_dir():
        return []
    folders = {file.parent for file in path.rglob("spikes.times*.npy")}
    return sorted(folder for folder in folders if all(_find(folder, name) for name in _NEEDED))


def _find(folder: Path, name: str) -> list[Path]:
    """Files of this object, attribute and extension, whatever stands between."""
    stem, extension = name.rsplit(".", 1)
    return sorted(file for file in folder.glob(f"{stem}.*{extension}") if file.name.endswith(f".{extension}"))


def _list_files(folder: Path) -> dict[str, Path]:
    """Name without part -> file, of all that is read."""
    found = {name: _find(folder, name) for name in (*_NEEDED, *_OPTIONAL)}
    return {name: files[0] for name, files in found.items() if files}


def _read(folder: Path, name: str, rate_hz: float | None, label_column: str | None) -> Sorting:
    """One collection."""
    files = _list_files(folder)
    for wanted in files:
        if len(several := _find(folder, wanted)) > 1:
            names = ", ".join(file.name for file in several)
            raise DataError(f"{folder}: {len(several)} files for {wanted} ({names}); keep one revision")
    times = load_vector(files[_NEEDED[0]]).astype(np.float64)
    clusters = load_vector(files[_NEEDED[1]], len(times), whole=True)
    if len(clusters) and clusters.min() < 0:
        raise DataError(f"{files[_NEEDED[1]]}: cluster {clusters.min()}; numbers from 0 are needed")
    units = np.unique(clusters)
    order, offsets = group_by_unit(clusters, units)
    table = _read_clusters(files, units)
    column = pick_label_column(label_column, table, None, folder)
    labels = np.full(len(units), UNLABELLED) if column is None else table.pop(column).astype(str)
    per_spike = {
        field: load_vector(files[file], len(times))[order].astype(np.float32) * np.float32(scale)
        for field, file, scale in (
            ("amplitudes_uv", "spikes.amps.npy", _UV_PER_V),
            ("depths_um", "spikes.depths.npy", 1.0),
        )
        if file in files
    }
    return Sorting(
        unit_ids=units.astype(str),
        spike_times=times[order],
        offsets=offsets,
        time_rate_hz=1.0,
        duration_s=np.full(len(units), last_spike_s(times, 1.0, str(files[_NEEDED[0]]))),
        labels=labels,
        templates=_read_templates(files, units, clusters, TEMPLATES_HZ if rate_hz is None else rate_hz),
        session_id=name,
        extra=table,
        **per_spike,
    )


def _read_clusters(files: dict[str, Path], units: np.ndarray) -> dict[str, np.ndarray]:
    """What is known of each cluster: columns in the order of ``units``, rows of the files being clusters from 0."""
    columns: dict[str, np.ndarray] = {}
    for name in ("clusters.metrics.csv", "clusters.metrics.pqt", "clusters.uuids.csv"):
        if name not in files:
            continue
        frame = _read_table(files[name])
        rows = frame.set_index("cluster_id") if "cluster_id" in frame else frame
        if not rows.index.is_unique:
            raise DataError(f"{files[name]}: a cluster_id stands in several rows; one row per cluster is needed")
        rows = rows.reindex(units).dropna(axis=1, how="all")
        columns |= {str(key): _to_values(values) for key, values in rows.items() if not str(key).startswith("Unnamed")}
    for name in ("clusters.channels.npy", "clusters.depths.npy"):
        if name in files:
            values = load_vector(files[name]).astype(np.float64)
            inside = units < len(values)
            columns[name.split(".")[1]] = np.where(inside, values[np.where(inside, units, 0)], np.nan)
    return columns


def _read_table(path: Path) -> pd.DataFrame:
    """A CSV or parquet file."""
    try:
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:  # the parsers' errors are ValueErrors
        raise DataError(f"{path}: not a whole table ({one_line(error)})") from None


def _to_values(values: Any) -> np.ndarray:
    """A column as floats, or as objects of str."""
    if values.dtype.kind in "fiub":
        return values.to_numpy(dtype=np.float64)
    return to_column(["" if pd.isna(value) else str(value) for value in values])


def _read_templates(
    files: dict[str, Path], units: np.ndarray, clusters: np.ndarray, rate_hz: float
) -> Templates | None:
    """Mean waveforms (V in the files, µV here) on the channels of each unit; None without."""
    kind = next((kind for kind in ("clusters", "templates") if f"{kind}.waveforms.npy" in files), None)
    if kind is None:
        return None
    path = files[f"{kind}.waveforms.npy"]
    volts = load_npy(path)
    if volts.ndim != 3 or volts.dtype.kind != "f":
        raise DataError(f"{path}: {volts.dtype} {volts.shape}; (n_templates, n_samples, n_channels) in V is needed")
    rows = units
    if kind == "templates" and "spikes.templates.npy" in files:
        rows = _most_used(load_vector(files["spikes.templates.npy"], len(clusters), whole=True), clusters, units)
    inside = (rows >= 0) & (rows < len(volts))
    values = volts[np.where(inside, rows, 0)].astype(np.float32) * np.float32(_UV_PER_V)
    values[~inside] = np.nan
    positions = None
    channel_file = files.get(f"{kind}.waveformsChannels.npy")
    if channel_file is not None:
        channels = load_npy(channel_file)
        if channels.shape != (len(volts), volts.shape[2]) or channels.dtype.kind not in "iuf":
            raise DataError(
                f"{channel_file}: {channels.shape}; one channel per column of {path.name} {volts.shape} is needed"
            )
        channels = np.nan_to_num(channels, nan=-1).astype(np.int64)[np.where(inside, rows, 0)]
        positions = _read_positions(files.get("channels.localCoordinates.npy"), channels)
        # -1 or a number past the probe fills up the rows of templates at its ends.
        absent = channels < 0 if positions is None else np.isnan(positions).any(axis=2)
        values = np.where(absent[:, None, :], np.float32(np.nan), values)
    values = np.where(np.isfinite(values).all(axis=1, keepdims=True), values, np.float32(np.nan))
    return Templates(values, check_rate(rate_hz, f"{path}: the sampling frequency given"), "uV", positions)


def _most_used(templates: np.ndarray, clusters: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(n_units,) the template that most spikes of each unit were found with."""
    pairs, counts = np.unique(np.column_stack([clusters, templates]), axis=0, return_counts=True)
    order = np.lexsort((-counts, pairs[:, 0]))
    first = np.searchsorted(pairs[order, 0], units)
    return pairs[order][first, 1]


def _read_positions(path: Path | None, channels: np.ndarray) -> np.ndarray | None:
    """(n_units, n_channels, 2) µm, NaN where a unit has no such channel; None without the file."""
    if path is None:
        return None
    coordinates = load_npy(path)
    if coordinates.ndim != 2 or coordinates.shape[1] != 2 or coordinates.dtype.kind not in "fiu":
        raise DataError(f"{path}: {coordinates.dtype} {coordinates.shape}; one [x, y] in µm per channel is needed")
    inside = (channels >= 0) & (channels < len(coordinates))
    positions = coordinates[np.where(inside, channels, 0)].astype(np.float64)
    positions[~inside] = np.nan
    return positions
