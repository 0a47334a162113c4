"""Spike trains and templates on disk. Enters: an ``arrays`` folder, or a ``Sorting``. Leaves: the other one.

NumPy files are read without pickle.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError
from ..core.files import atomic_folder, read_json, write_csv, write_json
from ..core.types import Sorting, Templates
from .csvs import check_folder, check_unique, read_frame, require_names

SORTING_FILES = ("spikes.npz", "templates.npy", "units.csv", "recording.json")
"""Files of an ``arrays`` folder; ``templates.npy`` may be absent."""

_UNIT_COLUMNS = ("unit_id", "cell_type")
_RECORDING_KEYS = ("sampling_frequency_hz", "duration_s")
_TIMES = ("spike_samples", "spike_times_s")
_OF_SPIKES = ("segment", "amplitudes_uv", "depths_um")


def write_sorting(folder: Path, sorting: Sorting) -> None:
    """Write spike trains and templates as an ``arrays`` folder, atomically; it reads back identically."""
    with atomic_folder(folder) as temporary:
        is_samples = sorting.spike_times.dtype.kind in "iu"
        spikes: dict[str, Any] = {_TIMES[0] if is_samples else _TIMES[1]: sorting.spike_times}
        spikes["offsets"] = sorting.offsets
        spikes |= {name: getattr(sorting, name) for name in _OF_SPIKES if getattr(sorting, name) is not None}
        np.savez(temporary / "spikes.npz", **spikes)
        units = {"unit_id": sorting.unit_ids, "cell_type": sorting.labels, "duration_s": sorting.duration_s}
        noise = {} if sorting.noise_uv is None else {"noise_uv": sorting.noise_uv}
        write_csv(temporary / "units.csv", pd.DataFrame({**units, **noise, **sorting.extra}))
        recording: dict[str, Any] = {
            "sampling_frequency_hz": sorting.time_rate_hz,
            "duration_s": float(sorting.duration_s.max(initial=0)),
            "session_id": sorting.session_id,
        }
        if sorting.templates is not None:
            np.save(temporary / "templates.npy", sorting.templates.values, allow_pickle=False)
            recording["templates"] = {
                "sampling_frequency_hz": sorting.templates.sampling_frequency_hz,
                "unit": sorting.templates.unit,
            }
            recording["channel_positions_um"] = sorting.templates.positions_um
        write_json(temporary / "recording.json", recording)


def read_sorting(folder: Path) -> Sorting:
    """Read an ``arrays`` folder.

    Times may be unsorted, repeated or outside the recording: cleaning, and the refusal of what cannot be spike times,
    are ``features.trains``' work.

    Raises
    ------
    DataError
        A file is missing or damaged, or shapes disagree.
    """
    folder = check_folder(folder)
    recording = _read_recording(folder / "recording.json")
    rate_hz = recording["sampling_frequency_hz"]
    spikes = _load_arrays(folder / "spikes.npz", ("offsets",), (*_TIMES, *_OF_SPIKES))
    times, time_rate_hz = _pick_times(folder / "spikes.npz", spikes, rate_hz)
    units = read_frame(folder / "units.csv", text=_UNIT_COLUMNS)
    require_names(folder / "units.csv", units.columns, _UNIT_COLUMNS)
    unit_ids, labels = (units.pop(name).to_numpy(dtype=str) for name in _UNIT_COLUMNS)
    check_unique(folder / "units.csv", "unit_id", unit_ids)
    durations = units.pop("duration_s") if "duration_s" in units else np.full(len(unit_ids), recording["duration_s"])
    noise = units.pop("noise_uv").to_numpy(dtype=np.float64) if "noise_uv" in units else None
    try:
        return Sorting(
            unit_ids=unit_ids,
            spike_times=times,
            offsets=_as_integers(folder / "spikes.npz", "offsets", spikes["offsets"]),
            time_rate_hz=time_rate_hz,
            duration_s=np.asarray(durations, dtype=np.float64),
            labels=labels,
            templates=_read_templates(folder / "templates.npy", recording),
            **{name: spikes.get(name) for name in _OF_SPIKES},
            noise_uv=noise,
            session_id=str(recording.get("session_id", "")),
            extra={str(name): units[name].to_numpy() for name in units},
        )
    except DataError as error:
        where = "" if str(error).startswith(str(folder)) else f"{folder}: "
        raise DataError(f"{where}{error}") from None


def _pick_times(path: Path, spikes: dict[str, np.ndarray], rate_hz: float) -> tuple[np.ndarray, float]:
    """The times and the rate of which they are samples: integers under ``spike_samples``, or seconds."""
    given = [name for name in _TIMES if name in spikes]
    if len(given) != 1:
        found = " and ".join(given) or "neither"
        raise DataError(f"{path}: holds {found}; one of {' or '.join(_TIMES)} is needed")
    if given[0] == _TIMES[0]:
        return _as_integers(path, _TIMES[0], spikes[_TIMES[0]]), rate_hz
    seconds = spikes[_TIMES[1]]
    if seconds.ndim != 1 or seconds.dtype.kind not in "fiu":
        raise DataError(f"{path}: '{_TIMES[1]}' is {seconds.dtype} {seconds.shape}; one row of numbers is needed")
    return seconds.astype(np.float64), 1.0


def _read_recording(path: Path) -> dict[str, Any]:
    """Rate (Hz), duration (s), template rate and unit, (n_channels, 2) positions (µm) or None, of a recording file."""
    recording = read_json(path)
    require_names(path, recording if isinstance(recording, dict) else (), _RECORDING_KEYS)
    templates = recording.get("templates", {})
    try:
        numbers = {name: float(recording[name]) for name in _RECORDING_KEYS}
        rate_hz = float(templates.get("sampling_frequency_hz", numbers["sampling_frequency_hz"]))
        positions = recording.get("channel_positions_um")
        positions = None if positions is None else np.asarray(positions, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{path}: {', '.join(_RECORDING_KEYS)}, channel_positions_um must be numbers") from None
    if positions is not None and (positions.ndim not in (2, 3) or positions.shape[-1] != 2):
        raise DataError(f"{path}: channel_positions_um is {positions.shape}; one [x, y] per channel is needed")
    unit = templates.get("unit", "uV")
    return {**recording, **numbers, "templates_hz": rate_hz, "unit": unit, "channel_positions_um": positions}


def _read_templates(path: Path, recording: dict[str, Any]) -> Templates | None:
    """Templates, None without the file; each channel of a unit is wholly finite, or wholly NaN where it is missing."""
    if not path.is_file():
        return None
    values = _load(path)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.ndim != 3:
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else "an .npz archive"
        raise DataError(f"{path}: {found}; numbers (n_units, n_samples, n_channels) are needed")
    is_whole = np.isfinite(values).all(axis=1) | np.isnan(values).all(axis=1)
    bad = ~np.asarray(is_whole).all(axis=1)
    if bad.any():
        raise DataError(
            f"{path}: template {int(np.argmax(bad))} is not finite in part ({bad.sum()} such templates); "
            "a channel of a template is finite, or all NaN where it is missing"
        )
    values = values.astype(np.float32)
    return Templates(values, recording["templates_hz"], recording["unit"], recording["channel_positions_um"])


def _load(path: Path) -> Any:
    """``np.load`` without pickle."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; this file is needed") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a whole NumPy file of plain arrays ({error})") from None


def _load_arrays(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Named arrays of an .npz file."""
    with _load(path) as file:
        require_names(path, file.files, needed)
        try:
            return {name: file[name] for name in (*needed, *optional) if name in file.files}
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a whole NumPy file of plain arrays ({error})") from None


def _as_integers(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """``values`` as int64; samples are integers, times in seconds are refused."""
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(f"{path}: '{name}' is {values.dtype} {values.shape}; one row of integers is needed")
    return values.astype(np.int64)
