"""Sortings that lie beside their traces. Enters: a recording and its folder. Leaves: a SpikeInterface sorting of it.

Looked for, in this order: ``sorting/`` saved by SpikeInterface, ``phy/`` or ``sorting/`` of phy, ``units.npz`` (an
array of samples per unit). Samples count from the start of the first segment through all of them.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ConfigError, DataError
from ...core.types import Sorting
from ..readers.phy import find_phy, read_phy
from ..readers.trains import read_arrays_source

_PHY = ("phy", "sorting")
UNITS_FILE = "units.npz"
SAVED = "si_folder.json"


def find_given(folder: Path) -> list[Path]:
    """Return the files of the sorting in a recording's folder, none when there is none."""
    if (folder / "sorting" / SAVED).is_file():
        return sorted(file for file in (folder / "sorting").rglob("*") if file.is_file())
    for name in _PHY:
        if files := find_phy(folder / name):
            return files
    return [folder / UNITS_FILE] if (folder / UNITS_FILE).is_file() else []


def read_given(folder: Path, recording: Any) -> Any:
    """Read the sorting in a recording's folder.

    Parameters
    ----------
    folder : of the recording
    recording : spikeinterface BaseRecording

    Returns
    -------
    spikeinterface BaseSorting with as many segments as the recording; labels are its property ``cell_type``

    Raises
    ------
    ConfigError
        There is no sorting in the folder.
    DataError
        It is damaged.
    """
    if (folder / "sorting" / SAVED).is_file():
        return _load_saved(folder / "sorting")
    for name in _PHY:
        if (folder / name).is_dir() and find_phy(folder / name):
            rate_hz = float(recording.get_sampling_frequency())
            return to_spikeinterface(read_phy(folder / name, rate_hz)[0], recording)
    if (folder / UNITS_FILE).is_file():
        rate_hz = float(recording.get_sampling_frequency())
        return to_spikeinterface(read_arrays_source(folder / UNITS_FILE, rate_hz)[0], recording)
    raise ConfigError(
        f"{folder}: no sorting in it (sorting/, phy/ or {UNITS_FILE}); set `sorter` in its row of recordings "
        "in params.yaml"
    )


def to_spikeinterface(sorting: Sorting, recording: Any) -> Any:
    """Return a ``Sorting`` as SpikeInterface's, cut into the segments of its recording; spikes outside are dropped."""
    from spikeinterface.core import NumpySorting

    rate_hz = float(recording.get_sampling_frequency())
    times = np.asarray(sorting.spike_times, dtype=np.float64) / sorting.time_rate_hz * rate_hz
    samples = np.rint(np.where(np.isfinite(times), times, -1)).astype(np.int64)
    ends = np.cumsum([0] + [recording.get_num_samples(k) for k in range(recording.get_num_segments())])
    units = np.repeat(np.arange(len(sorting.unit_ids)), np.diff(sorting.offsets))
    segments = []
    for start, end in pairwise(ends):
        mine = (samples >= start) & (samples < end)
        order = np.argsort(samples[mine], kind="stable")
        segments.append((samples[mine][order] - start, sorting.unit_ids[units[mine][order]]))
    found = NumpySorting.from_samples_and_labels(
        [samples for samples, _ in segments],
        [labels for _, labels in segments],
        sampling_frequency=rate_hz,
        unit_ids=sorting.unit_ids,
    )
    for name, values in ({"cell_type": sorting.labels} | sorting.extra).items():
        found.set_property(name, np.asarray(values))
    return found


def _load_saved(folder: Path) -> Any:
    """A sorting that SpikeInterface saved as a folder of NumPy files."""
    from spikeinterface.core import NumpyFolderSorting

    try:
        return NumpyFolderSorting(folder)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{folder}: not a whole sorting of SpikeInterface ({said}); save it again as a folder"
        ) from None
