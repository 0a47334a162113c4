"""Sortings that lie beside their traces. Enters: a recording and its folder. Leaves: a SpikeInterface sorting of it.

Looked for, in this order: ``sorting/`` saved by SpikeInterface, ``phy/`` or ``sorting/`` of phy, ``units.npz`` (an
array of samples per unit). Samples count from the start of the first segment through all of them.
"""

import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ConfigError, DataError
from ...core.types import Sorting
from ..readers.phy import find_phy, read_phy
from ..readers.safe import refuse_code
from ..readers.shared import one_line
from ..readers.trains import read_arrays_source

LOGGER = logging.getLogger(__name__)
_PHY = ("phy", "sorting")
UNITS_FILE = "units.npz"
SAVED = "si_folder.json"
MAX_BEYOND = 0.01
"""A larger part of the spikes beyond the recording says that the sorting is of another one."""
_CHANNELS = "main_channel_id"
"""Property with channels of the recording that was sorted; SpikeInterface would look for them in this one."""


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
        It is damaged, would run code when opened, or is not of this recording: another rate, other segments, more than
        1 % of the spikes beyond it (fewer are dropped with a warning).
    """
    if (folder / "sorting" / SAVED).is_file():
        return _load_saved(folder / "sorting", recording)
    for name in _PHY:
        if (folder / name).is_dir() and find_phy(folder / name):
            rate_hz = float(recording.get_sampling_frequency())
            return _fit(folder / name, read_phy(folder / name, rate_hz)[0], recording)
    if (folder / UNITS_FILE).is_file():
        rate_hz = float(recording.get_sampling_frequency())
        return _fit(folder / UNITS_FILE, read_arrays_source(folder / UNITS_FILE, rate_hz)[0], recording)
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
        if name != _CHANNELS:
            found.set_property(name, np.asarray(values))
    return found


def check_fit(recording: Any, sorting: Any, where: str = "sorting") -> None:
    """Check that a SpikeInterface recording and sorting are of one session.

    Parameters
    ----------
    where : what to call the sorting in messages

    Raises
    ------
    DataError
        The sorting has no units, or its rate or number of segments is not the recording's.
    """
    rates = recording.get_sampling_frequency(), sorting.get_sampling_frequency()
    segments = recording.get_num_segments(), sorting.get_num_segments()
    if len(sorting.unit_ids) == 0:
        raise DataError(f"{where}: no units; at least one is needed")
    if not np.isclose(*rates, rtol=1e-4):
        raise DataError(f"{where}: {rates[1]:g} Hz, its recording {rates[0]:g} Hz; they must be of one session")
    if segments[0] != segments[1]:
        raise DataError(f"{where}: {segments[1]} segments, its recording {segments[0]}; they must be of one session")


def _fit(where: Path, sorting: Sorting, recording: Any) -> Any:
    """A ``Sorting`` as SpikeInterface's, checked against its recording."""
    if sorting.time_rate_hz != 1.0:
        # samples are the recording's, whatever rounding of its rate their file states
        sorting = replace(sorting, time_rate_hz=float(recording.get_sampling_frequency()))
    found = to_spikeinterface(sorting, recording)
    check_fit(recording, found, str(where))
    n_spikes = int(sorting.offsets[-1])
    _tell_beyond(where, n_spikes - len(found.to_spike_vector()), n_spikes, recording)
    return found


def _tell_beyond(where: Path, n_beyond: int, n_spikes: int, recording: Any) -> None:
    """Warn of some spikes beyond the recording; raise DataError when they are many."""
    told = f"{where}: {n_beyond} of {n_spikes} spikes beyond the recording of {recording.get_total_duration():g} s"
    if n_beyond > MAX_BEYOND * n_spikes:
        raise DataError(f"{told}; the sorting of this recording is needed, in samples from its start")
    if n_beyond:
        LOGGER.warning("%s; dropped", told)


def _load_saved(folder: Path, recording: Any) -> Any:
    """A sorting that SpikeInterface saved as a folder of NumPy files, without spikes beyond its recording."""
    from spikeinterface.core import NumpyFolderSorting, NumpySorting

    refuse_code(folder)
    try:
        found = NumpyFolderSorting(folder)
        spikes = found.to_spike_vector()
        samples, segments = spikes["sample_index"], spikes["segment_index"]
        if len(spikes) and not 0 <= spikes["unit_index"].min() <= spikes["unit_index"].max() < len(found.unit_ids):
            raise ValueError("spikes of units that are not there")
    except (OSError, ValueError, KeyError, TypeError, AssertionError, IndexError) as error:
        raise DataError(
            f"{folder}: not a whole sorting of SpikeInterface ({one_line(error)}); save it again as a folder"
        ) from None
    if _CHANNELS in found.get_property_keys():
        found.delete_property(_CHANNELS)
    check_fit(recording, found, str(folder))
    n_samples = np.array([recording.get_num_samples(k) for k in range(recording.get_num_segments())])
    is_known = (segments >= 0) & (segments < len(n_samples))
    inside = is_known & (samples >= 0) & (samples < n_samples[np.where(is_known, segments, 0)])
    _tell_beyond(folder, int((~inside).sum()), len(spikes), recording)
    if inside.all():
        return found
    kept = NumpySorting(spikes[inside], found.get_sampling_frequency(), found.unit_ids)
    found.copy_metadata(kept)
    return kept
