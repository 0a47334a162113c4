"""How the tissue moves. Enters: peaks and positions. Leaves: a displacement, and positions without it.

Estimation is DREDge (Windolf et al. 2025) through SpikeInterface. There is one look-up, ``Motion.at``: at the
spike's own time, bilinear between bins, held beyond the borders. Lateral motion goes through the same engine along x.
"""

from typing import Any

import numpy as np

from ..core.errors import DataError, NotEnoughSpikes
from ..core.localize_params import MotionParams
from ..core.spikes import Motion, Peaks, Positions
from .library import to_library

MIN_BINS = 5
"""Fewer time bins do not tell motion from chance."""
MAX_DISPLACEMENT_UM = 100.0
LATERAL_MAX_UM = 30.0
FEW_SPIKES, FEW_SMOOTH_S = 200, 1.0
"""With fewer spikes in a bin its neighbours in time are needed: the raster is smoothed over a second at least."""


def estimate_motion(recording: Any, peaks: Peaks, positions: Positions, params: MotionParams, axis: int = 1) -> Motion:
    """Estimate the displacement of the tissue from localised peaks.

    Parameters
    ----------
    recording : spikeinterface BaseRecording; only its rate, duration and contacts are used
    positions : of the peaks; must hold the axis
    axis : 1 = along the shank; 0 = lateral, rigid

    Raises
    ------
    NotEnoughSpikes
        The recording is shorter than five time bins, or fewer bins than that hold spikes.
    DataError
        DREDge failed, or found a displacement that is not a number.
    """
    from spikeinterface.sortingcomponents.motion import estimate_motion as estimate

    n_bins = int(peaks.duration_s // params.bin_s)
    filled = len(np.unique((peaks.times_s // params.bin_s).astype(np.int64)))
    if min(n_bins, filled) < MIN_BINS:
        raise NotEnoughSpikes(
            f"motion: {peaks.duration_s:.1f} s give {n_bins} bins of {params.bin_s:g} s, {filled} of them with spikes; "
            f"at least {MIN_BINS} are needed: a longer recording, a shorter localize.motion.bin_s, or more spikes"
        )
    found = to_library(peaks)
    places = np.zeros(len(peaks), dtype=[("x", "float64"), ("y", "float64")])
    places["x"], places["y"] = positions.xyz_um[:, 0], positions.xyz_um[:, 1]
    is_lateral = axis == 0
    if is_lateral:
        # DREDge drops what lies beyond the contacts: along x that is most spikes, and a shift of +8 um was told as -8.
        # Laid along the shank, in its middle, the same coordinates have room.
        middle = np.asarray(recording.get_channel_locations())[:, 1]
        places["y"] = positions.xyz_um[:, 0] - np.median(positions.xyz_um[:, 0]) + (middle.min() + middle.max()) / 2
    windows = (
        {} if params.rigid or is_lateral else {"win_step_um": params.win_step_um, "win_scale_um": params.win_scale_um}
    )
    smooth_s = params.smooth_s if len(peaks) >= FEW_SPIKES * filled else max(params.smooth_s, FEW_SMOOTH_S)
    reach = {"max_disp_um": LATERAL_MAX_UM if is_lateral else MAX_DISPLACEMENT_UM} if params.rigid or is_lateral else {}
    try:
        motion = estimate(
            recording, found, places, method="dredge_ap", direction="y",
            rigid=params.rigid or is_lateral, bin_s=params.bin_s, bin_um=params.bin_um, device="cpu",
            histogram_time_smooth_s=smooth_s or None, progress_bar=False, **windows, **reach,
        )  # fmt: skip
    except (ValueError, IndexError, ZeroDivisionError, np.linalg.LinAlgError, RuntimeError) as error:
        raise DataError(f"motion: DREDge failed ({' '.join(str(error).split())[:200]}); see localize.motion") from None
    displacement = np.asarray(motion.displacement[0], dtype=np.float64)
    if not np.isfinite(displacement).all():
        raise DataError(f"motion: DREDge gave {(~np.isfinite(displacement)).sum()} displacements that are no numbers")
    return Motion(displacement, np.asarray(motion.temporal_bins_s[0]), np.asarray(motion.spatial_bins_um), axis)


def estimate_motions(recording: Any, peaks: Peaks, positions: Positions, params: MotionParams) -> list[Motion]:
    """Estimate motion along the shank, then, where asked for, across it, on positions corrected along it."""
    along = estimate_motion(recording, peaks, positions, params)
    if not params.lateral:
        return [along]
    corrected = correct_positions(positions, peaks.times_s, [along])
    return [along, estimate_motion(recording, peaks, corrected, params, axis=0)]


def correct_positions(positions: Positions, times_s: np.ndarray, motions: list[Motion]) -> Positions:
    """Return positions without the displacement of their time and depth; the depth is the uncorrected one."""
    xyz = positions.xyz_um.copy()
    depths = positions.xyz_um[:, 1].astype(np.float64)
    for motion in motions:
        xyz[:, motion.axis] -= motion.at(times_s, depths).astype(np.float32)
    return Positions(xyz, positions.alpha_uv_um, positions.sd_um)


def correct_recording(recording: Any, motion: Motion) -> Any:
    """Return the recording with its traces moved back (SpikeInterface ``interpolate_motion``), lazily.

    Raises
    ------
    DataError
        The motion is lateral, which traces cannot be corrected for.
    """
    from spikeinterface.core.motion import Motion as Library
    from spikeinterface.sortingcomponents.motion import interpolate_motion

    if motion.axis != 1:
        raise DataError("motion: traces can be moved along y only; leave localize.motion.lateral out")
    known = Library(motion.displacement_um, motion.times_s, motion.depths_um)
    return interpolate_motion(
        recording, known, border_mode="force_extrapolate", spatial_interpolation_method="kriging", sigma_um=20.0
    )
