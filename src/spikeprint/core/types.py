"""The field's words as types. Enters: arrays. Leaves: frozen records whose shapes have been checked."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from .errors import DataError

UNLABELLED = ""
"""The label of a unit whose cell type is not known."""

LARGEST = 1e30
"""Larger numbers overflow in the network's single precision; no amplitude or count comes near."""

TECHNOLOGIES = ("neuropixels", "silicon_probe", "tetrode", "juxtacellular", "metal_electrode", "mea")
"""Recording technologies a dataset may declare."""


@dataclass(frozen=True)
class Modality:
    """One kind of measurement of a unit: its canonical length and its file in a canonical folder."""

    length: int
    file: str
    columns: tuple[str, ...]


MODALITIES: dict[str, Modality] = {
    "waveform": Modality(50, "waveforms.csv", tuple(f"w{s:02d}" for s in range(50))),
    "isi": Modality(100, "isi_dist.csv", tuple(f"isi_{k:03d}" for k in range(100))),
    "acg": Modality(201, "acg.csv", tuple(f"acg_{'m' if j < 0 else 'p'}{abs(j):03d}" for j in range(-100, 101))),
}
"""Canonical modalities: 50 samples at 20 kHz, trough at 20; 100 bins of 1 ms; 201 lags of 1 ms."""


@dataclass(frozen=True)
class Templates:
    """Mean waveforms of units.

    Attributes
    ----------
    values : (n_units, n_samples, n_channels) float32; a channel that a unit lacks is NaN, a missing template all NaN
    sampling_frequency_hz : float
    unit : "uV", or "au" where the gain is not known
    positions_um : (n_channels, 2), or (n_units, n_channels, 2) where units have channels of their own; None = unknown
    """

    values: np.ndarray
    sampling_frequency_hz: float
    unit: Literal["uV", "au"] = "uV"
    positions_um: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 3:
            raise DataError(f"Templates: {self.values.shape}; (n_units, n_samples, n_channels) is needed")
        if not (np.isfinite(self.sampling_frequency_hz) and self.sampling_frequency_hz > 0):
            raise DataError(f"Templates: sampling frequency {self.sampling_frequency_hz} Hz; a positive one is needed")
        n_units, _, n_channels = self.values.shape
        if self.positions_um is not None and self.positions_um.shape not in (
            (n_channels, 2),
            (n_units, n_channels, 2),
        ):
            raise DataError(f"Templates: templates {self.values.shape}, positions {self.positions_um.shape}")


@dataclass(frozen=True)
class Sorting:
    """Spike trains of one session and what its source knows of the units, as held there: nothing is cleaned yet.

    Several segments, and the observed intervals of a recording with gaps, stand one after another on one clock that
    runs only while the unit was observed; ``segment`` tells them apart, and no interval is counted across its steps.

    Attributes
    ----------
    unit_ids : (n_units,) str
    spike_times : (n_spikes,) integer samples or float seconds, unit after unit
    offsets : (n_units + 1,) int64, unit i owns ``spike_times[offsets[i]:offsets[i + 1]]``
    time_rate_hz : rate of which the times are samples; 1.0 = they are seconds
    duration_s : (n_units,) float64, how long each unit was observed
    labels : (n_units,) str, ``""`` where unknown
    templates : None where the source has no waveforms
    segment : (n_spikes,) int64, None = one segment without gaps
    amplitudes_uv, depths_um : (n_spikes,) float32, size and depth of each spike, None = unknown
    noise_uv : (n_units,) float64, noise (MAD x 1.4826) of the peak channel, None = unknown
        Sizes and noise are in the unit of the templates where that is "au".
    session_id : name of the session among several of one dataset, ``""`` for the only one
    extra : name -> (n_units,) further columns of the source, kept in the metadata as ``source_<name>``
    """

    unit_ids: np.ndarray
    spike_times: np.ndarray
    offsets: np.ndarray
    time_rate_hz: float
    duration_s: np.ndarray
    labels: np.ndarray
    templates: Templates | None = None
    segment: np.ndarray | None = None
    amplitudes_uv: np.ndarray | None = None
    depths_um: np.ndarray | None = None
    noise_uv: np.ndarray | None = None
    session_id: str = ""
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_units, n_spikes = len(self.unit_ids), len(self.spike_times)
        offsets = self.offsets
        if (
            len(offsets) != n_units + 1
            or offsets[0] != 0
            or int(offsets[-1]) != n_spikes
            or (np.diff(offsets) < 0).any()
        ):
            raise DataError(f"Sorting: {n_units} units, {n_spikes} spikes, but offsets {offsets.shape}")
        of_units = {"duration_s": self.duration_s, "labels": self.labels, "noise_uv": self.noise_uv, **self.extra}
        of_units["templates"] = None if self.templates is None else self.templates.values
        of_spikes = {"segment": self.segment, "amplitudes_uv": self.amplitudes_uv, "depths_um": self.depths_um}
        for n, what, columns in ((n_units, "units", of_units), (n_spikes, "spikes", of_spikes)):
            for name, values in columns.items():
                if values is not None and len(values) != n:
                    raise DataError(f"Sorting: {n} {what}, but {name} {np.shape(values)}")
        if not (np.isfinite(self.time_rate_hz) and self.time_rate_hz > 0):
            raise DataError(f"Sorting: sampling frequency {self.time_rate_hz} Hz; a positive number is needed")
        if not (self.duration_s > 0).all():
            raise DataError(f"Sorting: duration {np.min(self.duration_s)} s; positive numbers are needed")

    @property
    def n_spikes(self) -> np.ndarray:
        """(n_units,) int64, as the source holds them"""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class SourceTable:
    """Per-unit arrays as a CSV folder holds them, any width. An absent modality is not in ``arrays``.

    Attributes
    ----------
    unit_ids : (n_units,) str
    arrays : modality name -> (n_units, any width) float64; a missing row is all NaN
    labels : (n_units,) str, ``""`` where unknown
    extra : name -> (n_units,) further columns of the source, kept in the metadata as ``source_<name>``
    """

    unit_ids: np.ndarray
    arrays: dict[str, np.ndarray]
    labels: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitTable:
    """The canonical features of one dataset, one row per unit.

    Attributes
    ----------
    waveform : (n_units, 50) float32; isi : (n_units, 100) float64; acg : (n_units, 201) float64
        A missing row is all NaN, never zeros.
    labels : (n_units,) str, ``""`` where unknown
    metadata : table with ``unit_id`` first, then scalars, ``passes_qc`` and ``qc_reason``
    card : the content of ``representation.json``
    """

    waveform: np.ndarray
    isi: np.ndarray
    acg: np.ndarray
    labels: np.ndarray
    metadata: pd.DataFrame
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.metadata)
        for name, modality in MODALITIES.items():
            if getattr(self, name).shape != (n, modality.length):
                raise DataError(f"UnitTable: {name} is {getattr(self, name).shape}, needed {(n, modality.length)}")
        if len(self.labels) != n:
            raise DataError(f"UnitTable: {n} units but {len(self.labels)} labels")

    @property
    def unit_ids(self) -> np.ndarray:
        """(n_units,) str"""
        return self.metadata["unit_id"].to_numpy(dtype=str)
