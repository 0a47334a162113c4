"""Estimated motion of the tissue. Enters: an ``.npz`` file, or a folder of SpikeInterface. Leaves: ``Motion``."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ..readers.shared import load_npy

_NAMES = ("displacement_um", "times_s", "depths_um")


@dataclass(frozen=True)
class Motion:
    """How far the tissue has moved along the probe.

    Attributes
    ----------
    displacement_um : (n_times, n_depths)
    times_s : (n_times,) from the start of the recording, ascending; segments follow one another
    depths_um : (n_depths,) ascending; one value = the whole probe moves as one
    """

    displacement_um: np.ndarray
    times_s: np.ndarray
    depths_um: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.times_s), len(self.depths_um))
        if self.displacement_um.shape != shape or 0 in shape or not np.isfinite(self.displacement_um).all():
            raise DataError(
                f"motion: displacement {self.displacement_um.shape}, {shape[0]} times, {shape[1]} depths; one finite "
                "value (µm) per time and depth is needed"
            )
        if (np.diff(self.times_s) <= 0).any() or (np.diff(self.depths_um) <= 0).any():
            raise DataError("motion: times and depths must rise")

    def at(self, times_s: np.ndarray, depth_um: float) -> np.ndarray:
        """(n,) displacement at times and one depth, linear between the values, constant beyond."""
        place = np.interp(depth_um, self.depths_um, np.arange(len(self.depths_um)))
        low = int(place)
        high, part = min(low + 1, len(self.depths_um) - 1), place - low
        column = (1 - part) * self.displacement_um[:, low] + part * self.displacement_um[:, high]
        return np.interp(times_s, self.times_s, column)


def read_motion(path: Path) -> Motion:
    """Read a motion.

    Parameters
    ----------
    path : ``.npz`` with displacement_um, times_s, depths_um, or a folder that ``Motion.save`` of SpikeInterface has
        written, of one segment

    Raises
    ------
    DataError
        Files are missing or damaged, or do not fit together.
    """
    if path.is_dir():
        names = ("displacement_seg0.npy", "temporal_bins_s_seg0.npy", "spatial_bins_um.npy")
        if (path / "displacement_seg1.npy").exists():
            raise DataError(f"{path}: a motion of several segments; save one of the joined recording")
        return Motion(*(load_npy(path / name).astype(np.float64) for name in names))
    try:
        with np.load(path, allow_pickle=False) as file:
            return Motion(*(file[name].astype(np.float64) for name in _NAMES))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a motion (.npz or folder) is needed") from None
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(f"{path}: no motion ({error}); an .npz with {', '.join(_NAMES)} is needed") from None
