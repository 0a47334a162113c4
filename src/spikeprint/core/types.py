"""The field's words as types. Enters: arrays. Leaves: frozen records whose shapes have been checked."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .errors import DataError

UNLABELLED = ""
"""The label of a unit whose cell type is not known."""

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
class Sorting:
    """Spike trains and templates of one recording.

    Attributes
    ----------
    unit_ids : (n_units,) str
    spike_samples : (n_spikes,) int64, all trains one after another, each sorted
    offsets : (n_units + 1,) int64, unit i owns ``spike_samples[offsets[i]:offsets[i + 1]]``
    templates : (n_units, n_samples, n_channels) float32, µV
    channel_positions_um : (n_channels, 2) float64
    sampling_frequency_hz, duration_s : float
    labels : (n_units,) str, ``""`` where unknown
    """

    unit_ids: np.ndarray
    spike_samples: np.ndarray
    offsets: np.ndarray
    templates: np.ndarray
    channel_positions_um: np.ndarray
    sampling_frequency_hz: float
    duration_s: float
    labels: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.unit_ids)
        if len(self.offsets) != n + 1 or int(self.offsets[-1]) != len(self.spike_samples):
            raise DataError(f"Sorting: {n} units, {len(self.spike_samples)} spikes, but offsets {self.offsets.shape}")
        if self.templates.ndim != 3 or len(self.templates) != n or len(self.labels) != n:
            raise DataError(f"Sorting: {n} units, but templates {self.templates.shape}, labels {len(self.labels)}")
        if self.templates.shape[2] != len(self.channel_positions_um):
            raise DataError(f"Sorting: templates {self.templates.shape}, positions {self.channel_positions_um.shape}")
        if not (np.isfinite(self.sampling_frequency_hz) and self.sampling_frequency_hz > 0 and self.duration_s > 0):
            raise DataError(f"Sorting: sampling frequency {self.sampling_frequency_hz} Hz over {self.duration_s} s")


@dataclass(frozen=True)
class SourceTable:
    """Per-unit arrays as a CSV folder holds them, any width. An absent modality is not in ``arrays``.

    Attributes
    ----------
    unit_ids : (n_units,) str
    arrays : modality name -> (n_units, any width) float64; a missing row is all NaN
    labels : (n_units,) str, ``""`` where unknown
    """

    unit_ids: np.ndarray
    arrays: dict[str, np.ndarray]
    labels: np.ndarray


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
