"""Small .nwb files written by pynwb, for the tests of reading and of export."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pynwb import NWBHDF5IO, NWBFile
from pynwb.ecephys import ElectricalSeries

START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def new_file(n_electrodes: int = 0, places: str = "rel") -> NWBFile:
    """An NWB file in memory; electrode i lies at (10 i, 20 i) µm, under rel_x and rel_y, x and y, or nowhere."""
    file = NWBFile("made for a test", "id", START)
    if n_electrodes:
        group = file.create_electrode_group("probe0", "a probe", "CA1", device=file.create_device("device"))
        for i in range(n_electrodes):
            names = {"rel": ("rel_x", "rel_y"), "brain": ("x", "y")}.get(places, ())
            at = dict(zip(names, (10.0 * i, 20.0 * i), strict=False))
            file.add_electrode(group=group, location="CA1", **at)
    return file


def save(file: NWBFile, path: Path) -> Path:
    """Write a file and return its path."""
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


def write_nwb(
    path: Path,
    units: Sequence[Mapping[str, Any]],
    n_electrodes: int = 0,
    places: str = "rel",
    rate_hz: float | None = None,
    resolution_s: float | None = None,
) -> Path:
    """Write a file with these rows in its units table; names that NWB does not know become columns."""
    file = new_file(n_electrodes, places)
    known = {"id", "spike_times", "obs_intervals", "electrodes", "electrode_group", "waveform_mean", "waveforms"}
    for name in dict.fromkeys(name for unit in units for name in unit if name not in known):
        file.add_unit_column(name, f"column {name}", index=np.ndim(units[0][name]) == 1)
    for unit in units:
        file.add_unit(**unit)
    if rate_hz is not None:
        file.units.waveform_rate = rate_hz
    if resolution_s is not None:
        file.units.resolution = resolution_s
    return save(file, path)


def trains(n_units: int = 3) -> list[dict[str, Any]]:
    """Units 10, 13, 16, ... with 2, 3, 4, ... spikes, the last at n_units + 0.5 s."""
    return [{"id": 10 + 3 * u, "spike_times": np.arange(u + 2) + 0.5} for u in range(n_units)]


def add_traces(file: NWBFile, n_series: int = 1) -> NWBFile:
    """Raw ElectricalSeries of all electrodes."""
    region = file.create_electrode_table_region(list(range(len(file.electrodes))), "all")
    for i in range(n_series):
        data = np.zeros((10, len(region)), dtype=np.int16)
        file.add_acquisition(ElectricalSeries(name=f"raw{i}", data=data, electrodes=region, rate=30_000.0))
    return file


def spike(n_samples: int = 40, trough: int = 12, depth: float = 100e-6) -> np.ndarray:
    """(n_samples,) a spike, volts."""
    return -depth * np.exp(-0.5 * ((np.arange(n_samples) - trough) / 2.0) ** 2)
