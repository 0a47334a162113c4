"""Localised spikes on disk. Enters: peaks, positions, motion. Leaves: a folder of arrays, or the same from it."""

from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.files import atomic_folder, read_arrays, read_json, write_arrays, write_json
from ..core.spikes import Motion, Peaks, Positions

SPIKES, CARD = "spikes.safetensors", "positions.json"
_OF_SPIKES = ("alpha_uv_um", "sd_um")


def write_positions(
    folder: Path, peaks: Peaks, positions: Positions, corrected: Positions, motions: list[Motion], card: dict[str, Any]
) -> None:
    """Write localised spikes, atomically.

    Parameters
    ----------
    folder : gets ``spikes.safetensors`` (samples, channels, amplitudes_uv, xyz_um, corrected_xyz_um; alpha_uv_um and
        sd_um where known; motion_<i>_displacement_um, _times_s, _depths_um) and ``positions.json``
    card : what else is known: method, contacts, scores
    """
    arrays = {"samples": peaks.samples, "channels": peaks.channels, "amplitudes_uv": peaks.amplitudes_uv}
    arrays |= {"xyz_um": positions.xyz_um, "corrected_xyz_um": corrected.xyz_um}
    for name in _OF_SPIKES:
        if (values := getattr(positions, name)) is not None:
            arrays[name] = values
    for i, motion in enumerate(motions):
        arrays |= {f"motion_{i}_{name}": getattr(motion, name) for name in ("displacement_um", "times_s", "depths_um")}
    with atomic_folder(folder) as temporary:
        write_arrays(temporary / SPIKES, arrays)
        kept = {"fs_hz": peaks.fs_hz, "n_samples": peaks.n_samples, "motion_axes": [m.axis for m in motions]}
        write_json(temporary / CARD, {**kept, **card})


def read_positions(folder: Path) -> tuple[Peaks, Positions, Positions, list[Motion], dict[str, Any]]:
    """Read what ``write_positions`` wrote: peaks, positions, corrected positions, motions, card.

    Raises
    ------
    DataError
        A file is missing, damaged, or lacks an array.
    """
    card, arrays = read_json(folder / CARD), read_arrays(folder / SPIKES)
    try:
        peaks = Peaks(
            arrays["samples"], arrays["channels"], arrays["amplitudes_uv"], float(card["fs_hz"]), int(card["n_samples"])
        )
        more: dict[str, np.ndarray | None] = {name: arrays.get(name) for name in _OF_SPIKES}
        positions, corrected = (Positions(arrays[name], **more) for name in ("xyz_um", "corrected_xyz_um"))
        motions = [_motion(arrays, i, int(axis)) for i, axis in enumerate(card["motion_axes"])]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder}: not whole ({error} is missing or wrong); run the stage localize again") from None
    return peaks, positions, corrected, motions, card


def _motion(arrays: dict[str, np.ndarray], i: int, axis: int) -> Motion:
    displacement, times, depths = (arrays[f"motion_{i}_{name}"] for name in ("displacement_um", "times_s", "depths_um"))
    return Motion(displacement, times, depths, axis)
