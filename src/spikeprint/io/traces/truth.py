"""The truth beside a simulated recording. Enters: its folder. Leaves: spikes, places at rest, displacement."""

from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.spikes import AXES, GroundTruth
from ..arrays import read_sorting
from ..csvs import read_frame, require_names
from .ground_truth import DISPLACEMENT_FILE, TRUTH

_COLUMNS = ("time_s", "x_um", "y_um")


def find_truth(folder: Path) -> bool:
    """Whether a recording's folder holds the truth of its positions."""
    return (folder / TRUTH / DISPLACEMENT_FILE).is_file()


def read_truth(folder: Path) -> GroundTruth:
    """Read the truth of a simulated recording.

    Raises
    ------
    DataError
        A file is missing or damaged, or says nothing of places.
    """
    where = folder / TRUTH
    sorting = read_sorting(where)
    names = [f"{axis}_um" for axis in AXES]
    require_names(where / "units.csv", sorting.extra, names)
    table = read_frame(where / DISPLACEMENT_FILE)
    require_names(where / DISPLACEMENT_FILE, table.columns, _COLUMNS)
    times = table["time_s"].to_numpy(dtype=np.float64)
    if len(times) < 2:
        raise DataError(f"{where / DISPLACEMENT_FILE}: {len(times)} rows; two times or more are needed")
    units = np.repeat(np.arange(len(sorting.unit_ids)), sorting.n_spikes)
    order = np.argsort(sorting.spike_times, kind="stable")
    moved = table[["x_um", "y_um"]].to_numpy(dtype=np.float64)
    return GroundTruth(
        samples=sorting.spike_times[order],
        units=units[order],
        locations_um=np.column_stack([sorting.extra[name] for name in names]).astype(np.float64),
        displacement_um=np.repeat(moved[:, None], len(sorting.unit_ids), axis=1),
        displacement_hz=1 / float(times[1] - times[0]),
    )
