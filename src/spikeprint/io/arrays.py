"""Spike trains and templates on disk. Enters: an ``arrays`` folder, or a ``Sorting``. Leaves: the other one.

NumPy files are read without pickle; samples must be integers, sorted within a unit and inside the recording.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError
from ..core.files import atomic_folder, read_json, write_csv, write_json
from ..core.types import Sorting
from .csvs import check_folder, check_unique, read_frame, require_names

SORTING_FILES = ("spikes.npz", "templates.npy", "units.csv", "recording.json")
"""Files of an ``arrays`` folder."""

_UNIT_COLUMNS = ("unit_id", "cell_type")
_RECORDING_KEYS = ("sampling_frequency_hz", "duration_s", "channel_positions_um")


def write_sorting(folder: Path, sorting: Sorting) -> None:
    """Write spike trains and templates as an ``arrays`` folder, atomically."""
    with atomic_folder(folder) as temporary:
        np.savez(temporary / "spikes.npz", spike_samples=sorting.spike_samples, offsets=sorting.offsets)
        np.save(temporary / "templates.npy", sorting.templates, allow_pickle=False)
        write_csv(temporary / "units.csv", pd.DataFrame({"unit_id": sorting.unit_ids, "cell_type": sorting.labels}))
        recording = {
            "sampling_frequency_hz": sorting.sampling_frequency_hz,
            "duration_s": sorting.duration_s,
            "channel_positions_um": sorting.channel_positions_um,
        }
        write_json(temporary / "recording.json", recording)


def read_sorting(folder: Path) -> Sorting:
    """Read an ``arrays`` folder.

    Raises
    ------
    DataError
        A file is missing or damaged, shapes disagree, or spikes are unsorted or outside the recording.
    """
    folder = check_folder(folder)
    rate_hz, duration_s, positions = _read_recording(folder / "recording.json")
    spikes = _load_arrays(folder / "spikes.npz", ("spike_samples", "offsets"))
    units = read_frame(folder / "units.csv", text=_UNIT_COLUMNS)
    require_names(folder / "units.csv", units.columns, _UNIT_COLUMNS)
    unit_ids, labels = (units[name].to_numpy(dtype=str) for name in _UNIT_COLUMNS)
    check_unique(folder / "units.csv", "unit_id", unit_ids)
    try:
        sorting = Sorting(
            unit_ids=unit_ids,
            spike_samples=_as_integers(folder / "spikes.npz", "spike_samples", spikes["spike_samples"]),
            offsets=_as_integers(folder / "spikes.npz", "offsets", spikes["offsets"]),
            templates=_read_templates(folder / "templates.npy"),
            channel_positions_um=positions,
            sampling_frequency_hz=rate_hz,
            duration_s=duration_s,
            labels=labels,
        )
    except DataError as error:
        where = "" if str(error).startswith(str(folder)) else f"{folder}: "
        raise DataError(f"{where}{error}") from None
    _check_trains(folder / "spikes.npz", sorting)
    return sorting


def _read_recording(path: Path) -> tuple[float, float, np.ndarray]:
    """Sampling rate (Hz), duration (s) and (n_channels, 2) positions (µm) of a recording file."""
    recording = read_json(path)
    require_names(path, recording if isinstance(recording, dict) else (), _RECORDING_KEYS)
    try:
        rate_hz, duration_s = (float(recording[name]) for name in _RECORDING_KEYS[:2])
        positions = np.asarray(recording["channel_positions_um"], dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{path}: {', '.join(_RECORDING_KEYS)} must be numbers") from None
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise DataError(f"{path}: channel_positions_um is {positions.shape}; one finite [x, y] per channel is needed")
    return rate_hz, duration_s, positions


def _read_templates(path: Path) -> np.ndarray:
    """(n_units, n_samples, n_channels) float32, each template wholly finite, or wholly NaN where it is missing."""
    templates = _load(path)
    if not isinstance(templates, np.ndarray) or templates.dtype.kind not in "fiu" or templates.ndim != 3:
        found = f"{templates.dtype} {templates.shape}" if isinstance(templates, np.ndarray) else "an .npz archive"
        raise DataError(f"{path}: {found}; numbers (n_units, n_samples, n_channels) are needed")
    flat = templates.reshape(len(templates), -1)
    bad = ~np.isfinite(flat).all(axis=1) & ~np.isnan(flat).all(axis=1)
    if bad.any():
        raise DataError(
            f"{path}: template {int(np.argmax(bad))} is not finite in part ({bad.sum()} such templates); "
            "a template is finite, or all NaN where it is missing"
        )
    return templates.astype(np.float32)


def _load(path: Path) -> Any:
    """``np.load`` without pickle."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; this file is needed") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a whole NumPy file of plain arrays ({error})") from None


def _load_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Named arrays of an .npz file."""
    with _load(path) as file:
        require_names(path, file.files, names)
        try:
            return {name: file[name] for name in names}
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a whole NumPy file of plain arrays ({error})") from None


def _as_integers(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """``values`` as int64; samples are integers, times in seconds are refused."""
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(f"{path}: '{name}' is {values.dtype} {values.shape}; one row of integers is needed")
    return values.astype(np.int64)


def _check_trains(path: Path, sorting: Sorting) -> None:
    """Raise unless offsets rise from 0 and each train is sorted and inside the recording; the first unit is named."""
    offsets, samples = sorting.offsets, sorting.spike_samples
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise DataError(f"{path}: 'offsets' must start at 0 and never fall; found {offsets[:5].tolist()} ...")
    last = sorting.duration_s * sorting.sampling_frequency_hz
    outside = (samples < 0) | (samples > last)
    falls = np.zeros(len(samples), dtype=bool)
    falls[1:] = np.diff(samples) < 0
    falls[offsets[:-1][offsets[:-1] < len(samples)]] = False  # a new unit's train starts over
    faults = {f"outside 0 .. {last:.0f} (duration x rate)": outside, "earlier than the one before": falls}
    for what, spikes in faults.items():
        if spikes.any():
            first = int(np.argmax(spikes))
            unit = sorting.unit_ids[np.searchsorted(offsets, first, side="right") - 1]
            raise DataError(
                f"{path}: unit {unit}: spike sample {samples[first]} is {what} ({spikes.sum()} such spikes)"
            )
