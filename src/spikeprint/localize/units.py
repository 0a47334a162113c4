"""Where units are. Enters: a sorting, its source, a localiser. Leaves: a place per unit, in the frame of the tissue."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..core.errors import DataError
from ..core.spikes import Motion, Peaks, Positions, Source
from ..core.types import Sorting
from .motion import correct_positions

MAX_SPIKES = 300
"""Spikes localised per unit, spread over its train."""


def locate_units(
    sorting: Sorting, source: Source, locate: Callable[[Source], Positions], motions: list[Motion]
) -> np.ndarray:
    """Return the median place of the spikes of each unit, without the motion of the tissue.

    Parameters
    ----------
    sorting : of the same recording, in samples or seconds of its clock; templates tell the peak channel of a unit
    locate : source -> positions of its peaks

    Returns
    -------
    (n_units, 3) float64 µm, NaN for a unit without spikes or template

    Raises
    ------
    DataError
        The sorting has no templates with positions.
    """
    if sorting.templates is None or sorting.templates.positions_um is None:
        raise DataError("sorting: no templates with contact positions; the peak channel of a unit is needed")
    channels = _peak_channels(sorting, source.contacts_um)
    units, samples = _choose(sorting, source.peaks.fs_hz, channels)
    found = np.full((len(sorting.unit_ids), 3), np.nan)
    if len(units) == 0:
        return found
    peaks = Peaks(samples, channels[units], np.zeros(len(units)), source.peaks.fs_hz, source.peaks.n_samples)
    positions = correct_positions(locate(replace(source, peaks=peaks)), peaks.times_s, motions)
    for unit in np.unique(units):
        found[unit] = np.median(positions.xyz_um[units == unit], axis=0)
    return found


def _peak_channels(sorting: Sorting, contacts_um: np.ndarray) -> np.ndarray:
    """(n_units,) index of the contact at which each template is largest, -1 without one."""
    if sorting.templates is None or sorting.templates.positions_um is None:
        return np.full(len(sorting.unit_ids), -1)
    values, places = sorting.templates.values, sorting.templates.positions_um
    size = np.nan_to_num(np.ptp(values, axis=1), nan=-1.0)
    peak = size.argmax(axis=1)
    mine = places[peak] if places.ndim == 2 else places[np.arange(len(peak)), peak]
    distance = np.linalg.norm(contacts_um[None] - mine[:, None], axis=2)
    near = distance.argmin(axis=1)
    return np.where((size.max(axis=1) > 0) & (distance.min(axis=1) < 1.0), near, -1)


def _choose(sorting: Sorting, fs_hz: float, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Units (n,) and samples (n,), rising, of the spikes to localise."""
    units, samples = [], []
    times = np.asarray(sorting.spike_times, dtype=np.float64) / sorting.time_rate_hz * fs_hz
    for unit, (start, stop) in enumerate(zip(sorting.offsets[:-1], sorting.offsets[1:], strict=True)):
        if channels[unit] < 0 or start == stop:
            continue
        rows = np.unique(np.linspace(start, stop - 1, MAX_SPIKES).astype(np.int64))
        units.append(np.full(len(rows), unit))
        samples.append(np.rint(times[rows]).astype(np.int64))
    if not units:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    joined, at = np.concatenate(units), np.concatenate(samples)
    order = np.argsort(at, kind="stable")
    return joined[order], at[order]
