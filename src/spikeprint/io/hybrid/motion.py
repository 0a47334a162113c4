"""Estimated motion of the tissue. Enters: an ``.npz`` file, or a folder of SpikeInterface. Leaves: ``Motion``."""

import zipfile
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.spikes import Motion
from ..readers.shared import load_npy

_NAMES = ("displacement_um", "times_s", "depths_um")


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
        displacement, times, depths = (load_npy(path / name).astype(np.float64) for name in names)
        return Motion(displacement, times, depths)
    try:
        with np.load(path, allow_pickle=False) as file:
            displacement, times, depths = (file[name].astype(np.float64) for name in _NAMES)
        return Motion(displacement, times, depths)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a motion (.npz or folder) is needed") from None
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(f"{path}: no motion ({error}); an .npz with {', '.join(_NAMES)} is needed") from None
